"""Event time, runs, the 24-hour limit, closings, and what the edge of the view hides."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.core.clock import rfc3339
from shared.detection.engine import crossings_by_count, event_time
from shared.detection.episodes import Closing, episodes, merged, reach
from shared.detection.model import AlertSeverity, Moment, Observed, Span

NOON = datetime(2026, 3, 15, 12, 0, tzinfo=UTC)
WINDOW = timedelta(hours=1)
HOUR = timedelta(hours=1)
TICK = timedelta(microseconds=1)
WIDE = Span(NOON - timedelta(days=500), NOON + timedelta(days=500))


def seen(*at: datetime) -> list[Observed]:
    return [Observed(moment, f"e{n:04}") for n, moment in enumerate(at)]


def steady(start: datetime, length: timedelta, gap: timedelta = timedelta(minutes=30)) -> list[datetime]:
    """Events that all cross a threshold of 1, one every `gap`, the last one `length` after the first."""
    return [start + n * gap for n in range(length // gap + 1)]


@dataclass(frozen=True)
class Told:
    """An episode without positions, which are those of a view."""

    anchor: Moment
    last: Moment
    severity: AlertSeverity
    first_seen: datetime
    event_ids: tuple[str, ...]

    @property
    def last_seen(self) -> datetime:
        return self.last[0]

    @property
    def count(self) -> int:
        return len(self.event_ids)

    def covers(self, moment: Moment) -> bool:
        return self.anchor <= moment <= self.last


def found(
    observed: Sequence[Observed], *, threshold: int = 1, span: Span = WIDE, closings: Sequence[Closing] = ()
) -> list[Told]:
    def severity_of(count: int) -> AlertSeverity:
        return "critical" if count >= 4 else "high"

    points = list(crossings_by_count(observed, threshold=threshold, window=WINDOW, severity_of=severity_of))
    return [
        Told(e.anchor, e.last, e.severity, e.first_seen, tuple(each.id for each in observed[e.since : e.position + 1]))
        for e in episodes(points, span=span, window=WINDOW, closings=closings)
    ]


@pytest.mark.parametrize(
    ("ahead", "plausible"),
    [
        (timedelta(0), True),
        (timedelta(minutes=5), True),
        (timedelta(minutes=5) + TICK, False),
        (timedelta(days=-7), True),
        (timedelta(days=-7) - TICK, False),
    ],
)
def test_an_implausible_time_of_occurrence_gives_way_to_the_time_of_recording(
    ahead: timedelta, plausible: bool
) -> None:
    event = {"occurred_at": rfc3339(NOON + ahead), "recorded_at": rfc3339(NOON)}

    assert event_time(event) == (NOON + ahead if plausible else NOON)


@pytest.mark.parametrize("wrong", [{}, {"occurred_at": "yesterday"}, {"occurred_at": "2026-03-15T12:00:00"}])
def test_an_event_without_a_time_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises((KeyError, ValueError)):
        event_time({"recorded_at": rfc3339(NOON), **wrong})


def test_crossing_points_a_window_apart_are_two_episodes_and_a_microsecond_less_is_one() -> None:
    assert len(found(seen(NOON, NOON + WINDOW))) == 2
    assert len(found(seen(NOON, NOON + WINDOW - TICK))) == 1


def test_members_are_the_events_in_the_windows_of_the_crossing_points() -> None:
    early, late = NOON - 2 * HOUR, NOON + 3 * HOUR
    observed = seen(early, *(NOON + n * timedelta(minutes=10) for n in range(3)), late)

    (episode,) = found(observed, threshold=3)

    assert episode.event_ids == ("e0001", "e0002", "e0003")
    assert (episode.first_seen, episode.last_seen) == (NOON, NOON + timedelta(minutes=20))
    assert episode.anchor == episode.last == (NOON + timedelta(minutes=20), "e0003")


def test_severity_is_the_highest_of_any_window() -> None:
    (slow,) = found(seen(*steady(NOON, 5 * HOUR)))
    (fast,) = found(seen(*steady(NOON, 5 * HOUR), NOON + 5 * HOUR))

    assert (slow.severity, slow.count) == ("high", 11)
    assert fast.severity == "critical"


def test_a_run_of_exactly_24_hours_is_one_episode() -> None:
    (episode,) = found(seen(*steady(NOON, 24 * HOUR)))

    assert episode.last_seen - episode.first_seen == 24 * HOUR


def test_a_longer_run_is_cut_at_midnight_and_no_piece_is_longer_than_a_day() -> None:
    found_ones = found(seen(*steady(NOON, 59 * HOUR)))

    assert [episode.anchor[0].hour for episode in found_ones] == [12, 0, 0]
    assert all(episode.last[0] - episode.anchor[0] < 24 * HOUR for episode in found_ones)
    midnight = NOON + 12 * HOUR
    assert found_ones[1].anchor[0] == midnight
    # The window of the first point after midnight reaches back over it: evidence of both.
    assert found_ones[1].first_seen == midnight - WINDOW


def test_a_closing_parts_only_the_episode_of_its_own_alert() -> None:
    observed = seen(*steady(NOON, 2 * HOUR), *steady(NOON + 6 * HOUR, 2 * HOUR))
    first, second = found(observed)

    after = found(observed, closings=[Closing(first.anchor, NOON + HOUR)])
    assert [episode.anchor[0] for episode in after] == [NOON, NOON + timedelta(minutes=90), second.anchor[0]]
    assert after[0].last[0] == NOON + HOUR, "a crossing point at the very moment of closing is not after it"

    much_later = found(observed, closings=[Closing(first.anchor, NOON + 7 * HOUR)])
    assert much_later == [first, second]


def test_an_alert_keeps_its_first_crossing_point_when_it_was_closed_before_it() -> None:
    observed = seen(*steady(NOON, HOUR))
    (whole,) = found(observed)

    parted = found(observed, closings=[Closing(whole.anchor, NOON - HOUR)])

    assert [(e.anchor[0], e.last[0]) for e in parted] == [(NOON, NOON), (NOON + HOUR / 2, NOON + HOUR)]


@pytest.mark.parametrize("length_hours", [1, 23, 24, 25, 40, 100])
@pytest.mark.parametrize("phase_hours", [0, 1, 11, 12, 13, 23])
def test_around_any_event_the_view_shows_what_the_whole_shows(length_hours: int, phase_hours: int) -> None:
    """Of the episodes found in a view around an event, none is other than in the whole; those near it are all there."""
    observed = seen(*steady(NOON + phase_hours * HOUR, length_hours * HOUR))
    whole = found(observed)
    for event in observed:
        view = Span.around(event.at, reach(WINDOW))
        near = found([each for each in observed if view.start <= each.at <= view.end], span=view)
        assert set(near) <= set(whole)
        assert next(e for e in whole if e.anchor[0] <= event.at <= e.last[0]) in near


GAPS = st.sampled_from([0, 1, 600, 1200, 1800, 2400, 3599, 3600, 3601, 7200, 40_000, 86_400])
"""Seconds between neighbors: in a row they make dense, sparse and long histories, and every edge."""
HISTORIES = st.lists(st.tuples(GAPS, st.integers(1, 40)), min_size=1, max_size=6)


@settings(max_examples=400, derandomize=True)
@given(blocks=HISTORIES, pick=st.integers(0, 10_000), threshold=st.integers(1, 4))
def test_all_that_one_more_event_changes_lies_in_the_view_around_it(
    blocks: list[tuple[int, int]], pick: int, threshold: int
) -> None:
    """What makes batches independent of one another: the view around a new event tells all that it changed."""
    at, times = NOON, []
    for gap, repeat in blocks:
        for _ in range(repeat):
            at += timedelta(seconds=gap)
            times.append(at)
    observed = seen(*times)
    new = observed[pick % len(observed)]
    view = Span.around(new.at, reach(WINDOW))
    before = found([each for each in observed if each != new], threshold=threshold)
    after = found(observed, threshold=threshold)

    near = found([each for each in observed if view.start <= each.at <= view.end], threshold=threshold, span=view)

    assert set(after) - set(before) <= set(near) <= set(after)
    kept = {episode.anchor for episode in after}
    gone = [episode.anchor for episode in before if episode.anchor not in kept]
    assert all(any(episode.covers(anchor) for episode in near) for anchor in gone)


def test_what_the_edge_of_the_view_may_have_cut_is_left_out() -> None:
    observed = seen(*steady(NOON, 3 * HOUR))

    assert len(found(observed, span=Span(NOON - 2 * WINDOW, WIDE.end))) == 1
    assert not found(observed, span=Span(NOON - 2 * WINDOW + TICK, WIDE.end))
    assert len(found(observed, span=Span(WIDE.start, NOON + 3 * HOUR + WINDOW))) == 1
    assert not found(observed, span=Span(WIDE.start, NOON + 3 * HOUR + WINDOW - TICK))


def test_of_a_long_run_the_day_at_the_edge_alone_is_left_out() -> None:
    observed = seen(*steady(NOON, 59 * HOUR))
    whole = found(observed)
    start, end = NOON - 2 * WINDOW, NOON + 59 * HOUR + WINDOW
    assert found(observed, span=Span(start, end)) == whole
    assert found(observed, span=Span(start + TICK, end)) == whole[1:]
    assert found(observed, span=Span(start, end - TICK)) == whole[:-1]
    assert found(observed, span=Span(start + TICK, end - TICK)) == whole[1:-1]


def test_a_closing_of_an_alert_that_began_in_the_middle_parts_the_episode_there() -> None:
    observed = seen(*steady(NOON, 3 * HOUR))
    middle = (NOON + HOUR, observed[2].id)
    parted = found(observed, closings=[Closing(middle, NOON + 1.5 * HOUR)])
    assert [(e.anchor[0], e.last[0]) for e in parted] == [
        (NOON, NOON + 1.5 * HOUR),
        (NOON + 2 * HOUR, NOON + 3 * HOUR),
    ]


def test_a_closing_of_a_single_crossing_parts_nothing() -> None:
    (alone,) = found(seen(NOON))
    assert found(seen(NOON), closings=[Closing(alone.anchor, NOON + HOUR)]) == [alone]


def test_spans_that_touch_are_looked_at_once() -> None:
    one, other, far = (Span.around(NOON + n * HOUR, HOUR) for n in (0, 2, 5))

    assert merged([far, other, one]) == [Span(one.start, other.end), far]
    assert merged([]) == []
    assert found([]) == []
