"""What every adapter of key wrapping promises."""

import asyncio
import base64
import logging
import secrets as random_source
import traceback
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import pytest

from shared.privacy.key_wrapping import KeyDamaged, KeyWrapper, LocalKeys, Wrapped
from shared.privacy.secrets import RootName, SecretsError, SecretsPort, SecretVersion
from shared.privacy.vault_keys import KEY
from tests.fakes import ManualClock
from tests.key_vault.conftest import ROTATED
from tests.key_vault.keys import DATA_KEY
from tests.key_vault.sources import FileSource
from tests.key_vault.vault import Fault, Vault


class Source(Protocol):
    """Where a key-encryption key lives, and its operator."""

    def instance(self) -> KeyWrapper:
        """The adapter of one more app instance."""
        ...

    def rotate(self) -> str:
        """Add a version, which every instance wraps under eleven minutes later; its name."""
        ...

    def end(self, version: str) -> None:
        """End a version."""
        ...

    def fail(self) -> None:
        """Whoever asks from now on is not answered."""
        ...

    def mend(self) -> None:
        """They are, again."""
        ...


@dataclass
class VaultKeySource:
    vault: Vault

    def instance(self) -> KeyWrapper:
        return self.vault.wrapper()

    def rotate(self) -> str:
        return self.vault.put_key()

    def end(self, version: str) -> None:
        self.vault.change(KEY, version, enabled=False)

    def fail(self) -> None:
        self.vault.faults = [Fault(status=403, times=1_000_000)]

    def mend(self) -> None:
        self.vault.mend()


@dataclass
class Lost:
    """Secrets that cannot be had while `is_lost` says so."""

    held: SecretsPort
    is_lost: Callable[[], bool]

    async def versions(self, name: RootName) -> tuple[SecretVersion, ...]:
        self._check()
        return await self.held.versions(name)

    async def find(self, name: RootName, version: str) -> SecretVersion | None:
        self._check()
        return await self.held.find(name, version)

    async def close(self) -> None:
        await self.held.close()

    def _check(self) -> None:
        if self.is_lost():
            raise SecretsError("secret persons: gone")


class LocalKeySource:
    def __init__(self, folder: Path, clock: ManualClock) -> None:
        self.files = FileSource(folder, clock)
        self.clock = clock
        self.failing = False

    def instance(self) -> KeyWrapper:
        return LocalKeys(Lost(self.files.instance(), lambda: self.failing), self.clock)

    def rotate(self) -> str:
        return self.files.rotate("persons")

    def end(self, version: str) -> None:
        self.files.retire(version, "persons")

    def fail(self) -> None:
        self.failing = True

    def mend(self) -> None:
        self.failing = False


@pytest.fixture(params=ROTATED)
def source(request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock) -> Source:
    if request.param == "vault":
        return VaultKeySource(request.getfixturevalue("vault"))
    return LocalKeySource(tmp_path / "secrets", clock)


@pytest.fixture
async def keys(source: Source) -> AsyncIterator[KeyWrapper]:
    made = source.instance()
    yield made
    source.mend()
    await made.close()


async def test_what_was_wrapped_unwraps(keys: KeyWrapper) -> None:
    for length in (16, 32, 64):
        key = random_source.token_bytes(length)
        assert await keys.unwrap(await keys.wrap(key)) == key


async def test_another_instance_unwraps_it(keys: KeyWrapper, source: Source) -> None:
    other = source.instance()
    assert await other.unwrap(await keys.wrap(DATA_KEY)) == DATA_KEY
    await other.close()


async def test_what_is_wrapped_does_not_hold_the_key(keys: KeyWrapper) -> None:
    wrapped = await keys.wrap(DATA_KEY)
    assert DATA_KEY not in wrapped.key
    assert len(wrapped.key) > len(DATA_KEY)


async def test_many_at_once(keys: KeyWrapper) -> None:
    made = [random_source.token_bytes(32) for _ in range(40)]
    wrapped = await asyncio.gather(*(keys.wrap(each) for each in made))
    assert len({each.kek for each in wrapped}) == 1
    assert await asyncio.gather(*(keys.unwrap(each) for each in wrapped)) == made


TAMPERED: dict[str, Callable[[bytes], bytes]] = {
    "first bit": lambda key: bytes([key[0] ^ 0x80]) + key[1:],
    "a bit in the middle": lambda key: key[:20] + bytes([key[20] ^ 1]) + key[21:],
    "last bit": lambda key: key[:-1] + bytes([key[-1] ^ 1]),
    "one byte less": lambda key: key[:-1],
    "eight bytes less": lambda key: key[:-8],
    "one byte more": lambda key: key + b"\0",
    "a zero in front": lambda key: b"\0" + key,
    "turned round": lambda key: key[::-1],
    "twice": lambda key: key * 2,
    "a hundred times": lambda key: key * 100,
    "zeros": lambda key: bytes(len(key)),
    "ones": lambda key: b"\xff" * len(key),
    "noise": lambda key: random_source.token_bytes(len(key)),
    "the key itself": lambda key: DATA_KEY,
    "one byte": lambda key: key[:1],
    "nothing": lambda key: b"",
}


@pytest.mark.parametrize("change", TAMPERED.values(), ids=TAMPERED)
async def test_what_was_changed_is_damaged(keys: KeyWrapper, change: Callable[[bytes], bytes]) -> None:
    wrapped = await keys.wrap(DATA_KEY)
    with pytest.raises(KeyDamaged):
        await keys.unwrap(replace(wrapped, key=change(wrapped.key)))
    assert await keys.unwrap(wrapped) == DATA_KEY


@pytest.mark.parametrize(
    "kek",
    ["", "v7", "f" * 32, "F" * 32, "../v1", "versions", "v1\n", "f" * 32 + "\n", "\x00", "ⅴ1", "f" * 10_000],
    ids=range(11),
)
async def test_a_version_that_is_not_there_is_said_to_be_missing(keys: KeyWrapper, kek: str) -> None:
    """It may come back (a backup, another vault): nothing says that the wrapped key is damaged."""
    wrapped = await keys.wrap(DATA_KEY)
    with pytest.raises(SecretsError):
        await keys.unwrap(replace(wrapped, kek=kek))


# Versions


async def test_a_new_version_wraps_and_the_old_one_unwraps(
    keys: KeyWrapper, source: Source, clock: ManualClock
) -> None:
    before = await keys.wrap(DATA_KEY)
    assert await keys.is_current(before.kek)
    new = source.rotate()
    clock.advance(minutes=11)
    after = await keys.wrap(DATA_KEY)
    assert after.kek == new != before.kek
    assert (await keys.is_current(new), await keys.is_current(before.kek)) == (True, False)
    for each in (before, after):
        assert await keys.unwrap(each) == DATA_KEY


async def test_an_instance_unwraps_under_a_version_that_it_never_heard_of(
    keys: KeyWrapper, source: Source, clock: ManualClock
) -> None:
    await keys.wrap(DATA_KEY)
    source.rotate()
    clock.advance(minutes=3)
    newer = source.instance()
    clock.advance(seconds=11)
    wrapped = await newer.wrap(DATA_KEY)
    assert await keys.unwrap(wrapped) == DATA_KEY
    await newer.close()


async def test_one_version_does_not_open_what_another_closed(
    keys: KeyWrapper, source: Source, clock: ManualClock
) -> None:
    before = await keys.wrap(DATA_KEY)
    new = source.rotate()
    clock.advance(minutes=11)
    for kek, wrapped in ((new, before), (before.kek, await keys.wrap(DATA_KEY))):
        assert wrapped.kek != kek
        with pytest.raises(KeyDamaged):
            await keys.unwrap(replace(wrapped, kek=kek))


async def test_a_version_that_was_ended_is_missing_and_not_damaged(
    keys: KeyWrapper, source: Source, clock: ManualClock
) -> None:
    before = await keys.wrap(DATA_KEY)
    source.rotate()
    source.end(before.kek)
    clock.advance(minutes=11)
    with pytest.raises(SecretsError):
        await keys.unwrap(before)
    assert not await keys.is_current(before.kek)
    assert await keys.unwrap(await keys.wrap(DATA_KEY)) == DATA_KEY


async def test_without_any_version_nothing_is_wrapped(keys: KeyWrapper, source: Source, clock: ManualClock) -> None:
    only = await keys.wrap(DATA_KEY)
    source.end(only.kek)
    clock.advance(minutes=11)
    with pytest.raises(SecretsError, match="no version is usable"):
        await keys.wrap(DATA_KEY)
    with pytest.raises(SecretsError, match="no version is usable"):
        await keys.is_current(only.kek)
    with pytest.raises(SecretsError):
        await keys.unwrap(only)


# When it cannot be had


async def test_what_cannot_be_had_is_said_and_comes_back(source: Source, keys: KeyWrapper) -> None:
    wrapped = await keys.wrap(DATA_KEY)
    fresh = source.instance()
    source.fail()
    for call in (fresh.wrap(DATA_KEY), fresh.unwrap(wrapped), fresh.is_current(wrapped.kek)):
        with pytest.raises(SecretsError) as caught:
            await call
        assert (caught.value.status, caught.value.code) == (503, "secrets_unavailable")
    source.mend()
    assert await fresh.unwrap(wrapped) == DATA_KEY
    assert await fresh.unwrap(await fresh.wrap(DATA_KEY)) == DATA_KEY
    assert await fresh.is_current(wrapped.kek)
    await fresh.close()


async def test_closing_twice_does_no_harm(keys: KeyWrapper) -> None:
    await keys.wrap(DATA_KEY)
    await keys.close()
    await keys.close()


async def test_closing_what_was_never_used(source: Source) -> None:
    await source.instance().close()


async def test_nothing_shows_a_key(
    keys: KeyWrapper, source: Source, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    key = random_source.token_bytes(32)
    shown = []
    with caplog.at_level(logging.DEBUG):
        wrapped = await keys.wrap(key)
        await keys.unwrap(wrapped)
        for wrong in (replace(wrapped, key=wrapped.key[::-1]), replace(wrapped, kek="f" * 32)):
            with pytest.raises((KeyDamaged, SecretsError)) as caught:
                await keys.unwrap(wrong)
            shown.append("".join(traceback.format_exception(caught.value)))
        source.fail()
        clock.advance(minutes=11)
        with pytest.raises(SecretsError) as lost:
            await keys.unwrap(wrapped)
        shown.append(f"{lost.value!r} {lost.value}")
    text = f"{keys!r} {vars(keys)!r} {wrapped!r} {wrapped} {shown} {caplog.text}"
    for secret in (key, wrapped.key):
        for form in (repr(secret)[2:-1], secret.hex(), *(coded(secret)[:40] for coded in (_base64, _base64url))):
            assert form not in text


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _base64url(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode()


def test_a_wrapped_key_tells_its_version_alone() -> None:
    assert repr(Wrapped("v1", b"sesame")) == "Wrapped(kek='v1')"
