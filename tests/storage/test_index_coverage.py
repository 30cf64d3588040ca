"""Whatever the app filters or orders by is indexed in Cosmos DB. Every place that makes a query or a filter is found in
the source and has to be passed here: a new query that nobody drives fails, as does a path that nobody declared."""

import ast
import sys
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from devhost.host import Host
from functions import ENDPOINTS
from functions._api import Endpoint, ListQuery
from functions.timers import TIMERS
from shared.audit.model import SYSTEM, RequestContext
from shared.core.clock import rfc3339
from shared.detection import all_patterns
from shared.detection.alerts import Series
from shared.detection.backtest import Backtest
from shared.detection.history import Limits
from shared.detection.model import Span
from shared.detection.overflow import Overflow, _Hour
from shared.detection.reached import Reached
from shared.identity.model import TENANT_ITEM, user_key
from shared.ledger.progress import Progress
from shared.ledger.recount import Recount
from shared.storage._cosmos_definition import indexed_paths
from shared.storage.containers import AUDIT_EVENTS, CONTAINERS, IDENTITY, Container
from shared.storage.documents import AnyOf, Defined, Eq, Filter, Has, In, Page, Partition, Prefix, Query, Range
from shared.storage.sqlite import SqliteStore
from shared.subject_rights.held_records import HeldRecords
from shared.subject_rights.holds import Holds, _Month
from tests.app import PASSWORD, ROOT, Account, App, running
from tests.calls import NOWHERE, QUERIES, path_of
from tests.fakes import ManualClock
from tests.faults import FaultyFeedStore

MAKERS: tuple[type, ...] = (Query, Eq, In, Range, Prefix, Defined, Has, AnyOf)
SAMPLES: dict[str, tuple[str, ...]] = {
    "type": ("auth.login", "auth.*"),
    "outcome": ("failure",),
    "actor": (NOWHERE,),
    "target": (NOWHERE,),
    "subject": (NOWHERE,),
    "ip": ("203.0.113.9",),
    "email": ("ada@example.com",),
    "data_class": ("personal",),
    "pattern": ("brute_force",),
    "severity": ("high",),
    "status": ("open",),
    "list_users.status": ("active",),
    "role": ("viewer",),
    "q": ("some b",),
    "framework": ("activity", "soc2"),
    "from": ("2026-03-01T00:00:00Z",),
    "to": ("2026-04-01T00:00:00Z",),
}
"""A value or two for every filter of every list; a new filter needs one."""

type Place = tuple[str, int]


def used(query: Query) -> set[str]:
    """The paths that a query filters or orders by; those of arrays with their brackets."""

    def of(each: Filter) -> set[str]:
        if isinstance(each, AnyOf):
            return set().union(*map(of, each.filters))
        return {f"{each.path}[]" if isinstance(each, Has) else each.path}

    return set().union({query.order_by}, *map(of, query.where))


def lacking(container: Container, query: Query) -> set[str]:
    return used(query) - {*indexed_paths(container), "id"}


class Recording(FaultyFeedStore):
    """Keeps every query with its container."""

    queries: list[tuple[Container, Query]]

    async def query(self, container: Container, partition: Partition, query: Query) -> Page:
        self.queries.append((container, query))
        return await super().query(container, partition, query)


@pytest.fixture
def passed(monkeypatch: pytest.MonkeyPatch) -> set[Place]:
    """The places that made a query or a filter."""
    places: set[Place] = set()

    def watch(made: Any) -> None:
        original = made.__init__

        def init(self: Any, *args: Any, **kwargs: Any) -> None:
            caller = sys._getframe(1)
            places.add((caller.f_code.co_filename, caller.f_lineno))
            original(self, *args, **kwargs)

        monkeypatch.setattr(made, "__init__", init)

    for each in MAKERS:
        watch(each)
    return places


def places_in(path: Path) -> Iterator[tuple[int, int]]:
    """First and last line of every expression of a module that makes a query or a filter."""
    names = {each.__name__ for each in MAKERS}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
            name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
            if name in names:
                yield node.lineno, node.end_lineno or node.lineno


async def drive_list(app: App, endpoint: Endpoint, account: Account) -> None:
    """Every filter by itself, then the next page."""
    for name, field in endpoint.query.model_fields.items():
        if name not in ListQuery.model_fields:
            label = field.alias or name
            for value in SAMPLES.get(f"{endpoint.name}.{label}", SAMPLES[label]):
                answer = await app.client.get(f"/{endpoint.route}", params={label: value}, headers=account.auth)
                assert answer.status_code == 200, answer.text
    types = {"type": list(SAMPLES["type"]), "limit": "1"} if "type" in endpoint.query.model_fields else {"limit": "1"}
    first = (await app.client.get(f"/{endpoint.route}", params=types, headers=account.auth)).json()
    next_page = {**types, "cursor": first["next_cursor"]}
    assert (
        first["next_cursor"] is None
        or (await app.client.get(f"/{endpoint.route}", params=next_page, headers=account.auth)).is_success
    )


async def drive_erasures(app: App, ada: Account) -> None:
    """Somebody who was invited, deleted and then erased, a list of that, and what is held beyond its month."""
    people = [await app.join(ada, f"leaver-{n}@example.com") for n in range(2)]
    assert (await app.client.get("/v1/privacy/requests", headers=people[0].auth)).status_code == 200
    assert (await app.client.get("/v1/privacy/export", headers=people[0].auth)).status_code == 200
    assert (await app.client.get("/v1/privacy/export?subject=nobody", headers=ada.auth)).status_code == 404
    await app.client.delete(f"/v1/admin/users/{people[1].id}?reason=left", headers=ada.auth)
    for person in people:
        body = {"reason": "wants to be forgotten"}
        answer = await app.client.post(f"/v1/admin/users/{person.id}/erasure", json=body, headers=ada.auth)
        assert answer.status_code == 202
    app.clock.advance(seconds=1)
    assert await app.host.run_timer("run_erasures")
    assert [each async for each in app.services.operations.index_rotation._users(ada.tenant_id)]
    assert len([line async for line in app.services.replays.carried_out()]) == 2
    await app.services.erasures.check(await app.services.erasures.person(ada.tenant_id, people[0].id))
    root = await app.system_admin("root-2@example.com")
    body = {"reason": "wants to be forgotten", "password": PASSWORD}
    await app.client.post("/v1/privacy/erasure", json=body, headers=root.auth)
    held = Holds(app.store, app.clock, timedelta(days=30))
    for subject, period in ((None, "2026-03"), (people[0].id, "2026-03"), (people[0].id, "2026-02")):
        month = _Month(ada.tenant_id, period, app.clock.now(), [{"subject": subject}])
        await held._keep(month)
        await held._let_go(month)


async def drive_reports(app: App, ada: Account) -> None:
    """A report with an account that did not sign in for long, and one when the months of the first are over; another
    one is due regularly."""
    tenant = await app.store.read(IDENTITY, (ada.tenant_id,), TENANT_ITEM)
    own = tenant.get("settings", {}) | {"schedules": [{"framework": "hipaa", "every": "daily", "hour": 5}]}
    await app.store.replace(IDENTITY, (ada.tenant_id,), tenant | {"settings": own}, if_match=tenant["_etag"])
    user = await app.store.read(IDENTITY, (ada.tenant_id,), user_key(ada.id))
    idle = {"id": user_key(NOWHERE), "user_id": NOWHERE, "created_at": "2025-03-01T00:00:00.000000Z"}
    await app.store.create(IDENTITY, (ada.tenant_id,), user | idle)
    request = RequestContext(app.services.ids.new(), "timer/x", "x", app.clock.now())
    for later in (1, app.services.settings.cosmos_db_ttl_days + 60):
        app.clock.advance(days=later)
        today = app.clock.now().date()
        build = app.services.compliance.build(ada.tenant_id, "soc2", today - timedelta(days=3), today, request)
        assert (await build)["status"] == "ready"
        asked = (ada.tenant_id, "hipaa", today - timedelta(days=3), today)
        await app.services.framework_reports.orders.ask(*asked, SYSTEM, request)
    far = rfc3339(app.clock.now() + timedelta(days=app.services.settings.cosmos_db_ttl_days + 9))
    held = HeldRecords(app.store, timedelta(days=app.services.settings.cosmos_db_ttl_days))
    assert await held.keep(ada.tenant_id, far, app.clock.now()) > 0
    days = (today - timedelta(days=2), today)
    ordered = await app.services.framework_reports.orders.order(ada.tenant_id, "gdpr", *days, request)
    assert ordered["status"] == "queued"
    app.clock.advance(hours=2)
    assert await app.services.framework_reports.orders.retry(ada.tenant_id) == 0, "it waits"
    app.clock.advance(hours=12)
    assert await app.services.framework_reports.orders.retry(ada.tenant_id) == 2
    assert await app.services.facts.unfolded(ada.tenant_id, [str(today - timedelta(days=1))]) == 0
    assert await app.services.facts.gather(ada.tenant_id, "2026-03-15", request) is False


async def drive_webhook(app: App, ada: Account) -> None:
    """A webhook that has something to deliver, with personal data, and gets nowhere."""
    body = {"url": "https://receiver.example.com/in", "personal": "opened"}
    assert (await app.client.put("/v1/webhook", json=body, headers=ada.auth)).status_code == 200
    await app.host.drain_feed()


async def drive(app: App) -> None:
    """Every endpoint, timer and consumer, with something to find."""
    app.services.detection._evaluation._limits = Limits(per_minute=5, hot_from=3)  # so that all is asked for
    ada = await app.register("ada@example.com")
    grace = await app.register("grace@example.org")
    for email in [ada.email] * 6 + [f"nobody-{n}@example.net" for n in range(5)]:
        await app.login(email, "a guess")
    change = {"current_password": PASSWORD, "new_password": "and quite a different one"}
    assert (await app.client.post("/v1/password", json=change, headers=ada.auth)).status_code == 204
    for _ in range(3):
        await app.client.get("/v1/profile", headers={"Authorization": "Bearer x"})
    await app.host.drain_feed()
    await drive_erasures(app, ada)
    review = {"population": [ada.id], "decisions": [{"user_id": ada.id, "decision": "keep"}]}
    assert (await app.client.post("/v1/admin/access-reviews", json=review, headers=ada.auth)).status_code == 201
    expected = {"expected_sources": [NOWHERE]}
    assert (await app.client.put("/v1/admin/settings", json=expected, headers=ada.auth)).status_code == 422
    assert (await app.client.get("/v1/events/export?type=auth.*", headers=ada.auth)).status_code == 200
    app.clock.advance(minutes=2)
    await drive_webhook(app, ada)
    for name in TIMERS:
        assert await app.host.run_timer(name)
    for endpoint in ENDPOINTS:
        if issubclass(endpoint.query, ListQuery):
            await drive_list(app, endpoint, ada)
        else:
            url, params = path_of(endpoint), QUERIES.get(endpoint.name)
            who = ada if endpoint.tag == "ledger" else grace  # whom some calls sign out
            answer = await app.client.request(endpoint.method, url, params=params, json={}, headers=who.auth)
            assert answer.status_code < 500
    await app.host.drain_feed()
    assert await Reached(app.store, app.services.shards).of(ada.tenant_id, date(2026, 3, 14)) is not None
    assert await app.services.sign_offs.of(ada.tenant_id, NOWHERE) == []
    span = Span(app.clock.now() - timedelta(days=1), app.clock.now())
    backtest = Backtest(app.services.store, app.services.alerts.rules, all_patterns())
    await backtest.run(ada.tenant_id, span, {}, [grace.tenant_id])
    series = Series(ada.tenant_id, all_patterns()["brute_force"], "x")
    await Overflow(app.services.store, series, 1, "")._first_beyond(
        _Hour.of("2026-03-15T12:00:00.000000Z", NOWHERE, None)
    )
    assert (await app.services.person_keys.rewrap(ada.tenant_id)).wrapped == 0
    for head in await app.services.shards.heads(ada.tenant_id):
        issued = await app.services.checkpoints.issue(ada.tenant_id, head.period)
        await app.services.shards.reader(ada.tenant_id, issued.head, [(0, issued.head.size)])
        await app.services.shards.rollups(ada.tenant_id, head.period, ["2026-03-15"])
        assert [each async for each in app.services.shards.entries(ada.tenant_id, head.period, 0, head.size)]
    assert await Recount(app.services.store).shard(ada.tenant_id, "2026-03") == []
    request = RequestContext(app.services.ids.new(), "x", "x", app.clock.now())
    assert await app.services.statements.found(ada.tenant_id, "2026-03", "edited", "x", request, found="y")
    await app.services.verification._counted(ada.tenant_id, Progress("2026-03"))  # of a lap that takes several runs
    await app.services.streaming.delivery._backlog._entries(ada.tenant_id, "2026-03", 0, 10**6)  # of a head that lies
    await app.services.directory.enroll_tenant(app.services.ids.new())  # whose registration then failed
    app.clock.advance(days=2)
    assert await app.host.run_timer("tidy_tenants")
    assert not await app.services.roster._is_over(ada.tenant_id)  # of one that is gone from everywhere else
    assert await app.host.run_timer("verify_ledger")  # of events that are old enough to be sealed
    await drive_reports(app, ada)


async def test_every_query_of_the_app_is_served_by_what_is_indexed(
    host: Host, clock: ManualClock, passed: set[Place]
) -> None:
    store = Recording(await SqliteStore.open(None, clock=clock))
    store.queries = []
    async with running(host, clock, store) as app:
        await drive(app)
    for container, query in store.queries:
        assert lacking(container, query) == set(), f"{container.name} {query}"
    modules = [*(ROOT / "functions").rglob("*.py"), *(ROOT / "shared").rglob("*.py")]
    driven = {path for path in modules if ROOT / "shared/storage" not in path.parents}
    found = {(path, *lines) for path in driven for lines in places_in(path)}
    assert len(found) > 20
    for path, first, last in found:
        reached = any(Path(file) == path and first <= line <= last for file, line in passed)
        assert reached, f"{path.relative_to(ROOT)}:{first} was not driven: no one knows what it asks for"


def test_every_pattern_finds_its_events_by_an_index() -> None:
    for pattern in all_patterns().values():
        for order_by in ("occurred_at", "recorded_at"):
            query = Query((Eq("type", "x"), Eq(pattern.key_path, "x")), order_by=order_by)
            assert lacking(AUDIT_EVENTS, query) == set(), pattern.id


def test_what_is_not_declared_is_noticed() -> None:
    query = Query((AnyOf((Eq("attributes.x", 1), Has("type", "x"))),), order_by="context.route")
    assert lacking(AUDIT_EVENTS, query) == {"attributes.x", "type[]", "context.route"}
    assert lacking(CONTAINERS["directory"], Query((Defined("user_id"),))) == {"user_id"}


def test_a_new_query_is_found(tmp_path: Path) -> None:
    module = tmp_path / "new.py"
    module.write_text("x = documents.Query(\n  (Eq('a', 1),),\n)\n", encoding="utf-8")
    assert sorted(places_in(module)) == [(1, 3), (2, 2)]
