"""What reports ask of the trail beyond their period: earlier incidents, starts, since when schedules are."""

from __future__ import annotations

import dataclasses
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from shared.audit.model import PLATFORM_TENANT, Target
from shared.compliance.evidence import Evidence, Organization, Period, Regular
from shared.compliance.rules import RULES
from shared.core.clock import rfc3339
from shared.storage.containers import ALERTS, IDENTITY
from shared.wiring._compliance import Siblings
from tests.audit.support import EXAMPLES, TENANT
from tests.compliance.bureau import BEGAN, FROM, NOW, TO, Bureau


async def evidence_of(bureau: Bureau, framework: str = "gdpr", from_day: date = FROM, to_day: date = TO) -> Evidence:
    organization = Organization(TENANT, "Example", rfc3339(BEGAN))
    reader = bureau.services.compliance._reader()
    return await reader.evidence(organization, framework, Period(from_day, to_day), bureau.request())


async def say(bureau: Bureau, kind: str, at: datetime, tenant_id: str = TENANT, **changed: Any) -> None:
    """`outcome`, `reason` and `target` are the draft's, all others those of its event."""
    bureau.clock.set(at)
    of_draft = {name: changed.pop(name) for name in ("outcome", "reason", "target") if name in changed}
    draft = dataclasses.replace(EXAMPLES[kind], **of_draft)
    context = dataclasses.replace(draft.request, started_at=at)
    event = draft.event.model_copy(update=changed)
    told = dataclasses.replace(draft, tenant_id=tenant_id, request=context, event=event)
    await bureau.services.recorder.record(told)
    bureau.clock.set(NOW)


async def test_earlier_incidents_are_known_in_order_and_not_for_ever(local: Bureau) -> None:
    for days, decision in ((184, "too old"), (20, "first"), (10, "second"), (-1, "within")):
        await say(local, "incident.record", BEGAN - timedelta(days=days), decision=decision)
    found = (await evidence_of(local)).incidents_before
    target = EXAMPLES["incident.record"].target
    assert isinstance(target, Target)
    assert [(alert, given["decision"]) for alert, given in found] == [(target.id, "first"), (target.id, "second")]


async def test_reports_that_were_made_after_the_period_are_known(local: Bureau) -> None:
    end = datetime(2026, 3, 4, tzinfo=UTC)
    for at in (end - timedelta(seconds=2), end, end + timedelta(hours=1), end + timedelta(days=9)):
        await say(local, "report.generate", at, period_to=at.isoformat())
    target = EXAMPLES["report.generate"].target
    assert isinstance(target, Target)
    found = (await evidence_of(local)).reports_after
    assert [(of[2], name, at[:19]) for of, name, at in found] == [
        ("2026-03-04", target.id, "2026-03-04T00:00:00"),
        ("2026-03-04", target.id, "2026-03-04T01:00:00"),
    ]


async def test_reports_that_were_made_right_before_the_period_are_known(local: Bureau) -> None:
    start = datetime(2026, 3, 1, tzinfo=UTC)
    for days in (3, 2, 1, 0):
        await say(local, "report.generate", start - timedelta(days=days), period_to=f"2026-02-{28 - days}")
    found = await evidence_of(local)
    assert [of[2] for of, _, _ in found.reports_before] == ["2026-02-26", "2026-02-27"]
    assert found.reports_after == ()


@pytest.mark.parametrize(
    ("kind", "about", "second", "told", "found"),
    [
        ("privacy.erasure", "erasure", 1, {"reason": "executed"}, False),
        ("privacy.erasure", "erasure", -86_400 * 10, {"reason": "replayed"}, False),
        ("privacy.erasure", "erasure", -86_400 * 40, {"reason": "executed"}, True),
        ("privacy.erasure", "erasure", 86_400 * 9, {"reason": "executed"}, True),
        ("privacy.erasure", "erasure", 1, {"reason": "requested"}, True),
        ("privacy.erasure", "erasure", 1, {"reason": "executed", "target": Target("user", "p-2")}, True),
        ("privacy.erasure", "access", 1, {"reason": "executed"}, True),
        ("privacy.export", "access", -86_400 * 10, {}, False),
        ("privacy.export", "access", 1, {"outcome": "failure", "reason": "abandoned"}, True),
        ("privacy.export", "access", 1, {"target": Target("user", "p-2")}, True),
        ("privacy.export", "access", 1, {"target": Target("user", "p-2"), "request_id": "r-1"}, False),
    ],
)
async def test_what_was_done_for_a_person_outside_of_the_period_is_looked_for(
    local: Bureau, kind: str, about: str, second: int, told: dict[str, Any], found: bool
) -> None:
    """A request that was closed in its last second, and what was done so many seconds off its end."""
    end = datetime(2026, 3, 4, tzinfo=UTC)
    asked = {
        **{"id": "subject_request|r-1", "tenant_id": TENANT, "kind": "subject_request", "request_id": "r-1"},
        **{"about": about, "subject": "p-1", "state": "executed", "extended": False},
        **{"created_at": rfc3339(end - timedelta(days=30)), "due_at": rfc3339(end)},
    }
    closed = asked | {"executed_at": rfc3339(end - timedelta(seconds=1))}
    await local.store.create(IDENTITY, (TENANT,), closed)
    assert RULES["DSR-02"].run(await evidence_of(local)).found
    await say(local, kind, end + timedelta(seconds=second), **{"target": Target("user", "p-1")} | told)
    evidence = await evidence_of(local)
    assert bool(RULES["DSR-02"].run(evidence).found) is found
    alone = await evidence_of(local, from_day=date(2026, 3, 3))
    assert bool(RULES["DSR-02"].run(alone).found) is found
    assert (await evidence_of(local, to_day=date(2026, 3, 3))).acts_around == (), "it was not closed by then"


async def test_the_last_reviews_before_the_period_and_its_end_are_known(local: Bureau) -> None:
    async def reviews() -> tuple[str | None, str | None]:
        found = await evidence_of(local, "pci_dss")
        return found.review_before, found.last_review_at

    start, end = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 4, tzinfo=UTC)
    assert await reviews() == (None, None)
    await say(local, "review.complete", end)
    assert await reviews() == (None, None)
    await say(local, "review.complete", start)
    assert await reviews() == (None, rfc3339(start))
    for days in (200, 190):
        await say(local, "review.complete", start - timedelta(days=days))
    assert await reviews() == (rfc3339(start - timedelta(days=190)), rfc3339(start))
    await say(local, "review.complete", end - timedelta(seconds=1))
    assert await reviews() == (rfc3339(start - timedelta(days=190)), rfc3339(end - timedelta(seconds=1)))


async def test_alerts_that_were_over_before_the_period_are_known_apart(local: Bureau) -> None:
    start = datetime(2026, 3, 1, tzinfo=UTC)

    async def closed(name: str, at: datetime | None) -> None:
        seen = rfc3339(start - timedelta(days=60))
        steps = [] if at is None else [{"by": "ada", "to": "resolved", "at": rfc3339(at), "note": "done"}]
        told = {"pattern": "brute_force", "severity": "high", "key": "ada", "event_ids": [], "history": steps}
        times = {"created_at": seen, "first_seen": seen, "last_seen": seen}
        own = {"id": name, "tenant_id": TENANT, "kind": "alert"} | ({"closed_at": rfc3339(at)} if at else {})
        await local.store.create(ALERTS, (TENANT,), told | times | own)

    await closed("open", None)
    await closed("at its beginning", start)
    await closed("within", start + timedelta(seconds=1))
    await closed("a month before", start - timedelta(days=30))
    await closed("long before", start - timedelta(days=32))
    found = await evidence_of(local)
    assert found.alerts is not None
    assert {each.id for each in found.alerts} == {"open", "within"}
    assert {each.id for each in found.alerts_before} == {"at its beginning", "a month before"}
    assert found.raised == ()


async def test_starts_are_those_of_the_period_in_the_services_own_trail(local: Bureau) -> None:
    await say(local, "system.heartbeat", NOW, PLATFORM_TENANT)
    assert (await evidence_of(local)).operations is not None
    for at, starts in ((BEGAN - timedelta(days=1), 0), (NOW, 0), (BEGAN, 1)):
        await say(local, "system.start", at, PLATFORM_TENANT)
        operations = (await evidence_of(local)).operations
        assert operations is not None
        assert operations.starts == starts, at


async def test_schedules_are_known_since_they_are_what_they_are(local: Bureau) -> None:
    async def policies() -> tuple[tuple[Regular, ...], str | None]:
        found = await Siblings(local.store, local.services.settings).policies(TENANT)
        return found.schedules, found.schedules_since

    assert await policies() == ((), None)
    tenant = await local.store.read(IDENTITY, (TENANT,), "tenant")
    daily = {"framework": "soc2", "every": "daily", "hour": 5}
    await local.store.replace(IDENTITY, (TENANT,), tenant | {"settings": {"schedules": [daily]}})
    wanted = (Regular("soc2", "daily"),)
    assert await policies() == (wanted, None), "no change of them is in the trail"
    for hours, fields in ((1, ("schedules", "mutes")), (2, ("schedules",)), (3, ("mutes",))):
        await say(local, "config.change", BEGAN + timedelta(hours=hours), changed_fields=fields)
    assert await policies() == (wanted, rfc3339(BEGAN + timedelta(hours=2)))
