"""The edge of a period hides nothing: what lies on both sides of it is found by the report of the days after it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.audit.entries import entry_of
from shared.compliance.catalogue import FRAMEWORKS
from shared.compliance.evidence import LEAD_DAYS, Evidence, Period, Policies
from shared.compliance.facts.fold import fold
from shared.compliance.facts.merged import Facts
from shared.compliance.rules import RULES
from shared.compliance.rules.model import Found, Result
from tests.compliance.test_caps import HIDDEN, Hidden
from tests.compliance.test_midnight import NOON, happenings, said
from tests.compliance.trails import DAYS, TO, Trail, alert, good_evidence

KINDS = ("run", "after_failures", "denied_burst", "cross_burst", "concurrent")
SIZES = (2, 3, 5)


def days_after(first: int, documents: Mapping[str, Any], *, is_lead_whole: bool = True) -> Facts:
    """Facts of the days of March from one on, with the week before it."""
    period = Period(date(2026, 3, first), TO)
    return Facts(period.days, documents, lead=period.lead, is_lead_whole=is_lead_whole)


def found(facts: Facts) -> dict[str, bool]:
    """What is found at all, by kind and threshold."""
    return (
        {f"{kind} {size}": facts.marked(kind, size)[0] > 0 for kind in KINDS for size in SIZES}
        | {f"idle {minutes}": facts.idle(minutes)[0] > 0 for minutes in (5, 15, 60, 700)}
        | {f"lock {minutes}": facts.after_lock(minutes)[0] > 0 for minutes in (5, 15, 60, 1440)}
        | {f"longest {size}": facts.longest_run >= size for size in range(1, 12)}
    )


@pytest.mark.parametrize("family", ["failures", "signing in", "bursts", "sessions", "all"])
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_reports_of_single_days_find_what_the_whole_does(family: str, data: st.DataObject) -> None:
    steps, moved = data.draw(happenings(family))
    entries = [(index, entry_of(entry)) for index, entry in enumerate(said(steps, moved).entries)]
    start = NOON.date()
    days = [start + timedelta(days=number) for number in range(LEAD_DAYS)]
    documents = {day.isoformat(): fold(day.isoformat(), entries) for day in days}
    names = [day.isoformat() for day in days]
    each = [
        found(Facts((name,), documents, lead=Period(day, day + timedelta(days=1)).lead))
        for day, name in zip(days, names, strict=True)
    ]
    whole = found(Facts(names, documents))
    assert whole == {name: any(day[name] for day in each) for name in whole}


def run(rule: str, trail: Trail, first: int, **changed: Any) -> Result:
    """A rule over the report of the days of March from one on."""
    documents = trail.documents()
    facts, period = days_after(first, documents), Period(date(2026, 3, first), TO)
    framework = next(name for name, own in FRAMEWORKS.items() if any(rule in c.rules.split() for c in own.controls))
    return RULES[rule].run(good_evidence(framework, trail, facts=facts, period=period, **changed))


def refusals(*times: str) -> Trail:
    trail = Trail()
    for at in times:
        trail.say("access.denied", at, who="mallory", role="user", outcome="denied")
    return trail


class TestWhatBelongsToWhom:
    def test_a_burst_over_the_edge_is_of_the_days_after_it(self) -> None:
        both = refusals("09T23:57", "09T23:58", "09T23:59", "10T00:01", "10T00:02")
        (mark,) = days_after(10, both.documents()).marked("denied_burst", 5)[1]
        assert (mark.size, mark.day, mark.about) == (5, "2026-03-10", "mallory")
        assert mark.ref is not None
        assert mark.ref.recorded_at.startswith("2026-03-10T00:0"), "a report names no event of another period"

    def test_what_was_large_before_the_edge_is_not_told_again(self) -> None:
        both = refusals(*(f"09T23:40:0{n}" for n in range(6)), "09T23:49", "09T23:55", "10T00:00", "10T00:01")
        assert days_after(9, both.documents()).marked("denied_burst", 5)[0] == 1
        assert days_after(10, both.documents()).marked("denied_burst", 5) == (0, [])
        assert days_after(10, both.documents()).marked("denied_burst", 3)[0] == 1

    def test_what_ended_before_the_edge_is_not_told(self) -> None:
        trail = refusals(*(f"09T23:59:0{n}" for n in range(6)))
        for second in range(8):
            trail.login("bob", f"09T23:00:0{second}", "failure")
        trail.login("bob", "10T08:00")
        trail.say("profile.view", "07T08:00", who="ada", session="s")
        trail.say("profile.view", "08T08:00", who="ada", session="s")
        facts = days_after(10, trail.documents())
        assert not any(found(facts).values())
        assert facts.longest_run == 0

    def test_a_run_over_several_days(self) -> None:
        trail = Trail()
        for day in (7, 8, 9, 10):
            for minute in range(3):
                trail.login("bob", f"{day:02}T10:0{minute}", "failure")
        assert days_after(10, trail.documents()).longest_run == 12
        assert run("AUTH-01", trail, 10).found
        assert not run("AUTH-01", trail, 11).found, "nothing of it is of that period"

    def test_a_lock_that_did_not_last(self) -> None:
        trail = Trail()
        trail.say("auth.account_locked", "09T23:50", who=None, actor="anonymous", role=None, target="bob")
        trail.login("bob", "10T00:05")
        (mark,) = run("AUTH-02", trail, 10).found
        assert "bob" in mark.text

    def test_a_login_before_the_edge_covers_a_shift(self) -> None:
        trail = Trail()
        trail.login("ada", "09T22:00")
        trail.say("data.read", "10T02:00", data_class="cardholder", purpose="x")
        assert run("AUTH-06", trail, 10) == Result()
        assert run("AUTH-06", trail, 9) == Result()
        trail.say("data.read", "11T02:00", data_class="cardholder", purpose="x")
        assert run("AUTH-06", trail, 10).missing == ("two_factors",)

    def test_a_source_that_was_silent_over_the_edge(self) -> None:
        trail = Trail()
        for at in ("08T06:00", *(f"{day}T11:00" for day in range(10, 32))):
            trail.say("custom.tick", at, origin=("api_key", "key-1"))
        (found,) = run("INT-06", trail, 10).found
        assert found.text == "Source api_key:key-1 was silent for 53 hours"
        assert found.first_seen == "2026-03-10T00:00:00.000000Z"

    def test_what_a_source_is_silent_for_does_not_depend_on_the_report(self) -> None:
        """However many days a report is about, and whether it was heard in them, before them, or never."""
        for hours in (24, 72):
            times = ("08T12:00", "09T12:00", "09T20:00", "11T09:00", "11T20:00")
            assert silent(hours, *times, first=9, last=11) == (hours == 24)
            assert silent(hours, *times[1:], first=9, last=11), "a week and more before it was heard first"
            assert silent(hours, "03T12:00", first=4, last=12), "of the days of a week one tells"
            assert silent(hours, "10T12:00", "31T12:00", first=10, last=20), "never again"
        assert not silent(100, "01T00:00", "04T00:00", "08T03:59", "12T07:58", first=4, last=12)
        assert silent(100, "01T00:00", "04T00:00", "08T04:01", "12T07:58", first=4, last=12)

    def test_a_source_that_was_never_heard_was_silent_since_it_could_be(self) -> None:
        assert told(24, 10, 10) == ["Source api_key:key-1 was not heard at all"]
        assert told(191, 10, 10) == ["Source api_key:key-1 was not heard at all"], "a week before it, too"
        assert told(192, 10, 10, is_cut=True) == [], "nobody can tell"
        assert told(72, 10, 10, lead=False) == []
        assert told(71, 10, 12, lead=False) == ["Source api_key:key-1 was not heard at all"]
        assert told(72, 10, 12, lead=False) == []
        assert told(72, 10, 10, enrolled_at="2026-03-08T00:00:00.000000Z") == []
        assert told(71, 10, 10, enrolled_at="2026-03-08T00:00:00.000000Z") != []

    def test_from_when_on_a_source_that_was_never_heard_is_dated(self) -> None:
        """From when it could be, or the beginning of the period."""

        def dated(trail: Trail, first: int = 9, enrolled_at: str = "2026-02-01T00:00:00.000000Z") -> tuple[str, str]:
            (found,) = silences(24, first, 12, trail, enrolled_at=enrolled_at)
            assert found.text == "Source api_key:key-1 was not heard at all"
            assert found.last_seen == "2026-03-13T00:00:00.000000Z"
            assert found.remedied_at is None
            return found.first_seen[:10], found.first_seen[11:16]

        made = Trail()
        made.say("apikey.create", "10T12:00", target="key-1", origin=("session", "s"))
        assert dated(made) == ("2026-03-10", "12:00")
        assert dated(made, 11) == ("2026-03-11", "00:00")
        assert dated(Trail()) == ("2026-03-09", "00:00")
        assert dated(Trail(), enrolled_at="2026-03-10T06:30:00.000000Z") == ("2026-03-10", "06:30")
        assert dated(made, enrolled_at="2026-03-10T06:30:00.000000Z") == ("2026-03-10", "12:00")
        assert dated(Trail(), enrolled_at="2026-03-08T06:30:00.000000Z") == ("2026-03-09", "00:00")

    def test_how_long_a_source_was_silent_before_it_was_first_heard(self) -> None:
        trail = Trail()
        for at in ("10T12:00", "11T00:00"):
            trail.say("custom.tick", at, origin=("api_key", "key-1"))
        assert told(24, 10, 10, trail) == ["Source api_key:key-1 was silent for at least 180 hours"]
        enrolled_at = "2026-03-05T00:00:00.000000Z"
        assert told(24, 10, 10, trail, enrolled_at=enrolled_at) == ["Source api_key:key-1 was silent for 132 hours"]
        assert told(132, 10, 10, trail, enrolled_at=enrolled_at) == []
        assert told(24, 10, 10, trail, lead=False) == []

    def test_a_key_is_not_silent_before_it_is_made(self) -> None:
        def made(at: str) -> Trail:
            trail = Trail()
            trail.say("apikey.create", at, target="key-1", origin=("session", "s"))
            trail.say("apikey.create", "12T10:00", target="key-2", origin=("session", "s"))
            return trail

        assert told(24, 10, 10, made("10T01:00")) == []
        assert told(24, 10, 11, made("10T01:00")) == ["Source api_key:key-1 was not heard at all"]
        assert told(62, 10, 10, made("08T10:00")) == []
        assert told(61, 10, 10, made("08T10:00")) == ["Source api_key:key-1 was not heard at all"]
        late, early = made("09T10:00"), made("09T09:00")
        for trail in (late, early):
            for at in ("10T10:00", "11T10:00", "12T10:00"):
                trail.say("custom.tick", at, origin=("api_key", "key-1"))
        assert told(24, 10, 12, late) == []
        assert told(24, 10, 12, early) == ["Source api_key:key-1 was silent for 25 hours"]
        assert told(24, 10, 12, early, sources=None) == [], "nobody said that it was expected"

    def test_a_key_that_nobody_named_and_that_fell_silent_before_the_edge(self) -> None:
        trail = Trail()
        trail.say("custom.tick", "09T09:00", origin=("api_key", "key-1"))
        assert told(24, 9, 9, trail, sources=None) == []
        assert told(24, 10, 10, trail, sources=None) == ["Source api_key:key-1 was silent for 39 hours"]
        assert told(24, 9, 10, trail, sources=None) == ["Source api_key:key-1 was silent for 39 hours"]

    def test_an_alert_that_was_closed_before_the_edge_covers_what_goes_on(self) -> None:
        trail = refusals(*(f"09T23:59:5{n}" for n in range(4)), *(f"10T00:00:0{n}" for n in range(4)))
        assert run("ACC-11", trail, 10).found
        seen, closed = "2026-03-09T23:59:55.000000Z", "2026-03-09T23:59:59.000000Z"
        times = {"raised_at": seen, "first_seen": seen, "last_seen": seen, "closed_at": closed}
        handled = alert(pattern="unauthorized_access", key="mallory", **times)
        assert run("ACC-11", trail, 10, alerts=(), alerts_before=(handled,)) == Result()
        other = alert(pattern="brute_force", key="mallory", **times)
        assert run("ACC-11", trail, 10, alerts=(), alerts_before=(other,)).found

    def test_what_was_resolved_before_the_edge_and_is_raised_again(self) -> None:
        def again(closed_at: str, **changed: Any) -> bool:
            before = alert("alert-0", raised_at="2026-02-01T00:00:00.000000Z", closed_at=closed_at, **changed)
            return bool(run("INC-04", Trail(), 10, alerts=(alert(),), alerts_before=(before,)).found)

        assert again("2026-03-09T23:00:00.000000Z")
        assert again("2026-02-08T08:00:00.000000Z"), "thirty days before it was raised"
        assert not again("2026-02-08T07:59:59.000000Z")
        assert not again("2026-03-09T23:00:00.000000Z", key="eve")
        assert not again("2026-03-09T23:00:00.000000Z", pattern="privilege_escalation")
        raised_before = {"raised_at": "2026-03-09T22:00:00.000000Z", "closed_at": "2026-03-09T23:00:00.000000Z"}
        earlier = (alert("a-1", **raised_before), alert("a-2", **raised_before))
        assert not run("INC-04", Trail(), 10, alerts=(), alerts_before=earlier).found, "the report before tells of it"


def silences(
    hours: int,
    first: int,
    last: int,
    trail: Trail | None = None,
    *,
    lead: bool = True,
    is_cut: bool = False,
    enrolled_at: str = "2026-02-01T00:00:00.000000Z",
    sources: tuple[str, ...] | None = ("api_key:key-1",),
) -> tuple[Found, ...]:
    """What INT-06 finds from one day of March to another."""
    period = Period(date(2026, 3, first), date(2026, 3, last) + timedelta(days=1))
    facts = Facts(period.days, (trail or Trail()).documents(), lead=period.lead, is_lead_whole=lead)
    evidence = good_evidence("soc2", facts=facts, period=period)
    evidence = dataclasses.replace(
        evidence,
        thresholds={**evidence.thresholds, "source_silence_hours": hours},
        policies=dataclasses.replace(evidence.policies, sources=sources),
        organization=dataclasses.replace(evidence.organization, enrolled_at=enrolled_at),
    )
    result = RULES["INT-06"].run(evidence)
    assert ("facts" in result.missing) is (is_cut or not lead)
    return result.found


def told(*given: Any, **changed: Any) -> list[str]:
    return [each.text for each in silences(*given, **changed)]


def silent(hours: int, *times: str, first: int, last: int) -> bool:
    """Whether a source that is heard at these times is found silent by the report of some days, as by those of each."""
    trail = Trail()
    for at in times:
        trail.say("custom.tick", at, origin=("api_key", "key-1"))
    whole = bool(told(hours, first, last, trail))
    assert whole == any(told(hours, day, day, trail) for day in range(first, last + 1))
    return whole


def signed(documents: Mapping[str, Any], day: str, first: str, last: str) -> dict[str, Any]:
    """The same with other checkpoints on a day of March."""
    at = f"2026-03-{day}T{{}}:00.000000Z"
    told = {"n": 2, "first": at.format(first), "last": at.format(last), "gaps": []}
    return {**documents, f"2026-03-{day}": documents[f"2026-03-{day}"] | {"checkpoints": told}}


def test_a_time_without_checkpoints_over_the_edge() -> None:
    """Each of the days alone is content with it."""
    trail = Trail()
    for hour in range(48):
        for minute in (5, 35):
            trail.say("profile.view", f"{9 + hour // 24:02}T{hour % 24:02}:{minute:02}")
    trail.say("profile.view", "31T12:00")
    documents = signed(signed(trail.documents(), "09", "00:00", "22:30"), "10", "01:45", "23:59")
    facts, period = days_after(10, documents), Period(date(2026, 3, 10), date(2026, 3, 11))
    assert facts.signed_before == "2026-03-09T22:30:00.000000Z"
    result = RULES["INT-03"].run(good_evidence("soc2", trail, facts=facts, period=period))
    (told,) = result.found
    assert (told.text, told.first_seen) == ("No checkpoint for 195 minutes", "2026-03-10T00:00:00.000000Z")
    alone = Facts(period.days, documents)
    assert RULES["INT-03"].run(good_evidence("soc2", trail, facts=alone, period=period)) == Result()


CUT = (
    *("sessions", "runs", "guesses", "early successes", "steps", "locks", "ends of locks", "edges of bursts"),
    *("edges of refusals", "edges of sessions", "moments"),
)
"""Happenings with a midnight between 22 and 23 March."""


def evidence_of(hidden: Hidden, *, is_lead_whole: bool = True) -> Evidence:
    trail = Trail()
    hidden.say(trail)
    trail.entries.sort(key=lambda each: (each["recorded_at"], each["id"]))
    facts = days_after(23, trail.documents(), is_lead_whole=is_lead_whole)
    return good_evidence("pci_dss", trail, facts=facts, period=Period(date(2026, 3, 23), TO), **hidden.changed)


@pytest.mark.parametrize("name", CUT)
def test_no_cap_hides_what_lies_on_the_edge(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = HIDDEN[name]
    assert RULES[hidden.rule].run(evidence_of(hidden)).found, "with room for all of it, it is found"
    for place, most in hidden.caps.items():
        module, _, cap = place.partition(".")
        monkeypatch.setattr(f"shared.compliance.facts.{module}.{cap}", most)
    result = RULES[hidden.rule].run(evidence_of(hidden))
    assert result.found or "facts" in result.missing


@pytest.mark.parametrize("rule", ["AUTH-01", "AUTH-02", "AUTH-03", "AUTH-04", "AUTH-07", "ACC-09", "ACC-11"])
def test_days_before_that_cannot_be_relied_on_are_a_gap(rule: str) -> None:
    """Whoever breaks the month before gets no report that is content with what began in it."""
    quiet = Hidden(rule, {}, lambda trail: [trail.say("profile.view", "25T10:00")])
    assert "facts" in RULES[rule].run(evidence_of(quiet, is_lead_whole=False)).missing
    assert RULES[rule].run(evidence_of(quiet)).missing == ()


def test_the_week_before_a_period() -> None:
    lead = Period(date(2026, 3, 1), TO).lead
    assert (len(lead), lead[0], lead[-1]) == (LEAD_DAYS, "2026-02-22", "2026-02-28")
    assert not set(lead) & set(DAYS)


class TestSourcesThatEnd:
    def test_a_key_that_was_revoked_is_not_expected_where_no_sources_are_named(self) -> None:
        trail = Trail()
        for day in range(4, 9):
            trail.say("custom.tick", f"{day:02}T10:00", origin=("api_key", "key-9"))
        trail.say("apikey.revoke", "08T12:00", target="key-9", origin=("session", "s"))
        for first in (9, 10, 11):
            assert run("INT-06", trail, first, policies=Policies()).found == ()
        named = Policies(sources=("api_key:key-9",))
        assert run("INT-06", trail, 10, policies=named).found, "the organization says that it is"
        assert run("INT-06", Trail(), 10, policies=named).found

    def test_a_silence_that_may_be_longer_than_is_looked_back_is_a_gap(self) -> None:
        """As long as the limit is within the week nothing is open; beyond it nobody can tell."""
        trail = Trail()
        trail.say("custom.tick", "01T10:00", origin=("api_key", "key-1"))
        trail.say("profile.view", "15T10:00", origin=("session", "s"))
        period = Period(date(2026, 3, 15), date(2026, 3, 16))
        facts = Facts(period.days, trail.documents(), lead=period.lead)
        for hours, is_found, missing in (
            (24, True, ()),
            (191, True, ()),
            (192, False, ("facts",)),
            (720, False, ("facts",)),
        ):
            given = good_evidence("pci_dss", trail, facts=facts, period=period)
            result = RULES["INT-06"].run(
                dataclasses.replace(given, thresholds={**given.thresholds, "source_silence_hours": hours})
            )
            assert (bool(result.found), result.missing) == (is_found, missing), hours
