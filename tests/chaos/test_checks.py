"""The judge on logs and trails of a few lines: what a campaign has too seldom, or by chance."""

from collections.abc import Sequence
from typing import Any

import pytest

from tests.chaos.checks import Snapshot
from tests.chaos.checks.state import check_state
from tests.chaos.checks.trail import check_trail
from tests.chaos.journal import Attempt

ALERT = "alert-1"
UNANSWERED = 0


def event(trace: str | None, kind: str, target: str = "someone", **attributes: Any) -> dict[str, Any]:
    return {
        "id": f"{trace} {kind} {target} {attributes}",
        "type": kind,
        "outcome": "success",
        "target": {"kind": "thing", "id": target},
        "context": {"trace_id": trace},
        "attributes": attributes,
    }


def attempt(number: int, call: str, status: int, seen: str | None = None, **told: Any) -> Attempt:
    return Attempt(
        str(number), number, call, {"user": "u", "tenant": "t", **told}, status, {"id": seen} if seen else {}
    )


def set_to(number: int, value: str, status: int = 200, call: str = "settings") -> Attempt:
    return attempt(number, call, status, field="role" if call == "user_role" else "time_zone", value=value)


def changed(number: int) -> dict[str, Any]:
    return event(str(number), "config.change")


def judged(attempts: Sequence[Attempt], *events: dict[str, Any]) -> list[tuple[str, str]]:
    """Which check finds which attempt; the finding names it in parentheses."""
    found = check_trail(Snapshot({"audit_events": list(events)}), attempts)
    return [(each.check, each.detail.partition("(")[2].partition(")")[0]) for each in found]


NO_EVENT = "acknowledged_without_event"
TOO_MANY = "event_without_cause"


@pytest.mark.parametrize(
    ("attempts", "events", "findings"),
    [
        ([set_to(1, "Asia/Tokyo")], [changed(1)], []),
        ([set_to(1, "Asia/Tokyo")], [], [(NO_EVENT, "1")]),
        ([set_to(1, "UTC")], [], []),
        ([set_to(1, "UTC")], [changed(1)], [(TOO_MANY, "1")]),
        ([set_to(1, "Asia/Tokyo"), set_to(2, "Asia/Tokyo")], [changed(1)], []),
        ([set_to(1, "Asia/Tokyo"), set_to(2, "UTC")], [changed(1)], [(NO_EVENT, "2")]),
        ([set_to(1, "Asia/Tokyo", UNANSWERED), set_to(2, "Asia/Tokyo")], [changed(1)], []),
        ([set_to(1, "Asia/Tokyo", UNANSWERED), set_to(2, "Asia/Tokyo")], [changed(2)], []),
        ([set_to(1, "Asia/Tokyo", 503), set_to(2, "Asia/Tokyo")], [], [(NO_EVENT, "2")]),
    ],
)
def test_a_setting_that_changed_has_its_event(
    attempts: list[Attempt], events: list[dict[str, Any]], findings: list[tuple[str, str]]
) -> None:
    assert judged(attempts, *events) == findings


def test_a_change_of_role_is_not_told_as_a_look() -> None:
    looks = [event("1", "user.view"), event("2", "user.view")]
    asked = [set_to(1, "viewer", call="user_role"), set_to(2, "viewer", call="user_role")]
    assert judged(asked, *looks) == [(NO_EVENT, "1")]
    assert judged(asked, event("1", "user.role_change"), looks[1]) == []


@pytest.mark.parametrize("kind", ["report.order", "report.generate"])
@pytest.mark.parametrize("first", [202, 503])
def test_a_report_is_ordered_once(kind: str, first: int) -> None:
    asked = [attempt(1, "report_order", first, seen="r" if first == 202 else None)]
    again = attempt(2, "report_order", 201, seen="r")
    ordered = event("1", kind, "r")
    assert judged([*asked, again], ordered) == []
    assert (NO_EVENT, "2") in judged([*asked, again], event("1", kind, "another"))
    assert (NO_EVENT, "2") in judged([*asked, again])


def test_a_report_that_is_read_is_told() -> None:
    assert judged([attempt(1, "report_read", 200)]) == [(NO_EVENT, "1")]
    assert judged([attempt(1, "report_read", 409)]) == []
    assert judged([attempt(1, "report_read", 200)], event("1", "report.read")) == []


def test_what_has_to_be_refused_is_not_done() -> None:
    assert judged([attempt(1, "denied", 200)]) == [("acknowledged_wrongly", "1")]
    told = event("1", "auth.password_change")
    assert judged([attempt(1, "wrong_password", 204)], told) == [("acknowledged_wrongly", "1")]


def alert(status: str, superseded_by: str | None = None) -> dict[str, Any]:
    return {"id": ALERT, "kind": "alert", "pattern": "none", "status": status, "superseded_by": superseded_by}


def moved(old: str, new: str) -> dict[str, Any]:
    return event(None, "alert.update", ALERT, old_status=old, new_status=new)


ACKNOWLEDGED = moved("open", "acknowledged")
SUPERSEDED = moved("acknowledged", "superseded")


@pytest.mark.parametrize(
    ("stored", "events", "is_right"),
    [
        (alert("open"), [], True),
        (alert("open"), [moved("open", "open")], True),
        (alert("acknowledged"), [ACKNOWLEDGED], True),
        (alert("acknowledged"), [moved("acknowledged", "acknowledged"), ACKNOWLEDGED], True),
        (alert("acknowledged", "another"), [SUPERSEDED, ACKNOWLEDGED], True),
        (alert("acknowledged"), [ACKNOWLEDGED, moved("superseded", "acknowledged"), SUPERSEDED], True),
        (alert("open"), [ACKNOWLEDGED], False),
        (alert("acknowledged"), [], False),
        (alert("acknowledged"), [ACKNOWLEDGED, ACKNOWLEDGED], False),
        (alert("acknowledged", "another"), [ACKNOWLEDGED], False),
        (alert("acknowledged"), [ACKNOWLEDGED, SUPERSEDED], False),
    ],
)
def test_an_alert_is_what_its_updates_say(
    stored: dict[str, Any], events: list[dict[str, Any]], *, is_right: bool
) -> None:
    found = check_state(Snapshot({"audit_events": events, "alerts": [stored]}), [])
    assert [each.check for each in found] == ([] if is_right else ["change_without_event"])
