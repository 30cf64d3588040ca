"""Reading the rows of a query: page by page, and across the physical partitions that a tenant may lie on."""

import asyncio
import heapq
from collections.abc import AsyncIterable, Sequence
from itertools import islice
from typing import Any

from azure.cosmos.aio import ContainerProxy

from shared.storage._cosmos_query import Statement, value_at
from shared.storage._cosmos_requests import Hooks
from shared.storage.documents import Item, Partition, Query


async def rows_of(proxy: ContainerProxy, statement: Statement, limit: int, hooks: Hooks, **scope: Any) -> list[Item]:
    """The first rows of a query, one more than a page holds."""
    parameters: list[dict[str, Any]] = statement.parameters
    pages = proxy.query_items(
        statement.sql, parameters=parameters, max_item_count=limit + 1, **scope, **hooks
    ).by_page()
    rows: list[Item] = []
    page: AsyncIterable[Item]
    async for page in pages:
        rows += [row async for row in page]
        if len(rows) > limit:
            break
    return rows[: limit + 1]


async def rows_below(
    proxy: ContainerProxy, statement: Statement, partition: Partition, query: Query, hooks: Hooks
) -> list[Item]:
    """The first rows below a prefix. Where it lies on several physical partitions, each is asked and the rows merged.

    The SDK would drain one after the other, which is no order. When a partition splits meanwhile, it is done again.
    """
    while True:
        ranges = await _ranges_below(proxy, partition)
        if len(ranges) <= 1:
            rows = await rows_of(proxy, statement, query.limit, hooks, partition_key=list(partition))
        else:
            parts = await asyncio.gather(
                *(rows_of(proxy, statement, query.limit, hooks, feed_range=each) for each in ranges)
            )
            merged = heapq.merge(*parts, key=lambda row: _sort_key(row, query), reverse=query.descending)
            rows = list(islice(merged, query.limit + 1))
        if await _ranges_below(proxy, partition) == ranges:
            return rows


def project(item: Item, fields: Sequence[str] | None) -> Item:
    """The item, or those of its fields that were asked for."""
    return item if fields is None else {name: item[name] for name in fields if name in item}


async def _ranges_below(proxy: ContainerProxy, partition: Partition) -> list[dict[str, Any]]:
    """The physical partitions that a prefix may lie on; the SDK keeps them and learns of splits by itself."""
    ranges = [each async for each in proxy.read_feed_ranges()]
    whole = await proxy.feed_range_from_partition_key(list(partition))
    for each in ranges:
        if await proxy.is_feed_range_subset(each, whole):
            return [each]
    return ranges


def _sort_key(row: Item, query: Query) -> tuple[bool, Any, str]:
    """Cosmos's own order: numbers, then text, ties by id."""
    value = value_at(row, query.order_by)
    return isinstance(value, str), value, row["id"]
