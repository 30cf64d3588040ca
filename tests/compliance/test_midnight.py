"""Midnight changes no count: a fold of the whole and a fold of days find as much, wherever the days are cut."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.audit.entries import entry_of
from shared.compliance.facts.fold import fold
from shared.compliance.facts.logins import one_factor
from shared.compliance.facts.merged import Facts
from shared.compliance.facts.parts import DAY_SECONDS
from shared.core.clock import rfc3339
from tests.compliance.trails import DAYS, Trail

NOON = datetime(2026, 3, 10, tzinfo=UTC)
WHO = st.sampled_from(["ada", "bob"])
EVERY = (0, 1, 7, 299, 300, 600, 601, 899, 900, 901, 1800, 3599, 3600, 3601, 40_000)
"""Seconds near to what thresholds tell apart: minutes, the times of bursts, an hour, half a day."""
FAMILIES: dict[str, tuple[tuple[str, ...], tuple[int, ...]]] = {
    "failures": (("failure", "failure", "success"), (0, 1, 1800, 3600)),
    "signing in": (("failure", "success", "one_factor", "lock", "unlock"), (1, 60, 899, 900, 3600, 90_000)),
    "bursts": (("denied", "cross"), (1, 300, 600, 601, 3599, 3600, 3601)),
    "sessions": (("call", "call", "sign_in_again"), (1, 300, 899, 900, 901, 4000)),
    "gone": (("end", "back", "call", "erase", "use"), (0, 1, 600, 40_000)),
    "consents": (("withdraw", "grant", "rely"), (0, 1, 40_000)),
    "all": (("failure", "success", "lock", "denied", "cross", "call", "end", "back", "use", "export", "role"), EVERY),
}

type Step = tuple[str, str, str, int]


@st.composite
def happenings(draw: st.DrawFn, family: str) -> tuple[list[Step], int]:
    """Steps, and by how many seconds they have to be moved for midnight to fall between some two of them."""
    kinds, gaps = FAMILIES[family]
    step = st.tuples(st.sampled_from(kinds), WHO, st.sampled_from(["s-1", "s-2", "s-3"]), st.sampled_from(gaps))
    steps = draw(st.lists(step, min_size=2, max_size=16))
    place = draw(st.integers(1, len(steps) - 1))
    until = sum(gap for *_, gap in steps[: place + 1])
    return steps, DAY_SECONDS - until + draw(st.integers(0, max(0, steps[place][3] - 1)))


def said(steps: list[Step], seconds: int) -> Trail:
    """The same happening, so many seconds later."""
    trail, at = Trail(), timedelta(seconds=seconds)
    for kind, who, session, gap in steps:
        at += timedelta(seconds=gap, microseconds=1)
        before = len(trail.entries)
        _SAY[kind](trail, who, session)
        for entry in trail.entries[before:]:
            entry["recorded_at"] = entry["occurred_at"] = rfc3339(NOON + at)
    return trail


def _exit(trail: Trail, who: str, status: str) -> None:
    trail.say("user.status_change", who="eve", target=who, old_status="x", new_status=status)


def _consent(trail: Trail, who: str, kind: str) -> None:
    trail.say(kind, who=who, about=[f"p-{who}"], purpose="News", version="1")


_SAY: dict[str, Any] = {
    "failure": lambda trail, who, _: trail.login(who, "02T00:00", "failure"),
    "success": lambda trail, who, _: trail.login(who, "02T00:00"),
    "one_factor": lambda trail, who, _: trail.login(who, "02T00:00", mfa=False),
    "lock": lambda trail, who, _: trail.say("auth.account_locked", who=None, actor="anonymous", target=who),
    "unlock": lambda trail, who, _: trail.say("user.unlock", who="eve", target=who),
    "denied": lambda trail, who, _: trail.say("access.denied", who=who, outcome="denied"),
    "cross": lambda trail, who, _: trail.say("access.cross_tenant_denied", who=who, outcome="denied"),
    "call": lambda trail, who, session: trail.say("profile.view", who=who, session=f"{who}-{session}"),
    "sign_in_again": lambda trail, who, session: trail.say(
        "mfa.challenge", who=who, target=who, session=f"{who}-{session}"
    ),
    "end": lambda trail, who, _: _exit(trail, who, "suspended"),
    "back": lambda trail, who, _: _exit(trail, who, "active"),
    "erase": lambda trail, who, _: trail.say(
        "privacy.erasure", who="eve", target=f"p-{who}", reason="executed", request_id="r", counts={}
    ),
    "use": lambda trail, who, _: trail.say("data.read", who=who, data_class="phi", about=[f"p-{who}"]),
    "withdraw": lambda trail, who, _: _consent(trail, who, "consent.withdraw"),
    "grant": lambda trail, who, _: _consent(trail, who, "consent.grant"),
    "rely": lambda trail, who, _: trail.say(
        "data.read", who=who, data_class="personal", about=[f"p-{who}"], legal_basis="Consent", purpose="news"
    ),
    "export": lambda trail, who, _: trail.say("data.export", who=who, data_class="phi", about=["q", "r"], records=1050),
    "role": lambda trail, who, _: trail.say("user.view", who=who, role="user"),
}


def folded(trail: Trail) -> Facts:
    """Facts of the days, of entries as bundles bring them: each day sees its neighbors."""
    entries = [(index, entry_of(entry)) for index, entry in enumerate(trail.entries)]
    days = sorted({entry["recorded_at"][:10] for entry in trail.entries})
    return Facts(DAYS, {day: fold(day, entries) for day in days})


def counts(facts: Facts) -> dict[str, Any]:
    """Everything that rules and metrics count."""
    kinds = ("after_failures", "run", "without_purpose", "bulk", "role", "log_view", "incomplete", "backwards", "late")
    found: dict[str, Any] = {
        f"{kind} {least}": facts.marked(kind, least)[0] for kind in kinds for least in (1, 2, 3, 5, 1050)
    }
    for kind in ("denied_burst", "cross_burst", "concurrent"):
        found |= {f"{kind} {least}": facts.marked(kind, least)[0] for least in (2, 3, 5)}
    for minutes in (5, 15, 60, 700):
        found |= {f"idle {minutes}": facts.idle(minutes)[0], f"lock {minutes}": facts.after_lock(minutes)[0]}
    with facts.noting() as cut:
        found["ended"] = facts.after_exit[0]
        found["erased"] = facts.used_after("erased", "touched", "after_erasure")[0]
        found["withdrawn"] = facts.used_after("withdrawn", "relied", "after_withdrawal")[0]
        found["doubted"] = facts.used_after("withdrawn", "doubtful", "doubted")[0]
        counts_of_days = {"events": facts.events, "rows": facts.rows, "exact": facts.persons_touched}
    assert cut == set()
    single = {who: sum(each.logins + each.unsure for each in own) for who, own in one_factor(facts.documents).items()}
    return found | counts_of_days | {"longest": facts.longest_run, "single": single, "users": facts.actors}


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_midnight_changes_no_count(family: str, data: st.DataObject) -> None:
    """The same happening, cut between two of its steps, and where it was told first: mostly nowhere."""
    steps, moved = data.draw(happenings(family))
    assert counts(folded(said(steps, 0))) == counts(folded(said(steps, moved)))


def test_the_property_is_about_something() -> None:
    """A happening of which every count is above zero, cut in its middle and not at all."""
    steps = [("failure", "bob", "s-1", 60)] * 6 + [("success", "bob", "s-1", 60), ("lock", "bob", "s-1", 60)]
    steps += [("success", "bob", "s-1", 60), ("denied", "ada", "s-1", 1)] + [("denied", "ada", "s-1", 1)] * 5
    steps += [("cross", "ada", "s-1", 600)] * 5 + [("call", "ada", f"s-{n}", 60) for n in (1, 2, 3)] * 2
    steps += [("call", "ada", "s-1", 4000), ("end", "bob", "s-1", 1), ("call", "bob", "s-1", 1)]
    steps += [
        ("erase", "ada", "s-1", 1),
        ("use", "ada", "s-1", 1),
        ("withdraw", "ada", "s-1", 1),
        ("rely", "ada", "s-1", 1),
    ]
    whole = counts(folded(said(steps, 0)))
    for name in ("run 5", "after_failures 5", "denied_burst 5", "cross_burst 5", "concurrent 3", "idle 60", "lock 15"):
        assert whole[name] >= 1, name
    assert (whole["ended"], whole["erased"], whole["withdrawn"], whole["longest"]) == (1, 1, 1, 6)
    length = sum(gap for *_, gap in steps)
    for seconds in range(DAY_SECONDS - length - 1, DAY_SECONDS, 211):
        assert counts(folded(said(steps, seconds))) == whole, seconds


def test_what_one_day_says_is_told_in_order() -> None:
    steps = [("denied", "ada", "s-1", 1)] * 8
    (mark,) = folded(said(steps, DAY_SECONDS - 4)).marked("denied_burst", 5)[1]
    assert (mark.size, mark.about, mark.ref is not None) == (8, "ada", True)
