"""Orders of reports: one report and one event come of each, whoever asks, builds, fails or ends in between."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import date, timedelta
from typing import Any

import pytest

from shared.audit.model import Actor
from shared.audit.outbox import is_entry
from shared.compliance.kinds import COMPLIANCE, ORDER, order_id
from shared.compliance.orders import MOST_ATTEMPTS, TAKEN, ReportOrders, shown_order
from shared.core.errors import Invalid, NotFoundError, Unready
from shared.storage.containers import AUDIT_EVENTS, REPORTS
from shared.storage.documents import Item
from shared.storage.errors import NotFound, StoreError, Unavailable
from shared.storage.sqlite import SqliteStore
from tests.audit.support import ADA, OTHER, TENANT
from tests.compliance.bureau import BEGAN, FROM, NOW, TO, Bureau, new_bureau
from tests.fakes import ManualClock
from tests.faults import Crash, FaultyStore

BY_ADA = Actor("user", ADA, "tenant_admin")


def orders(bureau: Bureau) -> ReportOrders:
    return bureau.services.framework_reports.orders


async def place(bureau: Bureau, framework: str = "soc2") -> Item:
    return await orders(bureau).order(TENANT, framework, FROM, TO, bureau.request())


async def of_kind(bureau: Bureau, kind: str) -> list[Item]:
    return [item for item in await bureau.all(REPORTS) if item["kind"] == kind]


async def told(bureau: Bureau) -> list[tuple[str, str | None]]:
    """Outcome and reason of what the trail says of reports."""
    found = [event for event in await bureau.all(AUDIT_EVENTS) if event["type"] == "report.generate"]
    return [(event["outcome"], event["reason"]) for event in found]


async def ordered(bureau: Bureau, report_id: str = "") -> list[tuple[str, str | None]]:
    """Who ordered reports, or one, as the trail says."""
    found = [event for event in await bureau.all(AUDIT_EVENTS) if event["type"] == "report.order"]
    return [
        (event["actor"]["kind"], event["actor"]["id"]) for event in found if report_id in ("", event["target"]["id"])
    ]


async def test_one_report_comes_of_an_order_however_often_it_is_placed_and_delivered(bureau: Bureau) -> None:
    placed = await asyncio.gather(*(place(bureau) for _ in range(4)))
    assert len({each["report_id"] for each in placed}) == 1
    (order,) = await of_kind(bureau, ORDER)
    assert await ordered(bureau) == [("system", None)]
    await asyncio.gather(*(orders(bureau).consume([order, order]) for _ in range(3)))
    (head,) = await of_kind(bureau, COMPLIANCE)
    assert (head["id"], head["generated_by"]) == (order["report_id"], "system")
    assert await of_kind(bureau, ORDER) == []
    await orders(bureau).consume([order])
    assert await orders(bureau).retry(TENANT) == 0
    assert await place(bureau) == head
    assert await orders(bureau).ask(TENANT, "soc2", FROM, TO, BY_ADA, bureau.request()) == head
    assert await told(bureau) == [("success", None)]
    assert await ordered(bureau) == [("system", None)], "what is there was not ordered"
    assert [item for item in await bureau.all(REPORTS) if is_entry(item)] == []


async def test_a_builder_that_ends_without_a_word_is_followed_by_another(bureau: Bureau) -> None:
    order = await place(bureau)
    assert await orders(bureau)._taken(TENANT, order["id"]) is not None
    await orders(bureau).consume([order])
    assert await orders(bureau).retry(TENANT) == 0, "it is somebody's"
    bureau.clock.advance(seconds=TAKEN.total_seconds())
    assert await orders(bureau).retry(TENANT) == 1
    assert await told(bureau) == [("success", None)]
    again = await place(bureau, "gdpr")
    for _ in range(MOST_ATTEMPTS):
        assert await orders(bureau)._taken(TENANT, again["id"]) is not None
        bureau.clock.advance(seconds=TAKEN.total_seconds())
    assert await orders(bureau).retry(TENANT) == 0
    (failed,) = await of_kind(bureau, ORDER)
    assert (failed["status"], failed["reason"]) == ("failed", "not_built")
    assert await told(bureau) == [("success", None), ("failure", "not_built")]


async def test_what_fails_is_tried_again_given_up_and_may_be_asked_for_again(
    local: Bureau, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = await place(local, "gdpr")
    order = await place(local)
    build, broken = local.services.compliance.build, True

    async def fails(tenant_id: str, framework: str, *rest: Any, **more: Any) -> Item:
        if framework == "soc2" and broken:
            raise ValueError("a defect")
        return await build(tenant_id, framework, *rest, **more)

    monkeypatch.setattr(local.services.compliance, "build", fails)
    await orders(local).consume([order, other])
    (left,) = await of_kind(local, ORDER)
    assert (left["status"], left["attempts"]) == ("queued", 1), "the other one was not held up"
    assert await orders(local).retry(TENANT) == 0, "there is a pause"
    for _ in range(MOST_ATTEMPTS):
        local.clock.advance(hours=3)
        await orders(local).retry(TENANT)
    (left,) = await of_kind(local, ORDER)
    assert (left["status"], left["attempts"], left["reason"]) == ("failed", MOST_ATTEMPTS, "not_built")
    await orders(local).consume([left, left | {"status": "queued"}])
    assert await told(local) == [("success", None), ("failure", "not_built")]
    broken = False
    anew = await orders(local).ask(TENANT, "soc2", FROM, TO, BY_ADA, local.request())
    assert (anew["status"], anew["attempts"], "ttl" in anew) == ("queued", 0, False)
    assert await ordered(local, order["report_id"]) == [("system", None), ("user", ADA)]
    same = await orders(local).ask(TENANT, "soc2", FROM, TO, BY_ADA, local.request())
    assert shown_order(same) == shown_order(anew)
    assert len(await ordered(local, order["report_id"])) == 2
    await orders(local).consume([anew])
    assert {each["generated_by"] for each in await of_kind(local, COMPLIANCE)} == {"system", ADA}


async def test_a_verdict_is_final_at_once(local: Bureau) -> None:
    """The organization is gone when its report is built."""
    order = await place(local)
    strange = order | {"framework": "none_such"}
    await local.store.replace(REPORTS, (TENANT,), strange)
    await orders(local).consume([order])
    (left,) = await of_kind(local, ORDER)
    assert (left["status"], left["reason"]) == ("failed", "invalid_request")


@pytest.mark.parametrize(("mode", "error"), [("before", Unavailable("down")), ("after", Crash())])
async def test_whatever_call_of_the_store_fails_one_report_comes_of_it(mode: Any, error: BaseException) -> None:
    """Each call in turn: an error that the feed is told of, and a process that ends there."""
    clock = ManualClock(BEGAN)
    store = FaultyStore(await SqliteStore.open(None, clock=clock))
    bureau = await new_bureau(store, clock)
    for k in range(1, 80):
        order = await place(bureau)
        store.arm(k, mode, error)
        with suppress(StoreError, Unready, Crash):
            await orders(bureau).consume([order])
        reached = len(store.calls) >= k
        store.mend()
        clock.advance(seconds=TAKEN.total_seconds() + 1)
        await orders(bureau).consume([order])
        await orders(bureau).retry(TENANT)
        await bureau.services.outbox.sweep(REPORTS, TENANT, "9999")
        head = await bureau.services.compliance.head(TENANT, order["report_id"])
        assert head is not None, k
        await bureau.services.compliance.report(head)
        assert await of_kind(bureau, ORDER) == [], k
        assert await told(bureau) == [("success", None)] * k, k
        await store.delete(REPORTS, (TENANT,), head["id"])
        if not reached:
            break
    await bureau.services.close()
    assert k > 15
    assert not reached


@pytest.mark.parametrize(
    ("mode", "error"), [("before", StoreError("down")), ("after", StoreError("down")), ("after", Crash())]
)
@pytest.mark.parametrize("renewed", [False, True], ids=["new", "renewed"])
async def test_whatever_call_fails_there_is_an_order_with_its_event_or_neither(
    mode: Any, error: BaseException, renewed: bool
) -> None:
    clock = ManualClock(BEGAN)
    store = FaultyStore(await SqliteStore.open(None, clock=clock))
    bureau = await new_bureau(store, clock)
    committed = 0

    async def wish() -> Item:
        """A schedule's, or a person's who asks for one anew that could not be made."""
        if not renewed:
            return await place(bureau)
        return await orders(bureau).ask(TENANT, "soc2", FROM, TO, BY_ADA, bureau.request())

    for k in range(1, 30):
        wanted = None
        if renewed:
            failed = await place(bureau)
            await store.replace(REPORTS, (TENANT,), failed | {"status": "failed"})
        before = len(await ordered(bureau))
        store.arm(k, mode, error)
        with suppress(StoreError, Unready, Crash):
            wanted = await wish()
        reached = len(store.calls) >= k
        store.mend()
        await bureau.services.outbox.sweep(REPORTS, TENANT, "9999")
        there = [each for each in await of_kind(bureau, ORDER) if each["status"] == "queued"]
        assert len(await ordered(bureau)) - before == len(there), k
        assert len(there) == 1 or wanted is None, k
        committed += len(there)
        placed = await wish()
        assert len(await ordered(bureau)) - before == 1, "asked for again it is one"
        await store.delete(REPORTS, (TENANT,), placed["id"])
        if not reached:
            break
    assert not reached
    assert 0 < committed < k
    await bureau.services.close()


async def test_there_are_no_orders_of_what_cannot_be(local: Bureau) -> None:
    for tenant_id, framework, days, error in (
        (OTHER, "soc2", (FROM, TO), NotFoundError),
        (TENANT, "sox", (FROM, TO), Invalid),
        (TENANT, "soc2", (TO, FROM), Invalid),
        (TENANT, "soc2", (FROM, NOW.date() + timedelta(days=1)), Invalid),
        (TENANT, "soc2", (date(2024, 3, 1), date(2026, 3, 2)), Invalid),
        (TENANT, "soc2", (date(2026, 2, 1), date(2026, 3, 1)), Invalid),
    ):
        with pytest.raises(error):
            await orders(local).order(tenant_id, framework, *days, local.request())
        with pytest.raises(error):
            await orders(local).ask(tenant_id, framework, *days, BY_ADA, local.request())
    assert await of_kind(local, ORDER) == []
    assert await ordered(local) == []
    with pytest.raises(NotFound):
        await local.store.read(REPORTS, (TENANT,), order_id("x"))
