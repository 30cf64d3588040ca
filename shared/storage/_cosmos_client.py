"""The one client of a process: where the account is, who we are to it, and the containers, all on first use."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from aiohttp import (
    ClientConnectionError,
    ClientConnectorError,
    ClientHandlerType,
    ClientMiddlewareType,
    ClientOSError,
    ClientRequest,
    ClientResponse,
    ClientSession,
    DummyCookieJar,
    ServerDisconnectedError,
)
from azure.core.credentials_async import AsyncTokenCredential
from azure.core.pipeline.transport import AioHttpTransport
from azure.cosmos.aio import ContainerProxy, CosmosClient
from azure.cosmos.exceptions import CosmosResourceNotFoundError

from shared.core.endpoints import check_endpoint
from shared.core.sdk_logs import quiet_sdks
from shared.storage.azure_identity import identify
from shared.storage.containers import Container
from shared.storage.errors import NotProvisioned, Unavailable

TO_DO = "run python -m shared.storage.provision"
STRONG = "Strong"
"""The consistency that the app needs: a logout or a lock holds for the next request, whichever instance gets it."""

_PATIENCE_SECONDS = 1


@dataclass(frozen=True, slots=True)
class Account:
    """How to reach an account. ValueError for an endpoint that is not safe to use.

    `key`: the account key; None: a managed identity, of the client id `identity` where a process has several.
    `names`: what containers are called in the account where that is not their own name.
    """

    endpoint: str
    database: str
    key: str | None = field(default=None, repr=False)
    identity: str | None = None
    accept_self_signed: bool = False
    names: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_endpoint(self.endpoint, emulator=self.accept_self_signed)


class Client:
    """The SDK's client, made when it is first needed, and a proxy for each container."""

    def __init__(self, account: Account, deadline_seconds: float) -> None:
        self._account = account
        self._deadline = deadline_seconds
        self._lock = asyncio.Lock()
        self._client: CosmosClient | None = None
        self._credential: AsyncTokenCredential | None = None
        self._proxies: dict[str, ContainerProxy] = {}
        self._closed = False

    async def container(self, container: Container) -> ContainerProxy:
        """The container in the account. AzureError when that does not answer; NotProvisioned if it is not there."""
        client = await self.connected()
        proxy = self._proxies.get(container.name)
        if proxy is None:
            database, name = self._account.database, self._account.names.get(container.name, container.name)
            proxy = client.get_database_client(database).get_container_client(name)
            try:
                await proxy.read()  # which a later 404 then cannot be about
            except CosmosResourceNotFoundError:
                raise NotProvisioned(f"database {database} lacks {name}, if it is there at all: {TO_DO}") from None
            self._proxies[container.name] = proxy
        return proxy

    async def connected(self) -> CosmosClient:
        """The SDK's own client. AzureError when the account does not answer; Unavailable after `close`."""
        if self._closed:
            raise Unavailable("the store is closed")
        if self._client is None:
            async with self._lock:
                if self._client is None:
                    self._client = await self._connect()
        return self._client

    async def consistency(self) -> str:
        """The account's default consistency, as it is now. AzureError when the account does not answer."""
        client = await self.connected()
        account = await client.client_connection.GetDatabaseAccount()
        return str((account.ConsistencyPolicy or {}).get("defaultConsistencyLevel"))

    async def check(self, containers: Iterable[Container]) -> None:
        """NotProvisioned unless the account is strongly consistent and has the containers. Two requests."""
        found = await self.consistency()
        if found != STRONG:
            raise NotProvisioned(
                f"the account of COSMOS_DB_ENDPOINT has {found} consistency: make {STRONG} its default consistency"
            )
        name = self._account.database
        database = (await self.connected()).get_database_client(name)
        try:
            there = {each["id"] async for each in database.list_containers()}
        except CosmosResourceNotFoundError:
            raise NotProvisioned(f"the account has no database {name}: {TO_DO}") from None
        missing = {self._account.names.get(each.name, each.name) for each in containers} - there
        if missing:
            raise NotProvisioned(f"database {name} lacks {', '.join(sorted(missing))}: {TO_DO}")

    async def close(self) -> None:
        """Let go of connections and of the credential, for good."""
        self._closed = True
        client, self._client = self._client, None
        credential, self._credential = self._credential, None
        if client is not None:
            # The SDK looks at the account beside the first calls: cut off, that leaves a connection half made.
            look: asyncio.Task[None] | None = client.client_connection._global_endpoint_manager.refresh_task
            if look is not None:
                await asyncio.wait([look], timeout=_PATIENCE_SECONDS)
            await client.close()
        if credential is not None:
            await credential.close()

    async def _connect(self) -> CosmosClient:
        quiet_sdks()
        settings: dict[str, Any] = {
            "enable_compact_utf8_item_writes": True,  # escaped text would exceed the limits that its bytes keep
            "retry_connect": 0,  # what was perhaps written is not sent again unless the adapter says so
            "retry_read": 0,
            "retry_throttle_backoff_max": max(1, int(self._deadline)),
            "connection_timeout": self._deadline,
            "read_timeout": self._deadline,
        }
        if self._account.accept_self_signed:
            settings["connection_verify"] = False
            settings["enable_endpoint_discovery"] = False  # an account's answer may name any host as one of its regions
        settings["transport"] = AioHttpTransport(session=_session(self._account))
        client = CosmosClient(self._account.endpoint, self._account.key or self._identify(), **settings)
        try:
            await client.__aenter__()
        except BaseException:
            await client.close()
            raise
        return client

    def _identify(self) -> AsyncTokenCredential:
        if self._credential is None:
            self._credential = identify(self._account.identity)
        return self._credential


def _session(account: Account) -> ClientSession:
    """What requests go through. What is not verified goes to an emulator's endpoint itself, and through no proxy."""
    verified = not account.accept_self_signed
    return ClientSession(
        middlewares=(_send_once,) if verified else (_only_to(account.endpoint), _send_once),
        cookie_jar=DummyCookieJar(),
        auto_decompress=False,
        trust_env=verified,
    )


def _only_to(endpoint: str) -> ClientMiddlewareType:
    """Lets no request out to anywhere else."""
    own = _origin(endpoint)

    async def pass_on(request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        if _origin(str(request.url)) != own:
            raise ClientConnectionError("an emulator named another host")
        return await handler(request)

    return pass_on


def _origin(url: str) -> tuple[str, str | None, int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or 443


async def _send_once(request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
    """A lost connection stays lost: aiohttp would send a PUT or DELETE again by itself, and tell nobody."""
    try:
        return await handler(request)
    except (ClientOSError, ServerDisconnectedError) as error:
        if isinstance(error, ClientConnectorError):
            raise
        raise ClientConnectionError("the connection was lost") from error
