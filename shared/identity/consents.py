"""What users agree to: the purposes of a tenant with the version of each one's text, and each user's own answers.

The answers stand on the user's item, so they go with the account; each one's history is in the trail (`consent.*`). An
answer is to the version that was shown: once another one holds, the person is asked again.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from shared.audit.events.consent import ConsentGrant, ConsentWithdraw
from shared.audit.model import AuditEvent, Draft, RequestContext, Target
from shared.audit.outbox import Outbox
from shared.audit.recorder import Recorder
from shared.core.clock import Clock, rfc3339
from shared.core.errors import FieldError, Invalid, Unready
from shared.identity.model import Principal
from shared.identity.own_account import still_there
from shared.identity.tenant_settings import settings_of
from shared.storage.containers import IDENTITY
from shared.storage.documents import DocumentStore, Item, replace
from shared.storage.errors import NotFound, PreconditionFailed
from shared.storage.versions import check_version

TERMS, PRIVACY, MARKETING = "terms", "privacy", "marketing"
_RACES = 10

type State = Literal["granted", "outdated", "withdrawn", "not_given"]


@dataclass(frozen=True, slots=True)
class Purpose:
    """What people are asked to agree to: the version of its text that holds now, and whether nobody does without."""

    version: str
    required: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """What a person decides about a purpose; `version`: of the text that they saw."""

    purpose: str
    granted: bool
    version: str | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """What the settings of the deployment say of consents."""

    terms_version: str
    privacy_version: str

    def purposes(self, tenant: Item | None) -> dict[str, Purpose]:
        """The purposes of a tenant (None: of one to be): those of every registration, in the tenant's versions where it
        has set some, and its own."""
        found = {
            TERMS: Purpose(self.terms_version, required=True),
            PRIVACY: Purpose(self.privacy_version, required=True),
            MARKETING: Purpose(self.privacy_version),
        }
        for each in settings_of(tenant)["consents"] if tenant is not None else ():
            needed = each["required"] or each["purpose"] in (TERMS, PRIVACY)
            found[each["purpose"]] = Purpose(each["version"], needed)
        return found

    def at_registration(self, tenant: Item | None, *, marketing: bool) -> dict[str, str]:
        """What a registration agrees to: versions by purpose."""
        purposes = self.purposes(tenant)
        return {name: purposes[name].version for name in (TERMS, PRIVACY, *((MARKETING,) if marketing else ()))}


def granted(versions: Mapping[str, str], now: datetime) -> dict[str, Any]:
    """The answers of somebody who agrees to these versions, by purpose, as they are stored on the user's item."""
    return {purpose: _answer(Decision(purpose, True, version), now, None) for purpose, version in versions.items()}


def _answer(decision: Decision, now: datetime, held: Mapping[str, Any] | None) -> dict[str, Any]:
    """A decision as it is stored; what is withdrawn is the consent to the version that was agreed to."""
    version = decision.version if decision.granted or held is None else held["version"]
    return {"granted": decision.granted, "version": version, "at": rfc3339(now)}


def answers_of(user: Item) -> dict[str, Any]:
    """A user's answers by purpose. Accounts of before answers were kept have none."""
    answers: dict[str, Any] = user.get("consents", {})
    return answers


def shown(purposes: Mapping[str, Purpose], user: Item) -> dict[str, Any]:
    """A user's consents as the API shows them, by purpose; those to a purpose that is no more have no `version`."""
    answers = answers_of(user)
    entries = [_entry(name, purposes.get(name), answers.get(name)) for name in sorted({*purposes, *answers})]
    needed = [each["purpose"] for each in entries if each["state"] == "outdated" or _lacks(each)]
    return {"consents": entries, "needed": needed}


def _lacks(entry: Mapping[str, Any]) -> bool:
    return bool(entry["required"] and entry["state"] != "granted")


def _entry(name: str, purpose: Purpose | None, answer: Mapping[str, Any] | None) -> dict[str, Any]:
    return {
        "purpose": name,
        "version": purpose and purpose.version,
        "required": purpose is not None and purpose.required,
        "state": _state(purpose, answer),
        "answered_version": answer and answer["version"],
        "answered_at": answer and answer["at"],
    }


def _state(purpose: Purpose | None, answer: Mapping[str, Any] | None) -> State:
    if answer is None:
        return "not_given"
    if not answer["granted"]:
        return "withdrawn"
    return "granted" if purpose is None or purpose.version == answer["version"] else "outdated"


def consents_tag(purposes: Mapping[str, Purpose], user: Item) -> str:
    """The version of what `shown` shows as an entity tag: of that alone, for the user's item changes with others."""
    text = json.dumps(shown(purposes, user), sort_keys=True)
    return f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'


class Consents:
    """The consents of the caller."""

    def __init__(self, store: DocumentStore, recorder: Recorder, outbox: Outbox, policy: Policy, clock: Clock) -> None:
        self._store = store
        self._recorder = recorder
        self._outbox = outbox
        self._policy = policy
        self._clock = clock

    def purposes(self, tenant: Item) -> dict[str, Purpose]:
        """What users of a tenant are asked to agree to."""
        return self._policy.purposes(tenant)

    async def change(
        self,
        principal: Principal,
        decisions: Sequence[Decision],
        if_match: frozenset[str] | None,
        request: RequestContext,
    ) -> Item:
        """Keep decisions, all or none, each that changes something with its event; the user as it is then.

        Invalid (422) for a purpose that there is none of, or a version that is not the one that holds.
        VersionConflict (412). TokenRejected for who was removed meanwhile.
        """
        purposes, user = self.purposes(principal.tenant), principal.user
        _check(decisions, purposes, answers_of(user))
        for _ in range(_RACES):
            check_version(consents_tag(purposes, user), if_match)
            answers = answers_of(user)
            changes = [each for each in decisions if _changes(each, answers.get(each.purpose))]
            if not changes:
                return user
            now = self._clock.now()
            new = {each.purpose: _answer(each, now, answers.get(each.purpose)) for each in changes}
            events = [await self._recorder.finish(self._draft(principal, each, new, request)) for each in changes]
            step = replace({**user, "consents": {**answers, **new}}, if_match=user["_etag"])
            try:
                await self._outbox.commit(IDENTITY, principal.tenant_id, [step], events)
            except (PreconditionFailed, NotFound):
                user = await still_there(self._store, principal, self._clock.now())
                continue
            return await self._store.read(IDENTITY, (principal.tenant_id,), user["id"])
        raise Unready("store_unavailable", "Too many changes at once.", retry_after_seconds=1)

    def _draft(
        self, principal: Principal, decision: Decision, new: Mapping[str, Any], request: RequestContext
    ) -> Draft:
        kind: type[ConsentGrant | ConsentWithdraw] = ConsentGrant if decision.granted else ConsentWithdraw
        event: AuditEvent = kind(purpose=decision.purpose, version=new[decision.purpose]["version"])
        target = Target("user", principal.user_id, principal.email)
        return Draft(
            principal.tenant_id, event, request, actor=principal.actor, target=target, person=principal.user_id
        )


def _changes(decision: Decision, held: Mapping[str, Any] | None) -> bool:
    """Whether a decision says something new: a grant of another version does, a second withdrawal does not."""
    if decision.granted:
        return held is None or not held["granted"] or bool(held["version"] != decision.version)
    return held is not None and bool(held["granted"])


def _check(decisions: Sequence[Decision], purposes: Mapping[str, Purpose], answers: Mapping[str, Any]) -> None:
    """Invalid (422), naming each field that is wrong."""
    errors, seen = [], set[str]()
    for number, each in enumerate(decisions):
        field, purpose = f"consents.{number}", purposes.get(each.purpose)
        if each.purpose in seen:
            errors.append(FieldError(f"{field}.purpose", "duplicate", "is named twice"))
        elif purpose is None and (each.granted or each.purpose not in answers):
            errors.append(FieldError(f"{field}.purpose", "unknown", "is no purpose of this organization"))
        elif each.granted and purpose is not None and each.version != purpose.version:
            errors.append(FieldError(f"{field}.version", "outdated", "is not the version that holds now"))
        seen.add(each.purpose)
    if errors:
        raise Invalid("invalid_request", "Some fields are not as they must be.", errors=tuple(errors))
