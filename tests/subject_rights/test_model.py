"""When requests are due, and when the timer looks at them."""

from datetime import UTC, datetime

import pytest

from shared.core.clock import months_after, rfc3339
from shared.storage.documents import Item
from shared.subject_rights.model import is_overdue, look_again, new_request, over


@pytest.mark.parametrize(
    ("start", "months", "end"),
    [
        ("2026-03-15T12:00:00.000001", 1, "2026-04-15T12:00:00.000001"),
        ("2026-01-31T09:00:00", 1, "2026-02-28T09:00:00"),
        ("2028-01-31T09:00:00", 1, "2028-02-29T09:00:00"),
        ("2026-01-31T09:00:00", 3, "2026-04-30T09:00:00"),
        ("2026-12-31T23:59:59", 1, "2027-01-31T23:59:59"),
        ("2026-11-30T00:00:00", 3, "2027-02-28T00:00:00"),
        ("2026-02-28T00:00:00", 1, "2026-03-28T00:00:00"),
        ("2026-10-01T00:00:00", 3, "2027-01-01T00:00:00"),
    ],
)
def test_months_of_the_calendar(start: str, months: int, end: str) -> None:
    moment, wanted = (datetime.fromisoformat(each).replace(tzinfo=UTC) for each in (start, end))
    assert months_after(moment, months) == wanted


RECEIVED = datetime(2026, 3, 15, 12, tzinfo=UTC)
DUE = "2026-04-15T12:00:00.000000Z"


def request() -> Item:
    return new_request("tenant", "person", "somebody", {"id": "event"}, "request", RECEIVED)


def test_a_request_is_looked_at_when_there_is_work_and_when_it_falls_due() -> None:
    early, late = "2026-03-16T00:00:00.000000Z", "2026-05-01T00:00:00.000000Z"
    assert look_again(request(), early)["next_at"] == early
    assert look_again(request(), late)["next_at"] == DUE
    assert look_again(request(), late)["work_at"] == late
    told = {**request(), "overdue_at": DUE}
    assert look_again(told, late)["next_at"] == late, "that it is overdue is told once"


def test_only_what_is_open_is_overdue() -> None:
    item, due = request(), datetime(2026, 4, 15, 12, tzinfo=UTC)
    assert item["due_at"] == DUE == rfc3339(due)
    assert is_overdue(item, due)
    assert not is_overdue(item, due.replace(hour=11))
    for state, expected in (("running", True), ("deferred", True), ("executed", False), ("withdrawn", False)):
        assert is_overdue({**item, "state": state}, due) == expected


def test_what_is_over_is_not_looked_at() -> None:
    item = {**request(), "keys": {"email_key": "x"}, "pass": 3, "place": {"walk": 1}}
    assert not {"next_at", "work_at", "keys", "pass", "place"} & set(over(item))
    assert set(over(request())) < set(request())
