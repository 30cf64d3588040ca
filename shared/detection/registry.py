"""The registry of patterns: every module in `patterns/` is one, found by looking; ids are unique."""

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from types import MappingProxyType, ModuleType
from typing import Any

from shared.detection import patterns
from shared.detection.model import Pattern


def discover(package: ModuleType) -> Mapping[str, Pattern[Any]]:
    """The patterns of a package's modules by id. TypeError for a module without one, ValueError for an id met twice."""
    found: dict[str, Pattern[Any]] = {}
    for info in sorted(iter_modules(package.__path__), key=lambda each: each.name):
        module = import_module(f"{package.__name__}.{info.name}")
        pattern = getattr(module, "PATTERN", None)
        if not isinstance(pattern, Pattern):
            raise TypeError(f"{module.__name__} has no PATTERN")
        if pattern.id in found:
            raise ValueError(f"pattern {pattern.id} is registered already")
        found[pattern.id] = pattern
    return MappingProxyType(dict(sorted(found.items())))


@cache
def all_patterns() -> Mapping[str, Pattern[Any]]:
    """Every pattern of the app by id."""
    return discover(patterns)
