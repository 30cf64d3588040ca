"""A cap hides names and never what matters: with one more than fits, and the offender in what does not, nothing passes.

For every cap of facts there is a happening whose offender is left out once the cap is lowered. Without the offender the
rule may be content; with it, no control that asks the rule is ever satisfied. Where the cap is not reached, the same
offender is found.
"""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import shared.compliance.facts as package
from shared.compliance.catalogue import FRAMEWORKS
from shared.compliance.evidence import Evidence
from shared.compliance.facts.parts import hash_of
from shared.compliance.rules import RULES
from shared.compliance.status import status_of
from tests.compliance.trails import Trail, alert, good_evidence, good_trail

type Say = Callable[[Trail], list[str]]


@dataclass(frozen=True)
class Hidden:
    """Caps (module and name), lowered; what is said, ids of events on which an alert stands; and whose rule it is."""

    rule: str
    caps: Mapping[str, int]
    say: Say
    changed: Mapping[str, Any] = field(default_factory=dict)


def _bursts(kind: str) -> Say:
    """Three bursts that an alert tells of, and a smaller one that none does."""

    def say(trail: Trail) -> list[str]:
        ids = []
        for number in range(4):
            for second in range(9 if number < 3 else 6):
                last = trail.say(kind, f"20T1{number}:00:{second:02}", who=f"w-{number}", role="user", outcome="denied")
            ids.append(last)
        return ids[:3]

    return say


def _successes(trail: Trail) -> list[str]:
    """Four accounts that get in after failures; of the one with the fewest no alert tells."""
    ids = []
    for number in range(4):
        for second in range(9 if number < 3 else 6):
            trail.login(f"w-{number}", f"20T1{number}:00:{second:02}", "failure")
        ids.append(trail.login(f"w-{number}", f"20T1{number}:01"))
    return ids[:3]


def _bulk(trail: Trail) -> list[str]:
    given: dict[str, Any] = {"data_class": "phi", "recipient": "x"}
    return [trail.say("data.export", f"20T1{n}:00", records=9000 - 1000 * n, **given) for n in range(4)][:3]


def _roles(trail: Trail) -> list[str]:
    """Roles that nobody approved; somebody saw the alerts on all but the last."""
    for number in range(3):
        trail.say("user.role_change", f"20T09:0{number}", target="x", old_role="user", new_role="user", ticket="T")
    given: dict[str, Any] = {"old_role": "user", "new_role": "tenant_admin"}
    return [trail.say("user.role_change", f"20T1{n}:00", target=f"w-{n}", **given) for n in range(3)][:2]


def _itself(trail: Trail) -> list[str]:
    for number in range(5):
        trail.say(
            "user.role_change",
            f"20T09:0{number}",
            target=f"w-{number}",
            old_role="user",
            new_role="auditor",
            ticket="T",
        )
    trail.say("user.role_change", "20T10:00", who="ada", target="ada", old_role="user", new_role="auditor", ticket="T")
    return []


def _settings(trail: Trail) -> list[str]:
    for number in range(5):
        trail.say("config.change", f"20T09:0{number}", key="settings", changed_fields=["x"], ticket="T")
    trail.say("config.change", "20T10:00", key="settings", changed_fields=["mutes"])
    return []


def _leaver(name: str, *others: str) -> Say:
    """Accounts are deleted; one of them acts on the next day, beside people who do more."""

    def say(trail: Trail) -> list[str]:
        for each in (*others, name):
            trail.say("user.delete", "20T09:00", target=each)
        for number in range(3):
            for minute in range(3):
                trail.say("profile.view", f"23T1{number}:0{minute}", who=f"w-{number}", role="user")
        trail.say("data.create", "23T20:00", who=name, role="user", data_class="phi")
        return []

    return say


def _idle(trail: Trail) -> list[str]:
    for at in ("22T23:00", "23T01:00"):
        trail.say("profile.view", at, who="mallory", session="hidden")
    for number in range(3):
        for minute in (40, 50):
            trail.say("profile.view", f"22T23:{minute}:0{number}", who=f"w-{number}", session=f"x-{number}")
            trail.say("profile.view", f"23T01:{minute}:0{number}", who=f"w-{number}", session=f"y-{number}")
    return []


def _far(*, largest: bool) -> str:
    """A name whose hash is the largest, or the smallest, of many."""
    return (max if largest else min)((f"gone-{n}" for n in range(300)), key=hash_of)


def _erased(name: str, *others: str) -> Say:
    def say(trail: Trail) -> list[str]:
        for each in (*others, name):
            trail.say("privacy.erasure", "20T09:00", target=each, reason="executed", request_id="r", counts={})
        for each in ("p-1", "p-2", "p-3", name):
            trail.say("data.read", "23T09:00", data_class="phi", about=[each], purpose="care")
        return []

    return say


def _withdrawn(trail: Trail) -> list[str]:
    about: dict[str, Any] = {"data_class": "personal", "purpose": "news"}
    people = sorted((f"p-{n}" for n in range(5)), key=lambda each: hash_of(f"{each}\nnews"))
    for each in people:
        trail.say("consent.withdraw", "20T09:00", about=[each], purpose="news", version="1")
    trail.say("data.read", "23T09:00", about=[people[-1]], legal_basis="consent", **about)
    return []


def _relied(trail: Trail) -> list[str]:
    people = sorted((f"p-{n}" for n in range(5)), key=lambda each: hash_of(f"{each}\nnews"))
    trail.say("consent.withdraw", "20T09:00", about=[people[-1]], purpose="news", version="1")
    for each in people:
        about: dict[str, Any] = {"data_class": "personal", "purpose": "news", "legal_basis": "consent"}
        trail.say("data.read", "23T09:00", about=[each], **about)
    return []


def _run(trail: Trail) -> list[str]:
    """Eleven failures in a row, of which midnight makes six and five; others have as many on one of the days."""
    for number in range(9):
        trail.login("a-busy", f"22T23:40:{number:02}", "failure")
        trail.login("a-busy", f"22T23:50:{number:02}")
        trail.login("b-busy", f"23T00:10:{number:02}", "failure")
    trail.login("c-busy", "22T23:40", "failure")
    for second in range(9):
        trail.login("d-busy", f"22T23:41:{second:02}", "failure")
        trail.login("e-busy", f"23T00:11:{second:02}", "failure")
    for second in range(6):
        trail.login("mallory", f"22T23:55:{second:02}", "failure")
    for second in range(5):
        trail.login("mallory", f"23T00:05:{second:02}", "failure")
    return []


def _guessed(trail: Trail) -> list[str]:
    """Six failures before midnight, and a success after it; others fail more and get in nowhere."""
    for second in range(6):
        trail.login("mallory", f"22T23:55:{second:02}", "failure")
    for second in range(9):
        trail.login("a-busy", f"22T23:50:{second:02}", "failure")
    trail.login("b-busy", "23T00:01")
    trail.login("mallory", "23T00:05")
    return []


def _locked(trail: Trail) -> list[str]:
    for name in ("a-busy", "mallory"):
        trail.say("auth.account_locked", "22T23:50", who=None, actor="anonymous", role=None, target=name)
    trail.login("b-busy", "23T00:01")
    trail.login("mallory", "23T00:05")
    return []


def _over_midnight(kind: str, half: int) -> Say:
    """Refusals, half of them on either side of midnight; others have a few more on one side alone."""

    def say(trail: Trail) -> list[str]:
        both = [("z", "22T23:59", half), ("z", "23T00:01", half)]
        for who, at, count in [("a-busy", "22T23:58", half + 1), ("b-busy", "23T00:02", half + 1), *both]:
            for second in range(count):
                trail.say(kind, f"{at}:{second:02}", who=who, role="user", outcome="denied")
        return []

    return say


def _together(trail: Trail) -> list[str]:
    for who, at, numbers in (("a-busy", "22T23:58", (1, 2)), ("z", "22T23:59", (1,)), ("z", "23T00:01", (2, 3))):
        for number in numbers:
            trail.say("profile.view", f"{at}:0{number}", who=who, session=f"{who}-{number}")
    return []


def _one_factor(trail: Trail) -> list[str]:
    for who in ("a-busy", "b-busy"):
        for second in range(3):
            trail.login(who, f"19T23:00:0{second}", mfa=False)
    trail.login("mallory", "19T23:00", mfa=False)
    trail.say("data.read", "20T11:00", who="mallory", data_class="cardholder", purpose="x")
    return []


def _uses(trail: Trail) -> list[str]:
    for who in ("a-busy", "b-busy", "mallory"):
        trail.say("data.read", "20T11:00", who=who, data_class="cardholder", purpose="x")
    trail.login("mallory", "20T10:00", mfa=False)
    return []


def _two_factors(trail: Trail) -> list[str]:
    """Very many sign in with two factors on the day before; mallory, whose hash is among the largest, with one."""
    name = _far(largest=True)
    for number in range(9):
        trail.login(f"w-{number}", f"19T22:00:0{number}")
    trail.login(name, "19T23:00", mfa=False)
    trail.say("data.read", "20T11:00", who=name, data_class="cardholder", purpose="x")
    return []


def _systems(trail: Trail) -> list[str]:
    """Three systems act, and people sign in as the last of them by name: on the day after."""
    for name in ("a-system", "b-system", "z-system"):
        trail.say("data.read", "20T10:00", who=name, actor="service", role=None, purpose="x")
    trail.login("z-system", "21T10:00")
    return []


def _data_roles(trail: Trail) -> list[str]:
    for number in range(4):
        trail.say("data.read", "20T11:00", data_class="phi", role=f"nurse-{number}", purpose="x")
    trail.say("data.read", "20T12:00", data_class="phi", role="visitor", purpose="x")
    return []


def _sources(trail: Trail) -> list[str]:
    """A source that was expected goes silent for good on the day on which it is one of too many."""
    trail.entries[:] = [entry for entry in trail.entries if entry["source"]["id"] != "key-1"]
    for number in range(3):
        trail.say("custom.tick", "20T10:00", origin=("api_key", f"key-{number + 2}"))
        trail.say("custom.tick", "20T10:01", origin=("api_key", f"key-{number + 2}"))
    trail.say("custom.tick", "20T10:00", origin=("api_key", "key-1"))
    return []


def _silences(trail: Trail) -> list[str]:
    """A source is silent three times on a day, each time for longer than is allowed."""
    for at in ("01:00", "05:00", "08:00", "23:00"):
        trail.say("custom.tick", f"20T{at}", origin=("api_key", "key-1"))
    return []


def _nurses() -> dict[str, Any]:
    policies = good_evidence("hipaa", Trail()).policies
    allowed = {"phi": ("tenant_admin", "user", *(f"nurse-{n}" for n in range(4)))}
    return {"policies": dataclasses.replace(policies, data_roles=allowed)}


HIDDEN = {
    "alerts on bursts": Hidden("ACC-09", {"parts.MOST_MARKS": 3}, _bursts("access.cross_tenant_denied")),
    "alerts on refusals": Hidden("ACC-11", {"parts.MOST_MARKS": 3}, _bursts("access.denied")),
    "alerts on successes": Hidden("AUTH-03", {"parts.MOST_MARKS": 3}, _successes),
    "alerts on exports": Hidden("DATA-01", {"parts.MOST_MARKS": 3}, _bulk),
    "roles": Hidden("ACC-02", {"parts.MOST_OF_A_TYPE": 2}, _roles),
    "roles, of all": Hidden("ACC-02", {"parts.MOST_EXTRACTS": 2}, _roles),
    "the own role": Hidden("ACC-03", {"parts.MOST_OF_A_TYPE": 3}, _itself),
    "settings": Hidden("CHG-01", {"parts.MOST_OF_A_TYPE": 3}, _settings),
    "detection": Hidden("MON-02", {"parts.MOST_EXTRACTS": 20}, _settings),
    "actors": Hidden("ACC-01", {"presence.MOST_ACTORS": 1}, _leaver("mallory")),
    "actors, by hash": Hidden("ACC-01", {"presence.MOST_ACTORS": 1, "presence.MOST_PRESENT": 0}, _leaver("mallory")),
    "leavers": Hidden("ACC-01", {"presence.MOST_ENDED": 1}, _leaver("mallory", "alice")),
    "sessions": Hidden("AUTH-04", {"presence.MOST_SESSIONS": 3}, _idle),
    "sources": Hidden("INT-06", {"presence.MOST_SOURCES": 3}, _sources),
    "silences": Hidden(
        "INT-06",
        {"presence.MOST_SILENCES": 0},
        _silences,
        {"thresholds": {**good_evidence("soc2", Trail()).thresholds, "source_silence_hours": 2}},
    ),
    "users of card data": Hidden("AUTH-06", {"card_use.MOST_CARD_USERS": 2}, _uses),
    "one factor": Hidden("AUTH-06", {"logins.MOST_SINGLE": 2}, _one_factor),
    "two factors": Hidden("AUTH-06", {"data_use.MOST_TOUCHED": 2}, _two_factors),
    "systems": Hidden("ACC-12", {"card_use.MOST_SYSTEMS": 2}, _systems),
    "roles of data": Hidden("ACC-08", {"data_use.MOST_ROLES": 3}, _data_roles, _nurses()),
    "persons": Hidden("DATA-02", {"data_use.MOST_TOUCHED": 3}, _erased(_far(largest=True))),
    "persons, found": Hidden("DATA-02", {"data_use.MOST_TOUCHED": 3}, _erased(_far(largest=False))),
    "erased persons": Hidden("DATA-02", {"data_use.MOST_ERASED": 1}, _erased("z", "a")),
    "consents": Hidden("DATA-03", {"data_use.MOST_CONSENTS": 2}, _withdrawn),
    "consents relied on": Hidden("DATA-03", {"data_use.MOST_TOUCHED": 3}, _relied),
    "runs": Hidden("AUTH-01", {"signing_in.MOST_ACCOUNTS": 1}, _run),
    "guesses": Hidden("AUTH-03", {"signing_in.MOST_ACCOUNTS": 1}, _guessed),
    "early successes": Hidden("AUTH-03", {"signing_in.MOST_EARLY": 1}, _guessed),
    "steps": Hidden("AUTH-03", {"signing_in.MOST_STEPPED": 1}, _guessed),
    "locks": Hidden("AUTH-02", {"signing_in.MOST_ACCOUNTS": 1}, _locked),
    "ends of locks": Hidden("AUTH-02", {"signing_in.MOST_STEPPED": 1}, _locked),
    "edges of bursts": Hidden("ACC-09", {"bursts.MOST_EDGES": 0}, _over_midnight("access.cross_tenant_denied", 2)),
    "edges of refusals": Hidden("ACC-11", {"bursts.MOST_EDGES": 1}, _over_midnight("access.denied", 3)),
    "edges of sessions": Hidden("AUTH-07", {"bursts.MOST_EDGES": 1}, _together),
    "moments": Hidden(
        "ACC-11", {"bursts.MOST_MOMENTS": 2, "midnight.MOST_MOMENTS": 2}, _over_midnight("access.denied", 3)
    ),
}
SHOWN = {
    "parts.MOST_SUBJECTS": "as many as an event may have; the accounting counts what it leaves out",
    "data_use.MOST_USES": "rows of a table, which tells how many it leaves out",
    "data_use.MOST_ACTORS": "by whom half hours are told apart; all are counted",
    "data_use.MOST_PERSONS": "of whom a figure says how many there are, at least",
    "fold.MOST_CANDIDATES": "of samples",
    "fold.MOST_OF_A_ROW": "of samples",
    "fold.MOST_LISTED": "rows of a table, which tells how many it leaves out",
    "gone.MOST_COUNTED_TOUCHED": "of whom a figure says how many there are, at least",
}
"""Caps on what is shown, which no rule reads."""


def evidence_of(hidden: Hidden, framework: str) -> Evidence:
    trail = good_trail()
    ids = hidden.say(trail)
    trail.entries.sort(key=lambda each: (each["recorded_at"], each["id"]))
    alerts = (alert(), *(alert(f"on-{each}", key="none", event_ids=frozenset({each})) for each in ids))
    return good_evidence(framework, trail, alerts=alerts, **hidden.changed)


def statuses(rule: str, evidence: Evidence) -> dict[str, tuple[str, str | None]]:
    found: dict[str, tuple[str, str | None]] = {}
    for control in FRAMEWORKS[evidence.framework].controls:
        names = control.rules.split()
        if rule in names:
            judged = status_of(control, evidence, {name: RULES[name].run(evidence) for name in names})
            found[control.oscal_id] = (judged.status, judged.reason)
    return found


@pytest.mark.parametrize("name", HIDDEN)
def test_no_cap_blinds_a_rule(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = HIDDEN[name]
    framework = next(
        each for each, own in FRAMEWORKS.items() if any(hidden.rule in c.rules.split() for c in own.controls)
    )
    assert RULES[hidden.rule].run(evidence_of(hidden, framework)).found, "with room for all of it, it is found"
    for place, most in hidden.caps.items():
        module, _, cap = place.partition(".")
        monkeypatch.setattr(f"{package.__name__}.{module}.{cap}", most)
    evidence = evidence_of(hidden, framework)
    result = RULES[hidden.rule].run(evidence)
    assert result.found or "facts" in result.missing
    for control, (status, reason) in statuses(hidden.rule, evidence).items():
        assert status == "exception" or (status, reason) == ("not-evidenced", "data-missing"), control


def test_every_cap_is_tried_or_only_for_show() -> None:
    """A new cap needs a happening in which it would hide an offender, or a word why it cannot."""
    found = set()
    for path in Path(package.__path__[0]).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id.startswith("MOST_"):
                found.add(f"{path.stem}.{node.id}")
    tried = {place for each in HIDDEN.values() for place in each.caps}
    assert found <= tried | set(SHOWN)
    assert set(SHOWN) <= found
