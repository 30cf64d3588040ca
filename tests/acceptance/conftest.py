import pytest

from tests.storage.conftest import LOCAL

ON_ONE_STORE: dict[str, frozenset[str]] = {
    "test_access_matrix": frozenset(),
    "test_ledger": frozenset(
        {
            "test_a_checkpoint_is_of_what_is_sealed",
            "test_every_event_can_be_proven",
            "test_growth_is_consistent",
            "test_a_month_that_is_over_stands_in_the_ledger_of_the_next",
        }
    ),
    "test_subject_export": frozenset(
        {"test_a_person_takes_everything_with_its_proofs", "test_in_parts_and_for_somebody_else"}
    ),
    "test_ledger_bundle": frozenset(
        {"test_parts_join_while_the_ledger_grows", "test_several_months_and_one_without_events"}
    ),
    "test_signs_of_life": frozenset(
        {
            "test_every_hour_of_the_service_and_every_day_of_a_tenant",
            "test_the_clock_is_held_against_the_stores",
            "test_a_day_is_told_of_once_detection_has_worked_through_it",
            "test_a_source_that_falls_silent_and_comes_back",
        }
    ),
}
"""Modules whose many cases are not about a store: told on the embedded one, but for these stories."""


@pytest.fixture(params=LOCAL)
def adapter(request: pytest.FixtureRequest) -> str:
    """The stories are told on every store."""
    return str(request.param)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is told on one store."""
    left = [item for item in items if _is_told_already(item)]
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item not in set(left)]


def _is_told_already(item: pytest.Item) -> bool:
    both = ON_ONE_STORE.get(item.path.stem) if "acceptance" in item.path.parts else None
    return both is not None and "[cosmos" in item.name and item.name.partition("[")[0] not in both
