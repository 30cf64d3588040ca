"""The adapters that the settings name: of the store, of root secrets, and of what wraps keys."""

from pathlib import Path
from typing import TYPE_CHECKING

from shared.core.clock import Clock
from shared.core.settings import MEMORY, Settings
from shared.storage.containers import container_names
from shared.telemetry import get_log

if TYPE_CHECKING:  # cold start
    from shared.privacy.key_wrapping import KeyWrapper
    from shared.privacy.secrets import SecretsPort
    from shared.storage.documents import DocumentStore

_log = get_log(__name__)


async def open_store(settings: Settings, clock: Clock) -> "DocumentStore":
    """The store that the settings name: Cosmos DB, or the embedded one."""
    if settings.cosmos_db_endpoint is not None:
        return await _open_cosmos(settings.cosmos_db_endpoint, settings, clock)
    from shared.storage.sqlite import SqliteStore

    path = None if settings.kraftd_data == MEMORY else Path(settings.kraftd_data) / "kraftd.sqlite"
    return await SqliteStore.open(path, clock=clock, ttl_days=settings.cosmos_db_ttl_days)


async def _open_cosmos(endpoint: str, settings: Settings, clock: Clock) -> "DocumentStore":
    from shared.storage.cosmos import CosmosStore
    from shared.storage.errors import NotProvisioned
    from shared.telemetry.metrics import StoreCharges

    key = settings.cosmos_db_key
    store = await CosmosStore.open(
        endpoint,
        clock=clock,
        database=settings.cosmos_db_name,
        key=key.get_secret_value() if key else None,
        identity=settings.azure_client_id,
        accept_self_signed=settings.cosmos_db_emulator,
        ttl_days=settings.cosmos_db_ttl_days,
        names=container_names(settings),
        charged=StoreCharges(),
    )
    try:
        await store.verify()
    except BaseException as error:
        if isinstance(error, NotProvisioned):  # the log of an error is its type alone
            _log.error("store_not_provisioned", reason=str(error))
        await store.close()
        raise
    return store


def open_secrets(settings: Settings, clock: Clock) -> "SecretsPort":
    """The root secrets that the settings name: in Key Vault, in files, or of this process alone."""
    if settings.key_vault_uri is not None:
        from shared.privacy.key_vault import KeyVaultSecrets

        return KeyVaultSecrets(settings.key_vault_uri, clock=clock, identity=settings.azure_client_id)
    if settings.kraftd_data == MEMORY:
        from shared.privacy.secrets import MemorySecrets

        return MemorySecrets()
    from shared.privacy.file_secrets import FileSecrets

    return FileSecrets(Path(settings.kraftd_data) / "secrets", clock=clock)


def open_wrapper(settings: Settings, clock: Clock, secrets: "SecretsPort") -> "KeyWrapper":
    """What wraps the keys of persons: Key Vault where the settings name one, else a key among the secrets."""
    if settings.key_vault_uri is not None:
        from shared.privacy.vault_keys import VaultKeys

        return VaultKeys(settings.key_vault_uri, clock=clock, identity=settings.azure_client_id)
    from shared.privacy.key_wrapping import LocalKeys

    return LocalKeys(secrets, clock)
