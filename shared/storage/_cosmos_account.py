"""What an account holds beside items: consistency, throughput, a database and its containers. Compared and changed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from azure.cosmos import PartitionKey, ThroughputProperties
from azure.cosmos.aio import CosmosClient, DatabaseProxy
from azure.cosmos.exceptions import (
    CosmosHttpResponseError,
    CosmosResourceExistsError,
    CosmosResourceNotFoundError,
)

from shared.storage._cosmos_client import STRONG, Client
from shared.storage._cosmos_definition import Definition, Drift, Remedy, drifts
from shared.storage._cosmos_throughput import ACCOUNT, SHARED, Offer, Throughput, throughput_drifts

_KEPT = {
    "conflictResolutionPolicy": "conflict_resolution_policy",
    "analyticalStorageTtl": "analytical_storage_ttl",
    "computedProperties": "computed_properties",
    "fullTextPolicy": "full_text_policy",
    "vectorEmbeddingPolicy": "vector_embedding_policy",
}
"""What is not ours to decide: a replacement resets whatever it does not name."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A database as it should be."""

    database: str
    containers: Sequence[Definition]
    throughput: Throughput


@dataclass(frozen=True, slots=True)
class Capacity:
    """What the account sells. `serverless` is None where we may not ask; `offer` is what the database shares, if so."""

    serverless: bool | None
    offer: Offer | None = None


@dataclass(frozen=True, slots=True)
class Survey:
    """What was found, and where it is not as wanted. `database` is None where there is none."""

    capacity: Capacity
    database: Mapping[str, Any] | None
    containers: Mapping[str, Definition] = field(default_factory=dict)
    drifts: Sequence[Drift] = ()


async def survey(client: Client, wanted: Wanted) -> Survey:
    """Read and compare; nothing is changed. AzureError when the account does not answer, or not to us."""
    consistency = await client.consistency()
    sdk = await client.connected()
    database, containers = await _contents(sdk.get_database_client(wanted.database))
    capacity = await _capacity(sdk, database)
    found = throughput_drifts(database, wanted.throughput, capacity.offer, serverless=capacity.serverless)
    if consistency != STRONG:
        found.insert(0, Drift(ACCOUNT, "default consistency", consistency, STRONG, Remedy.BY_HAND))
    if database is None:
        found.append(Drift(wanted.database, "database", "absent", "present", Remedy.CREATE))
    for each in wanted.containers:
        there = containers.get(each["id"])
        if there is None:
            found.append(Drift(each["id"], "container", "absent", "present", Remedy.CREATE))
        else:
            found += drifts(there, each)
    return Survey(capacity, database, containers, found)


async def change(client: Client, wanted: Wanted, seen: Survey) -> None:
    """Create and replace what the survey says. What somebody else creates meanwhile is theirs: survey again."""
    sdk = await client.connected()
    database = sdk.get_database_client(wanted.database)
    offer = _to_sell(wanted.throughput)
    remedies = {(each.place, each.remedy) for each in seen.drifts}
    if seen.database is None:
        await _create_database(sdk, wanted.database, offer)
    elif offer is not None and any(each.name == SHARED and each.remedy is Remedy.REPLACE for each in seen.drifts):
        await database.replace_throughput(offer)
    for each in wanted.containers:
        if (each["id"], Remedy.CREATE) in remedies:
            await _create_container(database, each)
        elif (each["id"], Remedy.REPLACE) in remedies:
            await _replace_container(database, each, seen.containers[each["id"]])


async def _capacity(sdk: CosmosClient, database: Mapping[str, Any] | None) -> Capacity:
    """All offers are listed: the SDK's `get_throughput` breaks where there is none."""
    try:
        offers = [each async for each in sdk.client_connection.QueryOffers(None)]
    except CosmosHttpResponseError as error:
        if error.status_code == 400 and "serverless" in str(error.http_error_message):
            return Capacity(serverless=True)
        if error.status_code == 403:  # no data role allows to read throughput
            return Capacity(serverless=None)
        raise
    own = [each for each in offers if database and each["resource"] == database["_self"]]
    return Capacity(serverless=False, offer=own[0] if own else None)


async def _contents(database: DatabaseProxy) -> tuple[Mapping[str, Any] | None, dict[str, Definition]]:
    try:
        properties = await database.read()
        return properties, {each["id"]: each async for each in database.list_containers()}
    except CosmosResourceNotFoundError:
        return None, {}


def _to_sell(throughput: Throughput) -> ThroughputProperties | None:
    if throughput.kind == "serverless":
        return None
    if throughput.kind == "manual":
        return ThroughputProperties(offer_throughput=throughput.units)
    return ThroughputProperties(auto_scale_max_throughput=throughput.units)


def partition_key(definition: Definition) -> PartitionKey:
    """The partition key of a definition, as the SDK takes it."""
    key = definition["partitionKey"]
    if key["kind"] == "Hash":
        return PartitionKey(path=key["paths"][0], kind="Hash", version=key["version"])
    return PartitionKey(path=key["paths"], kind="MultiHash", version=key["version"])


async def _create_database(sdk: CosmosClient, name: str, offer: ThroughputProperties | None) -> None:
    try:
        await sdk.create_database(name, offer_throughput=offer)
    except CosmosResourceExistsError:
        return


async def _create_container(database: DatabaseProxy, wanted: Definition) -> None:
    try:
        await database.create_container(
            wanted["id"],
            partition_key(wanted),
            indexing_policy=wanted["indexingPolicy"],
            default_ttl=wanted.get("defaultTtl"),
        )
    except CosmosResourceExistsError:
        return


async def _replace_container(database: DatabaseProxy, wanted: Definition, there: Definition) -> None:
    kept = {argument: there[name] for name, argument in _KEPT.items() if there.get(name) is not None}
    await database.replace_container(
        wanted["id"],
        partition_key(wanted),
        indexing_policy=wanted["indexingPolicy"],
        default_ttl=wanted.get("defaultTtl"),
        **kept,
    )
