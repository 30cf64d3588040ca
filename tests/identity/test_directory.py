"""The directory between rivals: an e-mail is one user's, and only that user's steps count."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import pytest

from shared.identity.directory import Directory, EmailTaken, Entry, TakenOver
from shared.privacy.blind_index import BlindIndex
from shared.privacy.secrets import MemorySecrets
from shared.storage.containers import DIRECTORY, Container
from shared.storage.documents import Partition
from shared.storage.sqlite import SqliteStore
from tests.fakes import ManualClock
from tests.faults import FaultyStore

EMAIL = "ada@example.com"
GHOST, FIRST, SECOND = (Entry(f"tenant-{name}", f"user-{name}") for name in ("ghost", "first", "second"))


class Interrupted(FaultyStore):
    """A store in which something else happens right before the first call of a kind."""

    operation = ""

    def before(self, operation: str, happens: Callable[[], Awaitable[object]]) -> None:
        self.operation, self._happens = operation, happens

    async def _pass[T](
        self, operation: str, container: Container | None, partition: Partition, run: Callable[[], Awaitable[T]]
    ) -> T:
        if operation == self.operation:
            self.operation = ""
            await self._happens()
        return await super()._pass(operation, container, partition, run)


@dataclass
class Desk:
    """Two directories over one store: `slow` is overtaken by what `quick` does."""

    store: Interrupted
    clock: ManualClock
    slow: Directory
    quick: Directory

    async def abandon(self) -> str:
        """A reservation whose account never came, old enough to be taken over; its id."""
        key = await self.quick.reserve(EMAIL, GHOST)
        self.clock.advance(seconds=61)
        return key

    async def state(self, key: str) -> tuple[str, str]:
        item = await self.store.read(DIRECTORY, (key,), key)
        return item["user_id"], item["state"]


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    clock = ManualClock()
    inner = await SqliteStore.open(None, clock=clock)
    store, index = Interrupted(inner), BlindIndex(MemorySecrets(), "v1")
    yield Desk(store, clock, Directory(store, index, clock), Directory(inner, index, clock))
    await inner.close()


async def test_a_reservation_is_freed_by_its_user_only(desk: Desk) -> None:
    key = await desk.quick.reserve(EMAIL, FIRST)
    await desk.quick.free(key, SECOND)
    assert await desk.quick.find(EMAIL) == FIRST
    await desk.quick.free(key, FIRST)
    assert await desk.quick.find(EMAIL) is None
    await desk.quick.free(key, FIRST)
    assert await desk.quick.reserve(EMAIL, SECOND) == key


async def test_what_was_taken_over_in_between_is_not_freed(desk: Desk) -> None:
    key = await desk.abandon()
    desk.store.before("delete", lambda: desk.quick.reserve(EMAIL, SECOND))
    await desk.slow.free(key, GHOST)
    assert await desk.quick.find(EMAIL) == SECOND


async def test_of_two_who_take_over_one_abandoned_reservation_the_quicker_has_it(desk: Desk) -> None:
    key = await desk.abandon()
    desk.store.before("replace", lambda: desk.quick.reserve(EMAIL, SECOND))
    with pytest.raises(EmailTaken):
        await desk.slow.reserve(EMAIL, FIRST)
    assert await desk.state(key) == (SECOND.user_id, "reserved")


async def test_of_many_who_take_over_at_once_one_wins(desk: Desk) -> None:
    await desk.abandon()
    rivals = [Entry(f"tenant-{n}", f"user-{n}") for n in range(8)]
    done = await asyncio.gather(*(desk.quick.reserve(EMAIL, each) for each in rivals), return_exceptions=True)
    winners = [rival for rival, result in zip(rivals, done, strict=True) if isinstance(result, str)]
    assert winners == [await desk.quick.find(EMAIL)]
    assert sum(isinstance(result, EmailTaken) for result in done) == len(rivals) - 1


async def test_a_reservation_that_was_taken_over_in_between_is_not_confirmed(desk: Desk) -> None:
    key = await desk.abandon()
    desk.store.before("replace", lambda: desk.quick.reserve(EMAIL, SECOND))
    with pytest.raises(TakenOver):
        await desk.slow.confirm(key, GHOST)
    assert await desk.state(key) == (SECOND.user_id, "reserved")
    assert await desk.quick.tenant_of(GHOST.user_id) is None


async def test_a_reservation_that_was_freed_while_it_was_taken_over_is_free(desk: Desk) -> None:
    key = await desk.abandon()
    desk.store.before("read", lambda: desk.quick.free(key, GHOST))
    assert await desk.slow.reserve(EMAIL, FIRST) == key
    assert await desk.state(key) == (FIRST.user_id, "reserved")
