"""Rollups count what was sealed, whatever the order and wherever they were put down in between."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.ledger.rollups import MAX_EXACT, DayRollup, DistinctActors, rollups_of


def event(**changes: Any) -> dict[str, Any]:
    return {
        "type": "auth.login",
        "outcome": "success",
        "data_class": "none",
        "reason": None,
        "recorded_at": "2026-03-15T12:34:56.000001Z",
        "actor": {"kind": "user", "id": "u1", "role": "user"},
    } | changes


def test_a_day_is_counted() -> None:
    day = rollups_of(
        [
            event(),
            event(outcome="failure", reason="bad_credentials", actor={"kind": "anonymous", "id": None, "role": None}),
            event(recorded_at="2026-03-15T23:59:59.999999Z"),
            event(type="custom.a", actor={"kind": "service", "id": "u1", "role": None}),
            event(type="custom.b.c"),
        ],
        first_index=40,
    )["2026-03-15"]
    assert day.totals() == {
        "day": "2026-03-15",
        "events": 5,
        "first": 40,
        "last": 44,
        "counts": [
            ["auth.login", "failure", "none", "bad_credentials", 1],
            ["auth.login", "success", "none", None, 2],
            ["custom.*", "success", "none", None, 2],
        ],
        "hours": {
            "auth.login": [0] * 12 + [2] + [0] * 10 + [1],
            "custom.*": [0] * 12 + [2] + [0] * 11,
        },
        "distinct_actors": 2,
        "distinct_actors_exact": True,
    }


def test_days_are_apart_and_an_event_of_another_day_is_refused() -> None:
    first, second = event(), event(recorded_at="2026-03-16T00:00:00.000000Z")
    days = rollups_of([first, second, first])
    assert {day: (each.events, each.first, each.last) for day, each in days.items()} == {
        "2026-03-15": (2, 0, 2),
        "2026-03-16": (1, 1, 1),
    }
    with pytest.raises(ValueError, match="another day"):
        days["2026-03-15"].add(second, 3)


events = st.builds(
    event,
    type=st.sampled_from(["auth.login", "data.read", "custom.x", "custom.y"]),
    outcome=st.sampled_from(["success", "failure"]),
    reason=st.sampled_from([None, "a", "b"]),
    recorded_at=st.integers(0, 23).map(lambda hour: f"2026-03-15T{hour:02}:00:00.000000Z"),
    actor=st.builds(lambda n: {"kind": "user", "id": str(n) if n else None, "role": None}, st.integers(0, 9)),
)


@given(st.lists(events, min_size=1, max_size=30), st.randoms(use_true_random=False), st.integers(0, 30))
@settings(max_examples=50)
def test_order_and_interruptions_do_not_matter(given_events: list[Any], random: Any, cut: int) -> None:
    whole = rollups_of(given_events)["2026-03-15"]
    shuffled = list(enumerate(given_events))
    random.shuffle(shuffled)
    rollup = DayRollup("2026-03-15")
    for number, (index, each) in enumerate(shuffled):
        if number == cut:
            rollup = DayRollup.from_item(json.loads(json.dumps(rollup.to_item())))
        rollup.add(each, index)
    assert rollup.to_item() == whole.to_item()


def test_a_day_of_which_nothing_was_counted_yet_is_one() -> None:
    empty = DayRollup("2026-03-15").to_item()
    assert DayRollup.from_item(json.loads(json.dumps(empty))).to_item() == empty


def test_actors_are_exact_up_to_the_bound_and_estimated_beyond() -> None:
    actors = DistinctActors()
    for number in [*range(MAX_EXACT), *range(MAX_EXACT)]:
        actors.add("user", str(number))
    assert (actors.count, actors.exact) == (MAX_EXACT, True)
    for number in range(MAX_EXACT, 20_000):
        actors.add("user", str(number))
    assert not actors.exact
    assert abs(actors.count - 20_000) < 2_000
    assert len(actors.hashes()) == MAX_EXACT
    backwards = DistinctActors()
    for number in reversed(range(20_000)):
        backwards.add("user", str(number))
    assert (backwards.hashes(), backwards.count) == (actors.hashes(), actors.count)
    again = DistinctActors(actors.hashes(), exact=False)
    again.add("user", "5")
    assert again.hashes() == actors.hashes()
