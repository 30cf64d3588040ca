"""No control is satisfied by what merely speaks to it: without its occasions a month of all other events is no pass."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from shared.compliance.catalogue import FRAMEWORKS
from shared.compliance.controls.model import Control
from shared.compliance.evidence import AlertRow, Evidence, Operations
from shared.compliance.occasions import TOLD, check_words, groups_of, occasions
from shared.compliance.selectors import Selector, selectors
from tests.compliance.judging import control_of, judge
from tests.compliance.trails import DAYS, Trail, alert, good_evidence, good_trail, new_evidence, request

GROUPS = [
    (framework, control, group)
    for framework, listed in FRAMEWORKS.items()
    for control in listed.controls
    for group in groups_of(control.exposure if control.pattern == "violation" else control.needs)
    if group and control.oscal_id != "pci-8.3.4"
]
"""All but the control that the settings in force show where nothing happened."""
LATE = "2026-03-31T{}:00:00.000000Z"


def unseen(name: str, severity: str = "critical") -> AlertRow:
    """An alert of the last evening that nobody has seen; it is not late yet."""
    times: dict[str, Any] = {at: LATE.format(20) for at in ("raised_at", "first_seen", "last_seen")}
    return alert(name, severity=severity, acknowledged_at=None, closed_at=None, closed_note=False, **times)


def told(oscal_id: str, trail: Trail, **changed: Any) -> tuple[str, str | None]:
    framework, control = control_of(oscal_id)
    found = judge(control, new_evidence(trail, framework, **changed))
    return found.status, found.reason


def is_meant(selector: Selector, entry: dict[str, Any]) -> bool:
    """By the sealed entry itself, not by the counts of facts."""
    if selector.status is not None:
        return selector.names(entry["type"]) and entry["attributes"].get("new_status") == selector.status
    return selector.matches((entry["type"], entry["outcome"], entry["data_class"], entry["reason"]))


UNSEEN: dict[str, Any] = {"alerts": (unseen("alert-1"),)}
HANDLED = {"alert.update", "incident.record"}
GONE: dict[str, set[str]] = {
    "@changes": {"config.change"},
    "@leavers": {"user.status_change", "user.delete"},
    **dict.fromkeys(("@acknowledged", "@decided", "@acted"), HANDLED),
    "report.sign_off": {"report.generate"},
}
"""Types that are left out with a population; reports that nobody signed would be findings."""
CHANGED: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("@acknowledged", "@decided", "@acted"), UNSEEN),
    "@detection": {"operations": Operations(frozenset(), (), 0)},
    "@starts": {"operations": Operations(frozenset(DAYS), (), 0)},
    **{
        name: {"requests": (request(answered_at=None, state="received"),)} for name in ("@answered", "@answered_access")
    },
    **{name: {"accounts": ()} for name in ("@accounts", "@password_only")},
}


def is_left(entry: dict[str, Any], words: list[str]) -> bool:
    """Whether an entry of the good month is none of the occasions."""
    plain = [each for word in words if not word.startswith("@") for each in selectors(word)]
    gone = set[str]().union(*(GONE.get(word, ()) for word in words))
    daily = entry["attributes"].get("framework") == "activity"
    if any(is_meant(each, entry) for each in plain) or (entry["type"] in gone and not daily):
        return False
    if entry["actor"]["kind"] != "user":
        return True
    return not ("@people" in words or ("@card_users" in words and entry["data_class"] == "cardholder"))


def without(framework: str, group: str) -> Evidence:
    """The good month in which everything happened, but none of the occasions of a group."""
    trail, words = good_trail(), group.split()
    changed = {name: value for word in words for name, value in CHANGED.get(word, {}).items()}
    trail.entries = [entry for entry in trail.entries if is_left(entry, words)]
    for entry in trail.entries:
        if "@sessions" in words:
            entry["context"]["session_id"] = None
        if "@with_purpose" in words:
            entry["attributes"].pop("purpose", None)
    for day in DAYS:  # the source that is expected goes on
        trail.say("custom.tick", f"{day[8:]}T10:00", actor="service", who="billing", role=None)
    trail.entries.sort(key=lambda each: (each["recorded_at"], each["id"]))
    return good_evidence(framework, trail, **changed)


@pytest.mark.parametrize(
    ("framework", "control", "group"), GROUPS, ids=[f"{control.oscal_id}|{group}" for _, control, group in GROUPS]
)
def test_everything_but_its_occasions_does_not_satisfy(framework: str, control: Control, group: str) -> None:
    """Whatever else happened: no finding, and no pass."""
    evidence = without(framework, group)
    assert len(evidence.facts.documents) > 5, "the month is not empty"
    assert not occasions(group, evidence)
    found = judge(control, evidence)
    assert found.status == "not-evidenced", found.explanation
    blocked = control.blocked_by or {"DATA-03", "MON-01"} & set(control.rules.split())
    assert found.reason in ("no-occurrence", "not-exercised") or (found.reason == "data-missing" and blocked)


def test_words_of_occasions_are_known() -> None:
    for _, _, group in GROUPS:
        check_words(group)
    used = {word for _, _, group in GROUPS for word in group.split() if word.startswith("@")}
    assert used == set(TOLD)
    for wrong in ("@nobody", "auth", "a.b / @"):
        with pytest.raises(ValueError, match="is no"):
            check_words(wrong)


BY_ITSELF = ("alert.raise", "profile.view", "report.generate", "system.heartbeat", "system.start", "ledger.checkpoint")
"""What happens in every organization that does nothing: no activity control is about it."""
ALSO_OF_PROGRAMS = {"auth.token_refresh": {"pci-10.2.1.4"}, "auth.login": {"pci-10.2.1.4"}}
"""What goes on wherever people work, and the controls that are about its failures."""
ABOUT_SIGNING_IN = {"hipaa-164.308.a.5.ii.c", "hipaa-164.312.d"}


def test_what_happens_by_itself_is_no_occasion() -> None:
    """Held against a list of its own: what a control needs is not taken from the control."""
    for _, control, group in GROUPS:
        for each in (each for word in group.split() if not word.startswith("@") for each in selectors(word)):
            if control.pattern != "activity":
                continue
            assert not [kind for kind in BY_ITSELF if each.names(kind)], control.oscal_id
            for kind, failures in ALSO_OF_PROGRAMS.items():
                allowed = control.oscal_id in ABOUT_SIGNING_IN or (
                    control.oscal_id in failures and each.outcome == "failure"
                )
                assert not each.names(kind) or allowed, control.oscal_id


def logins() -> Trail:
    trail = Trail()
    for day in range(2, 17):
        trail.login("ada", f"{day:02}T09:00")
    return trail


def one(kind: str, **given: Any) -> Trail:
    trail = Trail()
    trail.say(kind, "02T09:00", **given)
    return trail


READ = one("data.read", data_class="personal", about=["p1"], legal_basis="consent", purpose="care")
RAISED = one(
    "alert.raise", who=None, actor="system", role=None, target="alert-1", pattern="brute_force", severity="critical"
)
VIEWED = one("profile.view", target="ada")


@pytest.mark.parametrize(
    ("oscal_id", "trail"),
    [
        ("pci-8.2.5", logins()),
        ("pci-7.2.5", logins()),
        ("pci-8.2.4", logins()),
        ("hipaa-164.308.a.3.ii.c", logins()),
        ("gdpr-art15", VIEWED),
        ("soc2-p5.1", VIEWED),
        ("soc2-cc6.3", RAISED),
        ("iso-a.8.12", RAISED),
        ("soc2-cc7.1", RAISED),
        ("gdpr-art7.3", READ),
        ("gdpr-art17", READ),
        ("gdpr-art12.3", one("profile.update", who="bob", role="user")),
        ("pci-10.2.1.6", one("system.heartbeat", who=None, actor="system", role=None, source="policy")),
        ("pci-8.6.1", one("data.read", actor="service", who="batch", role=None)),
        ("hipaa-164.308.a.4.ii.c", one("user.update", target="bob", ticket="T")),
        ("gdpr-art20", VIEWED),
        ("pci-a1.2.2", one("report.generate", framework="activity", period_from="2026-03-01")),
    ],
)
def test_a_bystander_is_no_occasion(oscal_id: str, trail: Trail) -> None:
    operations = Operations(frozenset(DAYS), (), 0)
    assert told(oscal_id, trail, operations=operations) == ("not-evidenced", "no-occurrence")


FOLLOWING_UP = [
    *("soc2-cc4.2", "soc2-cc7.3", "pci-10.4.1", "pci-10.4.3", "pci-12.10.5", "iso-a.5.25", "iso-a.5.26", "iso-a.6.8"),
    *("iso-a.8.16", "hipaa-164.308.a.6.i", "hipaa-164.308.a.6.ii"),
]


def handled(status: str = "resolved") -> Trail:
    trail = Trail()
    trail.say("alert.raise", "31T20:00", who=None, actor="system", role=None, target="a", pattern="p", severity="high")
    trail.say(
        "alert.update", "31T21:00", target="a", pattern="p", severity="high", old_status="open", new_status=status
    )
    return trail


@pytest.mark.parametrize("oscal_id", FOLLOWING_UP)
def test_alerts_have_to_be_followed_up(oscal_id: str) -> None:
    """Unseen ones are late, or wait; a trifle that was handled stands for no grave one; the register alone, which is
    not sealed, shows nothing that the trail does not."""
    seen: dict[str, Any] = {"acknowledged_at": LATE.format(21), "closed_at": LATE.format(21), "closed_note": True}
    grave, trifle = unseen("a", "critical"), dataclasses.replace(unseen("b", "medium"), **seen)
    done = dataclasses.replace(grave, **seen)
    nothing = ("not-evidenced", "not-exercised")
    assert told(oscal_id, RAISED, alerts=tuple(unseen(f"a{n}") for n in range(5))) == nothing
    assert told(oscal_id, handled(), alerts=(grave,)) == nothing
    assert told(oscal_id, handled(), alerts=(grave, trifle)) == nothing
    assert told(oscal_id, RAISED, alerts=(done,)) == nothing, "no step of it is in the trail"
    assert told(oscal_id, handled(), alerts=(done, grave)) == ("satisfied", None)
    assert told(oscal_id, handled(), alerts=(trifle,)) == ("satisfied", None), "there was nothing grave"
    late = dataclasses.replace(grave, raised_at="2026-03-20T08:00:00.000000Z")
    assert told(oscal_id, handled(), alerts=(done, late))[0] == "exception"
    assert told(oscal_id, handled(), alerts=None) == ("not-evidenced", "data-missing")


def test_an_incident_is_the_decision_about_an_alert() -> None:
    incident = {"recorded_at": LATE.format(22), "aware_at": LATE.format(21), "decision": "not reportable"}
    held = dataclasses.replace(unseen("a"), acknowledged_at=LATE.format(21), incident=incident)
    trail = handled("acknowledged")
    assert told("soc2-cc7.3", trail, alerts=(held,)) == ("not-evidenced", "not-exercised")
    trail.say("incident.record", "31T22:00", target="a", aware_at=LATE.format(21), decision="not reportable")
    assert told("soc2-cc7.3", trail, alerts=(held,)) == ("satisfied", None)
    assert told("soc2-cc7.4", trail, alerts=(held,)) == ("satisfied", None)
    assert told("soc2-cc7.4", handled(), alerts=(held,)) == ("not-evidenced", "no-occurrence")


def test_requests_have_to_be_answered_in_the_period() -> None:
    trail = one("privacy.export", target="ada", request_id="request-1", counts={})
    for given, status in (
        (request(kind="access", state="received", answered_at=None), "not-evidenced"),
        (request(kind="access", state="withdrawn"), "not-evidenced"),
        (request(kind="access", answered_at="2026-04-01T00:00:00.000000Z"), "not-evidenced"),
        (request(kind="access", subject="ada"), "satisfied"),
        (request(kind="access", state="refused"), "satisfied"),
    ):
        assert told("gdpr-art15", trail, requests=(given,))[0] == status, given
    erasure = request(state="refused")
    assert told("gdpr-art15", trail, requests=(erasure,)) == ("not-evidenced", "no-occurrence")
    assert told("gdpr-art12.3", trail, requests=(erasure,)) == ("satisfied", None)
    assert told("gdpr-art17", trail, requests=(erasure,)) == ("not-evidenced", "no-occurrence")
    assert told("gdpr-art12.3", trail, requests=None) == ("not-evidenced", "data-missing")
