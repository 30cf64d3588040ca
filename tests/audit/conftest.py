from collections.abc import AsyncIterator

import pytest

from shared.audit import registry
from tests.audit.support import World, new_world


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with new_world() as made:
        yield made


@pytest.fixture
def scratch_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of the registry: types that a test registers are gone after it."""
    registry.all_types()
    monkeypatch.setattr(registry, "_by_name", dict(registry._by_name))
    monkeypatch.setattr(registry, "_by_model", dict(registry._by_model))
