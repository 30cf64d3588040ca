"""Every rule, metric and control against months in which it has something to say, and months in which it has not."""

from __future__ import annotations

import dataclasses

import pytest

from shared.audit.registry import all_types
from shared.compliance.builder import Order, build
from shared.compliance.catalogue import FRAMEWORKS, GAPS, SOURCES
from shared.compliance.controls.model import Control
from shared.compliance.evidence import Acceptance, Declaration, Evidence, Organization, Policies
from shared.compliance.facts.data_use import MOST_ACTORS
from shared.compliance.facts.named import Mark
from shared.compliance.metrics import METRICS
from shared.compliance.occasions import check_words
from shared.compliance.report_model import ControlResult
from shared.compliance.rules import RULES
from shared.compliance.rules.access import off_hours
from shared.compliance.rules.model import of_marks
from shared.compliance.selectors import selectors
from shared.compliance.status import status_of
from shared.compliance.thresholds import THRESHOLDS
from tests.compliance.trails import Trail, good_evidence, good_trail, new_evidence
from tests.compliance.worlds import FIRING, empty, firing, quiet

CONTROLS = [(framework, control) for framework, listed in FRAMEWORKS.items() for control in listed.controls]
NEVER = {
    "pci-8.6.1",
    *("gdpr-art16", "gdpr-art19", "gdpr-art34", "soc2-p3.2", "soc2-p4.1", "soc2-p5.2", "pci-8.3.3"),
    *(control.oscal_id for _, control in CONTROLS if control.pattern == "external"),
}
"""Controls that nothing in the trail can satisfy: blocked by a gap, or shown by evidence from elsewhere alone; and one
on sign-ins of systems, of which each is a finding."""
ORDER = Order("report", "2026-04-01T06:00:00.000000Z", "system")


def judged(control: Control, evidence: Evidence) -> tuple[str, str | None]:
    results = {name: RULES[name].run(evidence) for name in control.rules.split()}
    found = status_of(control, evidence, results)
    return found.status, found.reason


@pytest.fixture(scope="module")
def good() -> dict[str, Evidence]:
    trail = good_trail()
    return {framework: good_evidence(framework, trail) for framework in FRAMEWORKS}


def test_all_controls_are_there() -> None:
    counts = {name: len(listed.controls) for name, listed in FRAMEWORKS.items()}
    assert counts == {"gdpr": 20, "soc2": 30, "hipaa": 25, "pci_dss": 48, "iso_27001": 26}
    ids = [control.oscal_id for _, control in CONTROLS]
    assert len(set(ids)) == len(ids) == 149
    assert all(name[0].isalpha() and name.isascii() for name in ids)


def test_what_controls_name_exists() -> None:
    types = set(all_types())
    used: set[str] = set()
    for _, control in CONTROLS:
        check_words(f"{control.needs} {control.exposure}")
        words = f"{control.evidence} {control.needs} {control.exposure}".replace("/", " ").split()
        for word in (each for each in words if not each.startswith("@")):
            (selector,) = selectors(word)
            named = {name for name in types if selector.names(name)}
            assert named, f"{control.oscal_id}: {word}"
            outcomes = {outcome for name in named for outcome in all_types()[name].outcomes}
            assert selector.outcome is None or selector.outcome in outcomes, f"{control.oscal_id}: {word}"
        assert set(control.metrics.split()) <= set(METRICS), control.oscal_id
        assert set(control.rules.split()) <= set(RULES), control.oscal_id
        assert set(f"{control.gaps} {control.blocked_by}".split()) <= set(GAPS), control.oscal_id
        assert set(control.confirmed.partition(": ")[2].split()) <= set(SOURCES), control.oscal_id
        assert bool(control.exposure) == (control.pattern == "violation"), control.oscal_id
        assert bool(control.needs) == (control.pattern == "activity"), control.oscal_id
        used |= set(control.metrics.split()) | set(control.rules.split())
    assert used == set(METRICS) | set(RULES), "what no control names"


def test_thresholds_of_rules_exist_and_each_is_used() -> None:
    named = {name for rule in RULES.values() for name in rule.parameters}
    assert named <= set(THRESHOLDS)
    assert set(THRESHOLDS) - named == {"sample_size"}


@pytest.mark.parametrize("rule", sorted(RULES))
def test_a_rule_fires_where_it_should_and_nowhere_else(rule: str, good: dict[str, Evidence]) -> None:
    frameworks = [name for name, control in CONTROLS if rule in control.rules.split()]
    for framework in dict.fromkeys(frameworks):
        assert RULES[rule].run(good[framework]).found == (), framework
        if (rule, framework) == ("AUTH-05", "hipaa"):
            continue  # no age of passwords is asked for there
        found = RULES[rule].run(firing(rule, framework)).found
        assert found, framework
        for each in found:
            assert each.count >= 1
            assert each.first_seen <= each.last_seen
            assert "{" not in each.text


def test_every_rule_has_a_month_in_which_it_fires() -> None:
    assert set(FIRING) == set(RULES)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_good_month_satisfies_what_the_trail_can_show(framework: str, good: dict[str, Evidence]) -> None:
    for control in FRAMEWORKS[framework].controls:
        status, reason = judged(control, good[framework])
        if control.oscal_id in NEVER:
            assert status == "not-evidenced"
            assert (reason == "no-occurrence") == (control.oscal_id == "pci-8.6.1")
        else:
            assert status == "satisfied", f"{control.oscal_id}: {status} {reason}"


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_each_rule_of_a_control_makes_it_an_exception(framework: str) -> None:
    """A firing rule wins, also over a control that could not be satisfied."""
    controls = FRAMEWORKS[framework].controls
    for rule in sorted({rule for control in controls for rule in control.rules.split()}):
        if (rule, framework) == ("AUTH-05", "hipaa"):
            continue
        evidence = firing(rule, framework)
        for control in controls:
            if rule in control.rules.split():
                assert judged(control, evidence)[0] == "exception", f"{control.oscal_id} {rule}"


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_no_data_is_never_a_pass(framework: str) -> None:
    """Neither where nothing is known, nor where it is known that nothing happened."""
    nothing, still = empty(framework), quiet(framework)
    for control in FRAMEWORKS[framework].controls:
        assert judged(control, nothing)[0] in ("not-evidenced", "exception"), control.oscal_id
        status, reason = judged(control, still)
        assert control.pattern == "state" or (status == "satisfied") == (control.oscal_id in QUIETLY), control.oscal_id
        if status == "satisfied":
            assert reason is None
        else:
            assert status == "not-evidenced" or "RPT-01" in control.rules, f"{control.oscal_id} {status} {reason}"


QUIETLY = {
    *("pci-8.3.4", "pci-10.2.1.6", "pci-10.4.1", "pci-10.4.1.1", "pci-10.7.2"),
    *("soc2-cc7.2", "iso-a.8.16"),
}
"""Controls that a month of one source satisfies: by the settings in force, or because the service started and detection
ran every day."""


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_every_metric_has_a_figure_in_a_good_month(framework: str, good: dict[str, Evidence]) -> None:
    never = {"emergency_uses", "copy_lag_events", "hours_aware_to_notify"}
    for control in FRAMEWORKS[framework].controls:
        for name in control.metrics.split():
            assert (METRICS[name].of(good[framework]).value is not None) != (name in never), name


@pytest.mark.parametrize(
    ("zone", "at", "outside"),
    [
        ("UTC", "20T06:59", True),
        ("UTC", "20T07:00", False),
        ("UTC", "20T18:59", False),
        ("UTC", "20T19:00", True),
        ("UTC", "21T12:00", True),
        ("Asia/Kolkata", "20T01:29", True),
        ("Asia/Kolkata", "20T01:30", False),
        ("Asia/Kolkata", "20T13:30", True),
        ("America/New_York", "07T12:00", True),
        ("America/New_York", "06T11:59", True),
        ("America/New_York", "06T12:00", False),
        ("America/New_York", "09T11:00", False),
        ("Europe/Berlin", "27T06:00", False),
        ("Europe/Berlin", "30T05:00", False),
        ("Europe/Berlin", "30T17:00", True),
    ],
)
def test_working_hours_are_those_of_the_place_and_of_its_clocks(zone: str, at: str, outside: bool) -> None:
    """Friday the 20th, a Saturday, half hours of India, and clocks that change on the 8th (New York), 29th (Berlin)."""
    trail = Trail()
    trail.say("data.read", at, data_class="phi")
    organization = Organization("t", "Example", "2026-02-01T00:00:00.000000Z", zone)
    found = off_hours(new_evidence(trail, organization=organization))
    assert found == ([(f"2026-03-{at[:2]}", "ada", 1)] if outside else [])


def test_whom_a_day_does_not_name_nobody_is_accused_of() -> None:
    """Who used most is named; whether the others are on call cannot be told, and that is no pass either."""
    policies = Policies(on_call=frozenset({*(f"nurse-{n}" for n in range(MOST_ACTORS + 1))}))
    trail = Trail()
    for number in range(MOST_ACTORS):
        trail.say("data.read", "21T23:00", who=f"nurse-{number}", data_class="phi", role=None)
    every = RULES["ACC-07"].run(new_evidence(trail, policies=policies))
    assert (every.found, every.missing) == ((), ())
    trail.say("data.read", "21T23:00", who=f"nurse-{MOST_ACTORS}", data_class="phi", role=None)
    result = RULES["ACC-07"].run(new_evidence(trail, policies=policies))
    assert (result.found, result.missing) == ((), ("many_actors",))
    trail = Trail()
    trail.say("data.read", "21T23:00", who="others", data_class="phi", role=None)
    (found,) = RULES["ACC-07"].run(new_evidence(trail, policies=policies)).found
    assert found.text.startswith("others: "), "somebody who is called so is not overlooked"


@pytest.mark.parametrize(
    ("role", "told", "used_as"),
    [
        ("doctor", "nurse", "doctor"),
        (None, "nurse", "nurse"),
        (None, "Nurse:ward.7", "Nurse:ward.7"),
        (None, "a" * 65, "user"),
        (None, "médecin", "user"),
        (None, "a|b", "user"),
        (None, "", "user"),
        (None, ["nurse"], "user"),
        (None, 7, "user"),
    ],
)
def test_a_role_is_the_trails_else_what_the_producer_names(role: str | None, told: object, used_as: str) -> None:
    trail = Trail()
    trail.say("data.read", "20T10:00", data_class="phi", role=role)
    trail.entries[-1]["attributes"]["role"] = told
    policies = Policies(data_roles={"phi": ["x"], "cardholder": []})
    (found,) = RULES["ACC-08"].run(new_evidence(trail, policies=policies)).found
    assert found.text == f"phi data was used as {used_as}"
    permitted: tuple[dict[str, list[str]], ...] = ({"phi": [used_as]}, {"cardholder": []})
    for allowed in permitted:
        assert RULES["ACC-08"].run(new_evidence(trail, policies=Policies(data_roles=allowed))).found == ()


def test_a_risk_is_accepted_for_its_rule_its_framework_and_its_time() -> None:
    def accepted(**changes: str) -> set[str | None]:
        told = {
            "framework": "soc2",
            "rule": "ACC-01",
            "reason": "known",
            "by": "ada",
            "at": "2026-02-01T00:00:00.000000Z",
        }
        risk = Acceptance(**{**told, "until": "2026-03-09T00:00:00.000000Z", **changes})
        evidence = firing("ACC-01", "soc2")
        policies = dataclasses.replace(evidence.policies, acceptances=(risk,))
        report = build(dataclasses.replace(evidence, policies=policies), ORDER)
        assert report.summary == build(evidence, ORDER).summary, "it passes nothing"
        return {each.accepted_by for each in report.exceptions if each.rule == "ACC-01"}

    assert accepted() == {"ada"}
    assert accepted(rule="ACC-02") == accepted(framework="hipaa") == {None}
    assert accepted(until="2026-03-08T00:00:00.000000Z") == {None}, "it was over when it began"


def test_a_setting_that_was_weak_for_a_day_is_found() -> None:
    """Also when it is strict again now; the event that tells of it is named."""
    for name, value, rule in (
        ("password_min_length", 8, "PWD-01"),
        ("password_history", 0, "PWD-02"),
        ("lockout_max_attempts", 50, "LCK-01"),
        ("lockout_minutes", 1, "LCK-01"),
    ):
        trail = good_trail()
        policy = {"password_min_length": 12, "password_history": 4, "lockout_max_attempts": 10, "lockout_minutes": 30}
        for day, told in ((10, policy), (11, policy | {name: value}), (12, policy)):
            trail.say("system.heartbeat", f"{day}T03:00", source="policy", policy=told, who=None, actor="system")
        (found,) = RULES[rule].run(good_evidence("pci_dss", trail)).found
        assert [ref.recorded_at[:10] for ref in found.events] == ["2026-03-11"], name
        assert str(value) in found.text


def test_a_declaration_comes_first_and_is_told(good: dict[str, Evidence]) -> None:
    said = Declaration("33(1)", "nothing is processed", "ada", "2026-01-01T00:00:00.000000Z")
    policies = dataclasses.replace(good["gdpr"].policies, declarations=(said,))
    report = build(dataclasses.replace(good["gdpr"], policies=policies), ORDER)
    (declared,) = [each for each in report.controls if each.status == "not-applicable"]
    assert declared.id == "Art. 33(1)"
    assert declared.declared == "declared by ada on 2026-01-01: nothing is processed"
    assert report.summary.not_applicable == 1


def result_of(controls: tuple[ControlResult, ...], oscal_id: str) -> ControlResult:
    return next(each for each in controls if each.oscal_id == oscal_id)


def test_a_sample_for_the_webhook_is_no_change_that_wants_approval() -> None:
    found = []
    for key in ("settings", "webhook.test", "webhook"):
        trail = good_trail()
        trail.say("config.change", "20T10:00", key=key, changed_fields=[])
        evidence = good_evidence("soc2", trail)
        found.append((len(RULES["CHG-01"].run(evidence).found), METRICS["unapproved_changes"].of(evidence).value))
    assert found == [(1, 1), (0, 0), (1, 1)]


@pytest.mark.parametrize(
    "name", ["{of}", "{of.__class__.__mro__}", "{0}", "{size:>999999999}", "{", "%s %(x)s", "{{}}"]
)
def test_what_a_finding_is_about_is_no_format(name: str) -> None:
    """Producers choose the names of accounts and roles."""
    (found,) = of_marks(1, [Mark("2026-03-15", None, 7, name, name)], "{about} did as {of}, by {size}")
    assert found.text == f"{name} did as {name}, by 7"
