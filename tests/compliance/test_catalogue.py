"""The version of the catalogue is raised with it."""

from __future__ import annotations

import hashlib
from dataclasses import asdict

from shared.compliance.catalogue import CATALOGUE_DIGEST, FRAMEWORKS, GAPS
from shared.compliance.metrics import METRICS
from shared.compliance.occasions import TOLD
from shared.compliance.rules import RULES
from shared.compliance.status import STATUS_RULES
from shared.compliance.thresholds import MOST_FOR_FRAMEWORK, THRESHOLDS
from shared.core.canonical import canonical


def test_whoever_changes_the_catalogue_raises_its_version() -> None:
    """Record the new digest beside the new version."""
    told = {
        "frameworks": {name: asdict(each) for name, each in FRAMEWORKS.items()},
        "rules": {name: [each.severity, each.text, list(each.parameters)] for name, each in RULES.items()},
        "metrics": {name: [each.title, each.unit] for name, each in METRICS.items()},
        "thresholds": {name: asdict(each) for name, each in THRESHOLDS.items()},
        "limits": {name: dict(each) for name, each in MOST_FOR_FRAMEWORK.items()},
        "gaps": dict(GAPS),
        "populations": dict(TOLD),
        "statuses": list(STATUS_RULES),
    }
    assert hashlib.sha256(canonical(plain(told))).hexdigest() == CATALOGUE_DIGEST


def plain(value: object) -> object:
    """A value as JSON has it."""
    if isinstance(value, dict):
        return {str(name): plain(each) for name, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, list | tuple) else value
