"""Reports over a real store, on both of them: what is read, kept and told, and what a broken ledger makes of it."""

from __future__ import annotations

import asyncio
import hashlib
import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from shared.audit.model import Actor
from shared.audit.outbox import is_entry
from shared.compliance.facts.store import KIND as FACTS
from shared.compliance.facts.store import facts_id
from shared.compliance.gate import Inspection
from shared.compliance.kinds import COMPLIANCE as KIND
from shared.compliance.kinds import ORDER
from shared.compliance.parts import PART_KIND, decode, encode, part_prefix
from shared.compliance.report_model import Report
from shared.compliance.reporting import DamagedReport
from shared.core.errors import Invalid, NotFoundError
from shared.detection.alerts import overdue_alert
from shared.ledger.progress import progress_id
from shared.ledger.shards import ENTRY, rollup_id
from shared.storage.containers import ALERTS, AUDIT_EVENTS, IDENTITY, LEDGER, REPORTS
from shared.storage.documents import Item
from tests.audit.support import ADA, OTHER, TENANT
from tests.compliance.bureau import BEGAN, FROM, NOW, SAID, TO, Bureau

MONTH = "2026-03"


async def of_kind(bureau: Bureau, kind: str) -> list[Item]:
    return [item for item in await bureau.all(REPORTS) if item["kind"] == kind]


def checks(head: Item, report: Any) -> set[str]:
    assert head["gate_passed"] == report.gate.passed
    return {check.id for check in report.gate.checks if not check.passed}


async def change(bureau: Bureau, item_id: str, **changed: Any) -> None:
    """Somebody with access to the store changes what the ledger left there."""
    partition = (TENANT, MONTH)
    held = await bureau.store.read(LEDGER, partition, item_id)
    await bureau.store.replace(LEDGER, partition, held | changed)


async def test_a_report_is_kept_told_and_read_back(bureau: Bureau) -> None:
    """One test of all that a good day brings, for a bureau costs time."""
    head = await bureau.build()
    report = await bureau.services.compliance.report(head)
    assert checks(head, report) == set(), report.gate
    assert report.events_in_period == head["events_in_period"] == 3 * len(SAID)
    assert (report.organization, report.from_day, report.to_day) == ("Example", "2026-03-01", "2026-03-04")
    text = await bureau.services.compliance.text(head)
    assert hashlib.sha256(text).hexdigest() == head["digest"]
    assert encode(report) == text
    assert decode(text) == report
    [shard] = report.population
    assert (shard.size, shard.events, shard.first, shard.last) == (33, 33, 0, 32)
    assert shard.checkpoint.startswith("localhost/ledger/")
    days = sorted(item["day"] for item in await of_kind(bureau, FACTS))
    assert days == ["2026-03-01", "2026-03-02", "2026-03-03"]
    assert not [item for item in await bureau.all(REPORTS) if is_entry(item)]
    events = [event for event in await bureau.all(AUDIT_EVENTS) if event["type"] == "report.generate"]
    assert [(event["target"]["id"], event["attributes"]["digest"]) for event in events] == [
        (head["id"], head["digest"])
    ]
    assert {e["recorded_at"][:10] for control in report.controls for e in map(vars_of, events_of(control))} <= set(days)
    again = await bureau.build()
    assert again == head, "asked for again it is the same one"
    other = await bureau.build("gdpr")
    assert other["id"] != head["id"]
    assert len(await of_kind(bureau, KIND)) == 2
    bureau.clock.advance(hours=1)
    third = await bureau.build(wanted="0195c000-0000-7000-8000-00000000f00d")
    first, later = json.loads(text), json.loads(await bureau.services.compliance.text(third))
    for name in ("id", "generated_at"):
        assert first.pop(name) != later.pop(name)
    assert {name for name in first if first[name] != later[name]} == set(), "the same trail tells the same"


def events_of(control: Any) -> list[Any]:
    return list(control.samples.events) if control.samples else []


def vars_of(ref: Any) -> dict[str, Any]:
    return {"recorded_at": ref.recorded_at}


async def test_two_at_once_make_one_report(bureau: Bureau) -> None:
    heads = await asyncio.gather(*(bureau.build() for _ in range(4)))
    assert all(head["digest"] == heads[0]["digest"] for head in heads)
    assert len(await of_kind(bureau, KIND)) == 1
    parts = [item["id"] for item in await of_kind(bureau, PART_KIND)]
    assert len(parts) == heads[0]["parts"]
    told = [event for event in await bureau.all(AUDIT_EVENTS) if event["type"] == "report.generate"]
    assert len(told) == 1


async def rollups(bureau: Bureau) -> dict[str, Any]:
    days = [f"{MONTH}-{day:02}" for day in range(1, 32)]
    return dict(await bureau.services.shards.rollups(TENANT, MONTH, days))


async def test_facts_are_folded_once_and_again_when_the_day_grew(bureau: Bureau) -> None:
    facts = bureau.services.facts
    assert await facts.gather(TENANT, "2026-03-02", bureau.request()) is True
    assert await facts.gather(TENANT, "2026-03-02", bureau.request()) is False
    assert await facts.gather(TENANT, "2026-03-09", bureau.request()) is False, "a day without events"
    held = await bureau.store.read(REPORTS, (TENANT,), facts_id("2026-03-02"))
    await bureau.record(BEGAN + timedelta(days=1, hours=5), "profile.view")
    await bureau.seal()
    bureau.clock.set(NOW)
    assert await facts.gather(TENANT, "2026-03-02", bureau.request()) is True
    grown = await bureau.store.read(REPORTS, (TENANT,), facts_id("2026-03-02"))
    assert (grown["events"], grown["last"]) == (held["events"] + 1, 33)
    days = await facts.days(TENANT, ["2026-03-02"], await rollups(bureau), bureau.request())
    await facts.keep(TENANT, {**days["2026-03-02"], "version": 0})
    assert await facts.gather(TENANT, "2026-03-02", bureau.request()) is True, "of another version"


async def test_what_cannot_be_is_refused_and_names_the_field(local: Bureau) -> None:
    build = local.services.compliance.build
    for framework, start, end, field in (
        ("sox", FROM, TO, "framework"),
        ("soc2", TO, FROM, "to"),
        ("soc2", FROM, FROM, "to"),
        ("soc2", FROM, NOW.date() + timedelta(days=1), "to"),
        ("soc2", date(2025, 1, 1), date(2026, 1, 3), "to"),
        ("soc2", date(2025, 1, 1), date(2025, 2, 1), "to"),
        ("soc2", date(2026, 2, 1), date(2026, 3, 1), "to"),
    ):
        with pytest.raises(Invalid) as refused:
            await build(TENANT, framework, start, end, local.request())
        assert [each.field for each in refused.value.errors] == [field], (framework, start, end)
    with pytest.raises(NotFoundError):
        await build(OTHER, "soc2", FROM, TO, local.request())
    assert await of_kind(local, KIND) == []


async def test_a_period_that_began_before_the_organization_is_told(local: Bureau) -> None:
    head = await local.services.compliance.build(TENANT, "soc2", date(2026, 2, 20), TO, local.request())
    report = await local.services.compliance.report(head)
    assert checks(head, report) == set(), report.gate
    assert any("2026-03-01" in text for text in report.scope.exclusions)
    assert [shard.size for shard in report.population] == [0, 33]


async def test_another_organization_s_report_is_not_found(local: Bureau) -> None:
    head = await local.build()
    assert await local.services.compliance.head(OTHER, head["id"]) is None
    assert await local.services.compliance.head(TENANT, facts_id("2026-03-02")) is None


@pytest.mark.parametrize(
    ("what", "failing"),
    [
        ("entry", {"facts"}),
        ("rollup", {"counted", "facts"}),
        ("head", {"checkpoint"}),
        ("unchecked", {"checked"}),
        ("stale", {"checked"}),
        ("finding", {"unbroken"}),
    ],
)
async def test_a_broken_ledger_fails_the_gate(local: Bureau, what: str, failing: set[str]) -> None:
    """Whatever of it was changed, or not looked at: nothing is satisfied, and the report says what is wrong."""
    entries = sorted(
        (e for e in await local.all(LEDGER, TENANT, MONTH) if e["kind"] == ENTRY), key=lambda e: e["index"]
    )
    if what == "entry":
        await change(local, entries[5]["id"], entry=entries[5]["entry"].replace("success", "failure"))
    elif what == "rollup":
        held = await local.store.read(LEDGER, (TENANT, MONTH), rollup_id("2026-03-02"))
        counts = [[*row, n - 1] if place == 0 else [*row, n] for place, (*row, n) in enumerate(held["counts"])]
        await change(local, held["id"], counts=counts, events=held["events"] - 1)
    elif what == "head":
        await change(local, f"head|{MONTH}", size=20)
    elif what == "unchecked":
        await local.store.delete(LEDGER, (TENANT, MONTH), progress_id(MONTH))
    elif what == "stale":
        local.clock.advance(days=2)
    else:
        own = {"id": "finding|edited|x", "tenant_id": TENANT, "period": MONTH, "kind": "finding"}
        await local.store.create(LEDGER, (TENANT, MONTH), own)
    head = await local.build("iso_27001")
    report = await local.services.compliance.report(head)
    assert checks(head, report) == failing
    assert report.summary.satisfied == 0
    assert report.summary.exception >= 1
    if what in ("entry", "head"):
        failed = [event for event in await local.all(AUDIT_EVENTS) if event["type"] == "ledger.verify_failed"]
        assert failed, "the trail says so"


async def test_a_ledger_whose_last_root_cannot_be_computed_fails_the_gate(
    local: Bureau, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is satisfied without the samples that everybody could draw again."""

    async def none(*_: object) -> None:
        return None

    monkeypatch.setattr(Inspection, "seed", none)
    head = await local.build("iso_27001")
    report = await local.services.compliance.report(head)
    assert checks(head, report) == {"unbroken"}
    assert report.summary.satisfied == 0
    assert "sampling_root" not in dict(report.method.parameters)


async def refused_over_midnight(bureau: Bureau, at: datetime) -> None:
    """Three refusals right before a midnight, and three after it; all sealed and checked."""
    await bureau.record(at - timedelta(seconds=10), *["access.denied"] * 3)
    await bureau.record(at + timedelta(seconds=10), *["access.denied"] * 3)
    await bureau.seal()
    bureau.clock.set(NOW)
    await bureau.check()


async def test_what_the_edge_of_a_period_cuts_is_in_the_report_after_it(bureau: Bureau) -> None:
    """Neither day has as many refusals as the threshold; the first report of the second day finds them together."""
    await refused_over_midnight(bureau, datetime(2026, 3, 3, tzinfo=UTC))
    days = [(date(2026, 3, 2), date(2026, 3, 3)), (date(2026, 3, 3), TO)]
    rules = []
    for start, end in days:
        head = await bureau.services.compliance.build(TENANT, "pci_dss", start, end, bureau.request())
        report = await bureau.services.compliance.report(head)
        rules.append({each.rule for each in report.exceptions})
        assert all(event.recorded_at >= start.isoformat() for each in report.exceptions for event in each.events)
    assert ["ACC-11" in each for each in rules] == [False, True]


@pytest.mark.parametrize("what", ["counts", "a day", "all", "a finding"])
async def test_a_month_before_a_period_that_is_not_sound_is_a_gap_of_what_began_in_it(local: Bureau, what: str) -> None:
    """Nobody makes the first days of a month look better by what they do to the month before."""
    month, day = "2026-02", rollup_id("2026-02-28")
    await local.record(datetime(2026, 2, 27, 9, 0, tzinfo=UTC), *SAID)
    await refused_over_midnight(local, datetime(2026, 3, 1, tzinfo=UTC))

    async def build(start: date, end: date) -> Report:
        head = await local.services.compliance.build(TENANT, "pci_dss", start, end, local.request())
        return await local.services.compliance.report(head)

    def lacking(report: Report) -> set[str]:
        runs = {run.rule: dict(run.parameters) for control in report.controls for run in control.rules}
        return {
            rule for rule, given in runs.items() if "facts" in str(given.get("not run, or not wholly, for want of"))
        }

    whole = await build(FROM, TO)
    assert whole.gate.passed, whole.gate
    assert lacking(whole) == set()
    assert "ACC-11" in {each.rule for each in whole.exceptions}
    if what == "counts":
        held = await local.store.read(LEDGER, (TENANT, month), day)
        await local.store.replace(LEDGER, (TENANT, month), held | {"events": held["events"] - 1})
    elif what == "a finding":
        own = {"id": "finding|edited|x", "tenant_id": TENANT, "period": month, "kind": "finding"}
        await local.store.create(LEDGER, (TENANT, month), own)
    else:
        for item in await local.all(LEDGER, TENANT, month):
            if what == "all" or item["id"] == day:
                await local.store.delete(LEDGER, (TENANT, month), item["id"])
    broken = await build(FROM, TO - timedelta(days=1))
    assert broken.gate.passed, broken.gate
    assert lacking(broken) >= {"AUTH-01", "ACC-11", "INT-03", "INT-06"}


async def test_a_closed_month_that_is_gone_is_missed(local: Bureau) -> None:
    await local.record(datetime(2026, 2, 27, 9, 0, tzinfo=UTC), *SAID)
    await local.seal()
    local.clock.set(datetime(2026, 3, 12, 6, 0, tzinfo=UTC))
    await local.check()
    await local.services.closing.close_due(TENANT, local.request())
    await local.seal()
    await local.check()
    assert (await local.services.compliance.report(await local.build())).gate.passed
    for item in await local.all(LEDGER, TENANT, "2026-02"):
        await local.store.delete(LEDGER, (TENANT, "2026-02"), item["id"])
    head = await local.build("gdpr")
    assert checks(head, await local.services.compliance.report(head)) == {"chained"}


async def test_days_are_folded_beside_one_whose_counts_are_broken(local: Bureau) -> None:
    days = ["2026-03-01", "2026-03-02"]
    held = await local.store.read(LEDGER, (TENANT, MONTH), rollup_id(days[0]))
    await local.store.replace(LEDGER, (TENANT, MONTH), held | {"events": 0})
    assert await local.services.facts.gather_days(TENANT, days, local.request()) == 1
    await local.seal()
    assert [event for event in await local.all(AUDIT_EVENTS) if event["type"] == "ledger.verify_failed"]


@pytest.mark.parametrize("month", ["2026-02", MONTH])
async def test_a_report_is_ordered_where_the_counts_of_days_are_broken(local: Bureau, month: str) -> None:
    """Asking for it is no error: it is built, and says what is wrong."""
    await local.record(datetime(2026, 2, 27, 9, 0, tzinfo=UTC), *SAID)
    await local.seal()
    local.clock.set(NOW)
    day = "2026-02-27" if month == "2026-02" else "2026-03-02"
    held = await local.store.read(LEDGER, (TENANT, month), rollup_id(day))
    await local.store.replace(LEDGER, (TENANT, month), held | {"events": 0})
    orders = local.services.framework_reports.orders
    asked = await orders.ask(TENANT, "soc2", FROM, TO, Actor("user", ADA, "tenant_admin"), local.request())
    assert asked["kind"] == ORDER


async def test_a_damaged_report_is_not_shown(local: Bureau) -> None:
    head = await local.build()
    [part] = await of_kind(local, PART_KIND)
    await local.store.upsert(REPORTS, (TENANT,), part | {"text": part["text"].replace("satisfied", "Satisfied", 1)})
    with pytest.raises(DamagedReport):
        await local.services.compliance.report(head)
    await local.store.delete(REPORTS, (TENANT,), part["id"])
    with pytest.raises(DamagedReport):
        await local.services.compliance.text(head)


async def test_parts_of_a_build_that_was_cut_off_are_removed_by_the_next(local: Bureau) -> None:
    name = "0195c000-0000-7000-8000-00000000f00d"
    left = {"id": f"{part_prefix(name)}0000000000000000|0000", "tenant_id": TENANT, "kind": PART_KIND, "text": "{"}
    await local.store.create(REPORTS, (TENANT,), left)
    head = await local.build(wanted=name)
    parts = [item["id"] for item in await of_kind(local, PART_KIND)]
    assert left["id"] not in parts
    assert len(parts) == head["parts"]


async def test_the_counts_of_the_report_before_are_told(local: Bureau) -> None:
    first = await local.services.compliance.build(TENANT, "soc2", FROM, date(2026, 3, 2), local.request())
    await local.services.compliance.build(TENANT, "gdpr", FROM, date(2026, 3, 2), local.request())
    second = await local.services.compliance.build(TENANT, "soc2", date(2026, 3, 2), TO, local.request())
    report = await local.services.compliance.report(second)
    assert report.previous is not None
    assert report.previous.satisfied == first["summary"]["satisfied"]


async def test_accounts_requests_and_settings_are_evidence(local: Bureau) -> None:
    """What identity, detection and the rights of persons hold comes in through the ports."""
    user = {
        "kind": "user",
        "role": "user",
        "status": "active",
        "mfa": False,
        "created_at": "2025-06-01T00:00:00.000000Z",
    }
    await local.store.create(IDENTITY, (TENANT,), user | {"id": "user|u-1", "user_id": "u-1", "tenant_id": TENANT})
    asked = {
        **{"id": "subject_request|r-1", "tenant_id": TENANT, "kind": "subject_request", "request_id": "r-1"},
        **{"about": "erasure", "subject": "p-1", "state": "received", "extended": False},
        **{"created_at": "2026-02-01T00:00:00.000000Z", "due_at": "2026-03-01T00:00:00.000000Z"},
    }
    await local.store.create(IDENTITY, (TENANT,), asked)
    tenant = await local.store.read(IDENTITY, (TENANT,), "tenant")
    declared = {
        "framework": "gdpr",
        "control": "33(1)",
        "reason": "none here",
        "declared_by": "ada",
        "declared_at": "2026-03-01T00:00:00.000000Z",
    }
    own = {
        "report_thresholds": {"inactive_account_days": 30},
        "not_applicable": [declared],
        "time_zone": "Asia/Kolkata",
        "working_hours": {"days": ["sun"], "from": "09:30", "to": "24:00"},
        "schedules": [],
    }
    await local.store.replace(IDENTITY, (TENANT,), tenant | {"settings": own})
    gdpr = await local.services.compliance.report(await local.build("gdpr"))
    assert {each.rule for each in gdpr.exceptions} >= {"DSR-01"}
    assert [control.id for control in gdpr.controls if control.status == "not-applicable"] == ["Art. 33(1)"]
    assert gdpr.scope.time_zone == "Asia/Kolkata"
    soc2 = await local.services.compliance.report(await local.build("soc2"))
    idle = [each.text for each in soc2.exceptions if each.rule == "ACC-04"]
    assert idle == ["Account u-1: no login since 2025-06-01"]
    assert not [control for control in soc2.controls if control.status == "not-applicable"]


async def test_alerts_are_evidence_as_people_left_them(local: Bureau) -> None:
    """Who saw one when; those that another tells of, and what came after the period, are left out."""
    at = "2026-03-{:02}T09:00:00.000000Z"
    first = overdue_alert(TENANT, "p-1", "event-1", at.format(1), at.format(1))
    seen = {"at": at.format(2), "by": "ada", "from": "open", "to": "acknowledged", "note": None}
    closed = {"at": at.format(3), "by": "ada", "from": "acknowledged", "to": "resolved", "note": "done"}
    handled = first | {"history": [*first["history"], seen, closed], "status": "resolved", "closed_at": at.format(3)}
    heir = overdue_alert(TENANT, "p-2", "event-2", at.format(2), at.format(2)) | {"superseded_by": handled["id"]}
    later = overdue_alert(TENANT, "p-3", "event-3", at.format(9), at.format(9))
    unseen = overdue_alert(TENANT, "p-4", "event-4", at.format(1), at.format(1))
    for item in (handled, heir, later, unseen):
        await local.store.create(ALERTS, (TENANT,), item)
    report = await local.services.compliance.report(await local.build("iso_27001"))
    incidents = next(table for table in report.tables if table.id == "incidents")
    rows = {row[-1]: row for row in incidents.rows}
    assert set(rows) == {handled["id"], unseen["id"]}
    assert rows[handled["id"]][3:5] == (at.format(2), at.format(3))
    assert rows[unseen["id"]][3:5] == (None, None)
    late = [each.text for each in report.exceptions if each.rule == "INC-01"]
    assert late == [f"Alert {unseen['id']} (overdue_request) was not acknowledged for 24 hours"]


def alert_of(name: str, seen: str, closed: str | None) -> Item:
    """An alert about one and the same; closed with a note."""
    steps = [{"at": closed, "by": "ada", "from": "open", "to": "resolved", "note": "done"}] if closed else []
    found = overdue_alert(TENANT, "p-1", f"event-{name}", seen, seen)
    told = {"id": name, "key": "p-1", "history": [*found["history"], *steps], "created_at": seen}
    return found | told | ({"closed_at": closed, "status": "resolved"} if closed else {})


async def test_what_comes_again_after_the_edge_of_a_period_is_told_of_the_day_after_it(local: Bureau) -> None:
    """And of nothing else does what was over before a period count in it."""
    await local.store.create(
        ALERTS, (TENANT,), alert_of("a1", f"{MONTH}-01T08:00:00.000000Z", f"{MONTH}-01T09:00:00.000000Z")
    )
    await local.store.create(
        ALERTS, (TENANT,), alert_of("a2", f"{MONTH}-02T08:00:00.000000Z", f"{MONTH}-02T09:00:00.000000Z")
    )
    told = {}
    for first, after in ((1, 2), (2, 3), (1, 3), (3, 4)):
        days = (date(2026, 3, first), date(2026, 3, after))
        head = await local.services.compliance.build(TENANT, "iso_27001", *days, local.request())
        report = await local.services.compliance.report(head)
        incidents = next(table for table in report.tables if table.id == "incidents")
        again = [each.text for each in report.exceptions if each.rule == "INC-04"]
        told[first, after] = (again, {row[-1] for row in incidents.rows})
    again = ["overdue_request was raised again: alert a2"]
    assert told == {(1, 2): ([], {"a1"}), (2, 3): (again, {"a2"}), (1, 3): (again, {"a1", "a2"}), (3, 4): ([], set())}


async def test_what_is_new_among_exceptions_is_told(bureau: Bureau) -> None:
    """Against the last report of the framework that began before; of the first there is nothing to compare with."""
    first, last = date(2026, 3, 2), date(2026, 3, 4)
    for start, end in ((FROM, first), (first, date(2026, 3, 3)), (date(2026, 3, 3), last)):
        if end == last:  # something that the days before had not, by which another control is an exception
            await bureau.record(BEGAN + timedelta(days=2, hours=3), *["access.cross_tenant_denied"] * 4)
            await bureau.seal()
            bureau.clock.set(NOW)
            await bureau.check()
        await bureau.services.compliance.build(TENANT, "soc2", start, end, bureau.request())
    await bureau.services.compliance.build(TENANT, "gdpr", date(2026, 3, 3), last, bureau.request())
    told = {
        (event["attributes"]["framework"], event["attributes"]["period_from"]): event["attributes"]
        for event in await bureau.all(AUDIT_EVENTS)
        if event["type"] == "report.generate"
    }
    new = {place: each.get("new_exceptions") for place, each in told.items()}
    heads = {item["from"]: item for item in await of_kind(bureau, KIND) if item["framework"] == "soc2"}
    added = set(heads["2026-03-03"]["exceptions"]) - set(heads["2026-03-02"]["exceptions"])
    assert len(heads["2026-03-03"]["exceptions"]) == told["soc2", "2026-03-03"]["exceptions"]
    assert added
    assert new == {
        ("soc2", "2026-03-01"): None,
        ("soc2", "2026-03-02"): len(set(heads["2026-03-02"]["exceptions"]) - set(heads["2026-03-01"]["exceptions"])),
        ("soc2", "2026-03-03"): len(added),
        ("gdpr", "2026-03-03"): None,
    }
