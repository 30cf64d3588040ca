from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from shared.privacy.key_vault import NAMES, KeyVaultSecrets
from shared.privacy.key_wrapping import Wrapped
from shared.privacy.vault_keys import VaultKeys
from tests.fakes import ManualClock
from tests.key_vault.keys import DATA_KEY
from tests.key_vault.sources import FileSource, Source, VaultSource
from tests.key_vault.vault import Server, Vault, serving

ROTATED = ("file", "vault")

type Open = Callable[..., KeyVaultSecrets]
type OpenWrapper = Callable[..., VaultKeys]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("vault")) as started:
        yield started


@pytest.fixture
async def empty(server: Server, clock: ManualClock) -> AsyncIterator[Vault]:
    """A vault without secrets."""
    made = Vault(server, clock)
    yield made
    await made.close()


@pytest.fixture
def vault(empty: Vault) -> Vault:
    """A vault in which each secret, and the key, have had one version for a day."""
    for name in NAMES.values():
        empty.put(name)
    empty.put_key()
    empty.clock.advance(days=1)
    return empty


@pytest.fixture
async def connect(vault: Vault) -> AsyncIterator[Open]:
    """Makes adapters on the vault, each as another app instance would."""
    async with opening(vault, vault.client) as made:
        yield made


@pytest.fixture
async def wrapper_on(vault: Vault) -> AsyncIterator[OpenWrapper]:
    """The same for keys."""
    async with opening(vault, vault.wrapper) as made:
        yield made


@pytest.fixture
async def keys(wrapper_on: OpenWrapper) -> VaultKeys:
    """Key wrapping in the vault, as one app instance has it."""
    return wrapper_on()


@pytest.fixture
async def ready(keys: VaultKeys) -> VaultKeys:
    """One that knows the vault's version, and has unwrapped with it."""
    await keys.unwrap(await keys.wrap(DATA_KEY))
    return keys


@pytest.fixture
async def wrapped(keys: VaultKeys) -> Wrapped:
    return await keys.wrap(DATA_KEY)


@asynccontextmanager
async def opening[A: (KeyVaultSecrets, VaultKeys)](
    vault: Vault, make: Callable[..., A]
) -> AsyncIterator[Callable[..., A]]:
    opened: list[A] = []

    def made(**options: Any) -> A:
        opened.append(make(**options))
        return opened[-1]

    yield made
    vault.mend()
    for each in opened:
        await each.close()


def source_of(kind: str, request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock) -> Source:
    if kind == "vault":
        return VaultSource(request.getfixturevalue("vault"))
    return FileSource(tmp_path / "secrets", clock)


@pytest.fixture(params=ROTATED)
def source(request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock) -> Source:
    """Each adapter that can be rotated. (Not async: it may need a fixture that is.)"""
    return source_of(request.param, request, tmp_path, clock)
