"""The production adapter of the storage port: Cosmos DB for NoSQL through azure-cosmos.

One client per process, made on first use. Point operations and batches are Cosmos's own; queries are compiled by
`_cosmos_query.py`; what is sent and recognized again is in `_cosmos_writes.py`; deadlines, retries and the meaning of
failures are in `_cosmos_requests.py`. See docs/adr/0010.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from azure.core import MatchConditions
from azure.cosmos.aio import ContainerProxy
from azure.cosmos.exceptions import CosmosBatchOperationError, CosmosResourceNotFoundError

from shared.core.clock import Clock
from shared.storage._checks import check_batch, check_key, check_text
from shared.storage._cosmos_client import Account, Client
from shared.storage._cosmos_feed import page_after
from shared.storage._cosmos_pages import project, rows_below, rows_of
from shared.storage._cosmos_query import compile_query, value_at
from shared.storage._cosmos_requests import Charged, Hooks, NotOursError, Requests
from shared.storage._cosmos_writes import (
    MARK,
    NO_VERSION,
    Draft,
    NativePatch,
    Plan,
    etag_to_send,
    is_native,
    marked,
    native_patch,
    new_mark,
    plan_by_reading,
    plan_native,
)
from shared.storage._items import Prepared, freeze_patches, prepare
from shared.storage.containers import CONTAINERS, GUARDS, Container
from shared.storage.documents import (
    MAX_REQUEST_BYTES,
    BatchOperation,
    Change,
    Cursor,
    Item,
    Page,
    Partition,
    Patch,
    Position,
    Query,
    check_partition,
    is_usable_id,
    shown,
)
from shared.storage.errors import NotFound, TooLarge, Unavailable

_PING: Item = {"id": "ping", "ttl": 60}

type Send[T] = Callable[[ContainerProxy, Hooks], Awaitable[T]]


def _ignored(_container: str, _operation: str, _ru: float, _status: int) -> None:
    """Nobody asked what calls cost."""


class CosmosStore:
    """A DocumentStore and ChangeSource in an account of Cosmos DB. Open it with `CosmosStore.open`, on its loop."""

    @classmethod
    async def open(
        cls,
        endpoint: str,
        *,
        clock: Clock,
        database: str,
        key: str | None = None,
        identity: str | None = None,
        accept_self_signed: bool = False,
        ttl_days: int = 2555,
        containers: Mapping[str, Container] = CONTAINERS,
        names: Mapping[str, str] | None = None,
        deadline_seconds: float = 10.0,
        charged: Charged = _ignored,
    ) -> "CosmosStore":
        """The store in a database that was provisioned before. Nothing is asked of the account yet: see `verify`.

        `key`: the account key; None: a managed identity, of client id `identity` where there are several.
        `accept_self_signed`: for an emulator on this machine. `ttl_days`: how long items of a container that expires by
        period outlive their period. `names`: what containers are called there, by our name, where that differs.
        `deadline_seconds`: for each call, all its retries included. `charged`: told of every answer's request units.
        ValueError for an endpoint that is not safe to use.
        """
        client = Client(Account(endpoint, database, key, identity, accept_self_signed, names or {}), deadline_seconds)
        return cls(client, Requests(deadline_seconds, charged), containers, clock=clock, ttl_days=ttl_days)

    def __init__(
        self, client: Client, requests: Requests, containers: Mapping[str, Container], *, clock: Clock, ttl_days: int
    ) -> None:
        self._client = client
        self._requests = requests
        self._containers = {container.name: container for container in containers.values()}
        self._clock = clock
        self._ttl_days = ttl_days
        self._closed = False
        self._running = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def verify(self) -> None:
        """Raise NotProvisioned unless the account is strongly consistent and has all containers. To be asked once."""
        await self._requests.run("account", "verify", lambda _: self._client.check(self._containers.values()))

    async def create(self, container: Container, partition: Partition, item: Item) -> Item:
        """Add an item. Conflict if its id exists in the partition."""
        prepared = self._prepare(container, partition, item)
        return await self._put(container, partition, prepared, "create")

    async def read(self, container: Container, partition: Partition, item_id: str) -> Item:
        """One item. NotFound if there is none, or it expired."""
        self._check_id(container, partition, item_id)

        async def send(proxy: ContainerProxy, hooks: Hooks) -> Item:
            return await proxy.read_item(item_id, _key(partition), **hooks)

        return shown(await self._run(container, "read", send))

    async def replace(
        self, container: Container, partition: Partition, item: Item, if_match: str | None = None
    ) -> Item:
        """Write over an item. NotFound; PreconditionFailed if `if_match` is not its etag."""
        prepared = self._prepare(container, partition, item)
        return await self._put(container, partition, prepared, "replace", _matching(if_match))

    async def upsert(self, container: Container, partition: Partition, item: Item) -> Item:
        """Create or write over an item."""
        prepared = self._prepare(container, partition, item)
        return await self._put(container, partition, prepared, "upsert")

    async def delete(
        self, container: Container, partition: Partition, item_id: str, if_match: str | None = None
    ) -> None:
        """Remove an item. NotFound; PreconditionFailed if `if_match` is not its etag."""
        self._check_id(container, partition, item_id)

        async def send(proxy: ContainerProxy, hooks: Hooks) -> None:
            await proxy.delete_item(item_id, _key(partition), **_matching(if_match), **hooks)

        async def recognize(proxy: ContainerProxy, hooks: Hooks) -> None:
            if await _find(proxy, partition, item_id, hooks) is not None:
                raise NotOursError

        await self._run(container, "delete", send, recognize=recognize)

    async def patch(
        self,
        container: Container,
        partition: Partition,
        item_id: str,
        patches: Sequence[Patch],
        if_match: str | None = None,
    ) -> Item:
        """Change fields of an item, all or none (1 to 10 patches, applied in order). NotFound; PreconditionFailed."""
        self._check_id(container, partition, item_id)
        frozen, _ = freeze_patches(container, patches)
        native = native_patch(container, frozen)
        if native is None:
            operation = BatchOperation("patch", id=item_id, if_match=if_match, patches=frozen)
            (result,) = await self._run_batch(container, partition, [Draft(operation, patches=frozen)], "patch")
            return result or {}
        return await self._patch(container, partition, item_id, native, if_match)

    async def batch(
        self, container: Container, partition: Partition, operations: Sequence[BatchOperation]
    ) -> list[Item | None]:
        """All of the operations or none, in order, in one partition; see the port."""
        self._check(container)
        check_batch(container, partition, operations)
        drafts: list[Draft] = []
        size = 0
        for operation in operations:
            draft, bytes_ = self._draft(container, partition, operation)
            drafts.append(draft)
            size += bytes_
        if size > MAX_REQUEST_BYTES:
            raise TooLarge(f"a batch of {size} bytes, {MAX_REQUEST_BYTES} are allowed")
        return await self._run_batch(container, partition, drafts, "batch")

    async def query(self, container: Container, partition: Partition, query: Query) -> Page:
        """One page. `partition` may be a prefix of the container's key (at least its first path)."""
        self._check(container)
        check_partition(container, partition, prefix=True)
        check_text(*partition)
        statement = compile_query(container, partition, query)

        async def send(proxy: ContainerProxy, hooks: Hooks) -> list[Item]:
            if len(partition) == len(container.partition_key):
                return await rows_of(proxy, statement, query.limit, hooks, partition_key=_key(partition))
            return await rows_below(proxy, statement, partition, query, hooks)

        rows = await self._run(container, "query", send)
        following = None
        if len(rows) > query.limit:
            last = rows[query.limit - 1]
            following = Cursor(value_at(last, query.order_by), last["id"])
        return Page([project(shown(row), query.fields) for row in rows[: query.limit]], following)

    async def changes(self, container: Container, after: Position, limit: int) -> list[Change]:
        """Latest version of each item written after a position; see `ChangeSource`. One page of Cosmos's own feed."""
        self._check(container)
        return await self._run(container, "change_feed", page_after(after, limit))

    async def ping(self) -> None:
        """Raise Unavailable when the store cannot serve writes: one is made, to an item that expires."""
        await self.upsert(GUARDS, (_PING["id"],), _PING)

    async def close(self) -> None:
        """Finish what is under way and let go of everything. From then on every call is Unavailable."""
        if not self._closed:
            self._closed = True
            await self._idle.wait()
            await self._client.close()

    async def _put(
        self,
        container: Container,
        partition: Partition,
        prepared: Prepared,
        operation: str,
        conditions: Mapping[str, Any] | None = None,
    ) -> Item:
        """Send a whole item; after an answer was lost, it is recognized by its mark."""
        mark = new_mark()
        body = marked(prepared, mark)

        async def send(proxy: ContainerProxy, hooks: Hooks) -> Item:
            if operation == "create":
                return await proxy.create_item(body, **hooks)
            if operation == "upsert":
                return await proxy.upsert_item(body, **hooks)
            return await proxy.replace_item(prepared.id, body, **(conditions or {}), **hooks)

        async def recognize(proxy: ContainerProxy, hooks: Hooks) -> Item:
            found = await _find(proxy, partition, prepared.id, hooks)
            if found is None or found.get(MARK) != mark:
                raise NotOursError
            return found

        return shown(await self._run(container, operation, send, recognize=recognize))

    async def _patch(
        self, container: Container, partition: Partition, item_id: str, native: NativePatch, if_match: str | None
    ) -> Item:
        conditions = _matching(if_match)
        if native.condition:
            conditions["filter_predicate"] = native.condition

        async def send(proxy: ContainerProxy, hooks: Hooks) -> Item:
            return await proxy.patch_item(item_id, _key(partition), list(native.operations), **conditions, **hooks)

        repeatable = native.repeatable and if_match is None
        return shown(await self._run(container, "patch", send, repeatable=repeatable, recognize=_nobody_knows))

    async def _run_batch(
        self, container: Container, partition: Partition, drafts: Sequence[Draft], operation: str
    ) -> list[Item | None]:
        plan = plan_native(drafts) if is_native(drafts) else None
        sent: list[Plan] = []

        async def send(proxy: ContainerProxy, hooks: Hooks) -> list[Item | None]:
            while True:
                current = plan or await self._plan(container, partition, drafts, proxy, hooks)
                sent[:] = [current]
                try:
                    answers = await proxy.execute_item_batch(current.to_send(), _key(partition), **hooks)
                except CosmosBatchOperationError as error:
                    if error.status_code != 412 or error.error_index not in current.raced:
                        raise
                else:
                    bodies = [answer.get("resourceBody") for answer in answers]
                    return [None if body is None else shown(body) for body in bodies]

        async def recognize(proxy: ContainerProxy, hooks: Hooks) -> list[Item | None]:
            return await _recognize_batch(proxy, partition, sent[0], hooks) if sent else await _nobody_knows()

        repeatable = plan is not None and plan.repeatable
        return await self._run(container, operation, send, repeatable=repeatable, recognize=recognize)

    async def _plan(
        self, container: Container, partition: Partition, drafts: Sequence[Draft], proxy: ContainerProxy, hooks: Hooks
    ) -> Plan:
        missing = dict(zip(container.partition_key, partition, strict=True))
        return await plan_by_reading(
            drafts,
            lambda item_id: _find(proxy, partition, item_id, hooks),
            lambda item: self._prepare(container, partition, item),
            missing,
        )

    def _draft(self, container: Container, partition: Partition, operation: BatchOperation) -> tuple[Draft, int]:
        """One well-formed step of a batch, checked, and its size."""
        if operation.item is not None:
            prepared = self._prepare(container, partition, operation.item)
            return Draft(operation, prepared), prepared.size
        check_key(container, partition, operation.id or "")
        if operation.kind != "patch":
            return Draft(operation), 0
        frozen, size = freeze_patches(container, operation.patches)
        return Draft(operation, None, frozen, native_patch(container, frozen)), size

    def _prepare(self, container: Container, partition: Partition, item: Item) -> Prepared:
        self._check(container)
        now = int(self._clock.now().timestamp())
        prepared = prepare(container, partition, item, now=now, ttl_days=self._ttl_days)
        check_text(*partition)
        return prepared

    def _check(self, container: Container) -> None:
        if self._closed:
            raise Unavailable("the store is closed")
        if container.name not in self._containers:
            raise ValueError(f"{container.name} is not a container of this store")

    def _check_id(self, container: Container, partition: Partition, item_id: str) -> None:
        """NotFound for an id that no item can have: in the path of a request it could mean something else."""
        self._check(container)
        check_key(container, partition, item_id)
        if not is_usable_id(item_id):
            raise NotFound(f"{container.name}: no such item")

    async def _run[T](
        self,
        container: Container,
        operation: str,
        send: Send[T],
        *,
        repeatable: bool = True,
        recognize: Send[T] | None = None,
    ) -> T:
        """Run a call against the container, with the client made first if need be."""

        async def connected(hooks: Hooks) -> T:
            return await send(await self._client.container(container), hooks)

        async def recognized(hooks: Hooks) -> T:
            if recognize is None:
                raise NotOursError
            return await recognize(await self._client.container(container), hooks)

        self._running += 1
        self._idle.clear()
        try:
            return await self._requests.run(
                container.name, operation, connected, repeatable=repeatable, recognize=recognized
            )
        finally:
            self._running -= 1
            if not self._running:
                self._idle.set()


def _key(partition: Partition) -> Any:
    """A partition as azure-cosmos takes it."""
    return partition[0] if len(partition) == 1 else list(partition)


def _matching(if_match: str | None) -> dict[str, Any]:
    if if_match is None:
        return {}
    return {"etag": etag_to_send(if_match), "match_condition": MatchConditions.IfNotModified}


async def _nobody_knows(*_: Any) -> Any:
    raise Unavailable("the outcome of a write is unknown")


async def _find(proxy: ContainerProxy, partition: Partition, item_id: str, hooks: Hooks) -> Item | None:
    try:
        return await proxy.read_item(item_id, _key(partition), **hooks)
    except CosmosResourceNotFoundError:
        return None


async def _recognize_batch(proxy: ContainerProxy, partition: Partition, plan: Plan, hooks: Hooks) -> list[Item | None]:
    """What the batch left, if it took effect: one item that still bears its mark proves that all of it did."""
    found = {item_id: await _find(proxy, partition, item_id, hooks) for item_id in dict.fromkeys(plan.ids)}
    written = {item_id for item_id, body in zip(plan.ids, plan.bodies, strict=True) if body is not None}
    ours = {item_id for item_id in written if (found[item_id] or {}).get(MARK) == plan.mark}
    if not ours:
        removed = not written and all(kind == "delete" for kind, *_ in plan.steps) and not any(found.values())
        if not removed:
            raise NotOursError
    results: list[Item | None] = []
    for (kind, *_), item_id, body in zip(plan.steps, plan.ids, plan.bodies, strict=True):
        current = found[item_id]
        if kind == "delete":
            results.append(None)
        elif current is not None and (body is None or shown(current).items() >= shown(body).items()):
            results.append(shown(current))
        else:  # written over since, by a later step or by somebody else: its etag is of the past in any case
            results.append({**shown(body or {}), "_etag": NO_VERSION, "_ts": (current or {}).get("_ts", 0)})
    return results
