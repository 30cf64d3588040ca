"""The store knows under which key it was indexed."""

from pathlib import Path

import pytest

from shared.core.settings import Settings
from shared.privacy.key_check import check_index_key
from shared.privacy.secrets import MemorySecrets, SecretsError
from shared.storage.sqlite import SqliteStore
from shared.wiring import build_services
from tests.fakes import ManualClock


async def test_the_right_key_opens_again_and_again(tmp_path: Path) -> None:
    settings = Settings(kraftd_data=str(tmp_path / "data"))
    for _ in range(3):
        await (await build_services(settings, clock=ManualClock())).close()
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("change", ["lost", "newer"])
async def test_another_key_does_not_start_and_lets_go_of_the_store(tmp_path: Path, change: str) -> None:
    """Else no e-mail would be found, and every one of them could be registered again."""
    folder = tmp_path / "data"
    settings = Settings(kraftd_data=str(folder))
    await (await build_services(settings, clock=ManualClock())).close()
    kept = folder / "secrets" / "index.v1"
    held = kept.read_bytes()
    if change == "lost":
        kept.unlink()
    else:
        newer = folder / "secrets" / "index.v2"
        newer.write_bytes(b"2" * 32)
        newer.chmod(0o600)
    for _ in range(2):
        with pytest.raises(SecretsError, match=r"secret index: .* another one \(v1\)"):
            await build_services(settings, clock=ManualClock())
    for each in (folder / "secrets").glob("index.*"):
        each.unlink()
    kept.write_bytes(held)
    kept.chmod(0o600)
    await (await build_services(settings, clock=ManualClock())).close()


async def test_the_first_of_two_instances_decides() -> None:
    store = await SqliteStore.open(None, clock=ManualClock())
    try:
        await check_index_key(store, MemorySecrets())
        with pytest.raises(SecretsError):
            await check_index_key(store, MemorySecrets())
    finally:
        await store.close()
