"""What a control is: whose it is, what an auditor asks, which events speak to it and which rules are run for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from shared.compliance.report_model import Strength

type Pattern = Literal["activity", "violation", "state", "external"]


@dataclass(frozen=True, slots=True)
class Control:
    """One control of a framework, in our own words.

    `pattern`: how it is tested. activity: something must have happened; violation: nothing may have, where there was
    occasion; state: something held whenever it was looked at; external: only evidence from elsewhere can show it.
    `strength`: how much the trail says about it. `evidence`: selectors of all events that speak to it. `needs` of an
    activity control, `exposure` of a violation control: what it is about, in the words of `occasions.py`; the rest of
    its evidence is context. `metrics`, `rules`, `gaps`: ids with spaces between them. `blocked_by`: a gap without which
    no more can be said than that there were events.
    `confirmed`: whether the number and the content were seen in a source, and which ones.
    """

    id: str
    oscal_id: str
    title: str
    question: str
    pattern: Pattern
    strength: Strength
    confirmed: str
    evidence: str = ""
    metrics: str = ""
    rules: str = ""
    exposure: str = ""
    needs: str = ""
    gaps: str = ""
    blocked_by: str = ""
    note: str = ""

    @property
    def is_of_integrity(self) -> bool:
        """Whether it is about the trail itself, so that a failed gate is an exception of its own."""
        return bool({"INT-01", "INT-02"} & set(self.rules.split()))
