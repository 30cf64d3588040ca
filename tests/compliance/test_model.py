"""The daily activity report as data: what is counted, and what its id, its day and its digest say."""

import hashlib
import json
import random
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest

from shared.compliance.model import Activity, Day, digest_of, new_report, report_id, same_content, shown_report
from tests.audit.support import NOW, OTHER, TENANT

DAY = Day(date(2026, 3, 15))


def event(type_: str, outcome: str = "success", reason: str | None = None, **attributes: Any) -> dict[str, Any]:
    return {"type": type_, "outcome": outcome, "reason": reason, "attributes": attributes}


EVENTS = [
    event("auth.login"),
    event("auth.login"),
    event("auth.login", "failure", "bad_credentials"),
    event("access.denied", "denied", "role"),
    event("access.denied", "denied", "unknown_id"),
    event("access.denied", "denied", None),
    event("access.cross_tenant_denied", "denied", "cross_tenant"),
    event("alert.raise", pattern="brute_force"),
    event("alert.raise", pattern="brute_force"),
    event("alert.raise", pattern="impossible_travel"),
    event("alert.update", pattern="brute_force"),
    event("report.generate"),
    event("report.generate", "failure"),
    event("report.read"),
]
COUNTS = {
    "events_in_period": 12,
    "by_type": {
        "access.cross_tenant_denied": {"denied": 1},
        "access.denied": {"denied": 3},
        "alert.raise": {"success": 3},
        "alert.update": {"success": 1},
        "auth.login": {"failure": 1, "success": 2},
        "report.read": {"success": 1},
    },
    "alerts_raised": {"total": 3, "by_pattern": {"brute_force": 2, "impossible_travel": 1}},
    "access_denied": {
        "total": 4,
        "by_reason": {"cross_tenant": 1, "role": 1, "unknown_id": 1, "unspecified": 1},
    },
}


def counted(*parts: list[dict[str, Any]]) -> Activity:
    activity = Activity()
    for part in parts:
        activity.add(part)
    return activity


def test_what_is_counted() -> None:
    assert counted(EVENTS).counts() == COUNTS


def test_nothing_counts_as_nothing() -> None:
    assert Activity().counts() == {
        "events_in_period": 0,
        "by_type": {},
        "alerts_raised": {"total": 0, "by_pattern": {}},
        "access_denied": {"total": 0, "by_reason": {}},
    }


def test_neither_order_nor_pages_change_the_report() -> None:
    """Byte for byte, keys included: the digest hashes the text."""
    wanted = json.dumps(counted(EVENTS).counts())
    for seed in range(20):
        shuffled = random.Random(seed).sample(EVENTS, len(EVENTS))  # noqa: S311 - no secret
        cut = seed % len(EVENTS)
        assert json.dumps(counted(shuffled[:cut], [], shuffled[cut:]).counts()) == wanted


def test_the_report_s_own_generation_is_left_out() -> None:
    """It would change the report that it tells of, and so on for ever."""
    assert counted([event("report.generate")] * 5).counts() == Activity().counts()


def test_the_bounds_of_a_day() -> None:
    assert DAY.start == datetime(2026, 3, 15, tzinfo=UTC)
    assert DAY.end == datetime(2026, 3, 16, tzinfo=UTC)
    assert Day(date(2026, 12, 31)).end == datetime(2027, 1, 1, tzinfo=UTC)
    assert Day(date(2028, 2, 28)).end == datetime(2028, 2, 29, tzinfo=UTC)
    assert Day(date(2026, 2, 28)).end == datetime(2026, 3, 1, tzinfo=UTC)


def test_the_days_of_a_year_meet_without_gap_or_overlap() -> None:
    days = [Day(date(2027, 12, 1) + timedelta(days=n)) for n in range(400)]
    assert all(one.end == other.start for one, other in pairwise(days))


def test_report_ids_are_the_same_in_every_run_and_release() -> None:
    """Golden: a report that is stored must be found again."""
    assert report_id(TENANT, DAY) == "76c32261-cb7b-56a9-b3c7-9f7d88df57cf"
    assert UUID(report_id(TENANT, DAY)).version == 5


def test_tenants_and_days_have_reports_of_their_own() -> None:
    days = [Day(date(2026, 3, 15)), Day(date(2026, 3, 16)), Day(date(2025, 3, 15))]
    assert len({report_id(tenant, day) for tenant in (TENANT, OTHER) for day in days}) == 6


@pytest.mark.parametrize(("final", "status"), [(False, "building"), (True, "ready")])
def test_the_stored_form(final: bool, status: str) -> None:
    assert new_report(TENANT, DAY, counted(EVENTS), NOW, final=final) == {
        "id": report_id(TENANT, DAY),
        "tenant_id": TENANT,
        "kind": "report",
        "framework": "activity",
        "from": "2026-03-15",
        "to": "2026-03-16",
        "generated_at": "2026-03-15T12:00:00.123456Z",
        "status": status,
        **COUNTS,
    }


def test_only_the_time_of_building_may_differ_between_equal_reports() -> None:
    held = {**new_report(TENANT, DAY, counted(EVENTS), NOW, final=False), "_etag": "e", "_ts": 1, "ttl": -1}
    assert same_content(held, new_report(TENANT, DAY, counted(EVENTS), NOW + timedelta(hours=1), final=False))
    assert not same_content(held, new_report(TENANT, DAY, counted(EVENTS), NOW, final=True))
    assert not same_content(held, new_report(TENANT, DAY, counted(EVENTS, EVENTS[:1]), NOW, final=False))
    assert not same_content({}, new_report(TENANT, DAY, counted(EVENTS), NOW, final=False))


def test_the_shown_form_hides_what_the_store_needs() -> None:
    built = new_report(TENANT, DAY, counted(EVENTS), NOW, final=True)
    shown = shown_report({**built, "_etag": "e", "_ts": 1, "ttl": -1})
    assert set(built) - set(shown) == {"tenant_id", "kind"}
    assert shown == {name: built[name] for name in shown}


def test_the_digest_by_hand() -> None:
    built = new_report(TENANT, DAY, counted(EVENTS), NOW, final=True)
    text = json.dumps(shown_report(built), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert digest_of(built) == hashlib.sha256(text.encode("utf-8")).hexdigest()
    assert digest_of({**built, "_etag": "e", "_ts": 1}) == digest_of(built)
    for name, value in shown_report(built).items():
        assert digest_of({**built, name: f"{value}x"}) != digest_of(built), name


def test_the_digest_is_of_canonical_json() -> None:
    """RFC 8785 and the text that we hash agree, so that any library for it recomputes the digest."""
    import rfc8785

    built = new_report(TENANT, DAY, counted(EVENTS), NOW, final=True)
    assert digest_of(built) == hashlib.sha256(rfc8785.dumps(shown_report(built))).hexdigest()
