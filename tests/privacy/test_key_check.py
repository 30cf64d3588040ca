"""The store knows under which version it was indexed, and that one is used whatever else is there."""

import asyncio
from pathlib import Path

import pytest

from shared.core.clock import SystemClock
from shared.core.settings import Settings
from shared.privacy.blind_index import BlindIndex
from shared.privacy.index_versions import FRESH_FOR, LOADED, SETTLING, IndexVersions, Ring
from shared.privacy.key_check import PersonsPin, pin_index
from shared.privacy.key_probe import KeyProbe
from shared.privacy.key_wrapping import LocalKeys
from shared.privacy.secrets import MemorySecrets, RootName, SecretsError, SecretVersion
from shared.storage.containers import DIRECTORY
from shared.storage.errors import Unavailable
from shared.storage.sqlite import SqliteStore
from shared.wiring import build_services
from tests.fakes import ManualClock
from tests.faults import FaultyStore

EMAIL = "ada@example.com"


class Versions:
    """Root secrets of these versions, newest first; `closed` counts closings."""

    def __init__(self, *names: str) -> None:
        self._held = tuple(SecretVersion(name, name.encode() * 16) for name in names)
        self.closed = 0

    async def versions(self, name: RootName) -> tuple[SecretVersion, ...]:
        return self._held

    async def find(self, name: RootName, version: str) -> SecretVersion | None:
        return next((each for each in self._held if each.version == version), None)

    async def close(self) -> None:
        self.closed += 1


def write(folder: Path, name: str, value: bytes) -> None:
    path = folder / "secrets" / name
    path.write_bytes(value)
    path.chmod(0o600)


async def test_the_right_key_opens_again_and_again(tmp_path: Path) -> None:
    settings = Settings(kraftd_data=str(tmp_path / "data"))
    for _ in range(3):
        await (await build_services(settings, clock=ManualClock())).close()
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("restored", [False, True])
async def test_without_its_key_nothing_starts_and_the_store_is_let_go_of(tmp_path: Path, restored: bool) -> None:
    """Else no e-mail would be found, and every one of them could be registered again."""
    folder = tmp_path / "data"
    settings = Settings(kraftd_data=str(folder))
    await (await build_services(settings, clock=ManualClock())).close()
    kept = folder / "secrets" / "index.v1"
    held = kept.read_bytes()
    kept.unlink()
    if restored:  # under another name: a version is its name, too
        write(folder, "index.v2", held)
    message = r"version v1, which is not there" if restored else r"another one \(v1\)"
    for _ in range(2):
        with pytest.raises(SecretsError, match=f"secret index: .*{message}"):
            await build_services(settings, clock=ManualClock())
    for each in (folder / "secrets").glob("index.*"):
        each.unlink()
    write(folder, "index.v1", held)
    await (await build_services(settings, clock=ManualClock())).close()


async def test_a_newer_version_changes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    settings = Settings(kraftd_data=str(folder))
    services = await build_services(settings, clock=ManualClock())
    before = await services.index.for_directory(EMAIL)
    await services.close()
    write(folder, "index.v2", b"2" * 32)
    services = await build_services(settings, clock=ManualClock())
    assert (await services.secrets.versions("index"))[0].version == "v2"
    assert await services.index.for_directory(EMAIL) == before
    await services.close()


async def test_a_newer_version_changes_nothing_in_a_running_app(tmp_path: Path) -> None:
    """And taking the pinned one away stops it, instead of indexing under another."""
    folder, clock = tmp_path / "data", ManualClock()
    services = await build_services(Settings(kraftd_data=str(folder)), clock=clock)
    before = await services.index.for_directory(EMAIL)
    write(folder, "index.v2", b"2" * 32)
    clock.advance(minutes=5)
    assert await services.index.for_directory(EMAIL) == before
    assert [each.version for each in await services.secrets.versions("index")] == ["v2", "v1"]
    (folder / "secrets" / "index.v1").unlink()
    clock.advance(minutes=5)
    with pytest.raises(SecretsError, match="version v1, which is not there"):
        await services.index.for_directory(EMAIL)
    await services.close()


async def test_two_instances_with_different_newest_versions_end_with_one() -> None:
    """One of them has not seen the newest version yet."""
    for first, second in [(Versions("b", "a"), Versions("a")), (Versions("a"), Versions("b", "a"))]:
        store = await SqliteStore.open(None, clock=ManualClock())
        knows_both = Versions("b", "a")
        rings = [await pin_index(store, first), await pin_index(store, knows_both)]
        pinned = [each.newest.version for each in rings]
        assert len(set(rings)) == 1
        if await second.find("index", pinned[0]) is None:
            with pytest.raises(SecretsError, match="version b, which is not there"):
                await pin_index(store, second)
        else:
            assert await pin_index(store, second) == rings[0]
        await store.close()


async def test_two_instances_at_the_same_time_end_with_one() -> None:
    store = await SqliteStore.open(None, clock=ManualClock())
    racers = [Versions("b", "a"), Versions("c", "b", "a"), Versions("a", "b", "c")]
    everything = Versions("a", "b", "c")
    pinned = await asyncio.gather(*(pin_index(store, each) for each in racers), return_exceptions=True)
    (kept,) = {each for each in pinned if isinstance(each, Ring)}
    assert await pin_index(store, everything) == kept
    await store.close()


async def test_another_secret_of_the_same_name_is_refused() -> None:
    store = await SqliteStore.open(None, clock=ManualClock())
    await pin_index(store, MemorySecrets())
    with pytest.raises(SecretsError, match=r"another one \(v1\)"):
        await pin_index(store, MemorySecrets())
    await store.close()


@pytest.mark.parametrize("made_anew", [True, False], ids=["another", "other version"])
async def test_without_the_key_of_persons_keys_nothing_starts(tmp_path: Path, made_anew: bool) -> None:
    """A file that was lost is made anew at the start: under that one everything personal would be damaged."""
    folder = tmp_path / "data"
    settings = Settings(kraftd_data=str(folder))
    await (await build_services(settings, clock=ManualClock())).close()
    kept = folder / "secrets" / "persons.v1"
    held = kept.read_bytes()
    kept.unlink()
    if not made_anew:
        write(folder, "persons.v2", held)
    message = "another key than the v1" if made_anew else "wrapped under is not there"
    for _ in range(2):
        with pytest.raises(SecretsError, match=f"persons.*{message}"):
            await build_services(settings, clock=ManualClock())
    write(folder, "persons.v1", held)
    await (await build_services(settings, clock=ManualClock())).close()


async def test_a_rewrap_moves_what_the_store_holds_on_to(tmp_path: Path) -> None:
    """Then the old version may go, and not before."""
    folder, clock = tmp_path / "data", ManualClock()
    settings = Settings(kraftd_data=str(folder))
    services = await build_services(settings, clock=clock)
    write(folder, "persons.v2", b"2" * 32)
    clock.set(SystemClock().now())
    clock.advance(minutes=10)
    assert (await services.rewrapping.run()).damaged == 0
    await services.key_probe.check()
    await services.close()
    (folder / "secrets" / "persons.v1").unlink()
    await (await build_services(settings, clock=clock)).close()


async def test_readiness_tells_of_another_key() -> None:
    store, clock = await SqliteStore.open(None, clock=ManualClock()), ManualClock()
    for number, secrets in enumerate((MemorySecrets(), MemorySecrets())):
        wrapper = LocalKeys(secrets, clock)
        probe = KeyProbe(wrapper, clock, PersonsPin(store, wrapper))
        if number == 0:
            await probe.check()
        else:
            with pytest.raises(SecretsError, match="another key"):
                await probe.check()
    held = await store.read(DIRECTORY, ("key_check|persons",), "key_check|persons")
    await store.replace(DIRECTORY, ("key_check|persons",), held | {"value": "%"})
    with pytest.raises(SecretsError, match="another key"):
        await PersonsPin(store, wrapper).check()
    await store.close()


async def test_services_that_cannot_be_built_let_go_of_the_secrets() -> None:
    store = await SqliteStore.open(None, clock=ManualClock())
    await pin_index(store, MemorySecrets())
    secrets = Versions("v1")
    with pytest.raises(SecretsError):
        await build_services(Settings(kraftd_data=":memory:"), clock=ManualClock(), store=store, secrets=secrets)
    assert secrets.closed == 1


async def test_services_let_go_of_the_secrets_at_the_end() -> None:
    secrets = Versions("v1")
    services = await build_services(Settings(kraftd_data=":memory:"), clock=ManualClock(), secrets=secrets)
    await services.close()
    assert secrets.closed == 1


async def test_amid_a_rotation_nothing_starts_without_both_versions() -> None:
    """The item names them, so a start anew knows; one that is another secret of the same name is refused, too."""
    clock = ManualClock()
    store = await SqliteStore.open(None, clock=clock)
    both = Versions("b", "a")
    await pin_index(store, Versions("a"))
    versions = IndexVersions(store, clock, await pin_index(store, both))
    added = await versions.add((await both.versions("index"))[0])
    assert added.versions == ("a", "b")
    assert await pin_index(store, both) == added
    for missing, held in (("a", Versions("b")), ("b", Versions("a"))):
        with pytest.raises(SecretsError, match=f"version {missing}, which is not there"):
            await pin_index(store, held)
    other = Versions("b", "a")
    other._held = (SecretVersion("b", b"x" * 32), other._held[1])
    with pytest.raises(SecretsError, match=r"another one \(b\)"):
        await pin_index(store, other)
    await store.close()


async def test_a_version_is_used_once_every_instance_has_it() -> None:
    """Looked for after LOADED, written after SETTLING, on instances that hear of it late, too."""
    clock = ManualClock()
    store = FaultyStore(await SqliteStore.open(None, clock=clock))
    secrets = Versions("b", "a")
    await pin_index(store, Versions("a"))
    versions, late = [IndexVersions(store, clock, await pin_index(store, secrets)) for _ in range(2)]
    index, other = BlindIndex(secrets, versions), BlindIndex(secrets, late)
    await versions.add((await secrets.versions("index"))[0])
    assert len(await index.every_address("192.0.2.1")) == 1
    clock.advance(seconds=LOADED.total_seconds())
    assert [each[0] for each in await index.every_address("192.0.2.1")] == ["b", "a"]
    assert (await index.for_address("192.0.2.1"))[0] == "a"
    store.arm(1, times=None)
    assert await other.every_address("192.0.2.1"), "for five minutes what it knew is good enough"
    clock.advance(seconds=FRESH_FOR.total_seconds())
    with pytest.raises(Unavailable):
        await other.every_address("192.0.2.1")
    store.mend()
    assert len(await other.in_directory(EMAIL)) == 2
    clock.advance(seconds=SETTLING.total_seconds())
    assert {(await each.for_address("192.0.2.1"))[0] for each in (index, other)} == {"b"}
    with pytest.raises(ValueError, match="any more"):
        await versions.indexed("a")
    await store.close()
