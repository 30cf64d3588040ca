"""Sources that fell silent: which are expected, until when, by which events they are heard, and each silence once."""

from __future__ import annotations

import dataclasses
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.compliance.evidence import Period, Policies
from shared.compliance.facts import presence
from shared.compliance.facts.gone import Before
from shared.compliance.facts.merged import Facts
from shared.compliance.rules import RULES
from shared.compliance.rules.model import Found, Result
from tests.compliance.trails import Trail, good_evidence

KEY, OTHER = "api_key:key-1", "api_key:key-2"
ADA = ("session", "s")


def sent(*times: str, key: str = "key-1", trail: Trail | None = None) -> Trail:
    """A trail in which a key sends an event at each of these times."""
    trail = trail or Trail()
    for at in times:
        trail.say("custom.tick", at, origin=("api_key", key))
    return trail


def fell_silent(trail: Trail, at: str, key: str = "key-1") -> None:
    """What the service itself tells of a key that sends nothing any more."""
    told: dict[str, Any] = {"who": None, "actor": "system", "role": None, "outcome": "error", "origin": ("system", "")}
    trail.say("system.error", at, target=key, source="api_key", error_code="source_silent", **told)


def judged(
    trail: Trail,
    first: int,
    last: int,
    sources: tuple[str, ...] | None = (KEY,),
    hours: int = 24,
    before: Before | None = None,
) -> Result:
    """What INT-06 makes of the days of March from one to another."""
    trail.entries.sort(key=lambda each: (each["recorded_at"], each["id"]))
    period = Period(date(2026, 3, first), date(2026, 3, last) + timedelta(days=1))
    facts = Facts(period.days, trail.documents(), before, lead=period.lead)
    evidence = good_evidence("soc2", trail, facts=facts, period=period, policies=Policies(sources=sources))
    return RULES["INT-06"].run(
        dataclasses.replace(evidence, thresholds={**evidence.thresholds, "source_silence_hours": hours})
    )


def texts(*given: Any, **changed: Any) -> list[str]:
    return [each.text for each in judged(*given, **changed).found]


def remedies(found: tuple[Found, ...]) -> list[tuple[str, str | None]]:
    return [(each.text, each.remedied_at and each.remedied_at[8:16]) for each in found]


def made(at: str, key: str = "key-1", scope: str = "events:write", expires_at: str | None = None) -> Trail:
    trail = Trail()
    given: dict[str, Any] = {"scopes": [scope]} | ({"expires_at": expires_at} if expires_at else {})
    trail.say("apikey.create", at, target=key, origin=ADA, **given)
    return trail


class TestWhoIsExpected:
    def test_none_where_the_organization_names_none(self) -> None:
        trail = sent("08T10:00")
        fell_silent(trail, "09T11:00")
        assert judged(trail, 9, 12, ()) == Result()
        unsaid = judged(trail, 9, 12, None)
        assert ([each.text for each in unsaid.found], unsaid.missing) == (
            [f"Source {KEY} was silent for 110 hours"],
            ("sources",),
        )

    def test_only_those_that_it_names(self) -> None:
        trail = sent("08T10:00", trail=sent(*(f"{day:02}T10:00" for day in range(8, 13)), key="key-2"))
        fell_silent(trail, "09T11:00")
        assert judged(trail, 9, 12, (OTHER,)) == Result()
        assert texts(trail, 9, 12, (OTHER, KEY)) == [f"Source {KEY} was silent for 110 hours"]

    def test_no_key_that_only_reads(self) -> None:
        trail = made("07T10:00", key="reader", scope="events:read")
        for kind in ("audit.search", "access.denied", "alert.update"):
            trail.say(kind, "08T10:00", origin=("api_key", "reader"))
        for first in (7, 8, 9, 10):
            assert judged(trail, first, 12, None) == Result((), ("sources",))

    def test_no_key_that_never_sent_unless_it_is_named(self) -> None:
        trail = made("07T10:00")
        assert judged(trail, 9, 12, None) == Result((), ("sources",))
        assert texts(trail, 9, 12) == [f"Source {KEY} was not heard at all"]

    def test_what_a_key_only_calls_for_is_no_sign_of_it(self) -> None:
        trail = sent("08T10:00")
        for day in range(8, 15):
            for hour in (9, 21):
                trail.say("access.denied", f"{day:02}T{hour:02}:00", outcome="denied", origin=("api_key", "key-1"))
        for sources in (None, (KEY,)):
            (found,) = judged(trail, 9, 14, sources).found
            assert (found.text, found.remedied_at) == (f"Source {KEY} was silent for 158 hours", None)

    @pytest.mark.parametrize("kind", ["data.read", "custom.tick", "consent.grant", "consent.withdraw"])
    def test_whatever_it_sends_is(self, kind: str) -> None:
        trail = Trail()
        for day in range(8, 15):
            trail.say(kind, f"{day:02}T10:00", outcome="success", origin=("api_key", "key-1"), purpose="care")
        assert judged(trail, 9, 14) == Result()


class TestKeysThatEnd:
    def test_an_expired_key_is_not_expected_where_nothing_is_said(self) -> None:
        trail = sent("08T12:00", trail=made("07T10:00", expires_at="2026-03-09T11:00:00.000000Z"))
        for days in ((8, 12), (9, 9), (9, 12), (10, 12)):
            assert judged(trail, *days, None) == Result((), ("sources",)), days
        assert texts(trail, 9, 12) == [f"Source {KEY} was silent for 108 hours"], "the organization says that it is"

    def test_its_silence_before_that_is_told(self) -> None:
        trail = sent("08T12:00", trail=made("07T10:00", expires_at="2026-03-10T13:00:00.000000Z"))
        for days in ((8, 12), (9, 12), (10, 10)):
            assert remedies(judged(trail, *days, None).found) == [(f"Source {KEY} was silent for 49 hours", "10T13:00")]

    def test_the_first_end_counts(self) -> None:
        for expires, revoked, hours in (("10T13", "11T13", 49), ("11T13", "10T13", 49), ("20T13", "12T12", 96)):
            trail = sent("08T12:00", trail=made("07T10:00", expires_at=f"2026-03-{expires}:00:00.000000Z"))
            trail.say("apikey.revoke", f"{revoked}:00", target="key-1", origin=ADA)
            assert texts(trail, 8, 15, None) == [f"Source {KEY} was silent for {hours} hours"]

    def test_a_key_that_was_made_long_before_expires_too(self) -> None:
        before = Before(expiring={"key-1": "2026-03-09T11:00:00.000000Z", "key-2": "2026-03-01T00:00:00.000000Z"})
        trail = sent("08T12:00")
        assert texts(trail, 9, 12, None) == [f"Source {KEY} was silent for 108 hours"]
        for days in ((8, 12), (9, 9), (10, 12)):
            assert judged(trail, *days, None, before=before) == Result((), ("sources",)), days
        assert texts(trail, 9, 12, before=before) == [f"Source {KEY} was silent for 108 hours"]

    def test_a_creation_that_failed_ends_nothing(self) -> None:
        trail = sent("08T12:00", trail=made("07T10:00", expires_at="2026-03-09T11:00:00.000000Z"))
        trail.entries[0]["outcome"] = "failure"
        assert texts(trail, 9, 12, None) == [f"Source {KEY} was silent for 108 hours"]


class TestWhatTheServiceTold:
    def test_a_silence_is_told_once(self) -> None:
        trail = sent("07T20:00", "08T10:00", "10T12:00", "11T08:00")
        fell_silent(trail, "09T10:30")
        for sources in (None, (KEY,)):
            for days in ((8, 11), (9, 11)):
                assert remedies(judged(trail, *days, sources).found) == [
                    (f"Source {KEY} was silent for 50 hours", "10T12:00")
                ], days
            assert texts(trail, 9, 9, sources) == [f"Source {KEY} was silent for 38 hours"]

    def test_one_that_is_not_found_is_over_with_the_next_event(self) -> None:
        trail = sent("07T20:00", "08T10:00", "10T12:00", "11T08:00")
        fell_silent(trail, "09T10:30")
        for sources in (None, (KEY,)):
            (found,) = judged(trail, 8, 11, sources, hours=60).found
            assert (found.text, found.remedied_at) == (f"Source {KEY} fell silent", "2026-03-10T12:00:00.000000Z")
            assert [each.type for each in found.events] == ["system.error"]
            (early,) = judged(trail, 8, 9, sources, hours=60).found
            assert early.remedied_at is None, "as far as that period tells"

    def test_one_that_was_told_although_events_came_is_over_by_the_next_time_that_is_known(self) -> None:
        """The service's note of the last event is true to the hour."""
        trail = sent("08T10:00", "08T10:50", "08T11:10", "08T11:20", "08T15:00")
        fell_silent(trail, "08T11:05")
        (found,) = (
            each for each in judged(trail, 8, 8, None, hours=1).found if each.text == f"Source {KEY} fell silent"
        )
        assert found.remedied_at == "2026-03-08T11:20:00.000000Z"

    def test_one_of_a_key_that_was_never_heard_is_over_when_the_key_ends(self) -> None:
        trail = Trail()
        fell_silent(trail, "15T10:00")
        assert remedies(judged(trail, 15, 20, None).found) == [(f"Source {KEY} fell silent", None)]
        trail.say("apikey.revoke", "16T10:00", target="key-1", origin=ADA)
        assert remedies(judged(trail, 15, 20, None).found) == [(f"Source {KEY} fell silent", "16T10:00")]
        ends = Before(expiring={"key-1": "2026-03-30T00:00:00.000000Z"})
        trail.entries.pop()
        assert remedies(judged(trail, 15, 20, None, before=ends).found) == [(f"Source {KEY} fell silent", None)]

    def test_other_failures_tell_of_no_source(self) -> None:
        trail = Trail()
        trail.say("system.error", "09T10:00", outcome="error", source="service", error_code="x", origin=ADA)
        assert judged(trail, 9, 9, None) == Result((), ("sources",))


class TestSeveralSilences:
    def test_each_is_told(self) -> None:
        trail = sent("07T10:00", "09T12:00", "11T10:00", "11T20:00", "12T21:00", "13T08:00")
        assert remedies(judged(trail, 8, 16).found) == [
            (f"Source {KEY} was silent for 88 hours", None),
            (f"Source {KEY} was silent for 50 hours", "09T12:00"),
            (f"Source {KEY} was silent for 46 hours", "11T10:00"),
            (f"Source {KEY} was silent for 25 hours", "12T21:00"),
        ]

    def test_also_within_a_day(self) -> None:
        trail = sent("08T23:00", *(f"09T{at}" for at in ("00:30", "03:00", "03:30", "07:31", "09:32", "22:00")))
        assert texts(trail, 9, 9, hours=2) == [f"Source {KEY} was silent for {hours} hours" for hours in (2, 4, 2, 12)]
        assert texts(trail, 9, 9, hours=3) == [f"Source {KEY} was silent for {hours} hours" for hours in (4, 12)]

    def test_those_of_another_source_are_not_lost_among_them(self) -> None:
        hours = [f"{day:02}T{hour:02}:00" for day in range(8, 12) for hour in range(0, 24, 3)]
        trail = sent("11T10:00", key="key-2", trail=sent(*hours))
        found = judged(trail, 8, 11, (KEY, OTHER), hours=2).found
        assert [each.remedied_at for each in found[:2]] == [None, None]
        assert [each.text for each in found[:2]] == [
            f"Source {KEY} was silent for 3 hours",
            f"Source {OTHER} was silent for 14 hours",
        ]
        assert sum(each.count for each in found) == 33 + 2

    def test_what_there_is_no_room_for_is_a_gap(self, monkeypatch: pytest.MonkeyPatch) -> None:
        times = [f"09T{at}" for at in ("00:00", "04:00", "07:00", "09:00", "23:30")]
        trail = sent("08T23:30", *times)
        monkeypatch.setattr(presence, "MOST_SILENCES", 1)
        hours = [f"Source {KEY} was silent for {n} hours" for n in (4, 14)]
        for allowed, told, missing in (
            (1, hours, ("facts",)),
            (2, hours, ("facts",)),
            (3, hours, ()),
            (10, hours[1:], ()),
        ):
            result = judged(trail, 9, 9, hours=allowed)
            assert ([each.text for each in result.found], result.missing) == (told, missing), allowed

    @settings(max_examples=60, deadline=None)
    @given(
        minutes=st.lists(st.integers(0, 6 * 1440 - 1), min_size=1, max_size=12, unique=True),
        hours=st.sampled_from([1, 5, 24, 50]),
        is_named=st.booleans(),
    )
    def test_reports_of_single_days_name_each_that_the_whole_does(
        self, minutes: list[int], hours: int, is_named: bool
    ) -> None:
        start = 10
        trail = sent(*(f"{start + at // 1440:02}T{at // 60 % 24:02}:{at % 60:02}" for at in sorted(minutes)))
        sources = (KEY,) if is_named else None
        whole = set(texts(trail, start, start + 5, sources, hours))
        days = [set(texts(trail, day, day, sources, hours)) for day in range(start, start + 6)]
        exact = {text for text in whole if "at least" not in text}  # a report of a day looks back for a week
        assert exact <= set().union(*days)
        assert bool(whole) == any(days)
        gaps = [b - a for a, b in zip(sorted(minutes), sorted(minutes)[1:], strict=False)]
        told = {f"Source {KEY} was silent for {gap // 60} hours" for gap in gaps if gap > hours * 60}
        assert told <= whole
