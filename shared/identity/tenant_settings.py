"""What a tenant's administrators set for it. Kept on the tenant's own item, which every call reads anyway."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from shared.audit.events.config import ConfigChange
from shared.audit.model import Draft, RequestContext, Target
from shared.audit.outbox import Outbox
from shared.audit.recorder import Recorder
from shared.core.errors import FieldError, Invalid, Unready
from shared.identity.api_keys import EVENTS_WRITE, api_key_key
from shared.identity.approvals import NOT_SAID, Approval, check_approval
from shared.identity.model import TENANT_ITEM, Principal
from shared.privacy.blind_index import BlindIndex
from shared.storage.containers import IDENTITY
from shared.storage.documents import DocumentStore, In, Item, Query, replace
from shared.storage.errors import NotFound, PreconditionFailed
from shared.storage.versions import check_version

DEFAULTS: Mapping[str, Any] = {
    "require_mfa": "off",
    "thresholds": {},
    "allow_lists": {"addresses": [], "accounts": []},
    "mutes": [],
    "legal_hold": [],
    "consents": [],
    "time_zone": "UTC",
    "working_hours": {"days": ["mon", "tue", "wed", "thu", "fri"], "from": "07:00", "to": "19:00"},
    "schedules": [],
    "not_applicable": [],
    "report_thresholds": {},
    "on_call": None,
    "expected_sources": None,
    "data_roles": {},
    "accepted_risks": [],
}
_RACES = 20


def settings_of(tenant: Item) -> dict[str, Any]:
    """A tenant's settings, each as it was set or by default."""
    return {**DEFAULTS, **tenant.get("settings", {})}


def settings_tag(tenant: Item) -> str:
    """The version of a tenant's settings as an entity tag: of them alone, for the tenant's item changes with others."""
    text = json.dumps(settings_of(tenant), sort_keys=True)
    return f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'


async def read_settings(store: DocumentStore, tenant_id: str) -> dict[str, Any]:
    """The settings of a tenant; the defaults where there is none of that id, as for `platform`."""
    try:
        return settings_of(await store.read(IDENTITY, (tenant_id,), TENANT_ITEM))
    except NotFound:
        return dict(DEFAULTS)


async def read_settings_of_events(store: DocumentStore, index: BlindIndex, tenant_id: str) -> dict[str, Any]:
    """As `read_settings`, with an entry of each allowed address for every hash that events may have of it."""
    settings = await read_settings(store, tenant_id)
    lists = settings["allow_lists"]
    if not lists["addresses"] or len((await index.ring()).kept) == 1:
        return settings
    addresses = [
        {**each, "key": key} for each in lists["addresses"] for key in await index.every_address(each["value"])
    ]
    return {**settings, "allow_lists": {**lists, "addresses": addresses}}


class TenantSettings:
    """The settings of the caller's tenant."""

    def __init__(self, store: DocumentStore, recorder: Recorder, outbox: Outbox) -> None:
        self._store = store
        self._recorder = recorder
        self._outbox = outbox

    async def change(
        self,
        principal: Principal,
        given: Mapping[str, Any],
        if_match: frozenset[str] | None,
        request: RequestContext,
        approval: Approval = NOT_SAID,
    ) -> Item:
        """Change the given settings; the tenant as it is then. VersionConflict (412). Invalid (422) for an approver
        who cannot be one, and for a source that is new and no API key of the tenant that may send events."""
        partition = (principal.tenant_id,)
        await check_approval(self._store, principal, approval)
        for _ in range(_RACES):
            tenant = await self._store.read(IDENTITY, partition, TENANT_ITEM)
            held = settings_of(tenant)
            check_version(settings_tag(tenant), if_match)
            changed = {name: value for name, value in given.items() if held[name] != value}
            if not changed:
                return tenant
            if "expected_sources" in changed:
                await self._check_sources(
                    principal.tenant_id, changed["expected_sources"] or (), held["expected_sources"] or ()
                )
            new: Item = {**tenant, "settings": {**tenant.get("settings", {}), **changed}}
            event = ConfigChange(
                key="settings",
                changed_fields=tuple(sorted(changed)),
                old_values={name: held[name] for name in changed},
                new_values=changed,
                **approval.attributes,
            )
            draft = Draft(
                principal.tenant_id,
                event,
                request,
                actor=principal.actor,
                target=Target("tenant", principal.tenant_id),
                person=principal.person,
            )
            try:
                await self._outbox.commit(
                    IDENTITY,
                    principal.tenant_id,
                    [replace(new, if_match=tenant["_etag"])],
                    [await self._recorder.finish(draft)],
                )
            except PreconditionFailed:
                continue  # another change of the tenant's item was quicker
            return new
        raise Unready("store_unavailable", "Too many changes at once.", retry_after_seconds=1)

    async def _check_sources(self, tenant_id: str, wanted: Sequence[str], held: Sequence[str]) -> None:
        """What is expected already may stay, also when its key was revoked: reports tell of its silence."""
        new = tuple(api_key_key(each) for each in wanted if each not in held)
        query = Query((In("id", new),), limit=max(1, len(new)), fields=("id", "scopes"))
        found = (await self._store.query(IDENTITY, (tenant_id,), query)).items if new else []
        known = {item["id"] for item in found if EVENTS_WRITE in item.get("scopes", ())}
        faults = tuple(
            FieldError(f"expected_sources.{place}", "unknown", "is no API key of the organization that may send events")
            for place, each in enumerate(wanted)
            if each not in held and api_key_key(each) not in known
        )
        if faults:
            raise Invalid("invalid_request", "Some fields are not as they must be.", errors=faults)
