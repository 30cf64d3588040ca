"""Event time and windows, to the microsecond: pure functions on events as they are stored, and as they must not be."""

from datetime import timedelta
from typing import Any

import pytest

from shared.core.clock import rfc3339
from shared.detection import all_patterns
from shared.detection.engine import (
    MAX_AHEAD,
    MAX_BEHIND,
    Tally,
    crossings_by_count,
    crossings_by_distinct,
    event_time,
    is_odd,
    observe,
    windows,
)
from shared.detection.episodes import LONGEST, Episode, merged, reach
from shared.detection.model import Observed, Span
from tests.detection.support import ACCOUNT, BRUTE_FORCE, START, TENANT, seconds, stored_event

TICK = timedelta(microseconds=1)
MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize(
    ("behind", "plausible"),
    [
        (timedelta(), True),
        (MINUTE, True),
        (-MINUTE, True),
        (MAX_BEHIND, True),
        (MAX_BEHIND + TICK, False),
        (-MAX_AHEAD, True),
        (-MAX_AHEAD - TICK, False),
    ],
)
def test_an_implausible_time_is_not_believed(behind: timedelta, plausible: bool) -> None:
    event = stored_event("e", START - behind, START)
    assert event_time(event) == (START - behind if plausible else START)
    assert is_odd(event) == (not plausible)


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-15 12:00:00.000000Z",
        "2026-03-15t12:00:00.00000+1",
        "2026-03-15T12:00:00.0000000",
        "2026-W11-7T12:00:00.000000Z",
        "2026-03-15T120000.00000000Z",
        "2026-03-15T12:00:00,000000Z",
        "2026-03-15T12:00:00.000000z!",
        "",
    ],
)
def test_a_time_of_another_form_is_none(text: str) -> None:
    """Python reads more than RFC 3339 allows, times without a zone among it."""
    for field in ("occurred_at", "recorded_at"):
        with pytest.raises(ValueError, match=r"(?i)time|format|RFC"):
            event_time({**stored_event("e", START), field: text})


def test_a_shorter_form_of_the_same_time_is_read() -> None:
    event = {**stored_event("e", START), "occurred_at": "2026-03-15T13:00:00+01:00"}
    assert event_time(event) == START
    assert not is_odd(event)


def test_what_is_observed_of_an_event() -> None:
    event = stored_event("e1", START, ip_key="v1:a")
    found = observe(BRUTE_FORCE, event)
    assert found is not None
    key, seen = found
    assert (key, seen.at, seen.id, seen.selector, seen.group) == (ACCOUNT, START, "e1", 0, "")
    told = observe(BRUTE_FORCE, event, START + MINUTE)
    assert told is not None
    assert told[1].at == START + MINUTE, "a time that is known already is not read again"


@pytest.mark.parametrize(
    "fields",
    [{"erased_at": rfc3339(START)}, {"outcome": "denied"}, {"type": "auth.logout"}, {"target": None}],
)
def test_what_is_none_of_the_patterns(fields: dict[str, Any]) -> None:
    assert observe(BRUTE_FORCE, stored_event("e", START, **fields)) is None


@pytest.mark.parametrize("wrong", ["", 7, ["x"]])
def test_a_key_that_is_no_text_is_refused(wrong: object) -> None:
    with pytest.raises(ValueError, match=r"^a key is text$"):
        observe(BRUTE_FORCE, stored_event("e", START, target={"kind": "user", "id": wrong}))


def at(*offsets: float, facts: str = "") -> list[Observed]:
    return [Observed(START + seconds(offset), f"e{n}", facts[n] if facts else None) for n, offset in enumerate(offsets)]


def test_both_edges_of_a_window_belong_to_it() -> None:
    found = at(0, 60, 60.000001, 200)
    assert [(position, since) for position, since, _ in windows(found, MINUTE)] == [(0, 0), (1, 0), (2, 1), (3, 3)]


def test_every_position_with_enough_in_its_window_crosses() -> None:
    crossed = list(
        crossings_by_count(
            at(0, 10, 60, 61),
            threshold=3,
            window=MINUTE,
            severity_of=lambda count: "critical" if count > 3 else "high",
        )
    )
    assert [(each.position, each.since, each.severity) for each in crossed] == [(2, 0, "high"), (3, 1, "high")]
    assert [(each.at, each.id, each.since_at) for each in crossed] == [
        (START + MINUTE, "e2", START),
        (START + seconds(61), "e3", START + seconds(10)),
    ]


def test_different_values_are_counted_once_and_leave_with_their_last_event() -> None:
    told = []
    found = at(0, 1, 2, 61, 62.5, facts="abacb")
    for each in crossings_by_distinct(
        found, threshold=2, window=MINUTE, severity_of=lambda distinct: "critical" if distinct > 2 else "medium"
    ):
        told.append((each.position, each.severity))
    assert told == [(1, "medium"), (2, "medium"), (3, "critical"), (4, "medium")]

    tally = Tally(found)
    for since, position, held in (
        (0, 0, {"a": 1}),
        (0, 1, {"a": 1, "b": 1}),
        (1, 2, {"b": 1, "a": 1}),
        (3, 3, {"c": 1}),
    ):
        tally.move(since, position)
        assert dict(tally.held) == held


def test_a_value_of_ones_own_is_counted() -> None:
    found = at(0, 1, 2, facts="aaa")
    crossed = crossings_by_distinct(
        found, threshold=3, window=MINUTE, severity_of=lambda _: "high", value_of=lambda each: each.id
    )
    assert [each.position for each in crossed] == [2]


def test_spans_that_touch_are_one() -> None:
    one, two, three = (Span(START + n * MINUTE, START + (n + 1) * MINUTE) for n in (0, 1, 3))
    inner = Span(START + seconds(1), START + seconds(2))
    assert merged([three, two, inner, one]) == [Span(one.start, two.end), three]
    assert merged([]) == []


def test_an_episode_covers_both_its_ends() -> None:
    first, last = (START, "b"), (START + MINUTE, "b")
    episode = Episode(first, last, "high", START, 2, 4)
    inside = [first, last, (START, "c"), (START + seconds(1), "a")]
    outside = [(START, "a"), (START + MINUTE, "c"), (START - TICK, "z"), (START + MINUTE + TICK, "a")]
    assert all(episode.covers(each) for each in inside)
    assert not any(episode.covers(each) for each in outside)
    assert (episode.count, episode.last_seen) == (3, START + MINUTE)


def test_how_far_one_has_to_look() -> None:
    assert reach(MINUTE) == LONGEST + 3 * MINUTE
    around = Span.around(START, MINUTE)
    assert (around.start, around.end) == (START - MINUTE, START + MINUTE)
    assert around.holds(START - MINUTE)
    assert around.holds(START + MINUTE)
    assert not around.holds(START + MINUTE + TICK)
    assert not around.holds(START - MINUTE - TICK)


def test_the_tenant_is_told_apart_only_across_tenants() -> None:
    found = observe(all_patterns()["credential_stuffing"], stored_event("e", START, ip_key="v1:a"))
    assert found is not None
    assert (found[0], found[1].group) == ("v1:a", TENANT)
