"""The versions of the index secret that a store has: what is written and looked for under which, and who changes it."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from shared.core.clock import rfc3339
from shared.privacy.blind_index import BlindIndex
from shared.privacy.index_versions import (
    ASK_AFTER,
    FRESH_FOR,
    ITEM,
    LOADED,
    OVERLAP,
    SETTLING,
    IndexVersions,
    KeptVersion,
    Ring,
    check_value,
)
from shared.privacy.secret_boxes import SecretBoxes
from shared.privacy.secrets import MemorySecrets, RootName, SecretsError, SecretVersion
from shared.storage.containers import DIRECTORY, Container
from shared.storage.documents import Item, Partition
from shared.storage.errors import PreconditionFailed, Unavailable
from shared.storage.sqlite import SqliteStore
from tests.fakes import ManualClock
from tests.faults import Call, FaultyStore
from tests.privacy.test_blind_index import by_hand

ROOTS = {name: SecretVersion(name, name.encode() * 16) for name in ("v1", "v2", "v3", "v4")}
NOW = datetime(2026, 3, 15, 12, 0, tzinfo=UTC)
TICK = timedelta(microseconds=1)
OLD = KeptVersion("v1", "one")
NEW = KeptVersion("v2", "two", added_at=NOW)
TENANT, EMAIL, ADDRESS = "0195c000-0000-7000-8000-0000000000aa", "ada@example.com", "203.0.113.9"


class Roots(MemorySecrets):
    """The index secret in all of its versions, newest first."""

    async def versions(self, name: RootName) -> tuple[SecretVersion, ...]:
        return tuple(reversed(ROOTS.values()))

    async def find(self, name: RootName, version: str) -> SecretVersion | None:
        return ROOTS.get(version)


class World:
    """A store whose oldest version is v1, and instances that know of it."""

    def __init__(self, inner: SqliteStore, clock: ManualClock) -> None:
        self.store = FaultyStore(inner)
        self.clock = clock
        self.first = Ring((KeptVersion("v1", check_value(ROOTS["v1"])),))

    def instance(self, ring: Ring | None = None) -> IndexVersions:
        return IndexVersions(self.store, self.clock, ring or self.first)

    async def stored(self) -> Item:
        held = await self.store.read(DIRECTORY, (ITEM,), ITEM)
        return {name: value for name, value in held.items() if not name.startswith("_")}

    def reads(self) -> int:
        return sum(call.operation == "read" for call in self.store.calls)

    async def rotated(self) -> IndexVersions:
        """An instance of a store whose directory has moved to v2; v1 is not written under since half a minute."""
        versions = self.instance()
        await versions.add(ROOTS["v2"])
        self.clock.advance(seconds=SETTLING.total_seconds() + 30)
        await versions.indexed("v2")
        await versions.swept("v2")
        return versions


@pytest.fixture
async def world(clock: ManualClock) -> AsyncIterator[World]:
    store = await SqliteStore.open(None, clock=clock)
    made = World(store, clock)
    await store.create(DIRECTORY, (ITEM,), made.first.item())
    yield made
    await store.close()


def test_one_version_is_kept_as_before_there_were_rotations() -> None:
    ring = Ring((OLD,))
    assert ring.item() == {"id": "key_check|index", "version": "v1", "value": "one"}
    assert Ring.of(ring.item()) == ring


def test_several_versions_are_kept_with_their_times() -> None:
    done = KeptVersion("v2", "two", NOW, indexed_at=NOW + TICK, swept_at=NOW + 2 * TICK)
    ring = Ring((OLD, done, KeptVersion("v3", "three", NOW + 3 * TICK)))
    assert ring.item() == {
        "id": "key_check|index",
        "version": "v1",
        "value": "one",
        "later": [
            {
                "version": "v2",
                "value": "two",
                "added_at": rfc3339(NOW),
                "indexed_at": rfc3339(NOW + TICK),
                "swept_at": rfc3339(NOW + 2 * TICK),
            },
            {
                "version": "v3",
                "value": "three",
                "added_at": rfc3339(NOW + 3 * TICK),
                "indexed_at": None,
                "swept_at": None,
            },
        ],
    }
    assert Ring.of(ring.item()) == ring


def test_what_is_written_changes_when_a_version_has_settled() -> None:
    ring = Ring((OLD, NEW, KeptVersion("v3", "three", NOW + timedelta(hours=1))))
    begins = [NOW + SETTLING, NOW + timedelta(hours=1) + SETTLING]
    for before, at, version in (("v1", begins[0], "v2"), ("v2", begins[1], "v3")):
        assert ring.written(at - TICK) == before
        assert ring.written(at) == version
    assert ring.turns(NOW, NOW + timedelta(days=1)) == begins
    assert ring.turns(begins[0] - TICK, begins[0]) == [begins[0]]
    assert ring.turns(begins[0], begins[1] - TICK) == []
    assert Ring((OLD,)).turns(NOW - timedelta(days=9999), NOW + timedelta(days=9999)) == []


def test_a_version_is_known_once_every_instance_has_it() -> None:
    ring = Ring((OLD, NEW))
    assert ring.known(NOW + LOADED - TICK) == Ring((OLD,))
    assert ring.known(NOW + LOADED) == ring


def test_the_directory_is_kept_under_the_last_complete_version_and_what_came_after() -> None:
    indexed = replace(NEW, indexed_at=NOW)
    third = KeptVersion("v3", "three", NOW)
    assert Ring((OLD,)).directory == ("v1",)
    assert Ring((OLD, NEW)).directory == ("v1", "v2")
    assert Ring((OLD, indexed)).directory == ("v2",)
    assert Ring((OLD, indexed, third)).directory == ("v2", "v3")
    assert Ring((OLD, indexed, replace(third, indexed_at=NOW))).directory == ("v3",)


async def test_a_rotation_from_beginning_to_end(world: World) -> None:
    versions = world.instance()
    ring = await versions.add(ROOTS["v2"])
    added = KeptVersion("v2", check_value(ROOTS["v2"]), added_at=NOW)
    assert ring == Ring((*world.first.kept, added)) == Ring.of(await world.stored())
    world.clock.advance(hours=1)
    indexed = replace(added, indexed_at=world.clock.now())
    assert await versions.indexed("v2") == Ring((*world.first.kept, indexed)) == Ring.of(await world.stored())
    world.clock.advance(hours=1)
    swept = replace(indexed, swept_at=world.clock.now())
    assert await versions.swept("v2") == Ring((*world.first.kept, swept)) == Ring.of(await world.stored())
    world.clock.set(NOW + SETTLING + OVERLAP)
    assert await versions.drop("v1") == Ring((KeptVersion("v2", check_value(ROOTS["v2"])),))
    assert await world.stored() == {"id": ITEM, "version": "v2", "value": check_value(ROOTS["v2"])}


async def test_dropping_the_oldest_leaves_the_others_as_they_were(world: World) -> None:
    versions = await world.rotated()
    ring = await versions.add(ROOTS["v3"])
    world.clock.advance(days=OVERLAP.days)
    ring = await versions.swept("v3")
    dropped = await versions.drop("v1")
    assert dropped.kept[0] == KeptVersion("v2", check_value(ROOTS["v2"]))
    assert dropped.kept[1:] == ring.kept[2:]


async def test_a_version_that_is_there_is_not_added_again(world: World) -> None:
    versions = world.instance()
    ring = await versions.add(ROOTS["v2"])
    world.clock.advance(hours=1)
    assert await versions.add(ROOTS["v2"]) == ring == Ring.of(await world.stored())


async def test_no_version_is_added_while_a_rotation_is_under_way(world: World) -> None:
    versions = world.instance()
    await versions.add(ROOTS["v2"])
    for step in (None, versions.indexed):
        if step is not None:
            await step("v2")
        before = await world.stored()
        with pytest.raises(ValueError, match=r"^the rotation to v2 is not over: run reindex$"):
            await versions.add(ROOTS["v3"])
        assert await world.stored() == before
    await versions.swept("v2")
    assert (await versions.add(ROOTS["v3"])).versions == ("v1", "v2", "v3")


@pytest.mark.parametrize("step", [IndexVersions.indexed, IndexVersions.swept])
async def test_only_the_newest_of_several_is_marked(
    world: World, step: Callable[[IndexVersions, str], Awaitable[Ring]]
) -> None:
    """A sweep that took long ends when another rotation has begun: what it swept says nothing of that one."""
    versions = world.instance()
    with pytest.raises(ValueError, match=r"^v1 is not the version to change to any more$"):
        await step(versions, "v1")
    await versions.add(ROOTS["v2"])
    before = await world.stored()
    for version in ("v1", "v3"):
        with pytest.raises(ValueError, match=f"^{version} is not the version to change to any more$"):
            await step(versions, version)
    assert await world.stored() == before


async def test_what_may_not_be_dropped_stays(world: World) -> None:
    async def refused(version: str, why: str) -> None:
        before = await world.stored()
        with pytest.raises(ValueError, match=f"^{why}"):
            await versions.drop(version)
        assert await world.stored() == before

    versions = world.instance()
    await refused("v1", "only the oldest of several versions can be dropped; there are v1$")
    await versions.add(ROOTS["v2"])
    await refused("v2", "only the oldest of several versions can be dropped; there are v1, v2$")
    await refused("v1", "the directory is not rid of it: run reindex$")
    await versions.indexed("v2")
    await refused("v1", "the directory is not rid of it: run reindex$")
    await versions.swept("v2")
    until = rfc3339(NOW + SETTLING).replace(".", r"\.")
    await refused("v1", f"it was written under until {until}: it stays for 30 days at least$")
    world.clock.set(NOW + SETTLING + OVERLAP - TICK)
    await refused("v1", "it was written under until")
    world.clock.advance(seconds=1)
    assert (await versions.drop("v1")).versions == ("v2",)


def replaces(call: Call) -> bool:
    return call.operation == "replace"


async def test_a_change_by_somebody_else_meanwhile_is_not_written_over(world: World) -> None:
    """Two operators at once: the second one's change is made to what the first one left."""
    versions = await world.rotated()
    world.clock.advance(days=OVERLAP.days)
    other = IndexVersions(world.store.inner, world.clock, world.first)

    class Raced(FaultyStore):
        """Somebody else adds a version just after the first reading."""

        async def read(self, container: Container, partition: Partition, item_id: str) -> Item:
            item = await super().read(container, partition, item_id)
            if len(self.calls) == 1:
                await other.add(ROOTS["v3"])
            return item

    late = IndexVersions(Raced(world.store.inner), world.clock, world.first)
    with pytest.raises(ValueError, match="run reindex"):
        await late.drop("v1")
    assert Ring.of(await world.stored()).versions == ("v1", "v2", "v3")
    assert (await versions.reread()).versions == ("v1", "v2", "v3")


@pytest.mark.parametrize(("lost", "is_made"), [(9, True), (10, False)])
async def test_ten_lost_races_are_enough(world: World, lost: int, is_made: bool) -> None:
    store = FaultyStore(world.store.inner, 1, error=PreconditionFailed(), times=lost, counts=replaces)
    versions = IndexVersions(store, world.clock, world.first)
    if is_made:
        assert (await versions.add(ROOTS["v2"])).versions == ("v1", "v2")
    else:
        with pytest.raises(PreconditionFailed):
            await versions.add(ROOTS["v2"])
        assert Ring.of(await world.stored()) == world.first
    assert store.counted == 10


async def test_an_instance_asks_once_in_a_minute(world: World, caplog: pytest.LogCaptureFixture) -> None:
    versions = world.instance()
    await world.instance().add(ROOTS["v2"])
    world.store.calls.clear()
    world.clock.advance(seconds=ASK_AFTER.total_seconds())
    assert (await versions.ring()).versions == ("v1",)
    assert list(versions.named) == ["v1"]
    assert world.reads() == 0
    world.clock.advance(seconds=0.001)
    with caplog.at_level(logging.INFO):
        caplog.clear()  # of what the other instance said, where a test before left the level as low
        assert (await versions.ring()).versions == ("v1",)  # which is known, but not to everybody
        assert (await versions.ring()).versions == ("v1",)
    assert caplog.messages == ['index_versions_changed {"count": 2, "newest": "v2"}']
    assert world.reads() == 1
    assert list(versions.named) == ["v1", "v2"]
    assert [each.version for each in versions.held.kept] == ["v1"]
    world.clock.advance(seconds=LOADED.total_seconds())
    assert (await versions.ring()).kept == versions.held.kept
    assert [each.version for each in versions.held.kept] == ["v1", "v2"]
    assert world.reads() == 2


async def test_a_clock_that_was_set_back_makes_it_ask(world: World) -> None:
    versions = world.instance()
    world.store.calls.clear()
    world.clock.advance(seconds=-ASK_AFTER.total_seconds() - 1)
    await versions.ring()
    assert world.reads() == 1


async def test_a_store_that_is_silent_is_bridged_for_five_minutes(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    versions = world.instance()
    world.store.arm(1, times=None)
    world.clock.advance(seconds=FRESH_FOR.total_seconds())
    assert await versions.ring() == world.first
    assert caplog.messages == ['index_versions_not_read {"error_type": "Unavailable"}']
    world.clock.advance(seconds=0.001)
    for _ in range(2):
        with pytest.raises(Unavailable):
            await versions.ring()
    world.store.mend()
    assert await versions.ring() == world.first


async def test_who_asks_holds_up_nobody_else_for_five_minutes(world: World) -> None:
    versions = world.instance()
    world.clock.advance(seconds=ASK_AFTER.total_seconds() + 1)
    world.store.arm(1, "hang")
    asking = asyncio.create_task(versions.ring())
    while not world.store.hung:  # noqa: ASYNC110 - any moment will do
        await asyncio.sleep(0)
    for seconds in (0, FRESH_FOR.total_seconds() - ASK_AFTER.total_seconds() - 1):
        world.clock.advance(seconds=seconds)
        assert await versions.ring() == world.first
        assert world.reads() == 1
    world.clock.advance(seconds=0.001)
    assert await versions.ring() == world.first
    assert world.reads() == 2
    asking.cancel()
    await asyncio.wait({asking})


async def test_what_is_written_and_looked_for_amid_a_rotation(world: World) -> None:
    """Until v2 has settled values are written under v1; whoever looks for one looks under both, newest first."""
    versions = world.instance()
    index = BlindIndex(Roots(), versions)
    await versions.add(ROOTS["v2"])
    world.clock.advance(seconds=LOADED.total_seconds())
    label = f"blind-index/tenant/{TENANT}/email"
    email = {name: f"{name}:{by_hand(ROOTS[name].value, label, EMAIL)}" for name in ("v1", "v2")}
    directory = {name: f"{name}:{by_hand(ROOTS[name].value, 'blind-index/directory', EMAIL)}" for name in ("v1", "v2")}
    address = {name: f"{name}:{by_hand(ROOTS[name].value, 'blind-index/address', ADDRESS)}" for name in ("v1", "v2")}
    shouted = EMAIL.upper().replace("COM", "com")
    assert await index.for_email(TENANT, EMAIL) == email["v1"]
    assert await index.every_email(TENANT, shouted) == (email["v2"], email["v1"])
    assert await index.every_address(ADDRESS) == (address["v2"], address["v1"])
    assert await index.every_directory(shouted) == (directory["v2"], directory["v1"])
    assert await index.in_directory(shouted) == (directory["v1"], directory["v2"])
    turn = NOW + SETTLING
    assert await index.for_address(ADDRESS, turn - TICK) == address["v1"]
    assert await index.for_address(ADDRESS, turn) == address["v2"]
    world.clock.set(turn)
    assert await index.for_email(TENANT, EMAIL) == email["v2"]
    await versions.indexed("v2")
    assert await index.in_directory(EMAIL) == (directory["v2"],)
    assert await index.every_directory(EMAIL) == (directory["v2"], directory["v1"])


async def test_an_operator_has_one_name_that_is_not_theirs(world: World) -> None:
    name = await BlindIndex(Roots(), "v1").for_operator("grace")
    assert name == f"operator-{by_hand(ROOTS['v1'].value, 'blind-index/operator', 'grace')[:32]}"
    assert name != await BlindIndex(Roots(), "v1").for_operator("grace2")


async def test_an_index_of_one_version_for_good_cannot_be_rotated() -> None:
    with pytest.raises(ValueError, match=r"^this index has one version for good$"):
        _ = BlindIndex(Roots(), "v1").versions


async def test_the_check_needs_every_version_that_is_in_use(world: World) -> None:
    class Fewer(Roots):
        async def find(self, name: RootName, version: str) -> SecretVersion | None:
            return None if version == "v1" else ROOTS[version]

    versions = world.instance(Ring((OLD, NEW)))
    world.clock.advance(seconds=LOADED.total_seconds())
    await BlindIndex(Roots(), versions).check()
    for each in (BlindIndex(Fewer(), versions), BlindIndex(Fewer(), "v1")):
        with pytest.raises(SecretsError, match="version v1"):
            await each.check()
    await BlindIndex(Fewer(), "v2").check()


async def test_a_sealed_secret_is_renewed_when_the_version_has_changed(world: World) -> None:
    versions = world.instance()
    boxes = SecretBoxes(Roots(), BlindIndex(Roots(), versions))
    old = await boxes.seal("mfa", TENANT, "user|1", "secret")
    assert old["key"] == "v1"
    assert await boxes.renewed("mfa", TENANT, "user|1", old) is old
    await versions.add(ROOTS["v2"])
    world.clock.advance(seconds=SETTLING.total_seconds())
    new = await boxes.renewed("mfa", TENANT, "user|1", old)
    assert new["key"] == "v2"
    assert await boxes.open("mfa", TENANT, "user|1", new) == "secret"
    for kind, tenant_id, owner in (
        ("webhook", TENANT, "user|1"),
        ("mfa", "other", "user|1"),
        ("mfa", TENANT, "user|2"),
    ):
        with pytest.raises(SecretsError):
            await boxes.renewed(kind, tenant_id, owner, old)  # type: ignore[arg-type]
        with pytest.raises(SecretsError):
            await boxes.open(kind, tenant_id, owner, new)  # type: ignore[arg-type]
