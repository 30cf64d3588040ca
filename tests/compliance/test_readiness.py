"""Reports after a downtime: they wait for the check of the ledger and for detection, for a while; for nothing else."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest

from shared.audit.events.system import SystemHeartbeat
from shared.audit.heartbeats import PULSE
from shared.audit.model import SYSTEM, Actor, Draft
from shared.compliance.evidence import Period
from shared.compliance.kinds import COMPLIANCE, ORDER
from shared.compliance.orders import WAITS, ReportOrders
from shared.compliance.readiness import Readiness
from shared.compliance.schedules import Schedule
from shared.ledger.progress import progress_id
from shared.ledger.shards import rollup_id
from shared.storage.containers import AUDIT_EVENTS, IDENTITY, LEDGER, REPORTS
from shared.storage.documents import Item, PatchSet
from tests.audit.support import ADA, TENANT
from tests.compliance.bureau import FROM, NOW, SAID, TO, Bureau

BY_ADA = Actor("user", ADA, "tenant_admin")
MARCH = (TENANT, "2026-03")
DOWN = NOW + timedelta(days=5)


def orders(bureau: Bureau) -> ReportOrders:
    return bureau.services.framework_reports.orders


async def ask(bureau: Bureau) -> Item:
    return await orders(bureau).ask(TENANT, "soc2", FROM, TO, BY_ADA, bureau.request())


async def of_kind(bureau: Bureau, kind: str) -> list[Item]:
    return [item for item in await bureau.all(REPORTS) if item["kind"] == kind]


def readiness(bureau: Bureau) -> Readiness:
    return orders(bureau)._readiness()


async def tell_of_detection(bureau: Bureau, day: str) -> None:
    item = {"id": PULSE, "tenant_id": TENANT, "kind": PULSE, "detected_day": day}
    await bureau.store.upsert(IDENTITY, (TENANT,), item)


async def test_a_report_that_is_due_after_a_downtime_waits_for_the_check(
    bureau: Bureau, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order in which timers come does not matter: the schedule's first, the check's last."""

    async def schedules(_tenant: str) -> tuple[str, list[Schedule]]:
        return "UTC", [Schedule("soc2", "daily", 0)]

    made = bureau.services.framework_reports.schedules
    monkeypatch.setattr(made, "_schedules", type("S", (), {"schedules": staticmethod(schedules)}))
    bureau.clock.set(DOWN)
    assert await made.order_due(TENANT, bureau.request()) == 1
    bureau.clock.advance(hours=2)
    for _ in range(3):
        await orders(bureau).consume(await of_kind(bureau, ORDER))
        assert await orders(bureau).retry(TENANT) == 0
        bureau.clock.advance(minutes=10)
    assert await of_kind(bureau, COMPLIANCE) == []
    (order,) = await of_kind(bureau, ORDER)
    assert (order["status"], order["attempts"], order["waits_for"]) == ("queued", 0, "ledger_check")
    await bureau.check()
    assert await orders(bureau).retry(TENANT) == 1
    (head,) = await of_kind(bureau, COMPLIANCE)
    assert (head["from"], head["gate_passed"], head["gate_failed"]) == ("2026-03-08", True, [])


async def test_who_asks_meanwhile_has_an_order_and_then_the_report(bureau: Bureau) -> None:
    bureau.clock.set(DOWN)
    assert (await ask(bureau))["kind"] == ORDER
    await bureau.check()
    bureau.clock.advance(minutes=6)
    assert await orders(bureau).retry(TENANT) == 1
    head = await ask(bureau)
    assert (head["kind"], head["gate_passed"], head["generated_by"]) == (COMPLIANCE, True, ADA)


async def test_a_broken_ledger_is_told_of_at_once(local: Bureau) -> None:
    """Also when the check has not come by lately: what is known to be wrong is waited for by nobody."""
    (first, *_) = [item for item in await local.all(LEDGER, *MARCH) if item.get("kind") == "entry"]
    await local.store.patch(LEDGER, MARCH, first["id"], [PatchSet("entry", "AAAA")], None)
    for _ in range(2):
        await local.check()
    assert [item for item in await local.all(LEDGER, *MARCH) if item["id"].startswith("finding|")]
    local.clock.set(DOWN)
    head = await ask(local)
    assert (head["kind"], head["gate_passed"]) == (COMPLIANCE, False)
    assert "unbroken" in head["gate_failed"]
    assert await ask(local) == head
    assert not await readiness(local).is_checked(TENANT, Period(FROM, TO))


async def test_after_hours_it_is_built_without_the_check_and_followed_by_another(bureau: Bureau) -> None:
    bureau.clock.set(DOWN)
    order = await ask(bureau)
    bureau.clock.advance(seconds=WAITS.total_seconds() - 1)
    assert await orders(bureau).retry(TENANT) == 0
    bureau.clock.advance(minutes=6)
    assert await orders(bureau).retry(TENANT) == 1
    (first,) = await of_kind(bureau, COMPLIANCE)
    assert (first["id"], first["gate_failed"]) == (order["report_id"], ["checked"])
    report = await bureau.services.compliance.report(first)
    (failed,) = [check for check in report.gate.checks if not check.passed]
    assert failed.detail == "2026-03: the check did not come by for more than a day"
    assert await ask(bureau) == first, "there is nothing better yet"
    await bureau.check()
    second = await ask(bureau)
    assert (second["gate_passed"], second["generated_by"]) == (True, ADA)
    assert second["id"] != first["id"]
    assert (await bureau.services.compliance.report(second)).replaces == first["id"]
    assert (await bureau.services.compliance.head(TENANT, first["id"])) == first, "what was handed out stays"
    bureau.clock.advance(days=3)
    assert await ask(bureau) == second
    assert await orders(bureau).order(TENANT, "soc2", FROM, TO, bureau.request()) == second
    assert len(await of_kind(bureau, COMPLIANCE)) == 2
    said = [e for e in await bureau.all(AUDIT_EVENTS) if e["type"] == "report.generate"]
    assert {e["target"]["id"]: e["attributes"]["gate_passed"] for e in said} == {first["id"]: False, second["id"]: True}


async def test_signs_of_life_that_came_days_later_count_for_their_days(local: Bureau) -> None:
    """Detection worked through the three days when the downtime was over: no day is said to have gone without it."""
    local.clock.set(DOWN)
    for day in (1, 2, 3):
        window = (f"2026-03-0{day}T00:00:00.000000Z", f"2026-03-0{day + 1}T00:00:00.000000Z")
        beat = SystemHeartbeat(
            source="detect_threats", window_from=window[0], window_to=window[1], events=11, patterns=8, waiting=0
        )
        await local.services.recorder.record(Draft(TENANT, beat, local.request(), actor=SYSTEM))
    await local.seal()
    for _ in range(2):
        await local.check()
    report = await local.services.compliance.report(await ask(local))
    assert report.gate.passed
    ran = {run.rule: run for control in report.controls for run in control.rules}
    assert (ran["MON-01"].findings, ran["MON-01"].parameters) == (0, ())


async def test_detection_is_waited_for_where_it_tells_of_days(local: Bureau) -> None:
    await tell_of_detection(local, "2026-03-02")
    order = await ask(local)
    await orders(local).consume([order])
    (waiting,) = await of_kind(local, ORDER)
    assert waiting["waits_for"] == "detection"
    await tell_of_detection(local, "2026-03-03")
    local.clock.advance(minutes=6)
    assert await orders(local).retry(TENANT) == 1


@pytest.mark.parametrize(
    ("item", "changes", "lack", "is_checked"),
    [
        (None, {}, None, True),
        (progress_id("2026-03"), {"looked_at": int(NOW.replace(hour=0).timestamp()) - 1}, "ledger_check", False),
        (progress_id("2026-03"), {"looked_at": 0}, "ledger_check", False),
        (progress_id("2026-03"), {"looked_at": "soon"}, None, False),
        (progress_id("2026-03"), {"new": {"size": 0, "nodes": []}}, "ledger_check", False),
        (progress_id("2026-03"), {"new": {"is_sound": False}}, None, False),
        (rollup_id("2026-03-02"), {"events": 7}, None, False),
    ],
)
async def test_what_is_waited_for(
    local: Bureau, item: str | None, changes: dict[str, Any], lack: str | None, is_checked: bool
) -> None:
    """An unfinished check is; what is damaged is not."""
    period = Period(FROM, TO)
    if item is not None:
        held = next(each for each in await local.all(LEDGER, *MARCH) if each["id"] == item)
        merged = {name: held[name] | value if isinstance(value, dict) else value for name, value in changes.items()}
        await local.store.replace(LEDGER, MARCH, held | merged)
    assert await readiness(local).lack(TENANT, period) == lack
    assert await readiness(local).is_checked(TENANT, period) is is_checked


async def test_a_check_that_was_never_made_is_waited_for_and_an_empty_month_is_not(local: Bureau) -> None:
    local.clock.set(NOW + timedelta(days=40))
    assert await readiness(local).lack(TENANT, Period(date(2026, 4, 1), date(2026, 4, 3))) is None
    await local.record(local.clock.now() - timedelta(days=2), *SAID)
    await local.seal()
    local.clock.advance(days=2)
    assert await readiness(local).lack(TENANT, Period(date(2026, 4, 1), date(2026, 4, 13))) == "ledger_check"
    await local.check()
    assert await readiness(local).lack(TENANT, Period(date(2026, 4, 1), date(2026, 4, 13))) is None
