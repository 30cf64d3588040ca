"""Metrics as an exporter sees them: names, units, values, attributes; and nothing that names a tenant or a person."""

from collections.abc import Mapping
from typing import Any

import pytest
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from devhost.host import Host
from shared.audit.events.profile import ProfileView
from shared.audit.model import Draft
from shared.audit.outbox import FollowUp, Outbox
from shared.audit.recorder import Recorder
from shared.storage.containers import IDENTITY
from shared.storage.documents import DocumentStore, create
from shared.storage.errors import Conflict, Unavailable
from shared.telemetry.metrics import (
    AUDIT_EVENTS,
    AUDIT_WRITE,
    DEAD_LETTERS,
    FUNCTION_RUN,
    INGEST_EVENTS,
    OUTBOX_AGE,
    OUTBOX_ENTRIES,
    REPORT_BUILD,
    STORE_CHARGE,
    DeadLetterCounts,
    EventCounts,
    IngestCounts,
    OutboxCounts,
    StoreCharges,
    audit_writes,
)
from tests.app import running
from tests.audit.support import REQUEST, TENANT, new_world
from tests.cosmos_emulator.emulator import Emulator
from tests.fakes import ManualClock
from tests.faults import FaultyStore
from tests.storage.conftest import open_cosmos


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> InMemoryMetricReader:
    made = InMemoryMetricReader()
    monkeypatch.setattr(metrics, "get_meter", MeterProvider([made]).get_meter)
    return made


def measured(reader: InMemoryMetricReader, name: str) -> list[tuple[Mapping[str, Any], Any]]:
    """The attributes and the value (the sum, of a histogram) of each series of a metric."""
    return [
        (dict(point.attributes or {}), point.value if hasattr(point, "value") else point.sum)
        for point in points_of(reader, name)
    ]


def points_of(reader: InMemoryMetricReader, name: str) -> list[Any]:
    """The data points of a metric."""
    data = reader.get_metrics_data()
    if data is None:
        return []
    found = [m for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics if m.name == name]
    return [point for metric in found for point in metric.data.data_points]


def test_dead_letters(reader: InMemoryMetricReader) -> None:
    count = DeadLetterCounts()
    for outcome in ("put", "put", "recovered"):
        count("detect_threats", outcome)
    assert measured(reader, DEAD_LETTERS) == [
        ({"kraftd.consumer": "detect_threats", "kraftd.outcome": "put"}, 2),
        ({"kraftd.consumer": "detect_threats", "kraftd.outcome": "recovered"}, 1),
    ]


def test_ingest(reader: InMemoryMetricReader) -> None:
    count = IngestCounts()
    count("created", 500)
    count("rejected", 2)
    count("created", 1)
    assert measured(reader, INGEST_EVENTS) == [
        ({"kraftd.outcome": "created"}, 501),
        ({"kraftd.outcome": "rejected"}, 2),
    ]


def test_store_charges(reader: InMemoryMetricReader) -> None:
    charged = StoreCharges()
    charged("identity", "read", 1.5, 200)
    charged("identity", "read", 1.0, 200)
    ((attributes, total),) = measured(reader, STORE_CHARGE)
    assert total == 2.5
    assert attributes["db.response.status_code"] == "200"


async def test_outbox_entries_from_left_to_drained_or_stuck(reader: InMemoryMetricReader) -> None:
    async with new_world() as world:

        async def follow_up(_: dict[str, Any]) -> None:
            return None

        def outbox(store: FaultyStore | None = None) -> Outbox:
            through = store or world.store
            made = Outbox(through, world.over(through).recorder, world.clock, world.ids, counts)
            made.on("known", follow_up)
            return made

        counts = OutboxCounts()
        event = await world.recorder.finish(Draft(TENANT, ProfileView(), REQUEST))
        item = {"id": "user|1", "tenant_id": TENANT}
        await outbox(FaultyStore(world.store, 2)).commit(
            IDENTITY, TENANT, [create(item)], [event], [FollowUp("known", {})]
        )
        page = (await world.all(IDENTITY, TENANT))[0]
        later = {**page, "id": "outbox|2", "follow_ups": [{"kind": "of_tomorrow", "arguments": {}}]}
        await world.store.create(IDENTITY, (TENANT,), later)
        with pytest.raises(KeyError):
            await outbox().sweep(IDENTITY, TENANT, "2027-01-01T00:00:00.000000Z")
    assert sorted((attributes["kraftd.outcome"], value) for attributes, value in measured(reader, OUTBOX_ENTRIES)) == [
        ("drained", 1),
        ("left_for_drain", 1),
        ("stuck", 1),
    ]
    assert {attributes["db.collection.name"] for attributes, _ in measured(reader, OUTBOX_ENTRIES)} == {"identity"}
    assert len(measured(reader, OUTBOX_AGE)) == 3


def test_the_age_of_an_entry_is_from_its_commit_and_never_negative(reader: InMemoryMetricReader) -> None:
    count = OutboxCounts()
    count("identity", "drained", 90.5)
    count("alerts", "drained", -3.0)  # another instance's clock
    assert {a["db.collection.name"]: age for a, age in measured(reader, OUTBOX_AGE)} == {"identity": 90.5, "alerts": 0}


def outcomes(reader: InMemoryMetricReader, name: str, attribute: str) -> dict[tuple[str, str], int]:
    """How often each was measured, by what it is called and how it ended."""
    points = [(point.attributes, point.count) for point in points_of(reader, name)]
    return {(attributes[attribute], attributes["kraftd.outcome"]): count for attributes, count in points}


async def test_writes_to_the_trail_are_measured_and_what_they_wrote_is_counted(reader: InMemoryMetricReader) -> None:
    async with new_world() as world:

        def recorder(store: DocumentStore) -> Recorder:
            parts = (store, world.clock, world.ids, world.box, world.index)
            return Recorder(*parts, timed=audit_writes(), counted=EventCounts())

        draft = Draft(TENANT, ProfileView(), REQUEST)
        own = recorder(world.store)
        event = await own.record(draft)
        await own.publish(event)  # it is there already: a write, and no event more
        await own.publish_all([await own.finish(draft) for _ in range(3)])
        with pytest.raises(Unavailable):
            await recorder(FaultyStore(world.store, 1)).publish(await own.finish(draft))
        with pytest.raises(Unavailable):
            await recorder(FaultyStore(world.store, 1)).publish_all([await own.finish(draft) for _ in range(2)])
        half_there = FaultyStore(world.store, 1, error=Conflict())
        await recorder(half_there).publish_all([event, await own.finish(draft)])
    assert outcomes(reader, AUDIT_WRITE, "db.operation.name") == {
        ("create", "done"): 4,
        ("create", "failed"): 1,
        ("batch", "done"): 2,
        ("batch", "failed"): 1,
    }
    assert measured(reader, AUDIT_EVENTS) == [
        ({"kraftd.type": "profile.view", "kraftd.outcome": "success", "kraftd.severity": "info"}, 5)
    ]


def test_what_producers_call_their_events_names_no_series(reader: InMemoryMetricReader) -> None:
    count = EventCounts()
    for name in ("custom.ada", "custom.grace"):
        count(name, "success", "info")
    ((attributes, number),) = measured(reader, AUDIT_EVENTS)
    assert (attributes["kraftd.type"], number) == ("custom", 2)


async def test_reports_timers_and_feeds_are_measured_in_the_app(reader: InMemoryMetricReader, host: Host) -> None:
    async with running(host, ManualClock()) as app:
        await app.register()
        await host.drain_feed()
        assert await host.run_timer("daily_reports")
    runs = outcomes(reader, FUNCTION_RUN, "faas.name")
    assert runs["daily_reports", "done"] == 1
    assert runs["seal_ledger", "done"] >= 1
    assert not [name for name, outcome in runs if outcome == "failed"]
    assert outcomes(reader, REPORT_BUILD, "kraftd.framework")["activity", "done"] >= 1
    types = {attributes["kraftd.type"] for attributes, _ in measured(reader, AUDIT_EVENTS)}
    assert {"auth.register", "report.generate"} <= types


async def test_the_adapter_tells_what_the_account_charged(emulator: Emulator, reader: InMemoryMetricReader) -> None:
    store = await open_cosmos(emulator, ManualClock(), charged=StoreCharges())
    try:
        await store.create(IDENTITY, ("t1",), {"id": "a", "tenant_id": "t1"})
        await store.read(IDENTITY, ("t1",), "a")
        emulator.faults(
            store._client._account.database,
            {"operation": "read", "status": 429, "headers": {"x-ms-retry-after-ms": "5"}},
        )
        await store.read(IDENTITY, ("t1",), "a")
    finally:
        await store.close()
    found = {
        (attributes["db.operation.name"], attributes["db.response.status_code"]): charge
        for attributes, charge in measured(reader, STORE_CHARGE)
        if attributes["db.collection.name"] == "identity"
    }
    assert found == {("create", "201"): 5, ("read", "200"): 2, ("read", "429"): 1}
