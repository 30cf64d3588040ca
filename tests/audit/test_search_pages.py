"""Paging a search while events arrive, on time and late; months; single events; what is shown of persons, to whom."""

import itertools
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.audit.events.audit import AuditSearch
from shared.audit.events.profile import ProfileView
from shared.audit.model import StoredEvent
from shared.audit.search import EventFilter, searched
from shared.core.clock import period_of, rfc3339
from shared.storage.containers import AUDIT_EVENTS, Container
from shared.storage.documents import Cursor, DocumentStore, Page, Partition, Query, Range
from tests.audit.support import ADA, NOW, OTHER, TENANT, World, by_ada, new_world
from tests.faults import FaultyStore

_tenants = itertools.count()
MOMENTS = [NOW - timedelta(days=days, microseconds=micros) for days in (0, 1, 14, 15, 16, 45, 400) for micros in (0, 1)]
"""Few, so that several events share one: in this month, at the seams between months, in the year before."""
TYPES = ("data.read", "data.update", "auth.login")


@pytest.fixture(scope="module")
async def shared_world() -> AsyncIterator[World]:
    async with new_world(NOW) as made:
        yield made


async def publish(world: World, tenant_id: str, moment: datetime, type_: str = "profile.view") -> StoredEvent:
    """An event recorded at a moment of the past: a crash has kept it in its outbox until now."""
    finished = await world.recorder.finish(by_ada(ProfileView(), tenant_id))
    event = {**finished, "id": world.ids.new(moment), "period": period_of(moment), "type": type_}
    event["recorded_at"] = rfc3339(moment)
    await world.recorder.publish(event)
    return event


def place(event: StoredEvent) -> tuple[str, str]:
    return event["recorded_at"], event["id"]


arrivals = st.lists(st.tuples(st.sampled_from(MOMENTS), st.sampled_from(TYPES)), max_size=6)


@settings(max_examples=40, suppress_health_check=list(HealthCheck))
@given(
    first=st.lists(st.tuples(st.sampled_from(MOMENTS), st.sampled_from(TYPES)), max_size=14),
    later=st.lists(arrivals, max_size=6),
    limit=st.integers(1, 5),
    types=st.sampled_from([(), ("data.read",), ("data.*",), ("data.*", "auth.login"), ("data.read", "auth.*")]),
)
async def test_no_repeats_and_no_gaps_whatever_arrives_between_pages(
    shared_world: World,
    first: list[tuple[datetime, str]],
    later: list[list[tuple[datetime, str]]],
    limit: int,
    types: tuple[str, ...],
) -> None:
    """What was there at the start is seen once, in order. What arrives is seen exactly if its place is still ahead."""
    world, tenant_id = shared_world, f"tenant-{next(_tenants)}"
    there = [await publish(world, tenant_id, *each) for each in first]
    seen: list[StoredEvent] = []
    after: Cursor | None = None
    for batch in itertools.chain(later, itertools.repeat([])):
        page = await world.search.page(tenant_id, EventFilter(types=types), limit=limit, after=after)
        assert len(page.items) <= limit
        seen += page.items
        after = page.next
        if after is None:
            break
        for each in batch:
            event = await publish(world, tenant_id, *each)
            if place(event) < (str(after.value), after.id):
                there.append(event)
    wanted = [event for event in there if not types or _matches(event["type"], types)]
    assert [place(each) for each in seen] == sorted(map(place, wanted), reverse=True)


def _matches(name: str, types: tuple[str, ...]) -> bool:
    return any(name.startswith(each[:-1]) if each.endswith("*") else name == each for each in types)


async def test_a_search_asks_for_the_newest_month_then_a_year_then_the_rest(world: World) -> None:
    for years in range(3):
        await publish(world, TENANT, NOW - timedelta(days=365 * years))
    store = Asked(world.store)
    search = world.over(store).search

    async def asked(wanted: EventFilter, limit: int = 50) -> list[tuple[str, ...]]:
        store.asked.clear()
        await search.page(TENANT, wanted, limit=limit)
        return store.asked

    march, since = datetime(2026, 3, 1, tzinfo=UTC), datetime(2025, 6, 1, tzinfo=UTC)
    assert await asked(EventFilter()) == [("2026-03",), ("2025-04", "2026-02"), ("", "2025-03")]
    assert await asked(EventFilter(), limit=1) == [("2026-03",), ("2025-04", "2026-02"), ("", "2025-03")], (
        "is there more?"
    )
    assert await asked(EventFilter(from_=march)) == [("2026-03",)]
    assert await asked(EventFilter(from_=since)) == [("2026-03",), ("2025-06", "2026-02")]
    assert await asked(EventFilter(from_=since, to=march)) == [("2026-02",), ("2025-06", "2026-01")], "to is excluded"
    assert await asked(EventFilter(from_=NOW + timedelta(days=40))) == []
    world.clock.set(datetime(2026, 3, 31, 12, tzinfo=UTC))
    assert (await asked(EventFilter()))[0] == ("2026-04",), "another instance's clock may be in April already"


class Asked(FaultyStore):
    """Notes which periods each query asks for."""

    def __init__(self, inner: DocumentStore) -> None:
        super().__init__(inner)
        self.asked: list[tuple[str, ...]] = []

    async def query(self, container: Container, partition: Partition, query: Query) -> Page:
        ranges = [each for each in query.where if isinstance(each, Range) and each.path == "period"]
        self.asked.append(tuple(partition[1:]) or (str(ranges[0].ge or ""), str(ranges[0].le)))
        return await super().query(container, partition, query)


async def test_an_event_is_read_in_the_partition_that_its_id_names(world: World) -> None:
    for moment in (datetime(2025, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC), NOW):
        event = await publish(world, TENANT, moment)
        store = FaultyStore(world.store)
        found = await world.over(store).search.read(TENANT, event["id"])
        assert found is not None
        assert found["recorded_at"] == event["recorded_at"]
        assert [(call.operation, call.partition) for call in store.calls] == [("read", (TENANT, period_of(moment)))]
        assert await world.search.read(OTHER, event["id"]) is None


@pytest.mark.parametrize(
    "event_id", ["", "x", "5c0f5a4e-33b9-4d0a-8a5f-0000000000aa", "ffffffff-ffff-7fff-bfff-ffffffffffff"]
)
async def test_an_id_that_is_none_of_ours_is_looked_for_all_the_same(world: World, event_id: str) -> None:
    store = FaultyStore(world.store)
    if event_id:
        assert await world.over(store).search.read(TENANT, event_id) is None
        assert [(call.operation, call.container) for call in store.calls] == [("read", AUDIT_EVENTS.name)]
    assert world.clock.now() == NOW


async def test_of_a_person_is_shown_what_there_is_and_the_reader_may_see(world: World) -> None:
    event = await world.recorder.record(by_ada(ProfileView()))
    opened = await world.search.shown(event)
    assert opened["personal"][ADA]["email"]
    assert (await world.search.shown(event, opened=False))["personal"] == {ADA: {"withheld": True}}
    erased = {**event, "personal": {}, "erased_at": rfc3339(NOW), "ttl": 5, "_etag": "1"}
    for flag in (True, False):
        shown = await world.search.shown(erased, opened=flag)
        assert shown["personal"] == {ADA: {"erased": True}}
        assert shown["erased_at"] == rfc3339(NOW)
        assert {"ttl", "_etag"} & shown.keys() == set()


def test_of_a_programs_search_what_names_someone_is_not_kept() -> None:
    filters = {"email": "ada@example.com", "ip": "203.0.113.9", "actor": "a", "type": ["auth.*"]}
    by_program = searched("events", filters, by_person=False)
    names = ("actor", "email", "ip", "type")
    assert by_program == AuditSearch(log="events", filtered_by=names, criteria={"actor": "a", "type": ["auth.*"]})
    assert searched("events", filters, by_person=True) == AuditSearch(log="events", filtered_by=names, filters=filters)
