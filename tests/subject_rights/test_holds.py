"""Legal holds and retention: what is held stays beyond its month's end, with what proves it, and goes afterwards."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from devhost.host import Host
from shared.core.settings import Settings
from shared.identity.model import Role
from shared.ledger.merkle import leaf_hashes, root_of
from shared.ledger.shards import Shards, head_id
from shared.storage.containers import AUDIT_EVENTS, IDENTITY, LEDGER, REPORTS
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


async def a_report(app: App, ada: Account) -> str:
    """A report of the first day, signed off, and an access review; its id."""
    await app.host.drain_feed()
    app.clock.advance(days=1)
    await app.host.run_timer("verify_ledger")
    ada.token = (await app.login(ada.email)).json()["access_token"]
    body = {"framework": "soc2", "from": "2026-03-15", "to": "2026-03-16"}
    made = await app.client.post("/v1/reports", json=body, headers=ada.auth)
    report_id = str(made.json()["id"])
    await sign(app, ada, report_id)
    review = {"population": [ada.id], "decisions": [{"user_id": ada.id, "decision": "keep"}]}
    answer = await app.client.post("/v1/admin/access-reviews", json=review, headers=ada.auth)
    assert (made.status_code, answer.status_code) == (201, 201), made.text
    return report_id


async def sign(app: App, by: Account, report_id: str) -> None:
    url = f"/v1/reports/{report_id}/sign-off"
    signed = await app.client.post(url, json={"statement": "I have read it."}, headers=by.auth)
    assert signed.status_code == 201, signed.text


async def records(app: App, tenant_id: str) -> dict[str, int | None]:
    """What there is of reports and access reviews, and its ttl, by the kind of item."""
    found: dict[str, int | None] = {}
    for container in (REPORTS, IDENTITY):
        for item in (await app.store.query(container, (tenant_id,), Query(limit=1000))).items:
            if item["kind"] in ("compliance_report", "report_part", "sign_off", "access_review"):
                found[item["id"].partition("|")[0] if "|" in item["id"] else item["kind"]] = item.get("ttl")
    return found


async def kept_at_last(app: App, store: FaultyFeedStore, tenant_id: str, seconds: float = 0) -> int:
    """Runs of which each fails one call later, and the next makes up for it, until one passes; its number."""
    for k in range(1, 60):
        store.arm(k, "after")
        try:
            await app.services.holds.keep(tenant_id)
        except Unavailable:
            app.clock.advance(seconds=seconds)
        else:
            return k
        finally:
            store.mend()
    pytest.fail("a run without end")


async def test_a_tenants_hold_keeps_reports_their_sign_offs_and_access_reviews(
    short: tuple[App, FaultyFeedStore],
) -> None:
    app, store = short
    ada = await app.register()
    report_id = await a_report(app, ada)
    first = await records(app, ada.tenant_id)
    assert set(first.values()) == {RETENTION * 86_400}
    assert len(first) == 4
    await hold(app, ada, 100)
    assert await kept_at_last(app, store, ada.tenant_id) > 5
    assert await records(app, ada.tenant_id) == dict.fromkeys(first, -1)
    assert await app.services.holds.keep(ada.tenant_id) == 0, "once is enough"
    eve = await app.join(ada, "eve@example.com", Role.AUDITOR)
    await sign(app, eve, report_id)  # while it is held

    app.clock.advance(days=60)
    await keep(app)
    ada.token = (await app.login(ada.email)).json()["access_token"]
    url = f"/v1/reports/{report_id}?format=json"
    shown = (await app.client.get(url, headers=ada.auth)).json()
    assert [each["user_id"] for each in shown["sign_offs"]] == [ada.id, eve.id]

    app.clock.advance(days=60)  # the hold is over
    await kept_at_last(app, store, ada.tenant_id, seconds=2)
    app.clock.advance(seconds=2)
    assert await records(app, ada.tenant_id) == {}


async def test_what_no_hold_keeps_ends_as_it_would(short: tuple[App, FaultyFeedStore]) -> None:
    """Neither a hold of a person, nor one that ends first; and lifting one before the end changes nothing."""
    app, _ = short
    ada = await app.register()
    await a_report(app, ada)
    first = await records(app, ada.tenant_id)
    for days, subject in ((100.0, ada.id), (20.0, None)):
        await hold(app, ada, days, subject)
        await keep(app)
        assert await records(app, ada.tenant_id) == first
    await hold(app, ada, 100)
    await keep(app)
    await hold(app, ada, 0)
    await keep(app)
    assert set((await records(app, ada.tenant_id)).values()) == {-1}, "not over yet"
    app.clock.advance(days=RETENTION, seconds=1)
    await keep(app)
    app.clock.advance(seconds=2)
    assert await records(app, ada.tenant_id) == {}


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
    assert await kept_at_last(app, store, ada.tenant_id) > 4
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
