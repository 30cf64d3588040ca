"""A real account for the conformance suite: one database for the session, emptied between tests, removed at the end."""

import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Self
from urllib.parse import urlsplit

from azure.cosmos.aio import CosmosClient

from shared.storage._cosmos_account import partition_key
from shared.storage.containers import Container
from shared.storage.cosmos import CosmosStore
from tests.fakes import ManualClock


class Account:
    """The account of COSMOS_DB_ENDPOINT and COSMOS_DB_KEY, and the database made in it."""

    def __init__(self, environment: Mapping[str, str], client: CosmosClient, definitions: Sequence[Any]) -> None:
        self._endpoint = environment["COSMOS_DB_ENDPOINT"]
        self._key = environment["COSMOS_DB_KEY"]
        self._client = client
        self._definitions = definitions
        self._name = f"kraftd_test_{secrets.token_hex(4)}"

    @classmethod
    async def create(cls, environment: Mapping[str, str], definitions: Sequence[dict[str, Any]]) -> Self:
        """Make the database and its containers; the key must allow that."""
        local = _is_local(environment["COSMOS_DB_ENDPOINT"])
        client = CosmosClient(
            environment["COSMOS_DB_ENDPOINT"], environment["COSMOS_DB_KEY"], connection_verify=not local
        )
        await client.__aenter__()
        made = cls(environment, client, definitions)
        database = await client.create_database(made._name)
        for each in definitions:
            await database.create_container(
                each["id"],
                partition_key(each),
                indexing_policy=each["indexingPolicy"],
                default_ttl=each.get("defaultTtl"),
            )
        return made

    async def open(self, clock: ManualClock, ttl_days: int, containers: Mapping[str, Container]) -> CosmosStore:
        """A store on the database."""
        return await CosmosStore.open(
            self._endpoint,
            clock=clock,
            database=self._name,
            key=self._key,
            accept_self_signed=_is_local(self._endpoint),
            ttl_days=ttl_days,
            containers=containers,
        )

    async def empty(self) -> None:
        """Delete every item."""
        database = self._client.get_database_client(self._name)
        for each in self._definitions:
            container = database.get_container_client(each["id"])
            paths = [path[1:] for path in each["partitionKey"]["paths"]]
            async for item in container.query_items("SELECT * FROM c"):
                key = [item[path] for path in paths]
                await container.delete_item(item["id"], key if len(key) > 1 else key[0])

    async def remove(self) -> None:
        """Delete the database."""
        await self._client.delete_database(self._name)
        await self._client.close()


def _is_local(endpoint: str) -> bool:
    return urlsplit(endpoint).hostname in ("localhost", "127.0.0.1")
