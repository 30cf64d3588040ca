"""Two at the same item of keys or versions: who comes second looks again, and in the end says that it could not."""

from collections.abc import AsyncIterator

import pytest

from shared.privacy.blind_index import BlindIndex
from shared.privacy.index_versions import IndexVersions
from shared.privacy.key_check import PersonsPin, pin_index
from shared.privacy.key_probe import KeyProbe
from shared.privacy.key_wrapping import LocalKeys, Wrapped
from shared.privacy.person_keys import PersonKeys, Rewrapped
from shared.privacy.secrets import MemorySecrets, SecretsError, SecretVersion
from shared.storage.containers import DIRECTORY
from shared.storage.errors import Conflict, NotFound, PreconditionFailed, StoreError, Unavailable
from shared.storage.sqlite import SqliteStore
from tests.fakes import ManualClock
from tests.faults import Call, FaultyStore
from tests.privacy.test_key_check import Versions

TENANT, PERSON = "tenant", "person"


class Newer(LocalKeys):
    """A key-encryption key that was rotated: nothing is wrapped under the current version."""

    async def is_current(self, kek: str) -> bool:
        return False


@pytest.fixture
async def store(clock: ManualClock) -> AsyncIterator[FaultyStore]:
    made = FaultyStore(await SqliteStore.open(None, clock=clock))
    yield made
    await made.close()


def writes_fail(store: FaultyStore, error: StoreError, times: int | None) -> None:
    def counts(call: Call) -> bool:
        return call.operation in ("create", "replace")

    store._counts = counts
    store.arm(1, error=error, times=times)


@pytest.mark.parametrize(("known", "error"), [(False, Conflict()), (True, PreconditionFailed()), (True, NotFound())])
async def test_an_erasure_that_meets_another_write_looks_again(
    store: FaultyStore, clock: ManualClock, known: bool, error: StoreError
) -> None:
    keys = PersonKeys(store, LocalKeys(MemorySecrets(), clock), clock)
    if known:
        await keys.for_sealing(TENANT, PERSON)
    writes_fail(store, error, times=2)
    assert await keys.erase(TENANT, PERSON)
    assert store.failed == 2
    assert await keys.stored(TENANT, PERSON) == "tombstone"


async def test_an_erasure_that_always_meets_one_is_not_called_done(store: FaultyStore, clock: ManualClock) -> None:
    keys = PersonKeys(store, LocalKeys(MemorySecrets(), clock), clock)
    await keys.for_sealing(TENANT, PERSON)
    writes_fail(store, PreconditionFailed(), times=None)
    with pytest.raises(Unavailable, match="contended"):
        await keys.erase(TENANT, PERSON)
    store.mend()
    assert await keys.stored(TENANT, PERSON) == "key"


@pytest.mark.parametrize("error", [NotFound(), PreconditionFailed()])
async def test_a_key_that_changes_while_it_is_rewrapped_is_left_to_who_changed_it(
    store: FaultyStore, clock: ManualClock, error: StoreError
) -> None:
    secrets = MemorySecrets()
    await PersonKeys(store, LocalKeys(secrets, clock), clock).for_sealing(TENANT, PERSON)
    keys = PersonKeys(store, Newer(secrets, clock), clock)
    writes_fail(store, error, times=1)
    assert await keys.rewrap(TENANT) == Rewrapped()
    assert store.failed == 1
    assert await keys.rewrap(TENANT) == Rewrapped(wrapped=1)


async def test_a_rewrap_ends_when_the_store_does_not_answer(store: FaultyStore, clock: ManualClock) -> None:
    secrets = MemorySecrets()
    await PersonKeys(store, LocalKeys(secrets, clock), clock).for_sealing(TENANT, PERSON)
    writes_fail(store, Unavailable("made to fail"), times=1)
    with pytest.raises(Unavailable):
        await PersonKeys(store, Newer(secrets, clock), clock).rewrap(TENANT)


async def test_the_key_of_nobody_is_the_one_that_another_instance_made(store: FaultyStore, clock: ManualClock) -> None:
    pin = PersonsPin(store, LocalKeys(MemorySecrets(), clock))
    store._counts = lambda call: call.operation == "create"
    store.arm(1, "after", Conflict())
    await pin.check()
    assert store.failed == 1
    other = PersonsPin(store, LocalKeys(MemorySecrets(), clock))
    with pytest.raises(SecretsError, match="another key"):
        await other.check()


async def test_the_key_of_nobody_is_renewed_by_one_run(store: FaultyStore, clock: ManualClock) -> None:
    pin = PersonsPin(store, Newer(MemorySecrets(), clock))
    await pin.check()
    before = await store.read(DIRECTORY, ("key_check|persons",), "key_check|persons")
    writes_fail(store, PreconditionFailed(), times=1)
    await pin.renew()
    assert await store.read(DIRECTORY, ("key_check|persons",), "key_check|persons") == before
    await pin.renew()
    after = await store.read(DIRECTORY, ("key_check|persons",), "key_check|persons")
    assert after["_etag"] != before["_etag"]


async def test_a_probe_says_nothing_new_while_the_store_does_not_answer(store: FaultyStore, clock: ManualClock) -> None:
    """The store's trouble is told of as such: neither does it make keys bad, nor bad ones good."""

    class Refusing(LocalKeys):
        refuses = False

        async def wrap(self, key: bytes) -> Wrapped:
            if self.refuses:
                raise SecretsError("key: the vault answered 403")
            return await super().wrap(key)

    wrapper = Refusing(MemorySecrets(), clock)
    probe = KeyProbe(wrapper, clock, PersonsPin(store, wrapper))
    store.arm(1, times=None)
    await probe.check()
    store.mend()
    wrapper.refuses = True
    clock.advance(minutes=5)
    with pytest.raises(SecretsError, match="403"):
        await probe.check()
    wrapper.refuses = False
    store.arm(1, times=None)
    clock.advance(minutes=5)
    with pytest.raises(SecretsError, match="403"):
        await probe.check()
    store.mend()
    clock.advance(minutes=5)
    await probe.check()


async def versions_of(store: FaultyStore, clock: ManualClock) -> IndexVersions:
    return IndexVersions(store, clock, await pin_index(store, Versions("v1")))


async def test_a_version_is_added_behind_another_change(store: FaultyStore, clock: ManualClock) -> None:
    versions = await versions_of(store, clock)
    writes_fail(store, PreconditionFailed(), times=2)
    ring = await versions.add(SecretVersion("v2", b"2" * 32))
    assert (store.failed, ring.versions) == (2, ("v1", "v2"))


async def test_a_version_is_not_called_added_when_it_is_not(store: FaultyStore, clock: ManualClock) -> None:
    versions = await versions_of(store, clock)
    writes_fail(store, PreconditionFailed(), times=None)
    with pytest.raises(PreconditionFailed):
        await versions.add(SecretVersion("v2", b"2" * 32))
    store.mend()
    assert (await versions.reread()).versions == ("v1",)


async def test_a_version_is_neither_added_nor_dropped_amid_a_rotation(store: FaultyStore, clock: ManualClock) -> None:
    versions = await versions_of(store, clock)
    await versions.add(SecretVersion("v2", b"2" * 32))
    with pytest.raises(ValueError, match="the rotation to v2 is not over"):
        await versions.add(SecretVersion("v3", b"3" * 32))
    with pytest.raises(ValueError, match="not rid of it"):
        await versions.drop("v1")
    assert (await versions.reread()).versions == ("v1", "v2")


def test_an_index_of_one_version_has_none_to_change() -> None:
    with pytest.raises(ValueError, match="one version for good"):
        _ = BlindIndex(MemorySecrets(), "v1").versions
