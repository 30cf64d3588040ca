"""Folding days: in any order, over midnight, of hostile content, within bounds; and what sums up to a period."""

from __future__ import annotations

import json
import random
from datetime import date
from typing import Any

import pytest

from shared.audit.entries import entry_of
from shared.compliance.evidence import Period
from shared.compliance.facts import data_use
from shared.compliance.facts.fold import fold
from shared.compliance.facts.merged import Facts
from shared.compliance.facts.parts import MOST_EXTRACTS, lines_of, rows_of, two_digits
from shared.compliance.samples import sample, seed_of
from shared.ledger.rollups import rollups_of
from tests.compliance.trails import DAYS, Trail, good_trail

DAY = "2026-03-02"
MOST_BYTES = 500_000


def sealed(trail: Trail) -> list[tuple[int, bytes]]:
    return [(index, entry_of(entry)) for index, entry in enumerate(trail.entries)]


def facts_of(trail: Trail) -> Facts:
    return trail.facts()


def test_the_counts_are_those_of_the_ledger() -> None:
    """Row by row: what a rollup of the same entries says."""
    trail = good_trail()
    for day, rollup in rollups_of(trail.entries).items():
        facts, totals = fold(day, sealed(trail)), rollup.totals()
        names = ("events", "first", "last", "counts", "hours", "distinct_actors")
        assert {name: facts[name] for name in names} == {name: totals[name] for name in names}


def test_a_day_without_entries_is_empty() -> None:
    assert fold("2026-03-30", []) == fold("2026-03-30", sealed(Trail()))
    facts = fold("2026-03-30", [])
    assert (facts["events"], facts["first"], facts["counts"], facts["marks"]) == (0, None, [], {})
    assert Facts(DAYS, {}).events == 0
    assert Facts(DAYS, {}).skew == []


def test_the_order_of_sealing_changes_no_finding() -> None:
    """Sealed the other way round, the same is marked; but for what is about the order itself."""
    trail = Trail()
    for minute in range(12):
        trail.login("bob", f"02T10:{minute:02}", "failure")
    trail.say("auth.account_locked", "02T10:12", who=None, actor="anonymous", role=None, target="bob")
    trail.login("bob", "02T10:20")
    trail.say("user.status_change", "02T11:00", target="bob", old_status="active", new_status="suspended")
    trail.say("profile.view", "02T11:30", who="bob")
    trail.say("data.read", "02T12:00", data_class="phi", about=["p"])
    entries = [text for _, text in sealed(trail)]
    first = fold(DAY, enumerate(entries))
    for seed in range(5):
        mixed = random.Random(seed).sample(entries, len(entries))  # noqa: S311 - no secret
        other = fold(DAY, enumerate(mixed))
        for name in ("counts", "steps", "single_factor", "touched", "uses", "skew", "complete"):
            assert other[name] == first[name], name
        for kind in ("after_lock", "after_failures", "after_exit"):
            assert other["marks"].get(kind, {}).get("sizes") == first["marks"].get(kind, {}).get("sizes"), kind


@pytest.mark.parametrize("cut", range(0, 15))
def test_a_run_over_midnight_is_as_long_as_if_there_were_none(cut: int) -> None:
    """Fourteen failures in a row, wherever midnight falls; a success or a lock between ends the run."""
    for ends in (None, "success"):
        trail = Trail()
        for number in range(14):
            day, minute = ("02", f"23:{40 + number}") if number < cut else ("03", f"00:{number:02}")
            if ends and number == 7:
                trail.login("bob", f"{day}T{minute}:30")
            trail.login("bob", f"{day}T{minute}:40", "failure")
        facts, longest = facts_of(trail), 7 if ends else 14
        assert facts.longest_run == longest
        assert facts.runs(longest) == (0, [])
        count, marks = facts.runs(longest - 1)
        assert {(mark.size, mark.about) for mark in marks} == {(longest, "bob")}
        assert count == len(marks) == (2 if ends else 1)
        assert all(mark.ref is not None and mark.ref.outcome == "failure" for mark in marks)


def test_a_success_after_a_lock_of_yesterday_is_found() -> None:
    trail = Trail()
    trail.say("auth.account_locked", "02T23:50", who=None, actor="anonymous", role=None, target="bob")
    trail.login("bob", "03T00:05")
    count, (mark,) = facts_of(trail).after_lock(30)
    assert (count, mark.about, mark.size, mark.day) == (1, "bob", 15, "2026-03-03")
    trail = Trail()
    trail.say("auth.account_locked", "02T23:50", who=None, actor="anonymous", role=None, target="bob")
    trail.say("user.unlock", "03T00:01", target="bob")
    trail.login("bob", "03T00:05")
    assert facts_of(trail).after_lock(30) == (0, [])


def test_an_idle_session_over_midnight_is_found_and_a_renewal_is_no_call() -> None:
    trail = Trail()
    trail.say("profile.view", "02T23:50", session="s")
    for minute in range(55, 60):
        trail.say("auth.token_refresh", f"02T23:{minute}", session="s")
    trail.say("profile.view", "03T00:10", session="s")
    trail.say("profile.view", "03T00:20", session="s")
    count, marks = facts_of(trail).idle(15)
    assert (count, [mark.size for mark in marks]) == (1, [20])


def test_use_after_erasure_is_found_on_the_day_and_later() -> None:
    trail = Trail()
    trail.say("data.read", "02T09:00", data_class="phi", about=["p-1"])
    trail.say("privacy.erasure", "02T10:00", target="p-1", reason="executed", request_id="r", counts={})
    trail.say("data.read", "02T11:00", data_class="phi", about=["p-1", "p-2"])
    trail.say("data.delete", "03T11:00", data_class="phi", about=["p-1"])
    assert facts_of(trail).used_after("erased", "touched", "after_erasure")[0] == 1
    trail.say("data.update", "05T11:00", data_class="phi", about=["p-1"])
    count, marks = facts_of(trail).used_after("erased", "touched", "after_erasure")
    assert (count, [mark.day[-2:] for mark in marks]) == (1, ["02", "05"]), "persons are counted, days are named"


def test_a_new_consent_ends_a_withdrawal() -> None:
    def month(*steps: tuple[str, str]) -> int:
        trail = Trail()
        for kind, at in steps:
            own: dict[str, Any] = {"legal_basis": "consent"} if kind.startswith("data") else {"version": "1"}
            trail.say(kind, at, about=["p-1"], data_class="personal", purpose="news", **own)
        return facts_of(trail).used_after("withdrawn", "relied", "after_withdrawal")[0]

    assert month(("consent.withdraw", "02T10:00"), ("data.read", "04T10:00")) == 1
    assert month(("consent.withdraw", "02T10:00"), ("consent.grant", "03T10:00"), ("data.read", "04T10:00")) == 0
    assert month(("data.read", "02T09:00"), ("consent.withdraw", "02T10:00")) == 0


def test_somebody_who_is_back_is_no_leaver() -> None:
    trail = Trail()
    trail.say("user.status_change", "02T10:00", target="bob", old_status="active", new_status="suspended")
    trail.say("profile.view", "04T10:00", who="bob")
    assert facts_of(trail).after_exit[0] == 1
    trail.say("user.status_change", "03T10:00", target="bob", old_status="suspended", new_status="active")
    assert facts_of(trail).after_exit[0] == 0


def test_a_hostile_day_stays_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Very many of everything, names in any script, and the longest texts that an attribute may have."""
    monkeypatch.setattr(data_use, "MOST_TOUCHED", 500)
    trail, long = Trail(), "ж" * 500
    for number in range(700):
        who, minute = f"Жük😀-{number}", f"{number % 24:02}:{number % 60:02}:{number // 100 % 60:02}"
        trail.say(
            "data.export",
            f"02T{minute}",
            who=who,
            actor="service",
            role=None,
            about=[f"p-{number}"],
            data_class="phi",
            records=number,
            purpose=long,
            recipient=long,
            description=long,
            session=f"s-{number}",
            origin=("api_key", f"k-{number}"),
        )
        if number % 2:
            trail.login(f"u-{number % 900}", f"02T{minute}", "failure", reason="bad_credentials")
        if number % 4 == 0:
            trail.say("config.change", f"02T{minute}", key="settings", changed_fields=[long] * 50)
        trail.say(f"custom.n{number}", f"02T{minute}", target=None, outcome="denied")
    facts = fold(DAY, sealed(trail))
    assert len(json.dumps(facts, ensure_ascii=False).encode()) < MOST_BYTES
    assert facts["events"] == len(trail.entries)
    kept = sum(len(each["rows"]) for each in facts["extracts"].values())
    assert kept <= MOST_EXTRACTS
    assert facts["extracts"]["config.change"]["n"] == 175
    assert facts["touched"]["whole"] is False
    assert facts["actors_left"] >= 200
    period = Facts((DAY,), {DAY: facts})
    assert period.persons_touched == (500, False)
    assert period.left_out("config.change") >= 175 - 60
    assert period.marked("bulk_reasoned", 100)[0] == sum(two_digits(n) >= 100 for n in range(700))


def test_control_characters_do_not_break_lines() -> None:
    rows = [("a\tb\nc", None, 3), ("Łódź ✓", "x", 0)]
    assert rows_of(lines_of(rows)) == [["a?b?c", "", "3"], ["Łódź ✓", "x", "0"]]
    assert rows_of("") == []


def seeded(number: int, selectors: str = "profile.view", size: int = 25) -> Any:
    return sample(_FACTS, selectors, seed_of(str(number), "control"), size)


_TRAIL = Trail()
for _number in range(300):
    _TRAIL.say("profile.view", f"{2 + _number % 3:02}T{_number % 24:02}:{_number % 60:02}", who=f"u-{_number}")
    _TRAIL.say(f"custom.n{_number % 7}", f"02T{_number % 24:02}:{_number % 60:02}")
_FACTS = _TRAIL.facts()


def test_a_sample_is_repeatable_and_names_what_is_sealed() -> None:
    one = seeded(1)
    assert one == seeded(1)
    assert one.population == 300
    assert len({ref.event_id for ref in one.events}) == 25
    assert one.events != seeded(2).events
    for ref in one.events:
        entry = _TRAIL.entries[ref.index]
        assert (entry["id"], entry["recorded_at"], entry["type"]) == (ref.event_id, ref.recorded_at, ref.type)
    custom = seeded(1, "custom.*", 10)
    assert custom.population == 300
    assert all(_TRAIL.entries[ref.index]["type"] == ref.type for ref in custom.events)


def test_a_small_population_is_taken_whole_and_none_has_no_sample() -> None:
    trail = Trail()
    ids = {trail.say("profile.view", f"0{day}T10:00") for day in range(1, 8)}
    found = sample(trail.facts(), "profile.view", "seed", 25)
    assert found is not None
    assert {ref.event_id for ref in found.events} == ids
    assert sample(trail.facts(), "user.view", "seed", 25) is None


def test_every_event_has_about_the_same_chance() -> None:
    """Over many seeds; days of very different sizes are drawn from by their sizes."""
    trail = Trail()
    for number in range(30):
        trail.say("profile.view", f"02T10:{number:02}")
    trail.say("profile.view", "03T10:00")
    facts, alone = trail.facts(), 0
    for number in range(600):
        found = sample(facts, "profile.view", seed_of(str(number), "c"), 5)
        assert found is not None
        alone += any(ref.recorded_at.startswith("2026-03-03") for ref in found.events)
    assert 60 < alone < 140, "expected 600 * 5 / 31 = 97"


def test_days_of_a_year_and_of_february_29() -> None:
    assert len(Period(date(2027, 12, 1), date(2028, 12, 1)).days) == 366
    assert Period(date(2028, 2, 28), date(2028, 3, 1)).days == ("2028-02-28", "2028-02-29")
    assert Period(date(2025, 12, 30), date(2026, 2, 1)).months == ("2025-12", "2026-01")
