"""A pattern is found by being there; names are unique; what a module must bring is checked."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module, invalidate_caches
from pathlib import Path
from types import ModuleType

import pytest
from pydantic import ValidationError

from shared.detection import all_patterns
from shared.detection.patterns.brute_force import PATTERN, BruteForceParameters
from shared.detection.registry import discover

GOLDEN = {
    "account_takeover": ("critical", ("T1078", "T1110")),
    "brute_force": ("high", ("T1110.001",)),
    "bulk_data_access": ("medium", ("T1087", "T1530", "T1567")),
    "credential_stuffing": ("high", ("T1110.003", "T1110.004")),
    "ledger_integrity": ("critical", ("T1565.001", "T1070")),
    "mass_deletion": ("high", ("T1485", "T1531")),
    "privilege_escalation": ("high", ("T1098.003", "T1078.004")),
    "suspicious_password_change": ("medium", ("T1098", "T1531")),
    "unauthorized_access": ("high", ("T1078", "T1087")),
    "webhook_paused": ("high", ("T1562.008",)),
}
"""Public API: an id is never renamed or reused."""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A package of patterns with the real one in it."""
    folder = tmp_path / "made_patterns"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "brute_force.py").write_text("from shared.detection.patterns.brute_force import PATTERN as PATTERN\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    invalidate_caches()
    yield import_module("made_patterns")
    for name in [name for name in sys.modules if name.split(".")[0] == "made_patterns"]:
        del sys.modules[name]


def add(package: ModuleType, name: str, text: str) -> None:
    (Path(package.__path__[0]) / f"{name}.py").write_text(text)
    invalidate_caches()


ANOTHER = """
from dataclasses import replace
from shared.detection.patterns.brute_force import PATTERN as KNOWN
PATTERN = replace(KNOWN, id={!r})
"""


def test_the_published_patterns() -> None:
    assert {name: (each.severity, each.attack) for name, each in all_patterns().items()} == GOLDEN


def test_a_new_module_is_found(package: ModuleType) -> None:
    add(package, "ninth", ANOTHER.format("ninth"))

    assert list(discover(package)) == ["brute_force", "ninth"]


def test_a_second_pattern_of_an_id_is_refused(package: ModuleType) -> None:
    add(package, "copy", ANOTHER.format("brute_force"))

    with pytest.raises(ValueError, match="brute_force is registered already"):
        discover(package)


def test_a_module_without_a_pattern_is_refused(package: ModuleType) -> None:
    add(package, "helpers", "PATTERN = None\n")

    with pytest.raises(TypeError, match="has no PATTERN"):
        discover(package)


@pytest.mark.parametrize("wrong", [{"runbook": ("one step",)}, {"runbook": ("step",) * 5}, {"false_positives": ()}])
def test_metadata_is_complete(wrong: dict[str, tuple[str, ...]]) -> None:
    fields = {name: getattr(PATTERN, name) for name in PATTERN.__dataclass_fields__}

    with pytest.raises(ValueError, match="brute_force"):
        type(PATTERN)(**{**fields, **wrong})


@pytest.mark.parametrize(
    "wrong", [{"threshold": 2}, {"threshold": 101}, {"window_seconds": 3601}, {"threshold": "5"}, {"treshold": 5}]
)
def test_parameters_are_bounded(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        BruteForceParameters.model_validate(wrong)


@pytest.mark.parametrize("steps", [2, 4])
def test_a_runbook_of_two_and_of_four_steps_is_one(steps: int) -> None:
    assert len(replace(PATTERN, runbook=("step",) * steps).runbook) == steps


def test_a_pattern_describes_itself() -> None:
    thresholds = {"threshold": 5, "window_seconds": 900, "critical_from": 20}
    assert PATTERN.described() == {
        "id": "brute_force",
        "title": PATTERN.title,
        "severity": "high",
        "attack": ["T1110.001"],
        "description": PATTERN.description,
        "false_positives": list(PATTERN.false_positives),
        "runbook": list(PATTERN.runbook),
        "thresholds": thresholds,
    }
    today = BruteForceParameters(threshold=9)
    assert PATTERN.described(today)["thresholds"] == {**thresholds, "threshold": 9}
