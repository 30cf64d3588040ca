"""Every write of an app under test is held against the inventory: a field that declares no level is found at once.

Adapters check each item in one function before they write it; there we look, too. An event's shape is looked at once.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from shared.privacy.declared import declared, kind_of, leaves
from shared.privacy.inventory import KINDS
from shared.storage import _sqlite_operations, cosmos, sqlite
from shared.storage._items import freeze_patches, prepare
from shared.storage.containers import AUDIT_EVENTS, CONTAINERS, Container
from shared.storage.documents import PatchSet

_seen: set[tuple[Any, ...]] = set()


def undeclared(container: str, item: Mapping[str, Any]) -> set[str]:
    """The fields of an item that no level is declared of, as text. Those that begin with `_` are the store's own."""
    kind = kind_of(item)
    paths = {path for path, _ in leaves(item) if not path[0].startswith("_")}
    return {f"{container}/{kind}: {'.'.join(path)}" for path in paths if declared(container, kind, path) is None}


def _of_event(item: Mapping[str, Any]) -> set[str]:
    """An event has one shape but for its boxes: most need no second look."""
    if not isinstance(item.get("personal", {}), dict) or not isinstance(item.get("type", ""), str):
        return set()  # what a test plants: no event of ours
    boxes = {name for box in item.get("personal", {}).values() for name in box}
    shape = (
        *item,
        *sorted(boxes),
        *(item.get("context") or {}),
        *(item.get("actor") or {}),
        *(item.get("target") or {}),
    )
    if shape in _seen:
        return set()
    _seen.add(shape)
    return undeclared(AUDIT_EVENTS.name, item)


@contextmanager
def watched() -> Iterator[None]:
    """Fails at its end if anything was written that declares no level."""
    found: set[str] = set()

    def checked(container: Container, partition: Any, item: Mapping[str, Any], **more: Any) -> Any:
        if CONTAINERS.get(container.name) is container:
            found.update(_of_event(item) if container is AUDIT_EVENTS else undeclared(container.name, item))
        return prepare(container, partition, item, **more)

    def patched(container: Container, patches: Any) -> Any:
        for each in patches:
            if isinstance(each, PatchSet) and CONTAINERS.get(container.name) is container:
                found.update(_of_patch(container, each))
        return freeze_patches(container, patches)

    with pytest.MonkeyPatch.context() as patch:
        for module in (sqlite, _sqlite_operations, cosmos):
            patch.setattr(module, "prepare", checked)
        for module in (sqlite, cosmos):
            patch.setattr(module, "freeze_patches", patched)
        yield
    assert found == set(), f"declare their level in shared/privacy/inventory.py: {sorted(found)}"


def _of_patch(container: Container, patch: PatchSet) -> set[str]:
    """A patch does not say what kind of item it is for: one of the container's has to have the field."""
    kinds = [each.name for each in KINDS if each.container is container]
    paths = {path for path, _ in leaves(patch.value, tuple(patch.path.split(".")))}
    return {
        f"{container.name}: {'.'.join(path)}"
        for path in paths
        if all(declared(container.name, kind, path) is None for kind in kinds)
    }
