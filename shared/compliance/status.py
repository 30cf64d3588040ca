"""The status of a control: what the rules of status make of evidence, findings and gaps. Pure.

First comes what the organization declared, then the gate, then findings: a rule that fired wins over thin evidence.
Then what is missing, and last whether there was anything to look at. No data is never a pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shared.compliance.catalogue import GAPS
from shared.compliance.controls.model import Control
from shared.compliance.evidence import Declaration, Evidence
from shared.compliance.occasions import FOLLOWED, groups_of, occasions, told
from shared.compliance.report_model import Reason, Status
from shared.compliance.rules.model import Result

STATUS_RULES = (
    "A control that the organization declared not to apply, with reason, person and date, is not-applicable.",
    "Where the integrity gate failed, controls on the trail itself are exceptions, and every other control that stands "
    "on the trail is not evidenced.",
    "A control of which any rule fired in the period is an exception; it stays listed after its remedy.",
    "A control that only evidence from elsewhere can show is not evidenced (manual-only).",
    "A control of which a rule could not be run for missing data is not evidenced (data-missing).",
    "An activity control needs what it is about to have happened, and where it is about following something up, that "
    "somebody did; a violation control needs occasions for violations; a state control needs a time at which the state "
    "was looked at. What merely speaks to a control beside that shows nothing.",
    "Everything else is satisfied.",
)
_EXERCISED = frozenset({"pci-8.3.4", "pci-10.7.2", "pci-10.7.3"})
"""Controls on a mechanism that may never have been needed."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A status, why, and in which words."""

    status: Status
    reason: Reason | None
    explanation: str
    declared: str | None = None


def declaration_of(control: Control, evidence: Evidence) -> Declaration | None:
    """What the organization declared of a control, by any of its ids."""
    names = {control.id, control.oscal_id, control.id.removeprefix("Art. ")}
    return next((each for each in evidence.policies.declarations if each.control in names), None)


def status_of(control: Control, evidence: Evidence, results: Mapping[str, Result]) -> Judged:
    """The status of a control. `results`: of the rules that were run for it."""
    declared = declaration_of(control, evidence)
    if declared is not None:
        said = f"declared by {declared.by} on {declared.at[:10]}: {declared.reason}"
        return Judged("not-applicable", None, f"The organization says that it does not apply; {said}", said)
    if not evidence.gate.passed:
        return _behind_the_gate(control, evidence)
    findings = sum(len(result.found) for result in results.values())
    if findings:
        return Judged("exception", None, f"{findings} findings; see the register of exceptions.")
    if control.pattern == "external":
        return _MANUAL
    return _missing(control, evidence, results) or _occasion(control, evidence)


_MANUAL = Judged("not-evidenced", "manual-only", "Only evidence from outside the trail can show it.")


def _behind_the_gate(control: Control, evidence: Evidence) -> Judged:
    failed = ", ".join(check.id for check in evidence.gate.checks if not check.passed)
    if control.is_of_integrity:
        return Judged("exception", None, f"The integrity gate failed: {failed}.")
    if control.pattern == "external" and not control.evidence:
        return _MANUAL
    return Judged("not-evidenced", "gate-failed", f"The trail cannot be relied on, for the gate failed: {failed}.")


def _missing(control: Control, evidence: Evidence, results: Mapping[str, Result]) -> Judged | None:
    if not evidence.facts.events:
        return Judged("not-evidenced", "no-source", "Nothing at all was recorded in the period.")
    gaps = list(dict.fromkeys(gap for result in results.values() for gap in result.missing))
    if control.blocked_by:
        gaps.append(control.blocked_by)
    if gaps:
        return Judged("not-evidenced", "data-missing", "What is missing: " + "; ".join(GAPS[gap] for gap in gaps) + ".")
    return None


def _occasion(control: Control, evidence: Evidence) -> Judged:
    """Whether there was anything to look at."""
    if control.pattern == "state":
        if all(shard.size == 0 for shard in evidence.shards):
            return Judged("not-evidenced", "data-missing", "There was nothing that it could be looked at in.")
        return Judged("satisfied", None, "It held when it was looked at, and no finding says otherwise.")
    if "LCK-01" in control.rules:
        return _locks(evidence)
    wanted = control.exposure if control.pattern == "violation" else control.needs
    counts = [(group, occasions(group, evidence)) for group in groups_of(wanted)]
    for group, count in counts:
        if count is None:
            return Judged(
                "not-evidenced", "data-missing", f"It cannot be counted how many there were of: {told(group)}."
            )
        if not count:
            return _nothing(control, group, evidence)
    shown = "; ".join(f"{count} of: {told(group)}" for group, count in counts)
    return Judged("satisfied", None, f"There is no finding, and there were occasions for one: {shown}.")


def _nothing(control: Control, group: str, evidence: Evidence) -> Judged:
    """Why it is not evidenced: nothing happened, or what happened led to nothing yet, and nothing is late either."""
    waiting = bool(FOLLOWED & set(group.split())) and evidence.facts.count("alert.raise")
    if waiting:
        text = f"{waiting} alerts were raised, none is late, and nobody is shown to have followed one up."
        return Judged("not-evidenced", "not-exercised", text)
    nothing: Reason = "not-exercised" if control.oscal_id in _EXERCISED else "no-occurrence"
    beside = evidence.facts.count(control.evidence)
    text = f"Sources were alive, and there were none of: {told(group)}"
    return Judged("not-evidenced", nothing, f"{text} ({beside} events beside that)." if beside else f"{text}.")


def _locks(evidence: Evidence) -> Judged:
    """8.3.4: a lock that nobody met is shown by the settings in force alone; a rule looks whether they will do."""
    locked, policies = evidence.facts.count("auth.account_locked"), evidence.policies
    if locked:
        return Judged("satisfied", None, f"{locked} accounts were locked, none too late.")
    if policies.lockout_failures is None or policies.lockout_minutes is None:
        return Judged("not-evidenced", "not-exercised", "No account reached the limit, and the settings are not known.")
    shown = f"{policies.lockout_failures} failures lock for {policies.lockout_minutes} minutes"
    return Judged("satisfied", None, f"No account reached the limit; by the settings in force {shown}.")
