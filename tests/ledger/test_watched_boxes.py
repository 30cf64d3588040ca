"""Boxes that are watched do what boxes do, and tell once of one that does not open, and of whose it is."""

import random
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import pytest

from shared.audit.model import RequestContext
from shared.core.ids import IdFactory
from shared.ledger import watched_boxes as module
from shared.ledger.statements import Statements
from shared.ledger.watched_boxes import KNOWN, MOST, MOST_WITHIN, WatchedBoxes
from shared.privacy.boxes import BoxDamaged, KeyOfBoxDamaged, Opened, Personal, Sealed
from tests.fakes import ManualClock
from tests.ledger.world import NOW, OTHER, TENANT, World

BOX = {"form": "one"}
SEALED, OPENED = Sealed(BOX, "committed"), Opened({"name": "x"}, b"salt")
IDS = IdFactory(ManualClock(), random.Random(3).getrandbits)  # noqa: S311
LONG_AGO = NOW - timedelta(days=40)
"""In another month than NOW."""


class Boxes:
    """Boxes that do what a test says; they keep what they were asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.error: BoxDamaged | None = None

    def _answer[T](self, answer: T, *asked: Any) -> T:
        self.asked.append(asked)
        if self.error is not None:
            raise self.error
        return answer

    async def seal(self, tenant_id: str, subject: str, event_id: str, personal: Personal) -> Sealed:
        return self._answer(SEALED, "seal", tenant_id, subject, event_id, personal)

    async def prepare(self, tenant_id: str, subjects: Iterable[str], *, sealing: bool = False) -> None:
        self._answer(None, "prepare", tenant_id, subjects, sealing)

    async def open(
        self, tenant_id: str, subject: str, event_id: str, box: dict[str, Any], commitment: str | None = None
    ) -> Opened:
        return self._answer(OPENED, "open", tenant_id, subject, event_id, box, commitment)

    async def check_erased(self, tenant_id: str, subject: str, event_id: str) -> None:
        self._answer(None, "check_erased", tenant_id, subject, event_id)


class Told(Statements):
    """Keeps what it is told; it may be out of reach."""

    def __init__(self) -> None:
        self.said: list[tuple[Any, ...]] = []
        self.requests: list[RequestContext] = []
        self.error: Exception | None = None

    async def found(self, *args: Any, **more: Any) -> bool:
        if self.error is not None:
            raise self.error
        *named, request = args
        self.requests.append(request)
        self.said.append((*named, more))
        return True


class Watch:
    """Watched boxes over these two."""

    def __init__(self) -> None:
        self.boxes, self.told, self.clock = Boxes(), Told(), ManualClock(NOW)
        ids = IdFactory(ManualClock(LONG_AGO), random.Random(4).getrandbits)  # noqa: S311
        self.watched = WatchedBoxes(self.boxes, self.told, self.clock, ids)

    async def fails(self, event_id: str, subject: str = "u1", tenant_id: str = TENANT) -> int:
        """How often was told of something, after a box of a person failed to open."""
        with pytest.raises(BoxDamaged):
            await self.watched.open(tenant_id, subject, event_id, BOX)
        return len(self.told.said)


@pytest.fixture
def watch() -> Watch:
    return Watch()


def of_box(event_id: str, period: str, subject: str = "u1", tenant_id: str = TENANT) -> tuple[Any, ...]:
    more = {"event_id": event_id, "subjects": (subject,)}
    return (tenant_id, period, "box", f"{event_id}|{subject}", more)


def of_key(period: str, subject: str = "u1", tenant_id: str = TENANT) -> tuple[Any, ...]:
    return (tenant_id, period, "person_key", subject, {"event_id": None, "subjects": (subject,)})


async def test_what_is_asked_is_handed_on_and_so_is_the_answer(watch: Watch) -> None:
    assert await watch.watched.seal(TENANT, "u1", "e1", {"a": "b"}) is SEALED
    assert await watch.watched.open(TENANT, "u1", "e1", BOX) is OPENED
    assert await watch.watched.open(OTHER, "u2", "e2", BOX, "committed") is OPENED
    await watch.watched.check_erased(TENANT, "u1", "e1")
    await watch.watched.prepare(TENANT, ["u1"])
    await watch.watched.prepare(OTHER, ["u2"], sealing=True)
    assert watch.boxes.asked == [
        ("seal", TENANT, "u1", "e1", {"a": "b"}),
        ("open", TENANT, "u1", "e1", BOX, None),
        ("open", OTHER, "u2", "e2", BOX, "committed"),
        ("check_erased", TENANT, "u1", "e1"),
        ("prepare", TENANT, ["u1"], False),
        ("prepare", OTHER, ["u2"], True),
    ]
    assert watch.told.said == []


async def test_a_box_that_does_not_open_is_told_in_the_month_of_its_event(watch: Watch) -> None:
    watch.boxes.error = BoxDamaged("changed")
    event_id = IDS.new(LONG_AGO)
    with pytest.raises(BoxDamaged) as raised:
        await watch.watched.open(TENANT, "u1", event_id, BOX)
    assert raised.value is watch.boxes.error
    assert watch.told.said == [of_box(event_id, "2026-02")]
    (request,) = watch.told.requests
    assert (request.route, request.function, request.started_at) == ("boxes", "boxes", NOW)
    assert IdFactory(watch.clock, random.Random(4).getrandbits).new(NOW) == request.request_id  # noqa: S311


async def test_of_an_id_that_is_none_of_ours_it_is_told_now(watch: Watch) -> None:
    watch.boxes.error = BoxDamaged("changed")
    assert await watch.fails("none of ours") == 1
    assert watch.told.said == [of_box("none of ours", "2026-03")]


async def test_a_key_that_does_not_unwrap_is_told_of_the_person(watch: Watch) -> None:
    watch.boxes.error = KeyOfBoxDamaged("changed")
    first, second = IDS.new(LONG_AGO), IDS.new(NOW)
    await watch.fails(first, "u1", OTHER)
    with pytest.raises(KeyOfBoxDamaged) as raised:
        await watch.watched.seal(TENANT, "u2", second, {})
    assert raised.value is watch.boxes.error
    assert watch.told.said == [of_key("2026-02", "u1", OTHER), of_key("2026-03", "u2")]


async def test_a_box_that_is_gone_without_an_erasure_is_told_of(watch: Watch) -> None:
    watch.boxes.error = BoxDamaged("a box is gone")
    event_id = IDS.new(LONG_AGO)
    with pytest.raises(BoxDamaged) as raised:
        await watch.watched.check_erased(TENANT, "u1", event_id)
    assert raised.value is watch.boxes.error
    assert watch.told.said == [of_box(event_id, "2026-02")]


async def test_sealing_tells_of_keys_alone(watch: Watch) -> None:
    """Nothing is read of a box when one is sealed; whoever calls it damaged then is no key."""
    watch.boxes.error = BoxDamaged("odd")
    with pytest.raises(BoxDamaged):
        await watch.watched.seal(TENANT, "u1", IDS.new(NOW), {})
    assert watch.told.said == []


async def test_each_box_is_told_once(watch: Watch) -> None:
    watch.boxes.error = BoxDamaged("changed")
    one, two = IDS.new(NOW), IDS.new(NOW)
    assert [await watch.fails(one) for _ in range(3)] == [1, 1, 1]
    assert await watch.fails(two) == 2, "another event"
    assert await watch.fails(one, "u2") == 3, "another person"
    assert await watch.fails(one, "u1", OTHER) == 4, "another tenant"
    assert [await watch.fails(each) for each in (one, two)] == [4, 4]
    assert watch.told.said == [
        of_box(one, "2026-03"),
        of_box(two, "2026-03"),
        of_box(one, "2026-03", "u2"),
        of_box(one, "2026-03", "u1", OTHER),
    ]


async def test_each_key_is_told_once_a_month(watch: Watch) -> None:
    watch.boxes.error = KeyOfBoxDamaged("changed")
    assert [await watch.fails(IDS.new(NOW)) for _ in range(3)] == [1, 1, 1], "whatever it was to open"
    assert await watch.fails(IDS.new(NOW), "u2") == 2
    assert await watch.fails(IDS.new(NOW), "u1", OTHER) == 3
    assert await watch.fails(IDS.new(LONG_AGO)) == 4
    assert await watch.fails(IDS.new(LONG_AGO)) == 4


async def test_what_could_not_be_told_is_told_the_next_time(watch: Watch) -> None:
    watch.boxes.error, watch.told.error = BoxDamaged("changed"), RuntimeError("no store")
    event_id = IDS.new(NOW)
    with pytest.raises(RuntimeError):
        await watch.watched.open(TENANT, "u1", event_id, BOX)
    watch.told.error = None
    assert await watch.fails(event_id) == 1


def few(monkeypatch: pytest.MonkeyPatch, name: str, number: int) -> Watch:
    monkeypatch.setattr(module, name, number)
    made = Watch()
    made.boxes.error = BoxDamaged("changed")
    return made


async def test_so_many_are_told_within_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (100, timedelta(minutes=1)) == (MOST, MOST_WITHIN)
    watch = few(monkeypatch, "MOST", 3)
    ids = [IDS.new(NOW) for _ in range(9)]
    counts = [await watch.fails(ids[0])]
    watch.clock.advance(seconds=20)
    counts += [await watch.fails(each) for each in ids[1:5]]
    assert counts == [1, 2, 3, 3, 3]
    watch.clock.advance(seconds=39)
    assert await watch.fails(ids[3]) == 3
    watch.clock.advance(seconds=1)
    assert await watch.fails(ids[3]) == 4, "the first was a minute ago"
    assert await watch.fails(ids[4]) == 4, "the second was not"
    watch.clock.advance(seconds=20)
    assert [await watch.fails(each) for each in ids[4:8]] == [5, 6, 6, 6]
    watch.clock.advance(minutes=-30)
    assert await watch.fails(ids[8]) == 7, "a clock that is set back silences nobody"


async def test_an_instance_remembers_the_last_that_it_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    assert KNOWN == 10_000
    watch = few(monkeypatch, "KNOWN", 2)
    ids = [IDS.new(NOW) for _ in range(3)]
    assert [await watch.fails(each) for each in ids] == [1, 2, 3]
    assert [await watch.fails(each) for each in ids[1:]] == [3, 3]
    assert await watch.fails(ids[0]) == 4, "of it the store says that it is known"


async def test_it_is_a_finding_of_the_ledger(world: World) -> None:
    boxes, ids = Boxes(), IdFactory(world.clock, random.Random(5).getrandbits)  # noqa: S311
    boxes.error = BoxDamaged("changed")
    for _ in range(2):  # two instances
        watched = WatchedBoxes(boxes, world.statements(), world.clock, ids)
        with pytest.raises(BoxDamaged):
            await watched.open(TENANT, "u1", "0195c000-0000-7000-8000-000000000001", BOX)
    assert await world.found() == ["box"]
