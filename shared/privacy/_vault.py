"""What the adapters of Key Vault share: how they connect and ask, how they say that it failed, which versions count."""

import re
from collections.abc import AsyncIterable, Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Protocol

from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import AzureError, HttpResponseError, ResourceNotFoundError

from shared.core.endpoints import check_endpoint
from shared.core.sdk_logs import quiet_sdks
from shared.privacy.key_wrapping import KeyDamaged
from shared.privacy.secrets import SecretsError, SecretsUnreached, SecretVersion
from shared.storage.azure_identity import identify

SETTINGS: Mapping[str, Any] = {
    "api_version": "7.4",
    "retry_total": 3,  # of 429, 5xx and lost connections, all within the time of one call
    "retry_backoff_factor": 0.2,
    "retry_backoff_max": 2,
    "permit_redirects": False,
}
"""Of the SDK's clients."""
VERSION = re.compile(r"[0-9a-f]{32}")
"""The id of a version, as the vault gives it."""
_PASSING = frozenset({408, 429})
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Properties(Protocol):
    """What a list of versions tells of one: the SDK's SecretProperties and KeyProperties."""

    @property
    def version(self) -> str | None:
        """Its name."""

    @property
    def enabled(self) -> bool | None:
        """Whether it may be used."""

    @property
    def created_on(self) -> datetime | None:
        """When it was made."""

    @property
    def updated_on(self) -> datetime | None:
        """When it was last changed."""

    @property
    def not_before(self) -> datetime | None:
        """When it begins."""

    @property
    def expires_on(self) -> datetime | None:
        """When it ends."""


class Closes(Protocol):
    """What the SDK's clients have in common."""

    async def close(self) -> None:
        """Let go of connections."""


class Connection[Client: Closes]:
    """A client of the SDK, made when it is first asked for.

    `identity`: client id of the managed identity to be, where there are several. `credential` takes its place.
    ValueError for a URI that is not safe to use.
    """

    def __init__(
        self,
        make: Callable[..., Client],
        uri: str,
        identity: str | None,
        credential: AsyncTokenCredential | None,
        options: Mapping[str, Any],
    ) -> None:
        check_endpoint(uri)
        self._make = make
        self._uri = uri
        self._identity = identity
        self._credential = credential
        self._options = options
        self._client: Client | None = None

    def client(self) -> Client:
        """The client of this vault."""
        if self._client is None:
            quiet_sdks()
            if self._credential is None:
                self._credential = identify(self._identity)
            self._client = self._make(self._uri, self._credential, **{**SETTINGS, **self._options})
        return self._client

    async def close(self) -> None:
        """Let go of connections and of the credential."""
        client, self._client = self._client, None
        credential, self._credential = self._credential, None
        if client is not None:
            await client.close()
        if credential is not None:
            await credential.close()


@contextmanager
def asking(what: str) -> Iterator[None]:
    """SecretsError in place of whatever the SDK raises: those texts quote the vault, which may quote a value.

    SecretsUnreached for what passes: throttling, errors of the vault's own, and no answer.
    """
    try:
        yield
    except (SecretsError, KeyDamaged):
        raise
    except HttpResponseError as error:
        status = error.status_code
        kind = SecretsUnreached if status is None or status >= 500 or status in _PASSING else SecretsError
        raise kind(f"{what}: the vault answered {status or 'nothing'}") from None
    except AzureError as error:
        raise SecretsUnreached(f"{what}: the vault was not reached ({type(error).__name__})") from None
    except Exception as error:  # noqa: BLE001 - an answer that is none: the SDK raises what its parts do
        raise SecretsError(f"{what}: {type(error).__name__}") from None


async def counting[P: Properties](pages: AsyncIterable[P], now: datetime) -> list[P]:
    """What may count, now or later, newest first; ids break ties, so that all instances see one order."""
    try:
        everything = [each async for each in pages]
    except ResourceNotFoundError:
        return []  # it was deleted, or never made: that is an answer
    found = [
        each
        for each in everything
        if each.version and each.enabled and (each.expires_on is None or each.expires_on > now)
    ]
    return sorted(found, key=lambda each: (each.created_on or _EPOCH, id_of(each)), reverse=True)


def id_of(properties: Properties) -> str:
    """The name of a version."""
    return properties.version or ""


def version_of(properties: Properties, value: bytes) -> SecretVersion:
    """A version as it is held."""
    changed = max(properties.created_on or _EPOCH, properties.updated_on or _EPOCH)
    return SecretVersion(
        id_of(properties), value, changed_at=changed, not_before=properties.not_before, expires_at=properties.expires_on
    )
