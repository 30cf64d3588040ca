"""Accounts of two tenants over an embedded store, and the checks that stand before them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from shared.audit.model import RequestContext
from shared.audit.outbox import Outbox
from shared.audit.recorder import Recorder
from shared.core.ids import IdFactory
from shared.identity.access import Access
from shared.identity.api_keys import ApiKeys
from shared.identity.directory import Directory, Entry
from shared.identity.model import Applicant, Principal, Role, new_tenant, new_user
from shared.identity.rejections import Rejections
from shared.identity.sessions import SessionLimits, Sessions
from shared.identity.tokens import AccessTokens
from shared.privacy.blind_index import BlindIndex
from shared.privacy.secrets import MemorySecrets
from shared.storage.containers import AUDIT_EVENTS, IDENTITY
from shared.storage.documents import Eq, Item, PatchSet, Query
from shared.storage.sqlite import SqliteStore
from tests.fakes import ClearBox, ManualClock

HERE, ELSEWHERE = "0195c000-0000-7000-8000-0000000000aa", "0195c000-0000-7000-8000-0000000000bb"
ADA, BOB, GRACE = (f"0195c000-0000-7000-8000-0000000000{n}" for n in ("a1", "b1", "c1"))
NOBODY = "0195c000-0000-7000-8000-0000000000ff"
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


@dataclass
class Gate:
    """Two tenants: ada, an administrator, and bob are of one, grace of the other; each has a session."""

    store: SqliteStore
    clock: ManualClock
    access: Access
    keys: ApiKeys
    sessions: Sessions
    request: RequestContext
    tokens: dict[str, str]

    async def change(self, item_id: str, tenant_id: str = HERE, **fields: Any) -> None:
        """What stands in the store from now on."""
        sets = [PatchSet(name, value) for name, value in fields.items()]
        await self.store.patch(IDENTITY, (tenant_id,), item_id, sets)

    async def caller(self, user_id: str = ADA) -> Principal:
        """Who calls with that user's token."""
        return await self.access.authenticate(self.tokens[user_id], self.request)

    async def told(self, type_: str = "access.denied", tenant_id: str = HERE) -> list[Item]:
        """The events of a type."""
        query = Query((Eq("type", type_),), order_by="recorded_at", limit=100)
        return (await self.store.query(AUDIT_EVENTS, (tenant_id,), query)).items

    async def last(self, type_: str = "access.denied") -> dict[str, Any]:
        """The one event of a type: what it says beside when and where, without what is not there."""
        (event,) = await self.told(type_)
        assert event["outcome"] == "denied"
        said = {name: value for name, value in event["attributes"].items() if value}
        return {"reason": event["reason"], "actor": event["actor"]["id"], "target": event["target"], **said}


@asynccontextmanager
async def new_gate() -> AsyncIterator[Gate]:
    """A gate of its own."""
    clock, secrets = ManualClock(), MemorySecrets()
    store = await SqliteStore.open(None, clock=clock)
    ids, index = IdFactory(clock), BlindIndex(secrets, "v1")
    recorder = Recorder(store, clock, ids, ClearBox(), index)
    outbox = Outbox(store, recorder, clock, ids)
    tokens = AccessTokens(secrets, clock, 15 * MINUTE)
    rejections = Rejections(store, recorder, outbox, index, clock, terms_version="1", privacy_version="1")
    directory = Directory(store, index, clock)
    access = Access(store, recorder, tokens, directory, rejections, clock)
    sessions = Sessions(tokens, clock, ids, SessionLimits(30 * 24 * HOUR, 24 * HOUR))
    request = RequestContext(ids.new(), "GET /v1/x", "x", clock.now(), ip="192.0.2.1", user_agent="pytest")
    shown = {}
    for tenant_id in (HERE, ELSEWHERE):
        await store.create(IDENTITY, (tenant_id,), new_tenant(tenant_id, "Example", clock.now()))
    for user_id, tenant_id, name, role in (
        (ADA, HERE, "ada", Role.TENANT_ADMIN),
        (BOB, HERE, "bob", Role.USER),
        (GRACE, ELSEWHERE, "grace", Role.TENANT_ADMIN),
    ):
        applicant = Applicant(
            email=f"{name}@example.com", password="", first_name=name, last_name="L", marketing_opt_in=False
        )
        entry = Entry(tenant_id, user_id)
        user = new_user(user_id, tenant_id, applicant, role, "-", clock.now())
        session, made = await sessions.draft(user)
        await store.create(IDENTITY, (tenant_id,), user)
        await store.create(IDENTITY, (tenant_id,), session)
        await directory.confirm(await directory.reserve(applicant.email, entry), entry)
        shown[user_id] = made.access_token
    keys = ApiKeys(store, recorder, outbox, access, clock, ids)
    yield Gate(store, clock, access, keys, sessions, request, shown)
    await store.close()


async def refused(doing: Any, status: type[Any], code: str) -> Any:
    """The error of that type and code with which a call ends."""
    with pytest.raises(status) as caught:
        await doing
    assert caught.value.code == code
    return caught.value
