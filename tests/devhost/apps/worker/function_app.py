"""A sample app of feed and timer functions; tests read what they got and say when they fail."""

from typing import Any

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
FROM_THE_BEGINNING: Any = True  # the library annotates this parameter as a time
batches: dict[str, list[list[str]]] = {"seal": [], "detect": [], "count": [], "late": []}
retries: list[tuple[int, int]] = []
failures: dict[str, int] = {}
raised: list[type[BaseException]] = [RuntimeError]
timer_calls: list[tuple[str, bool]] = []


def _take(name: str, documents: func.DocumentList) -> None:
    if failures.get(name, 0) > 0:
        failures[name] -= 1
        raise raised[0]("ada@example.org")
    batches[name].append([document["id"] for document in documents])


@app.cosmos_db_trigger(
    arg_name="documents",
    connection="COSMOS",
    database_name="db",
    container_name="audit_events",
    lease_container_prefix="seal",
    max_items_per_invocation=2,
    start_from_beginning=FROM_THE_BEGINNING,
)
@app.retry(strategy="fixed_delay", max_retry_count="-1", delay_interval="00:00:07")
async def seal(documents: func.DocumentList, context: func.Context) -> None:
    retries.append((context.retry_context.retry_count, context.retry_context.max_retry_count))
    _take("seal", documents)


@app.cosmos_db_trigger(
    arg_name="documents",
    connection="COSMOS",
    database_name="db",
    container_name="audit_events",
    lease_container_prefix="%DETECT_PREFIX%",
    start_from_beginning=FROM_THE_BEGINNING,
)
@app.retry(
    strategy="exponential_backoff", max_retry_count="2", minimum_interval="00:00:02", maximum_interval="00:00:03"
)
async def detect(documents: func.DocumentList) -> None:
    _take("detect", documents)


@app.cosmos_db_trigger(
    arg_name="documents",
    connection="COSMOS",
    database_name="db",
    container_name="identity",
    start_from_beginning=FROM_THE_BEGINNING,
)
async def count(documents: func.DocumentList) -> None:
    _take("count", documents)


@app.cosmos_db_trigger(
    arg_name="documents",
    connection="COSMOS",
    database_name="db",
    container_name="audit_events",
    lease_container_prefix="late",
)
async def late(documents: func.DocumentList) -> None:
    _take("late", documents)


def _note(name: str, timer: func.TimerRequest) -> None:
    timer_calls.append((name, timer.past_due))
    if failures.get(name, 0) > 0:
        failures[name] -= 1
        raise raised[0]("ada@example.org")


@app.timer_trigger(arg_name="timer", schedule="0 */5 * * * *")
async def five(timer: func.TimerRequest) -> None:
    _note("five", timer)


@app.timer_trigger(arg_name="timer", schedule="0 0 3 1 * MON", run_on_startup=True)
async def rare(timer: func.TimerRequest) -> None:
    _note("rare", timer)


@app.timer_trigger(arg_name="timer", schedule="0 0 4 * * *", use_monitor=False)
async def unmonitored(timer: func.TimerRequest) -> None:
    _note("unmonitored", timer)
