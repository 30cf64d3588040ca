"""What the Cosmos adapter does beyond the port: faults and retries, charges, splits, and what it refuses to open."""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from azure.cosmos.aio import CosmosClient
from azure.identity.aio import DefaultAzureCredential, ManagedIdentityCredential

from shared.core.deadline import deadline
from shared.storage import _cosmos_client
from shared.storage._cosmos_query import compile_query, composite_indexes
from shared.storage.containers import ALERTS, AUDIT_EVENTS, CONTAINERS, GUARDS, IDENTITY
from shared.storage.cosmos import CosmosStore
from shared.storage.documents import (
    BatchOperation,
    Eq,
    Item,
    PatchIncrement,
    PatchRemove,
    PatchSet,
    Query,
    create,
    delete,
    replace,
    upsert,
)
from shared.storage.errors import Conflict, NotFound, PreconditionFailed, Throttled, TooLarge, Unavailable
from tests.cosmos_emulator.emulator import KEY, Emulator
from tests.fakes import ManualClock
from tests.storage.conftest import TESTED, WIDE, open_cosmos

T1 = ("t1",)
DROP, LOST = {"action": "drop"}, {"action": "apply-then-drop"}


@dataclass
class Bench:
    """A store, the emulator's database below it, and what the store said its calls cost."""

    store: CosmosStore
    emulator: Emulator
    database: str
    clock: ManualClock
    charges: list[tuple[str, str, float]] = field(default_factory=list)

    def faults(self, *scripted: dict[str, Any]) -> None:
        self.emulator.faults(self.database, *scripted)
        self.emulator.log(self.database)

    def asked(self) -> list[str]:
        """The operations that reached the emulator since the faults were set."""
        return [each["operation"] for each in self.emulator.log(self.database)]


async def opened(emulator: Emulator, **options: Any) -> Bench:
    clock = ManualClock()
    charges: list[tuple[str, str, float]] = []
    store = await open_cosmos(emulator, clock, charged=lambda *charge: charges.append(charge[:3]), **options)
    return Bench(store, emulator, store._client._account.database, clock, charges)


@pytest.fixture
async def bench(emulator: Emulator) -> AsyncIterator[Bench]:
    made = await opened(emulator)
    yield made
    emulator.faults(made.database)
    await made.store.close()


@pytest.fixture
async def hurried(emulator: Emulator) -> AsyncIterator[Bench]:
    """A store whose calls have half a second."""
    made = await opened(emulator, deadline_seconds=0.5)
    await made.store.create(IDENTITY, T1, item("first"))
    yield made
    emulator.faults(made.database)
    await made.store.close()


def item(item_id: str = "a", **fields: Any) -> Item:
    return {"id": item_id, "tenant_id": "t1", **fields}


def own(returned: Item | None) -> Item:
    return {name: value for name, value in (returned or {}).items() if not name.startswith("_")}


# What is refused


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://account.documents.azure.com/",
        "account.documents.azure.com",
        "https://",
        "https://user:secret@account.documents.azure.com/",
        "https://account.documents.azure.com/?key=x",
        "https://account.documents.azure.com/dbs/x",
        "",
    ],
)
async def test_an_endpoint_is_https_and_nothing_more(endpoint: str) -> None:
    with pytest.raises(ValueError, match="endpoint"):
        await CosmosStore.open(endpoint, clock=ManualClock(), database="d", key=KEY)


@pytest.mark.parametrize(
    "host", ["account.documents.azure.com", "10.0.0.1", "localhost.example.com", "127.0.0.1.example.com", "[fe80::1]"]
)
async def test_a_self_signed_certificate_is_accepted_of_this_machine_only(host: str) -> None:
    with pytest.raises(ValueError, match="self-signed"):
        await CosmosStore.open(
            f"https://{host}:8081/", clock=ManualClock(), database="d", key=KEY, accept_self_signed=True
        )


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.8.8", "[::1]"])
async def test_an_emulator_is_named_as_one(host: str) -> None:
    """The SDK verifies no certificate of this machine and says nothing of it."""
    with pytest.raises(ValueError, match="emulator"):
        await CosmosStore.open(f"https://{host}:8081/", clock=ManualClock(), database="d", key=KEY)
    store = await CosmosStore.open(
        f"https://{host}:8081/", clock=ManualClock(), database="d", key=KEY, accept_self_signed=True
    )
    await store.close()


def test_the_key_is_not_shown() -> None:
    account = _cosmos_client.Account("https://account.documents.azure.com/", "d", key="very-secret")
    assert "very-secret" not in repr(account)


@pytest.mark.parametrize(
    ("identity", "kind"), [("client-id", ManagedIdentityCredential), (None, DefaultAzureCredential)]
)
async def test_without_a_key_we_are_a_managed_identity(identity: str | None, kind: type) -> None:
    account = _cosmos_client.Account("https://account.documents.azure.com/", "d", identity=identity)
    client = _cosmos_client.Client(account, deadline_seconds=1)
    chosen = client._identify()
    assert isinstance(chosen, kind)
    assert client._identify() is chosen
    await client.close()


# The client


async def test_the_client_is_made_once_and_on_first_use(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    class Counted(CosmosClient):
        def __init__(self, endpoint: str, *args: Any, **kwargs: Any) -> None:
            made.append(endpoint)
            super().__init__(endpoint, *args, **kwargs)

    monkeypatch.setattr(_cosmos_client, "CosmosClient", Counted)
    store = await open_cosmos(emulator, ManualClock())
    assert made == []
    await asyncio.gather(*(store.create(IDENTITY, T1, item(str(n))) for n in range(10)))
    assert made == [emulator.endpoint]
    await store.close()


async def test_an_account_that_is_not_there_is_unavailable(emulator: Emulator) -> None:
    store = await CosmosStore.open(
        "https://127.0.0.1:9/", clock=ManualClock(), database="d", key=KEY, accept_self_signed=True, deadline_seconds=1
    )
    with pytest.raises(Unavailable):
        await store.read(IDENTITY, T1, "a")
    with pytest.raises(Unavailable):
        await store.ping()
    await store.close()


@pytest.mark.parametrize("missing", [{"database": "nowhere"}, {"names": {"identity": "elsewhere"}}])
async def test_a_missing_container_is_not_a_missing_item(bench: Bench, missing: dict[str, Any]) -> None:
    options: dict[str, Any] = {"database": bench.database, **missing}
    store = await CosmosStore.open(
        bench.emulator.endpoint, clock=ManualClock(), key=KEY, accept_self_signed=True, **options
    )
    with pytest.raises(Unavailable):
        await store.read(IDENTITY, T1, "a")
    with pytest.raises(Unavailable):
        await store.query(IDENTITY, T1, Query())
    await store.close()


async def test_a_container_may_have_another_name_there(bench: Bench) -> None:
    names = {"identity": "alerts"}
    store = await CosmosStore.open(
        bench.emulator.endpoint,
        clock=bench.clock,
        database=bench.database,
        key=KEY,
        accept_self_signed=True,
        names=names,
    )
    await store.create(IDENTITY, T1, item())
    assert own(await bench.store.read(ALERTS, T1, "a")) == item()
    await store.close()


async def test_after_close_every_call_is_unavailable(bench: Bench) -> None:
    under_way = asyncio.ensure_future(bench.store.create(IDENTITY, T1, item()))
    await asyncio.sleep(0)
    await bench.store.close()
    assert own(await under_way) == item(), "what was under way is finished"
    for attempt in (
        lambda: bench.store.read(IDENTITY, T1, "a"),
        lambda: bench.store.create(IDENTITY, T1, item("b")),
        lambda: bench.store.batch(IDENTITY, T1, [delete("a")]),
        lambda: bench.store.query(IDENTITY, T1, Query()),
        bench.store.ping,
    ):
        with pytest.raises(Unavailable):
            await attempt()
    await bench.store.close()


async def test_no_line_of_the_sdk_names_an_item(
    emulator: Emulator, caplog: pytest.LogCaptureFixture, unset_sdk_logs: None
) -> None:
    """It would write every URL and header at INFO: ids of people, whoever may read the log."""
    caplog.set_level(logging.INFO)
    made = await opened(emulator)
    store = made.store
    await store.create(IDENTITY, T1, item("user|ada"))
    await store.read(IDENTITY, T1, "user|ada")
    await store.patch(IDENTITY, T1, "user|ada", [PatchSet("n", 1)])
    await store.batch(IDENTITY, T1, [upsert(item("user|bob"))])
    await store.query(IDENTITY, T1, Query((Eq("n", 1),)))
    made.faults({"operation": "read", "status": 503}, {"operation": "delete", "status": 429}, {**DROP, "skip": 1})
    await store.read(IDENTITY, T1, "user|ada")
    await store.delete(IDENTITY, T1, "user|ada")
    with pytest.raises(NotFound):
        await store.read(IDENTITY, T1, "user|ada")
    await store.close()
    lines = [each for each in caplog.records if each.name.startswith("azure")]
    assert [each.getMessage() for each in lines if each.levelno < logging.WARNING] == []
    text = " ".join(f"{each.getMessage()} {vars(each)}" for each in lines)
    assert "user" not in text
    assert made.database not in text


# What calls cost


async def test_every_answer_is_charged(bench: Bench) -> None:
    await bench.store.create(IDENTITY, T1, item())
    with pytest.raises(Conflict):
        await bench.store.create(IDENTITY, T1, item())
    await bench.store.patch(IDENTITY, T1, "a", [PatchSet("n", 1)])
    await bench.store.batch(IDENTITY, T1, [upsert(item()), BatchOperation("read", id="a")])
    await bench.store.query(IDENTITY, T1, Query())
    await bench.store.delete(IDENTITY, T1, "a")
    with pytest.raises(NotFound):
        await bench.store.read(IDENTITY, T1, "a")
    assert bench.charges == [
        ("identity", "create", 5),
        ("identity", "create", 1),
        ("identity", "patch", 10),
        ("identity", "batch", 11),
        ("identity", "query", 3),
        ("identity", "delete", 5),
        ("identity", "read", 1),
    ]


async def test_throttled_attempts_are_charged_too(bench: Bench) -> None:
    headers = {"x-ms-retry-after-ms": "1", "x-ms-request-charge": "0.25"}
    bench.faults({"status": 429, "headers": headers, "times": 2})
    await bench.store.upsert(GUARDS, ("g",), {"id": "g"})
    assert bench.charges == [("guards", "upsert", 0.25)] * 2 + [("guards", "upsert", 10)]


# Throttling


async def test_throttling_is_waited_out(bench: Bench) -> None:
    bench.faults({"status": 429, "headers": {"x-ms-retry-after-ms": "1"}, "times": 8})
    await bench.store.create(IDENTITY, T1, item())
    assert bench.asked() == ["create"] * 9


async def test_throttling_without_end_says_when_to_come_back(bench: Bench) -> None:
    bench.faults({"status": 429, "headers": {"x-ms-retry-after-ms": "7"}, "times": 1000})
    for attempt in (
        lambda: bench.store.create(IDENTITY, T1, item()),
        lambda: bench.store.read(IDENTITY, T1, "a"),
        lambda: bench.store.query(IDENTITY, T1, Query()),
        lambda: bench.store.batch(IDENTITY, T1, [create(item())]),
    ):
        with pytest.raises(Throttled) as caught:
            await attempt()
        assert caught.value.retry_after_seconds == 0.007
    bench.faults()
    with pytest.raises(NotFound):
        await bench.store.read(IDENTITY, T1, "a")


async def test_a_pause_beyond_the_deadline_is_the_callers_to_keep(hurried: Bench) -> None:
    hurried.faults({"status": 429, "headers": {"x-ms-retry-after-ms": "60000"}, "times": 1000})
    with pytest.raises(Throttled) as caught:
        await hurried.store.create(IDENTITY, T1, item())
    assert caught.value.retry_after_seconds == 60
    assert hurried.asked() == ["create"]


async def test_throttled_and_then_silent_is_not_throttled(hurried: Bench) -> None:
    """The second attempt may have been done: to say that nothing was would be a lie."""
    hurried.faults({"status": 429, "headers": {"x-ms-retry-after-ms": "1"}}, {"action": "apply-then-hang"})
    with pytest.raises(Unavailable):
        await hurried.store.create(IDENTITY, T1, item())
    assert own(await hurried.store.read(IDENTITY, T1, "a")) == item()


async def test_throttled_to_the_end_after_an_unsure_attempt_is_not_throttled(hurried: Bench) -> None:
    """The caller of a throttled call may take it that nothing was written."""
    slow_down = {"status": 429, "headers": {"x-ms-retry-after-ms": "100"}, "times": 1000}
    hurried.faults({**LOST, "operation": "create"}, slow_down)
    with pytest.raises(Unavailable) as caught:
        await hurried.store.create(IDENTITY, T1, item())
    assert not isinstance(caught.value, Throttled)
    assert hurried.asked()[:2] == ["create", "create"]
    hurried.faults()
    assert own(await hurried.store.read(IDENTITY, T1, "a")) == item()


@pytest.mark.parametrize("operation", ["upsert", "replace", "patch", "batch", "delete"])
async def test_throttled_at_once_after_an_unsure_attempt_is_not_throttled(hurried: Bench, operation: str) -> None:
    """With a pause that nobody waits for, the answer comes before the deadline."""
    await hurried.store.create(IDENTITY, T1, item())
    slow_down = {"status": 429, "headers": {"x-ms-retry-after-ms": "60000"}, "times": 1000}
    hurried.faults({**LOST, "operation": operation}, slow_down)
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "upsert": lambda: hurried.store.upsert(IDENTITY, T1, item(n=1)),
        "replace": lambda: hurried.store.replace(IDENTITY, T1, item(n=1)),
        "patch": lambda: hurried.store.patch(IDENTITY, T1, "a", [PatchSet("n", 1)]),
        "batch": lambda: hurried.store.batch(IDENTITY, T1, [upsert(item(n=1))]),
        "delete": lambda: hurried.store.delete(IDENTITY, T1, "a"),
    }
    with pytest.raises(Unavailable) as caught:
        await calls[operation]()
    assert not isinstance(caught.value, Throttled)


async def test_silence_ends_with_the_deadline(hurried: Bench) -> None:
    for operation, attempt in (
        ("read", lambda: hurried.store.read(IDENTITY, T1, "first")),
        ("query", lambda: hurried.store.query(IDENTITY, T1, Query())),
        ("create", lambda: hurried.store.create(IDENTITY, T1, item())),
    ):
        hurried.faults({"operation": operation, "action": "hang", "times": 10})
        with pytest.raises(Unavailable):
            await attempt()


async def test_a_call_has_no_more_time_than_the_request_around_it(bench: Bench) -> None:
    await bench.store.create(IDENTITY, T1, item("first"))
    bench.faults({"status": 429, "headers": {"x-ms-retry-after-ms": "700"}, "times": 1000})
    with pytest.raises(Throttled), deadline(0.3):
        await bench.store.create(IDENTITY, T1, item())
    bench.faults({"action": "hang", "times": 10})
    with pytest.raises(Unavailable), deadline(0.3):
        await bench.store.read(IDENTITY, T1, "first")
    bench.faults()
    with deadline(0):
        for attempt in (
            lambda: bench.store.create(IDENTITY, T1, item()),
            lambda: bench.store.read(IDENTITY, T1, "first"),
            lambda: bench.store.query(IDENTITY, T1, Query()),
        ):
            with pytest.raises(Unavailable, match="time is over"):
                await attempt()
    assert bench.asked() == []  # nothing is sent that nobody waits for
    assert own(await bench.store.read(IDENTITY, T1, "first")) == item("first")


# What passes by itself


@pytest.mark.parametrize("fault", [{"status": 503}, {"status": 449}, {"status": 500}, {"status": 408}, DROP, LOST])
async def test_a_passing_fault_is_not_noticed(bench: Bench, fault: dict[str, Any]) -> None:
    store = bench.store
    bench.faults({**fault, "operation": "create"})
    created = await store.create(IDENTITY, T1, item(n=1))
    assert own(created) == item(n=1)
    assert await store.read(IDENTITY, T1, "a") == created
    bench.faults({**fault, "operation": "replace"})
    replaced = await store.replace(IDENTITY, T1, item(n=2), if_match=created["_etag"])
    assert await store.read(IDENTITY, T1, "a") == replaced
    assert own(replaced) == item(n=2)
    bench.faults({**fault, "operation": "upsert"})
    assert own(await store.upsert(IDENTITY, T1, item(n=3))) == item(n=3)
    bench.faults({**fault, "operation": "patch"})
    assert own(await store.patch(IDENTITY, T1, "a", [PatchSet("n", 4)])) == item(n=4)
    bench.faults({**fault, "operation": "read"})
    assert own(await store.read(IDENTITY, T1, "a")) == item(n=4)
    bench.faults({**fault, "operation": "query"})
    assert [own(each) for each in (await store.query(IDENTITY, T1, Query())).items] == [item(n=4)]
    bench.faults({**fault, "operation": "delete"})
    await store.delete(IDENTITY, T1, "a")
    with pytest.raises(NotFound):
        await store.read(IDENTITY, T1, "a")


@pytest.mark.parametrize("fault", [{"status": 503}, DROP, LOST])
async def test_a_batch_survives_a_passing_fault_as_a_whole(bench: Bench, fault: dict[str, Any]) -> None:
    old = await bench.store.create(IDENTITY, T1, item("old", n=1))
    await bench.store.create(IDENTITY, T1, item("gone"))
    bench.faults({**fault, "operation": "batch"})
    results = await bench.store.batch(
        IDENTITY,
        T1,
        [
            create(item("new", n=1)),
            replace(item("old", n=2), if_match=old["_etag"]),
            upsert(item("new", n=5)),
            delete("gone"),
        ],
    )
    assert bench.asked().count("batch") == 2
    assert [own(each) for each in results] == [item("new", n=1), item("old", n=2), item("new", n=5), {}]
    assert results[3] is None
    stored = (await bench.store.query(IDENTITY, T1, Query())).items
    assert [own(each) for each in stored] == [item("new", n=5), item("old", n=2)]
    assert [results[2], results[1]] == stored, "with the etags that the items have now"
    assert (results[0] or {})["_etag"] != stored[0]["_etag"]


async def test_a_batch_of_deletes_is_recognized_by_what_is_gone(bench: Bench) -> None:
    for item_id in ("a", "b"):
        await bench.store.create(IDENTITY, T1, item(item_id))
    bench.faults({**LOST, "operation": "batch"})
    assert await bench.store.batch(IDENTITY, T1, [delete("a"), delete("b")]) == [None, None]
    bench.faults({**DROP, "operation": "batch"})
    await bench.store.create(IDENTITY, T1, item("a"))
    with pytest.raises(NotFound):
        await bench.store.batch(IDENTITY, T1, [delete("a"), delete("b")])
    assert own(await bench.store.read(IDENTITY, T1, "a")) == item("a")


async def test_somebody_elses_write_is_not_taken_for_ours(bench: Bench) -> None:
    """Even when it wrote the very same item."""
    there = await bench.store.create(IDENTITY, T1, item())
    bench.faults({**DROP, "operation": "create"})
    with pytest.raises(Conflict):
        await bench.store.create(IDENTITY, T1, item())
    await bench.store.replace(IDENTITY, T1, item())
    bench.faults({**DROP, "operation": "replace"})
    with pytest.raises(PreconditionFailed):
        await bench.store.replace(IDENTITY, T1, item(), if_match=there["_etag"])
    bench.faults({**DROP, "operation": "batch"})
    with pytest.raises(Conflict) as caught:
        await bench.store.batch(IDENTITY, T1, [create(item("new")), create(item())])
    assert caught.value.index == 1
    bench.faults({**DROP, "operation": "delete"})
    with pytest.raises(PreconditionFailed):
        await bench.store.delete(IDENTITY, T1, "a", if_match=there["_etag"])


@pytest.mark.parametrize("fault", [{"status": 503}, DROP])
async def test_what_never_passes_is_unavailable(hurried: Bench, fault: dict[str, Any]) -> None:
    hurried.faults({**fault, "times": 1000})
    with pytest.raises(Unavailable):
        await hurried.store.create(IDENTITY, T1, item())
    with pytest.raises(Unavailable):
        await hurried.store.read(IDENTITY, T1, "a")


@pytest.mark.parametrize("status", [400, 401, 403])
async def test_a_refusal_is_not_tried_again(bench: Bench, status: int) -> None:
    bench.faults({"status": status, "times": 1000})
    with pytest.raises(Unavailable, match=str(status)):
        await bench.store.create(IDENTITY, T1, item())
    assert bench.asked() == ["create"]


async def test_too_large_for_the_store_is_too_large(bench: Bench) -> None:
    bench.faults({"status": 413})
    with pytest.raises(TooLarge):
        await bench.store.create(IDENTITY, T1, item())


@pytest.mark.parametrize("fault", [DROP, LOST, {"status": 503}])
async def test_an_increment_is_never_sent_twice(bench: Bench, fault: dict[str, Any]) -> None:
    await bench.store.create(IDENTITY, T1, item(n=1))
    step = BatchOperation("patch", id="a", patches=(PatchIncrement("n"),))
    bench.faults({**fault, "operation": "patch"}, {**fault, "operation": "batch"})
    with pytest.raises(Unavailable):
        await bench.store.patch(IDENTITY, T1, "a", step.patches)
    with pytest.raises(Unavailable):
        await bench.store.batch(IDENTITY, T1, [step])
    assert [each for each in bench.asked() if each != "read"] == ["patch", "batch"]
    assert (await bench.store.read(IDENTITY, T1, "a"))["n"] == (3 if fault == LOST else 1)


async def test_an_increment_beside_a_create_is_as_safe_as_the_create(bench: Bench) -> None:
    """The batch bears a mark, by which it is recognized."""
    await bench.store.create(IDENTITY, T1, item(n=1))
    bench.faults({**LOST, "operation": "batch"})
    steps = [create(item("b")), BatchOperation("patch", id="a", patches=(PatchIncrement("n"),))]
    _, counted = await bench.store.batch(IDENTITY, T1, steps)
    assert own(counted) == item(n=2)
    assert (await bench.store.read(IDENTITY, T1, "a"))["n"] == 2


# Patches that are done here


async def test_a_patch_done_here_holds_against_a_race(bench: Bench) -> None:
    """Two patches of a field with an increment cannot be Cosmos's own; each is a read and a conditional replace."""
    await bench.store.create(IDENTITY, T1, item(n=0))
    patches = [PatchIncrement("n"), PatchIncrement("n")]
    await asyncio.gather(*(bench.store.patch(IDENTITY, T1, "a", patches) for _ in range(10)))
    assert (await bench.store.read(IDENTITY, T1, "a"))["n"] == 20


@pytest.mark.parametrize("fault", [LOST, DROP])
async def test_a_patch_done_here_is_recognized(bench: Bench, fault: dict[str, Any]) -> None:
    await bench.store.create(IDENTITY, T1, item(n=0))
    bench.faults({**fault, "operation": "batch"})
    patch = bench.store.patch(IDENTITY, T1, "a", [PatchIncrement("n"), PatchIncrement("n")])
    if fault == LOST:
        assert own(await patch) == item(n=2)
    else:
        with pytest.raises((Unavailable, PreconditionFailed)):
            await patch
    assert (await bench.store.read(IDENTITY, T1, "a"))["n"] == (2 if fault == LOST else 0)


async def test_a_single_counter_is_one_request(bench: Bench) -> None:
    await bench.store.create(GUARDS, ("g",), {"id": "g", "ttl": 60})
    bench.faults()
    await bench.store.patch(GUARDS, ("g",), "g", [PatchIncrement("pending")])
    assert bench.asked() == ["patch"]


async def test_an_audit_event_that_is_patched_keeps_its_end(bench: Bench) -> None:
    march = ("t1", "2026-03")
    created = await bench.store.create(AUDIT_EVENTS, march, item(period="2026-03", personal={"x": 1}))
    bench.clock.advance(days=1)
    patched = await bench.store.patch(AUDIT_EVENTS, march, "a", [PatchRemove("personal")])
    assert patched["ttl"] == created["ttl"] - timedelta(days=1).total_seconds()


# Queries


async def test_a_query_names_its_partition_in_header_and_text(bench: Bench) -> None:
    bench.faults()
    await bench.store.query(AUDIT_EVENTS, ("t1", "2026-03"), Query())
    await bench.store.query(AUDIT_EVENTS, ("t1",), Query())
    full, prefix = bench.emulator.log(bench.database)
    assert full["headers"]["x-ms-documentdb-partitionkey"] == '["t1","2026-03"]'
    assert "x-ms-start-epk" in prefix["headers"]
    for each in (full, prefix):
        assert "x-ms-documentdb-query-enablecrosspartition" not in each["headers"]
        assert 'c[\\"tenant_id\\"] = @p0' in each["text"]


async def test_values_travel_as_parameters() -> None:
    statement = compile_query(IDENTITY, T1, Query(where=(Eq("kind", "' OR 1=1"), Eq("from", 1))))
    assert "OR 1=1" not in statement.sql
    assert [each["value"] for each in statement.parameters] == ["t1", "' OR 1=1", 1]
    assert 'c["from"] = @p2' in statement.sql, "a field whose name is a keyword"


@pytest.mark.parametrize("container", CONTAINERS.values(), ids=lambda each: each.name)
def test_every_declared_index_has_its_composite(container: Any) -> None:
    declared = [[path["path"] for path in each] for each in composite_indexes(container)]
    for index in container.indexes:
        where = tuple(Eq(path, "x") for path in index[:-1])
        partition = ("p",) * len(container.partition_key)
        sql = compile_query(container, partition, Query(where=where, order_by=index[-1])).sql
        order = sql.partition(" ORDER BY ")[2].replace(" ASC", "").split(", ")
        paths = ["/" + each.removeprefix('c["').removesuffix('"]').replace('"]["', "/") for each in order]
        assert paths in declared
        assert len(paths) == len(index) + 1, "what is fixed by equality is part of the order"
    assert len({str(each) for each in declared}) == len(declared)


@pytest.mark.parametrize("descending", [False, True])
async def test_a_tenant_on_several_physical_partitions_is_read_in_order(bench: Bench, descending: bool) -> None:
    store = bench.store
    for n in range(40):
        day = f"d{n * 7 % 40:02}"
        await store.create(WIDE, ("r", "s", day), {"id": f"{n:02}", "region": "r", "shop": "s", "day": day, "n": n})
    split = {"database": bench.database, "container": "wide", "prefix": ["r", "s"]}
    seen: list[int] = []
    query = Query(order_by="n", descending=descending, limit=7)
    while True:
        page = await store.query(WIDE, ("r",), query)
        seen += [each["n"] for each in page.items]
        if page.next is None:
            break
        if len(seen) == 14:  # a split while somebody reads
            bench.emulator.control("split", split)
            bench.faults()
        query = Query(order_by="n", descending=descending, limit=7, after=page.next)
    assert seen == sorted(range(40), reverse=descending)
    asked = {each["headers"].get("x-ms-documentdb-partitionkeyrangeid") for each in bench.emulator.log(bench.database)}
    assert len(asked) >= 2, "both halves were asked"


async def test_the_mark_of_a_write_is_never_shown(bench: Bench) -> None:
    created = await bench.store.create(IDENTITY, T1, item())
    page = await bench.store.query(IDENTITY, T1, Query())
    (result,) = await bench.store.batch(IDENTITY, T1, [BatchOperation("read", id="a")])
    for each in (created, page.items[0], result or {}, await bench.store.read(IDENTITY, T1, "a")):
        assert set(each) == {"id", "tenant_id", "_etag", "_ts"}


async def test_the_emulators_certificate_is_its_own(emulator: Emulator) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        await asyncio.open_connection("127.0.0.1", emulator.port, ssl=ssl.create_default_context())


def test_the_suite_covers_every_container() -> None:
    assert set(CONTAINERS) < set(TESTED)
