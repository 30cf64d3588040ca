"""What a process keeps of keys: nothing that is not whole, not of that version, or too much; when they crossed last."""

from datetime import timedelta

from shared.detection.model import Observed, Span
from shared.detection.recent import Crossed, Kept, Recent
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


def lately(crossed: Crossed, *offsets: float, series: str = "a") -> bool:
    return crossed.lately(series, [START + seconds(each) for each in offsets], timedelta(seconds=60))


def test_what_is_near_to_the_last_crossing() -> None:
    crossed = Crossed()
    assert not lately(crossed, 0)
    crossed.note("a", START + seconds(100))
    assert lately(crossed, 40, 100, 160), "both edges included"
    assert not lately(crossed, 39.999999)
    assert not lately(crossed, 100, 160.000001), "all of them"
    assert not lately(crossed, 100, series="b")
    crossed.note("a", START + seconds(200))
    assert (lately(crossed, 160), lately(crossed, 100)) == (True, False)
    crossed.note("a", None)
    crossed.note("a", None)
    assert not lately(crossed, 200)


def test_of_so_many_keys_those_that_crossed_last() -> None:
    crossed = Crossed(most=2)
    for series in "abac":
        crossed.note(series, START)
    assert [lately(crossed, 0, series=each) for each in "abc"] == [True, False, True]
