"""What our metrics are called and carry, read back through OpenTelemetry's own SDK."""

from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from shared.storage.containers import IDENTITY
from shared.telemetry.metrics import STORE_CHARGE, StoreCharges
from tests.cosmos_emulator.emulator import Emulator
from tests.fakes import ManualClock
from tests.storage.conftest import open_cosmos


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemoryMetricReader]:
    """What is recorded while a test runs."""
    made = InMemoryMetricReader()
    provider = MeterProvider([made])
    monkeypatch.setattr(metrics, "get_meter", provider.get_meter)
    yield made
    provider.shutdown()


def points(reader: InMemoryMetricReader, name: str) -> dict[tuple[str, ...], Any]:
    """The points of a metric by the values of their attributes, and nothing of other metrics."""
    data = reader.get_metrics_data()
    assert data is not None
    found = [m for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics if m.name == name]
    return {
        tuple(str(v) for _, v in sorted((p.attributes or {}).items())): p for m in found for p in m.data.data_points
    }


def test_each_answer_is_counted_by_container_operation_and_status(reader: InMemoryMetricReader) -> None:
    charges = StoreCharges()
    charges("identity", "create", 5.5, 201)
    charges("identity", "create", 6.5, 201)
    charges("identity", "create", 0.4, 429)
    found = points(reader, STORE_CHARGE)
    assert {key: (each.count, each.sum) for key, each in found.items()} == {
        ("identity", "create", "201", "azure.cosmosdb"): (2, 12),
        ("identity", "create", "429", "azure.cosmosdb"): (1, 0.4),
    }


def test_without_an_sdk_recording_does_nothing() -> None:
    StoreCharges()("identity", "create", 5.5, 201)


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
    found = points(reader, STORE_CHARGE)
    counts = {key[:3]: each.count for key, each in found.items()}
    assert counts == {
        ("identity", "create", "201"): 1,
        ("identity", "read", "200"): 2,
        ("identity", "read", "429"): 1,
    }
    assert all(each.sum > 0 for each in found.values())
