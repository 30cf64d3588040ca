"""Looking a stored item up in the inventory: of which kind it is, and what is declared of each of its fields."""

import functools
from collections.abc import Iterator, Mapping
from typing import Any

from shared.privacy.inventory import KINDS
from shared.privacy.inventory_kind import ANY, SYSTEM, Form, Kind, Level


def kind_of(item: Mapping[str, Any]) -> str:
    """Which kind of item it is, as `Kind.name` has it."""
    before, bar, _ = str(item.get("id", "")).partition("|")
    return str(item.get("kind") or (before if bar else ""))


@functools.cache
def _kinds() -> dict[tuple[str, str], Kind]:
    return {(each.container.name, each.name): each for each in KINDS}


def find(container: str, name: str) -> Kind | None:
    """What is declared of a kind of items."""
    return _kinds().get((container, name)) or _kinds().get((container, ANY))


@functools.lru_cache(maxsize=8192)
def declared(container: str, name: str, path: tuple[str, ...]) -> tuple[Level, Form | None] | None:
    """Level and form of a field; None: it is declared nowhere."""
    if path[-1] in SYSTEM and len(path) == 1:
        return "public", None
    kind = find(container, name)
    if kind is None:
        return None
    fitting = [(level, form) for pattern, level, form in kind.fields() if _fits(tuple(pattern.split(".")), path)]
    return fitting[0] if len(fitting) == 1 else None


def _fits(pattern: tuple[str, ...], path: tuple[str, ...]) -> bool:
    """Whether a path is the pattern's. An empty object or list stands for what could be in it."""
    if pattern[-1] == "**":
        return len(path) >= len(pattern) - 1 and _fits(pattern[:-1], path[: len(pattern) - 1])
    return len(pattern) == len(path) and all(want in (ANY, have) for want, have in zip(pattern, path, strict=True))


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every field of an item that is neither object nor list, with its path; lists do not count."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from leaves(inner, (*path, str(name)))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from leaves(inner, path)
    else:
        yield path, value
