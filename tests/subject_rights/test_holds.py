"""Legal holds and retention: what is held stays beyond its month's end, with what proves it, and goes afterwards."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from devhost.host import Host
from shared.core.settings import Settings
from shared.ledger.merkle import leaf_hashes, root_of
from shared.ledger.shards import Shards, head_id
from shared.storage.containers import AUDIT_EVENTS, LEDGER
from shared.storage.documents import Item, Query
from shared.storage.errors import Unavailable
from shared.storage.sqlite import SqliteStore
from shared.subject_rights.holds import held_until, holds_at
from tests.app import UNLIMITED, Account, App, running
from tests.fakes import ManualClock
from tests.faults import FaultyFeedStore
from tests.subject_rights.support import with_a_past

RETENTION = 30
"""Days after a month's end: March ends with April."""


@pytest.fixture
async def short(host: Host, clock: ManualClock) -> AsyncIterator[tuple[App, FaultyFeedStore]]:
    """The app with a short retention."""
    store = FaultyFeedStore(await SqliteStore.open(None, clock=clock, ttl_days=RETENTION))
    settings = Settings(kraftd_data=":memory:", cosmos_db_ttl_days=RETENTION, **UNLIMITED)
    async with running(host, clock, store, settings) as app:
        yield app, store


async def hold(app: App, admin: Account, days: float, subject: str | None = None) -> None:
    token = (await app.login(admin.email)).json()["access_token"]
    until = (app.clock.now() + timedelta(days=days)).isoformat()
    entries = [{"subject": subject, "reason": "a case", "until": until}] if days else []
    answer = await app.client.put(
        "/v1/admin/settings", json={"legal_hold": entries}, headers={"Authorization": f"Bearer {token}"}
    )
    assert answer.status_code == 200, answer.text


async def keep(app: App) -> None:
    assert await app.host.run_timer("keep_held")


async def march(app: App, tenant_id: str, container: Any = AUDIT_EVENTS) -> list[Item]:
    return (await app.store.query(container, (tenant_id, "2026-03"), Query(limit=1000))).items


async def test_a_tenants_hold_keeps_the_month_and_its_ledger(short: tuple[App, FaultyFeedStore]) -> None:
    app, _ = short
    ada = await app.register()
    await with_a_past(app, ada, "bob@example.com")
    await hold(app, ada, 100)
    await app.host.drain_feed()
    size = len(await march(app, ada.tenant_id))
    await keep(app)
    assert {each["ttl"] for each in await march(app, ada.tenant_id)} == {-1}
    before = {each["id"]: each["_etag"] for each in await march(app, ada.tenant_id)}
    await keep(app)
    assert {each["id"]: each["_etag"] for each in await march(app, ada.tenant_id)} == before, "once is enough"

    app.clock.advance(days=60)  # the middle of May
    await keep(app)
    events = await march(app, ada.tenant_id)
    assert len(events) == size
    shards = Shards(app.store)
    entries = [e async for page in shards.entries(ada.tenant_id, "2026-03", 0, size) for e in page]
    head = await shards.head(ada.tenant_id, "2026-03")
    assert head.frontier().root() == root_of(leaf_hashes([entry.text for entry in entries]))
    await app.host.drain_feed()
    assert await app.events(ada.tenant_id, "ledger.verify_failed") == []

    app.clock.advance(days=60)  # the hold is over
    await keep(app)
    app.clock.advance(seconds=2)
    assert await march(app, ada.tenant_id) == []
    assert [each["id"] for each in await march(app, ada.tenant_id, LEDGER)] == [head_id("2026-03")]


async def test_a_persons_hold_keeps_what_is_about_the_person(short: tuple[App, FaultyFeedStore]) -> None:
    app, _ = short
    ada = await app.register()
    bob = await with_a_past(app, ada, "bob@example.com")
    await app.client.get("/v1/profile", headers=ada.auth)
    await hold(app, ada, 100, bob.id)
    await app.host.drain_feed()
    about = {each["id"] for each in await march(app, ada.tenant_id) if bob.id in each["subjects"]}
    assert 0 < len(about) < len(await march(app, ada.tenant_id))
    await keep(app)
    app.clock.advance(days=60)
    assert {each["id"] for each in await march(app, ada.tenant_id)} == about
    assert len(await march(app, ada.tenant_id, LEDGER)) > len(about), "the month's proofs need all of its entries"
    await hold(app, ada, 0)
    await keep(app)
    app.clock.advance(seconds=2)
    assert await march(app, ada.tenant_id) == []


async def test_a_hold_that_ends_first_changes_nothing(short: tuple[App, FaultyFeedStore]) -> None:
    app, _ = short
    ada = await app.register()
    await hold(app, ada, 20)
    before = await march(app, ada.tenant_id)
    await keep(app)
    assert await march(app, ada.tenant_id) == before


async def test_without_a_hold_nobody_looks(short: tuple[App, FaultyFeedStore]) -> None:
    app, store = short
    ada = await app.register()
    store.arm(10**6)
    assert await app.services.holds.keep(ada.tenant_id) == 0
    assert await app.services.holds.keep("0195c000-0000-7000-8000-0000000000aa") == 0
    assert [call.operation for call in store.calls] == ["read", "read"]


async def test_a_fault_is_made_up_for_by_the_next_run(short: tuple[App, FaultyFeedStore]) -> None:
    app, store = short
    ada = await app.register()
    await with_a_past(app, ada, "bob@example.com")
    await hold(app, ada, 100)
    await app.host.drain_feed()
    for k in range(1, 30):
        store.arm(k, "after")
        try:
            await app.services.holds.keep(ada.tenant_id)
        except Unavailable:
            store.mend()
            continue
        break
    assert k > 4
    store.mend()
    assert {each["ttl"] for each in await march(app, ada.tenant_id)} == {-1}
    assert {each["ttl"] for each in await march(app, ada.tenant_id, LEDGER)} == {-1}


def test_which_hold_holds() -> None:
    def entry(subject: str | None, since: str, until: str) -> Item:
        return {"subject": subject, "reason": "x", "since": since, "until": until}

    clock = ManualClock()
    early, now, late, later = (f"2026-03-{day}T12:00:00.000000Z" for day in (14, 15, 16, 17))
    settings = {"legal_hold": [entry("bob", early, late), entry(None, early, now), entry("ada", late, later)]}
    assert holds_at(settings, clock.now()) == settings["legal_hold"][:1]
    holds = [entry("bob", early, late), entry(None, early, later)]
    assert held_until(holds, "bob") == later
    assert held_until(holds[:1], "bob") == late
    assert held_until(holds[:1], "ada") is None
