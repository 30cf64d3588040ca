from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.privacy.key_vault import NAMES, KeyVaultSecrets
from tests.fakes import ManualClock
from tests.key_vault.sources import FileSource, Source, VaultSource
from tests.key_vault.vault import Server, Vault, serving

ROTATED = ("file", "vault")

type Open = Callable[..., KeyVaultSecrets]


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
    """A vault in which both secrets have had one version for a day."""
    for name in NAMES.values():
        empty.put(name)
    empty.clock.advance(days=1)
    return empty


@pytest.fixture
async def connect(vault: Vault) -> AsyncIterator[Open]:
    """Makes adapters on the vault, each as another app instance would."""
    opened: list[KeyVaultSecrets] = []

    def made(**options: Any) -> KeyVaultSecrets:
        opened.append(vault.client(**options))
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
