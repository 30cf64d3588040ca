"""What a process keeps of hot keys: nothing that is not whole, not of that version, or too much."""

from datetime import timedelta

from shared.detection.model import Observed, Span
from shared.detection.recent import Kept, Recent
from tests.detection.support import START, seconds

TICK = timedelta.resolution


def kept(*offsets: float, version: int = 1, start: float = 0, end: float = 100) -> Kept:
    span = Span(START + seconds(start), START + seconds(end))
    return Kept(version, span, [Observed(START + seconds(at), f"e{at:g}") for at in offsets])


def found(recent: Recent, start: float, end: float, version: int = 1, series: str = "a") -> list[str] | None:
    events = recent.find(series, version, START + seconds(start), START + seconds(end))
    return None if events is None else [each.id for each in events]


def test_events_from_the_start_to_before_the_end() -> None:
    recent = Recent()
    recent.keep("a", kept(0, 10, 20, 30))
    assert found(recent, 10, 30) == ["e10", "e20"]
    assert found(recent, 0, 100) == ["e0", "e10", "e20", "e30"]
    assert found(recent, 40, 50) == []


def test_what_is_not_whole_has_to_be_read() -> None:
    recent = Recent()
    recent.keep("a", kept(0, 10))
    assert found(recent, -1e-6, 50) is None
    assert found(recent, 0, 100.000001) == ["e0", "e10"], "before the end, which is the last tick that is known"
    assert found(recent, 0, 100.000002) is None
    assert found(recent, 0, 50, version=2) is None
    assert found(recent, 0, 50, version=0) is None
    assert found(recent, 0, 50, series="b") is None


def test_what_is_kept_anew_takes_the_place_of_what_was() -> None:
    recent = Recent(most=3)
    recent.keep("a", kept(0, 10))
    recent.keep("a", kept(20, version=2))
    assert found(recent, 0, 50) is None
    assert found(recent, 0, 50, version=2) == ["e20"]
    recent.keep("b", kept(1, 2))
    assert (found(recent, 0, 50, version=2), found(recent, 0, 50, series="b")) == (["e20"], ["e1", "e2"])


def test_the_oldest_keys_go_when_it_is_too_much() -> None:
    recent = Recent(most=4)
    for series in "abc":
        recent.keep(series, kept(1, 2))
    assert [found(recent, 0, 50, series=each) for each in "abc"] == [None, ["e1", "e2"], ["e1", "e2"]]
    recent.keep("b", kept(1))
    recent.keep("d", kept(1, 2))
    assert [found(recent, 0, 50, series=each) for each in "bcd"] == [["e1"], None, ["e1", "e2"]]
    recent.keep("e", kept(1, 2, 3, 4, 5))
    assert [found(recent, 0, 50, series=each) for each in "bde"] == [None, None, None], "it alone is too much"


def test_a_key_that_is_forgotten_makes_room() -> None:
    recent = Recent(most=2)
    recent.keep("a", kept(1, 2))
    recent.drop("a")
    recent.drop("a")
    recent.keep("b", kept(1))
    recent.keep("c", kept(1))
    assert [found(recent, 0, 50, series=each) for each in "abc"] == [None, ["e1"], ["e1"]]
