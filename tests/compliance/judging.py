"""What comes of one rule, or of one control, for tests that are about it."""

from __future__ import annotations

from typing import Any

from shared.compliance.catalogue import FRAMEWORKS
from shared.compliance.controls.model import Control
from shared.compliance.evidence import Evidence
from shared.compliance.rules import RULES
from shared.compliance.rules.model import Result
from shared.compliance.status import Judged, status_of
from tests.compliance.trails import Trail, new_evidence


def run(rule: str, trail: Trail, framework: str = "soc2", **changed: Any) -> Result:
    """What a rule makes of a trail."""
    return RULES[rule].run(new_evidence(trail, framework, **changed))


def judge(control: Control, evidence: Evidence) -> Judged:
    """What comes of a control, its rules having been run."""
    return status_of(control, evidence, {name: RULES[name].run(evidence) for name in control.rules.split()})


def control_of(oscal_id: str) -> tuple[str, Control]:
    """A control and its framework."""
    return next(
        (framework, control)
        for framework, listed in FRAMEWORKS.items()
        for control in listed.controls
        if control.oscal_id == oscal_id
    )


def status(oscal_id: str, evidence: Evidence) -> tuple[str, str | None]:
    """Status and reason of a control."""
    found = judge(control_of(oscal_id)[1], evidence)
    return found.status, found.reason
