"""What every adapter of the secrets port promises."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.privacy.secrets import (
    ROOT_BYTES,
    ROOTS,
    MemorySecrets,
    RotatableSecrets,
    SecretsPort,
    SecretVersion,
    signing_version,
)
from tests.fakes import ManualClock
from tests.key_vault.conftest import ROTATED, source_of
from tests.key_vault.sources import Source
from tests.key_vault.support import LIFETIME, names


@pytest.fixture(params=("memory", *ROTATED))
def any_source(request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock) -> Source | None:
    return None if request.param == "memory" else source_of(request.param, request, tmp_path, clock)


@pytest.fixture
async def secrets(any_source: Source | None) -> AsyncIterator[SecretsPort]:
    made = any_source.instance() if any_source else MemorySecrets()
    yield made
    await made.close()


async def test_each_root_has_a_secret_of_its_own(secrets: SecretsPort) -> None:
    values = [each.value for root in ROOTS for each in await secrets.versions(root)]
    assert {len(value) for value in values} == {ROOT_BYTES}
    assert len(set(values)) == len(values) >= len(ROOTS)


async def test_what_was_answered_is_answered_again(secrets: SecretsPort, clock: ManualClock) -> None:
    for root in ROOTS:
        first = await secrets.versions(root)
        clock.advance(minutes=5)
        assert await secrets.versions(root) == first


async def test_each_version_is_found_by_its_name(secrets: SecretsPort) -> None:
    for root in ROOTS:
        for each in await secrets.versions(root):
            assert await secrets.find(root, each.version) == each


@pytest.mark.parametrize("version", ["", "v7", "f" * 32, "F" * 32, "../v1", "v1\n", "\x00", "ⅴ1", "v" * 10_000])
async def test_no_other_name_finds_anything(secrets: SecretsPort, clock: ManualClock, version: str) -> None:
    await secrets.versions("tokens")
    clock.advance(seconds=30)
    for _ in range(3):
        assert await secrets.find("tokens", version) is None


async def test_the_version_of_another_root_is_not_found(secrets: SecretsPort) -> None:
    ours = (await secrets.versions("tokens"))[0]
    other = await secrets.find("index", ours.version)
    assert other is None or other.value != ours.value


async def test_a_version_can_be_a_key_and_shows_no_value(secrets: SecretsPort) -> None:
    first = (await secrets.versions("tokens"))[0]
    assert {first: 1}[(await secrets.versions("tokens"))[0]] == 1
    assert repr(first.value)[2:-1] not in f"{first!r} {first}"


async def test_many_at_once_get_the_same(secrets: SecretsPort) -> None:
    found = await asyncio.gather(*(secrets.versions("tokens") for _ in range(100)))
    assert len(set(found)) == 1


async def test_closing_twice_does_no_harm(secrets: SecretsPort) -> None:
    before = await secrets.versions("tokens")
    await secrets.close()
    await secrets.close()
    assert await secrets.versions("tokens") == before


# Those that can be rotated


async def signer(secrets: SecretsPort, clock: ManualClock) -> str:
    return signing_version(await secrets.versions("tokens"), clock.now(), LIFETIME).version


async def test_a_new_version_comes_first_and_signs_within_five_minutes(source: Source, clock: ManualClock) -> None:
    secrets = source.instance()
    (old,) = await names(secrets)
    assert await signer(secrets, clock) == old
    new = source.rotate()
    clock.advance(minutes=5)
    assert await names(secrets) == [new, old]
    assert await signer(secrets, clock) == new
    await secrets.close()


async def test_a_new_version_verifies_before_it_signs(source: Source, clock: ManualClock) -> None:
    secrets = source.instance()
    (old,) = await names(secrets)
    new = source.rotate()
    clock.advance(seconds=121)
    assert await names(secrets) == [new, old]
    assert await signer(secrets, clock) == old
    await secrets.close()


async def test_a_new_version_is_found_as_soon_as_a_token_names_it(source: Source, clock: ManualClock) -> None:
    secrets = source.instance()
    await names(secrets)
    new = source.rotate()
    clock.advance(seconds=11)
    assert await secrets.find("tokens", new) is not None
    await secrets.close()


async def test_an_ended_version_is_gone_within_two_minutes(source: Source, clock: ManualClock) -> None:
    secrets = source.instance()
    (old,) = await names(secrets)
    new = source.rotate()
    source.retire(old)
    clock.advance(seconds=121)
    assert await names(secrets) == [new]
    assert await secrets.find("tokens", old) is None
    assert await signer(secrets, clock) == new, "there is no other"
    await secrets.close()


async def test_two_instances_hold_the_same(source: Source, clock: ManualClock) -> None:
    first = source.instance()
    await names(first)
    for _ in range(3):
        source.rotate()
        clock.advance(minutes=5)
    second = source.instance()
    held: list[tuple[SecretVersion, ...]] = [await each.versions("tokens") for each in (first, second)]
    assert held[0] == held[1]
    assert len(held[0]) == 4
    for each in (first, second):
        await each.close()


async def test_an_operator_can_rotate_through_the_adapter(source: Source, clock: ManualClock) -> None:
    secrets = source.instance()
    assert isinstance(secrets, RotatableSecrets)
    before = await names(secrets)
    made = await secrets.rotate("tokens")
    assert made not in before
    clock.advance(minutes=3)
    versions = await secrets.versions("tokens")
    assert [each.version for each in versions] == [made, *before]
    assert len({each.value for each in versions}) == len(versions)
    before = [each.version for each in await secrets.versions("index")]
    made = await secrets.rotate("index")
    assert await secrets.find("index", made) is not None, "whoever added it has it at once"
    assert [each.version for each in await secrets.versions("index")] == [made, *before]
