"""A container as Cosmos DB is asked to create it, and where one that is there differs from that. Pure.

Nothing is indexed but what containers.py declares: see docs/adr/0012.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from shared.storage._cosmos_query import composite_indexes
from shared.storage.containers import Container

type Definition = Mapping[str, Any]
"""A container as the REST API spells it: `id`, `partitionKey`, `indexingPolicy`, and `defaultTtl` where it has one."""

EVERYTHING = "/*"
ETAG = '/"_etag"/?'
SECONDS_PER_DAY = 86_400
_OTHER_INDEXES = ("spatialIndexes", "vectorIndexes", "fullTextIndexes")
_ALWAYS_INDEXED = "id"


class Remedy(Enum):
    """What can be done about a difference."""

    CREATE = "create"
    REPLACE = "replace"
    BY_HAND = "by hand"
    """Not through this interface; it does not stand in the way of the rest."""
    NONE = "none"
    """What is there was meant to be something else: nothing is touched."""


@dataclass(frozen=True, slots=True)
class Drift:
    """One difference between what is there and what should be: one line."""

    place: str
    name: str
    found: str
    wanted: str
    remedy: Remedy = Remedy.REPLACE

    def __str__(self) -> str:
        return f"{self.place}: {self.name}: is {self.found}, should be {self.wanted}"


def definition(container: Container, *, ttl_days: int, name: str | None = None) -> dict[str, Any]:
    """The container as it should be in the account, there called `name`.

    Where items expire by period, the container's TTL is `ttl_days`; what an item carries itself goes before it.
    """
    ttl = ttl_days * SECONDS_PER_DAY if container.expires_by_period else container.default_ttl_seconds
    made: dict[str, Any] = {
        "id": name or container.name,
        "partitionKey": {
            "paths": [_json_path(path) for path in container.partition_key],
            "kind": "MultiHash" if len(container.partition_key) > 1 else "Hash",
            "version": 2,
        },
        "indexingPolicy": {
            "indexingMode": "consistent",
            "automatic": True,
            "includedPaths": [{"path": path} for path in included_paths(container)],
            "excludedPaths": [{"path": EVERYTHING}, {"path": ETAG}],
            "compositeIndexes": composite_indexes(container),
        },
    }
    return made if ttl is None else {**made, "defaultTtl": ttl}


def indexed_paths(container: Container) -> list[str]:
    """The fields that are indexed by themselves, dotted, each once; `id` always is, and cannot be listed.

    `subjects[]` stands for the values of an array."""
    declared = (path for index in container.indexes for path in index)
    arrays = (path for array, order in container.array_indexes for path in (f"{array}[]", order))
    every = dict.fromkeys((*container.partition_key, *declared, *arrays, *container.also_indexed))
    return [path for path in every if path != _ALWAYS_INDEXED]


def included_paths(container: Container) -> list[str]:
    """`indexed_paths` as an indexing policy spells them: `/target/id/?`, `/subjects/[]/?`."""
    return [f"{_json_path(path)}/?" for path in indexed_paths(container)]


def drifts(found: Definition, wanted: Definition) -> list[Drift]:
    """Where a container differs from what it should be, whatever order and spelling Cosmos reports it in."""
    place = wanted["id"]
    differing = [
        Drift(place, name, there, should, remedy)
        for name, remedy, describe in (
            ("partition key", Remedy.NONE, _key),
            ("default TTL", Remedy.REPLACE, _ttl),
            ("indexing mode", Remedy.REPLACE, _mode),
        )
        if (there := describe(found)) != (should := describe(wanted))
    ]
    for name, describe_all in (
        ("included path", _included),
        ("excluded path", _excluded),
        ("composite index", _composites),
        ("other index", _others),
    ):
        there_all, should_all = describe_all(found), describe_all(wanted)
        differing += [Drift(place, f"{name} {each}", "absent", "present") for each in sorted(should_all - there_all)]
        differing += [Drift(place, f"{name} {each}", "present", "absent") for each in sorted(there_all - should_all)]
    return differing


def _json_path(path: str) -> str:
    return "/" + path.replace("[]", ".[]").replace(".", "/")


def _policy(definition_: Definition) -> Mapping[str, Any]:
    policy: Mapping[str, Any] = definition_.get("indexingPolicy") or {}
    return policy


def _key(definition_: Definition) -> str:
    key = definition_.get("partitionKey") or {}
    paths = " + ".join(key.get("paths") or ["none"])
    return f"{paths} ({key.get('kind', 'Hash')}, version {key.get('version', 1)})"


def _ttl(definition_: Definition) -> str:
    ttl = definition_.get("defaultTtl")
    if ttl is None:
        return "off"
    return "on, without a default" if ttl == -1 else f"{ttl} seconds"


def _mode(definition_: Definition) -> str:
    policy = _policy(definition_)
    automatic = "automatic" if policy.get("automatic", True) else "not automatic"
    return f"{str(policy.get('indexingMode', 'consistent')).lower()}, {automatic}"


def _paths(each: Iterable[Mapping[str, Any]] | None) -> set[str]:
    return {path["path"] for path in each or ()}


def _included(definition_: Definition) -> set[str]:
    return _paths(_policy(definition_).get("includedPaths"))


def _excluded(definition_: Definition) -> set[str]:
    """Cosmos adds the etag by itself, but not in every version."""
    return _paths(_policy(definition_).get("excludedPaths")) | {ETAG}


def _composites(definition_: Definition) -> set[str]:
    """Order within an index counts, order between them does not."""
    return {
        "(" + ", ".join(f"{path['path']}{_direction(path)}" for path in index) + ")"
        for index in _policy(definition_).get("compositeIndexes") or ()
    }


def _direction(path: Mapping[str, Any]) -> str:
    return "" if str(path.get("order", "ascending")).lower() == "ascending" else " descending"


def _others(definition_: Definition) -> set[str]:
    """Indexes of kinds that we have none of."""
    policy = _policy(definition_)
    return {f"{kind}: {each.get('path')}" for kind in _OTHER_INDEXES for each in policy.get(kind) or ()}
