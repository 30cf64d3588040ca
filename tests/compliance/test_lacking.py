"""Where a port could not say something, figures, rules and controls say so, and never that all is well."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from shared.compliance.catalogue import FRAMEWORKS
from shared.compliance.evidence import Evidence
from shared.compliance.metrics import METRICS
from shared.compliance.report_model import EventRef
from shared.compliance.rules import RULES
from shared.compliance.rules.model import MOST_EVENTS, MOST_FINDINGS, Found, bounded
from tests.compliance.judging import judge
from tests.compliance.trails import good_evidence, good_trail
from tests.compliance.worlds import FIRING, firing

PORTS = ("alerts", "requests", "accounts", "operations")


def without(port: str, evidence: Evidence) -> Evidence:
    changed: dict[str, Any] = {port: None}
    return dataclasses.replace(evidence, **changed)


@pytest.fixture(scope="module")
def good() -> dict[str, Evidence]:
    trail = good_trail()
    return {framework: good_evidence(framework, trail) for framework in FRAMEWORKS}


@pytest.mark.parametrize("port", PORTS)
def test_a_metric_is_what_it_is_or_nothing(port: str, good: dict[str, Evidence]) -> None:
    whole = good["soc2"]
    lacking = without(port, whole)
    values = {name: (each.of(whole).value, each.of(lacking).value) for name, each in METRICS.items()}
    lost = {name for name, (before, after) in values.items() if before is not None and after is None}
    assert {name for name, (before, after) in values.items() if after not in (before, None)} == set()
    assert lost


@pytest.mark.parametrize("port", PORTS)
def test_a_rule_finds_the_same_or_says_what_it_lacks(port: str) -> None:
    unable = set()
    for rule in FIRING:
        whole = firing(rule, "soc2")
        before, after = RULES[rule].run(whole), RULES[rule].run(without(port, whole))
        if after != before:
            unable.add(rule)
            assert after.missing, f"{rule} without {port}"
    assert unable


@pytest.mark.parametrize("port", PORTS)
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_no_control_gets_better_by_what_could_not_be_had(framework: str, port: str, good: dict[str, Evidence]) -> None:
    whole = good[framework]
    lacking = without(port, whole)
    for control in FRAMEWORKS[framework].controls:
        before, after = judge(control, whole).status, judge(control, lacking).status
        assert after in (before, "not-evidenced"), f"{control.oscal_id} without {port}: {after}"


def test_findings_beyond_the_most_are_one_that_counts_them_all() -> None:
    def found(n: int) -> Found:
        moment = f"2026-03-01T00:{n // 60:02}:{n % 60:02}.000000Z"
        ref = EventRef("2026-03", n, f"event-{n}", moment, "auth.login", "success")
        return Found(f"thing {n}", n, moment, moment, (ref,))

    few = [found(n) for n in range(1, MOST_FINDINGS + 1)]
    assert bounded(few) == tuple(few)
    many = [found(n) for n in range(1, MOST_FINDINGS + MOST_EVENTS + 4)]
    *first, rest = bounded(many)
    assert first == few
    assert rest.count == sum(each.count for each in many) - sum(each.count for each in few)
    assert (rest.first_seen, rest.last_seen) == (many[MOST_FINDINGS].first_seen, many[-1].last_seen)
    assert rest.events == tuple(each.events[0] for each in many[MOST_FINDINGS:])[:MOST_EVENTS]
