"""What every adapter does to an item on its way in and out: limits, system fields, `ttl`, paths and patches."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.core.clock import period_end
from shared.storage.containers import PERIOD, Container
from shared.storage.documents import (
    MAX_REQUEST_BYTES,
    Item,
    Partition,
    Patch,
    PatchIncrement,
    PatchRemove,
    PatchSet,
    check_item,
)
from shared.storage.errors import PreconditionFailed, TooLarge

MAX_DEPTH = 128  # Cosmos DB's limit on nested objects and arrays
MAX_PATCHES = 10
MAX_TTL_SECONDS = 2**31 - 1
MAX_INTEGER = 2**63 - 1
MAX_SAFE_INTEGER = 2**53 - 1  # what a JSON number holds exactly in every store
NEVER = -1

_PATH = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Prepared:
    """An item that passed every check, as canonical JSON text, and when it ends.

    `ttl`: seconds from the write, None = never. `expires_at`: the Unix second fixed by the period, which wins.
    `arrays`: of each array index of the container the value of its ordered field and the texts in the array.
    """

    id: str
    body: str
    size: int
    ttl: int | None
    expires_at: int | None
    arrays: tuple[tuple[Any, tuple[str, ...]], ...] = ()


def to_json(value: Any) -> tuple[str, int]:
    """Compact JSON text and its UTF-8 size. ValueError for what JSON or UTF-8 cannot hold; TooLarge if too deep."""
    try:
        text = _encode(value)
        size = len(text) if text.isascii() else len(text.encode())
    except (TypeError, ValueError):
        raise ValueError("an item holds JSON values and well-formed text only") from None
    except RecursionError:
        raise TooLarge(f"an item nests deeper than {MAX_DEPTH} levels") from None
    if text.count("[") + text.count("{") > MAX_DEPTH and _depth(value) > MAX_DEPTH:
        raise TooLarge(f"an item nests deeper than {MAX_DEPTH} levels")
    return text, size


def _depth(value: Any) -> int:
    """How many objects and arrays enclose the innermost value."""
    depth, level = 0, [value]
    while True:
        level = [each for each in level if isinstance(each, dict | list | tuple)]
        if not level:
            return depth
        depth += 1
        level = [inner for each in level for inner in (each.values() if isinstance(each, dict) else each)]


def prepare(
    container: Container, partition: Partition, item: Mapping[str, Any], *, now: int, ttl_days: int
) -> Prepared:
    """Check and freeze an item: system fields dropped, `ttl` settled. ValueError; TooLarge above 2 MB."""
    check_item(container, partition, item)
    if any(not issubclass(kind, str) for kind in set(map(type, item))):
        raise ValueError(f"{container.name}: the names of fields are text")
    kept = {name: value for name, value in item.items() if not name.startswith("_")}
    ttl, expires_at = _lifetime(container, partition, kept, now=now, ttl_days=ttl_days)
    if expires_at is not None:
        kept["ttl"] = ttl
    body, size = to_json(kept)
    if size > MAX_REQUEST_BYTES:
        raise TooLarge(f"{container.name}: an item has {size} bytes, {MAX_REQUEST_BYTES} are allowed")
    return Prepared(
        kept["id"], body, size, ttl, expires_at, tuple(_texts(kept, *each) for each in container.array_indexes)
    )


def _texts(item: Mapping[str, Any], path: str, order: str) -> tuple[Any, tuple[str, ...]]:
    values, ordered = _at(item, path), _at(item, order)
    if not isinstance(values, list | tuple) or not isinstance(ordered, str | int | float):
        return None, ()
    if isinstance(ordered, int) and abs(ordered) > MAX_INTEGER:
        return None, ()  # beyond what is ordered
    return ordered, tuple(dict.fromkeys(each for each in values if isinstance(each, str)))


def _at(item: Mapping[str, Any], path: str) -> Any:
    value: Any = item
    for name in path_parts(path):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _lifetime(
    container: Container, partition: Partition, item: Mapping[str, Any], *, now: int, ttl_days: int
) -> tuple[int | None, int | None]:
    """The item's `ttl` (None = never) and, where a period fixes it, the Unix second at which it ends."""
    if container.default_ttl_seconds is None:
        return None, None
    own = item.get("ttl")
    if container.expires_by_period:
        end = period_end(partition[container.partition_key.index(PERIOD)]) + ttl_days * 86_400
        remaining = min(max(end - now, 1), MAX_TTL_SECONDS)
        return (None, None) if type(own) is int and own == NEVER else (remaining, max(end, now + 1))
    if "ttl" not in item:
        default = container.default_ttl_seconds
        return (None if default == NEVER else default), None
    if type(own) is not int or not (own == NEVER or 1 <= own <= MAX_TTL_SECONDS):
        raise ValueError(f"{container.name}: ttl is a positive number of seconds, or {NEVER} for never")
    return (None if own == NEVER else own), None


def path_parts(path: str) -> tuple[str, ...]:
    """The names of a dotted path. ValueError for anything but plain names, or for a field that only the store sets."""
    if not _PATH.fullmatch(path) or path.startswith("_"):
        raise ValueError("a path is dotted names of ASCII letters, digits and _, the first not beginning with _")
    return tuple(path.split("."))


def freeze_patches(container: Container, patches: Sequence[Patch]) -> tuple[tuple[Patch, ...], int]:
    """Checked copies of the patches, so that the caller's values may change later, and their size in bytes."""
    if not 1 <= len(patches) <= MAX_PATCHES:
        raise ValueError(f"one to {MAX_PATCHES} patches")
    frozen: list[Patch] = []
    total = 0
    for patch in patches:
        if path_parts(patch.path)[0] in ("id", *container.partition_key):
            raise ValueError(f"{container.name}: {patch.path} cannot change")
        if isinstance(patch, PatchSet):
            text, size = to_json(patch.value)
            total += size
            frozen.append(PatchSet(patch.path, json.loads(text)))
        else:
            if isinstance(patch, PatchIncrement) and type(patch.by) is not int:
                raise ValueError("an increment is an integer")
            frozen.append(patch)
    if total > MAX_REQUEST_BYTES:
        raise TooLarge(f"{container.name}: patches have {total} bytes, {MAX_REQUEST_BYTES} are allowed")
    return tuple(frozen), total


def apply_patches(item: Item, patches: Sequence[Patch]) -> None:
    """Change `item` in place. PreconditionFailed where a path does not lead anywhere."""
    for patch in patches:
        *parents, name = path_parts(patch.path)
        holder: Any = item
        for parent in parents:
            holder = holder.get(parent) if isinstance(holder, dict) else None
        if not isinstance(holder, dict):
            raise PreconditionFailed(f"the parent of {patch.path} is not there")
        if isinstance(patch, PatchSet):
            holder[name] = patch.value
        elif isinstance(patch, PatchRemove):
            if name not in holder:
                raise PreconditionFailed(f"{patch.path} is not there")
            del holder[name]
        else:
            before = holder.get(name, 0)
            if type(before) is not int:
                raise PreconditionFailed(f"{patch.path} is not an integer")
            holder[name] = before + patch.by
