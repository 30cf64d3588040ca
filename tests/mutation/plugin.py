"""A pytest plugin for runs under mutmut: the same few examples each time, and the quickest tests first and alone.

A mutant that nothing notices is asked of every test that reaches it: QUICKEST_SECONDS bound what that takes. What is left
out can only make more mutants survive.
"""

import os

import pytest
from hypothesis import HealthCheck, settings
from mutmut.state import state

QUICKEST_SECONDS = 8.0
settings.register_profile(
    "mutation", max_examples=25, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where a mutant is under test, keep the quickest tests, as long as they were when they were timed."""
    if "__mutmut_" not in os.environ.get("MUTANT_UNDER_TEST", ""):
        return
    took = state().duration_by_test
    kept, total = list[pytest.Item](), 0.0
    for item in sorted(items, key=lambda item: took[item.nodeid]):
        total += took[item.nodeid]
        if kept and total > QUICKEST_SECONDS:
            break
        kept.append(item)
    config.hook.pytest_deselected(items=[item for item in items if item not in set(kept)])
    items[:] = kept
