"""Times as text: one width, one zone, so that a store can order and bound them as text."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.clock import SystemClock, parse_rfc3339, period_end, period_of, rfc3339

OFFSETS = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(lambda minutes: timezone(timedelta(minutes=minutes)))
NAIVE = datetime(2026, 1, 1)  # noqa: DTZ001 - that is the point
LAST = NAIVE.replace(year=9998)
MOMENTS = st.datetimes(NAIVE.replace(year=2), LAST, timezones=OFFSETS)


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2026, 3, 15, 12, 0, tzinfo=UTC), "2026-03-15T12:00:00.000000Z"),
        (datetime(2026, 3, 15, 12, 0, 0, 7, tzinfo=UTC), "2026-03-15T12:00:00.000007Z"),
        (datetime(2026, 1, 1, 0, 30, tzinfo=timezone(timedelta(hours=1))), "2025-12-31T23:30:00.000000Z"),
        (datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=-12, minutes=-45))), "2026-01-01T12:45:00.000000Z"),
        (datetime(999, 1, 1, tzinfo=UTC), "0999-01-01T00:00:00.000000Z"),
        (datetime(1, 1, 1, tzinfo=UTC), "0001-01-01T00:00:00.000000Z"),
        (datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), "9999-12-31T23:59:59.999999Z"),
    ],
)
def test_the_text_of_a_moment(moment: datetime, text: str) -> None:
    assert rfc3339(moment) == text
    assert parse_rfc3339(text) == moment


@given(moment=MOMENTS)
def test_there_and_back(moment: datetime) -> None:
    text = rfc3339(moment)
    assert len(text) == 27
    back = parse_rfc3339(text)
    assert back == moment
    assert back.tzinfo is UTC


@given(one=MOMENTS, other=MOMENTS)
def test_text_order_is_time_order(one: datetime, other: datetime) -> None:
    assert (rfc3339(one) < rfc3339(other)) == (one < other)
    assert (rfc3339(one) == rfc3339(other)) == (one == other)


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2026-01-31T00:00:00Z", "2026-01-31T00:00:00.000000Z"),
        ("2026-01-31t00:00:00z", "2026-01-31T00:00:00.000000Z"),
        ("2026-01-31T00:00:00.5+02:00", "2026-01-30T22:00:00.500000Z"),
        ("2026-01-31T00:00:00-00:00", "2026-01-31T00:00:00.000000Z"),
        ("2026-01-31T00:00:00.123456789Z", "2026-01-31T00:00:00.123456Z"),
    ],
)
def test_every_spelling_of_rfc_3339_is_read(text: str, utc: str) -> None:
    assert rfc3339(parse_rfc3339(text)) == utc


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-01-31",
        "2026-01-31T00:00:00",
        "2026-01-31T00:00Z",
        "2026-01-31 00:00:00Z",
        "20260131T000000Z",
        "2026-W01-1T00:00:00Z",
        "2026-01-31T00:00:00,5Z",
        "2026-01-31T00:00:00+0200",
        "2026-01-31T00:00:00+02",
        "2026-01-31T00:00:00+01:00:30",
        "2026-01-31T24:00:00Z",
        "2026-01-31T00:00:60Z",
        "2026-02-29T00:00:00Z",
        "2026-01-31T00:00:00Z\n",
        "２０２６-01-31T00:00:00Z",
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-23:59",
        "0000-01-01T00:00:00Z",
    ],
)
def test_anything_else_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_rfc3339(text)


def test_a_naive_moment_is_refused_rather_than_guessed() -> None:
    for function in (rfc3339, period_of):
        with pytest.raises(ValueError, match="offset"):
            function(NAIVE)


@pytest.mark.parametrize(
    ("moment", "period"),
    [
        (datetime(2026, 1, 31, 23, 59, 59, 999_999, tzinfo=UTC), "2026-01"),
        (datetime(2026, 2, 1, tzinfo=UTC), "2026-02"),
        (datetime(2026, 2, 1, 0, 30, tzinfo=timezone(timedelta(hours=1))), "2026-01"),
        (datetime(2026, 1, 31, 23, 30, tzinfo=timezone(timedelta(hours=-1))), "2026-02"),
        (datetime(2026, 1, 1, 0, 0, tzinfo=timezone(timedelta(hours=14))), "2025-12"),
        (datetime(2025, 12, 31, 12, 0, tzinfo=timezone(timedelta(hours=-12))), "2026-01"),
        (datetime(2024, 3, 1, 1, 0, tzinfo=timezone(timedelta(hours=2))), "2024-02"),
        (datetime(987, 6, 5, tzinfo=UTC), "0987-06"),
    ],
)
def test_the_period_is_the_month_in_utc(moment: datetime, period: str) -> None:
    assert period_of(moment) == period


@given(moment=MOMENTS)
def test_the_period_begins_the_text(moment: datetime) -> None:
    assert rfc3339(moment).startswith(period_of(moment) + "-")


def test_the_system_clock_is_aware_and_utc() -> None:
    assert SystemClock().now().utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    "text", ["", "2026", "2026-13", "2026-00", "2026-3", "2026-03-01", "1969-12", "9999-01", "2026-03\n"]
)
def test_what_is_no_month_has_no_end(text: str) -> None:
    with pytest.raises(ValueError, match="YYYY-MM"):
        period_end(text)


def test_a_month_ends_where_the_next_begins() -> None:
    for period, after in (("2026-02", datetime(2026, 3, 1, tzinfo=UTC)), ("1970-12", datetime(1971, 1, 1, tzinfo=UTC))):
        assert period_end(period) == after.timestamp()
