"""Metrics as an exporter sees them: names, units, values, attributes; and nothing that names a tenant or a person."""

from collections.abc import Mapping
from typing import Any

import pytest
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from shared.audit.events.profile import ProfileView
from shared.audit.model import Draft
from shared.audit.outbox import FollowUp, Outbox
from shared.storage.containers import IDENTITY
from shared.storage.documents import create
from shared.telemetry.metrics import (
    DEAD_LETTERS,
    INGEST_EVENTS,
    OUTBOX_ENTRIES,
    STORE_CHARGE,
    DeadLetterCounts,
    IngestCounts,
    OutboxCounts,
    StoreCharges,
)
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
    data = reader.get_metrics_data()
    if data is None:
        return []
    found = [m for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics if m.name == name]
    return [
        (dict(point.attributes or {}), point.value if hasattr(point, "value") else point.sum)
        for metric in found
        for point in metric.data.data_points
    ]


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
