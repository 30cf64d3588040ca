"""What a write sends to Cosmos DB: marked items, patches that Cosmos can do itself, the steps of a batch.

Every item that we write whole carries `_write`, a random mark of that one call (names that begin with `_` are the
store's own, and are dropped on the way out). A call whose answer was lost reads the item back and knows by the mark
whether it took effect, whatever else the item holds.

A patch goes to Cosmos as it is, when Cosmos would do what the port says. Where it would not (a `ttl` has to be settled,
an increment follows another patch of its field), the item is read, patched here and replaced on the condition that
nobody changed it meanwhile.
"""

import copy
import json
import re
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from shared.storage._cosmos_query import expression
from shared.storage._items import MAX_PATCHES, Prepared, apply_patches, path_parts, to_json
from shared.storage.containers import Container
from shared.storage.documents import BatchOperation, Item, Patch, PatchRemove, PatchSet
from shared.storage.errors import PreconditionFailed, TooLarge

MARK = "_write"
NO_VERSION = '"none"'  # an etag that no item has
_ETAG = re.compile(r'"[!#-~]+"')

type Step = tuple[str, tuple[Any, ...], dict[str, Any]]
"""A step of a batch as azure-cosmos takes it: kind, positional and keyword arguments."""

type Find = Callable[[str], Awaitable[Item | None]]
"""The item of an id as it is stored, or None."""


def new_mark() -> str:
    """A mark for one call."""
    return secrets.token_hex(8)


def marked(prepared: Prepared, mark: str) -> Item:
    """The item as it is sent."""
    body: Item = json.loads(prepared.body)
    body[MARK] = mark
    return body


def etag_to_send(if_match: str) -> str:
    """The etag, or one that matches nothing in place of what is none: `*` would match any version."""
    return if_match if _ETAG.fullmatch(if_match) else NO_VERSION


@dataclass(frozen=True, slots=True)
class NativePatch:
    """A patch that Cosmos does by itself.

    `condition`: what must hold for it. `repeatable`: doing it twice is harmless.
    """

    operations: tuple[dict[str, Any], ...]
    condition: str | None
    repeatable: bool


def native_patch(container: Container, patches: Sequence[Patch]) -> NativePatch | None:
    """The patch for Cosmos, if Cosmos would do what the port says."""
    if container.expires_by_period or len(patches) > MAX_PATCHES:
        return None
    seen: list[tuple[str, ...]] = []
    operations: list[dict[str, Any]] = []
    conditions: list[str] = []
    for patch in patches:
        parts = path_parts(patch.path)
        if parts[0] == "ttl" and container.default_ttl_seconds is not None:
            return None
        path = "/" + "/".join(parts)
        if isinstance(patch, PatchSet):
            if not _is_shallow(patch.value, len(parts)):
                return None
            operations.append({"op": "set", "path": path, "value": patch.value})
        elif isinstance(patch, PatchRemove):
            operations.append({"op": "remove", "path": path})
        else:
            if any(parts[: len(each)] == each[: len(parts)] for each in seen):
                return None
            number = expression(patch.path)
            conditions.append(f"(NOT IS_DEFINED({number}) OR (IS_NUMBER({number}) AND FLOOR({number}) = {number}))")
            operations.append({"op": "incr", "path": path, "value": patch.by})
        seen.append(parts)
    condition = f"from c where {' AND '.join(conditions)}" if conditions else None
    return NativePatch(tuple(operations), condition, all(isinstance(each, PatchSet) for each in patches))


def _is_shallow(value: Any, parents: int) -> bool:
    """Whether the value nests within the limit wherever it is put below so many names."""
    nested: Any = value
    for _ in range(parents):
        nested = [nested]
    try:
        to_json(nested)
    except TooLarge:
        return False
    return True


@dataclass(slots=True)
class Plan:
    """The steps of a batch and what is known of their effect.

    `bodies`: the item that each step leaves, where that is known beforehand. `raced`: steps whose condition is ours, so
    that a failure means to plan again. `repeatable`: doing the whole batch twice is harmless.
    """

    mark: str
    steps: list[Step] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    bodies: list[Item | None] = field(default_factory=list)
    raced: set[int] = field(default_factory=set)
    repeatable: bool = True

    def add(self, kind: str, item_id: str, *rest: Any, body: Item | None = None, **conditions: Any) -> None:
        """One more step."""
        arguments = (body,) if kind in ("create", "upsert") else (item_id, *rest, *([body] if body else []))
        self.steps.append((kind, arguments, conditions))
        self.ids.append(item_id)
        self.bodies.append(body)

    def to_send(self) -> list[Step]:
        """The steps, copied: azure-cosmos takes the conditions out of what it is given."""
        return [(kind, arguments, dict(conditions)) for kind, arguments, conditions in self.steps]


@dataclass(frozen=True, slots=True)
class Draft:
    """One step of a batch, checked: its operation, and what it sends."""

    operation: BatchOperation
    prepared: Prepared | None = None
    patches: tuple[Patch, ...] = ()
    native: NativePatch | None = None

    @property
    def item_id(self) -> str:
        """The id of the item that it is about."""
        return self.prepared.id if self.prepared else self.operation.id or ""


def is_native(drafts: Sequence[Draft]) -> bool:
    """Whether Cosmos can do the whole batch by itself."""
    return all(each.native for each in drafts if each.patches)


def plan_native(drafts: Sequence[Draft]) -> Plan:
    """The steps of a batch that Cosmos can do by itself."""
    plan = Plan(new_mark())
    for draft in drafts:
        if draft.native:
            conditions = _if_match(draft.operation.if_match)
            if draft.native.condition:
                conditions["filter_predicate"] = draft.native.condition
            plan.add("patch", draft.item_id, list(draft.native.operations), **conditions)
            plan.repeatable = plan.repeatable and draft.native.repeatable
        else:
            _add_plain(plan, draft)
    return plan


async def plan_by_reading(
    drafts: Sequence[Draft], find: Find, prepare: Callable[[Item], Prepared], missing: Item
) -> Plan:
    """The steps of a batch whose patches are done here. `missing`: a bare item of the partition, for want of one.

    A step that cannot succeed is sent all the same, under a condition that fails, so that an earlier step's failure
    comes first, as it would.
    """
    plan = Plan(new_mark(), repeatable=False)
    known: dict[str, Item | None] = {}
    versions: dict[str, str] = {}
    for index, draft in enumerate(drafts):
        item_id = draft.item_id
        if not draft.patches:
            _add_plain(plan, draft)
            if draft.operation.kind != "read":
                known[item_id] = json.loads(draft.prepared.body) if draft.prepared else None
                versions.pop(item_id, None)
            continue
        if item_id not in known:
            known[item_id] = found = await find(item_id)
            if found is not None:
                versions[item_id] = found["_etag"]
        patched = _patched(known[item_id], versions.get(item_id), draft)
        if patched is None:
            body = {**missing, "id": item_id}
            plan.add("replace", item_id, body=body, if_match_etag=NO_VERSION)
            if known[item_id] is None:
                plan.raced.add(index)
            continue
        prepared = prepare(patched)
        plan.add("replace", item_id, body=marked(prepared, plan.mark), **_if_match(versions.pop(item_id, None)))
        if plan.steps[-1][2]:
            plan.raced.add(index)
        known[item_id] = json.loads(prepared.body)
    return plan


def _patched(item: Item | None, version: str | None, draft: Draft) -> Item | None:
    """The item with its patches, or None where they cannot be done."""
    wanted = draft.operation.if_match
    if item is None or (wanted is not None and wanted != version):
        return None
    changed = copy.deepcopy(item)
    try:
        apply_patches(changed, draft.patches)
    except PreconditionFailed:
        return None
    return changed


def _add_plain(plan: Plan, draft: Draft) -> None:
    """A step that is not a patch."""
    kind, conditions = draft.operation.kind, _if_match(draft.operation.if_match)
    body = marked(draft.prepared, plan.mark) if draft.prepared else None
    plan.add(kind, draft.item_id, body=body, **conditions)


def _if_match(if_match: str | None) -> dict[str, Any]:
    return {} if if_match is None else {"if_match_etag": etag_to_send(if_match)}
