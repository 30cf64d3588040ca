"""How somebody would get round a rule: a later record, another's alert, a dot for a purpose, a setting left out."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import pytest

from shared.audit.entries import entry_of
from shared.compliance.catalogue import FRAMEWORKS
from shared.compliance.evidence import Operations, Organization, Period, Policies, Regular
from shared.compliance.facts.fold import fold
from shared.compliance.facts.merged import Facts
from shared.compliance.rules import RULES
from shared.compliance.rules.model import Result
from shared.compliance.thresholds import MOST_FOR_FRAMEWORK, THRESHOLDS, thresholds_for
from tests.compliance.judging import run, status
from tests.compliance.trails import DAYS, Trail, alert, good_evidence, good_trail, new_evidence, request


class TestWhatWasNotSaid:
    """A setting that an organization did not make is a gap where it is needed, and none where it is not."""

    def test_roles(self) -> None:
        trail = Trail()
        trail.say("data.read", "06T03:01", who="v", role="viewer", data_class="phi")
        for framework, declared, missing in (
            ("hipaa", None, ("data_roles",)),
            ("hipaa", {}, ("data_roles",)),
            ("hipaa", {"cardholder": ["viewer"]}, ("data_roles",)),
            ("pci_dss", None, ()),
            ("soc2", {"phi": ["viewer"]}, ()),
        ):
            policies = Policies(data_roles=declared)
            assert run("ACC-08", trail, framework, policies=policies) == Result((), missing), (framework, declared)
        assert run("ACC-08", Trail(), "hipaa", policies=Policies()) == Result(), "nothing was used"
        (found,) = run("ACC-08", trail, "hipaa", policies=Policies(data_roles={"phi": ["doctor"]})).found
        assert found.text == "phi data was used as viewer"
        assert status("hipaa-164.308.a.3.i", new_evidence(trail, "hipaa", policies=Policies())) == (
            "not-evidenced",
            "data-missing",
        )

    def test_who_is_on_call(self) -> None:
        night, day = Trail(), Trail()
        night.say("data.read", "06T03:01", data_class="phi")
        day.say("data.read", "06T12:00", data_class="phi")
        assert run("ACC-07", night, policies=Policies()).missing == ("on_call",)
        assert run("ACC-07", day, policies=Policies()) == Result()
        assert run("ACC-07", night, policies=Policies(on_call=frozenset())).found

    def test_sources(self) -> None:
        trail = good_trail()
        assert run("INT-06", trail, policies=Policies()).missing == ("sources",)
        assert run("INT-06", trail, policies=Policies(sources=())) == Result()
        assert run("INT-06", Trail(), policies=Policies()).missing == ("sources",)
        evidence = good_evidence("soc2", trail)
        unsaid = dataclasses.replace(evidence, policies=dataclasses.replace(evidence.policies, sources=None))
        assert status("soc2-cc2.1", unsaid) == ("not-evidenced", "data-missing")
        assert status("soc2-cc2.1", evidence) == ("satisfied", None)


def recorded(at: str, decision: str, aware: str, told: str | None = None) -> dict[str, Any]:
    return {"at": at, "decision": decision, "aware_at": f"2026-03-{aware}:00.000000Z", "authority_notified_at": told}


class TestIncidents:
    @staticmethod
    def result(*records: dict[str, Any], **changed: Any) -> Result:
        trail = Trail()
        for each in records:
            given = {name: value for name, value in each.items() if name != "at"}
            trail.say("incident.record", each["at"], target="a1", **given)
        return run("INC-03", trail, "gdpr", **changed)

    def test_a_later_record_wipes_no_delay(self) -> None:
        told = "2026-03-12T09:00:00.000000Z"
        first = recorded("05T10:00", "reportable", "01T09:00")
        (found,) = self.result(first, recorded("12T10:00", "reportable", "11T09:00", told)).found
        assert (found.first_seen, found.last_seen) == ("2026-03-01T09:00:00.000000Z", told)
        assert len(found.events) == 2
        early = recorded("12T10:00", "reportable", "11T09:00", "2026-03-11T10:00:00.000000Z")
        late = recorded("06T10:00", "reportable", "01T09:00", "2026-03-06T10:00:00.000000Z")
        assert self.result(late, early).found[0].last_seen == "2026-03-06T10:00:00.000000Z", "the first notice counts"
        in_time = recorded("02T10:00", "reportable", "01T09:00", "2026-03-02T10:00:00.000000Z")
        assert self.result(in_time) == Result()

    @pytest.mark.parametrize(
        ("decision", "due"),
        [
            ("reportable", True),
            ("Notify the authority", True),
            ("TO BE NOTIFIED", True),
            ("not reportable: no risk", False),
            ("Not  reportable", False),
            ("notify_authority", True),
            ("no-notification", False),
            ("Unreportable", None),
            ("No notification is needed", False),
            ("We notify the authority", None),
            ("Breach: report to the authority", None),
            ("undecided", None),
            ("無", None),
        ],
    )
    def test_a_decision_says_so_or_it_is_not_known(self, decision: str, due: bool | None) -> None:
        result = self.result(recorded("05T10:00", decision, "01T09:00"))
        assert (bool(result.found), result.missing) == (due is True, ("decision",) if due is None else ())

    def test_what_says_nothing_takes_nothing_back(self) -> None:
        first = recorded("02T10:00", "reportable", "01T09:00")
        assert self.result(first, recorded("03T10:00", "we look into it", "01T09:00")).found
        assert self.result(first, recorded("03T10:00", "not reportable: a test", "01T09:00")) == Result()

    def test_what_was_overdue_stays_so_whatever_is_decided_later(self) -> None:
        """Aware on the 1st at 09:00: the time runs out on the 4th at 09:00."""
        due, not_due = "reportable", "not reportable: a test"

        def texts(*steps: tuple[str, str]) -> list[str | None]:
            result = self.result(*(recorded(at, decision, "01T09:00") for at, decision in steps))
            assert result.missing == ()
            return [each.response for each in result.found]

        late = "It was decided later that it is not reportable"
        assert texts(("02T10:00", due), ("04T09:00:01", not_due)) == [late]
        assert texts(("02T10:00", due), ("30T10:00", not_due)) == [late]
        assert texts(("02T10:00", due), ("30T10:00", not_due), ("30T11:00", "undecided")) == [late]
        assert texts(("02T10:00", due), ("05T10:00", not_due), ("06T10:00", due)) == [None]
        assert texts(("05T10:00", due), ("06T10:00", not_due)) == [late], "decided too late, and then taken back"
        assert texts(("02T10:00", not_due), ("05T10:00", due)) == [None]
        assert texts(("02T10:00", due), ("04T09:00", not_due)) == [], "in time, to the second"
        assert texts(("02T10:00", due), ("03T10:00", not_due), ("05T10:00", not_due)) == []
        assert texts(("02T10:00", due), ("03T10:00", not_due), ("03T11:00", due), ("05T10:00", not_due)) == [late]
        assert texts(("05T10:00", not_due), ("02T10:00", due)) == [late], "in whatever order they were sealed"
        assert texts(("03T10:00", due), ("03T10:00", not_due)) == [None], "at once: nothing is taken back"
        assert texts(("03T10:00", not_due), ("03T10:00", due)) == [None]

    def test_a_notice_that_was_still_to_come_is_none(self) -> None:
        plan = recorded("02T10:00", "reportable", "01T09:00", "2026-03-03T09:00:00.000000Z")
        (found,) = self.result(plan).found
        assert found.remedied_at is None
        done = recorded("03T10:00", "reportable", "01T09:00", "2026-03-03T09:00:00.000000Z")
        assert self.result(plan, done) == Result()

    def test_a_time_that_ran_out_in_the_period_is_of_it_whenever_it_was_recorded(self) -> None:
        def before(*records: tuple[str, str], aware: str) -> Result:
            given = [
                {"decision": decision, "aware_at": f"{aware}:00.000000Z", "recorded_at": f"2026-{at}:00.000000Z"}
                for at, decision in records
            ]
            return self.result(incidents_before=tuple(("a1", each) for each in given))

        due, not_due = "reportable", "not reportable"
        assert before(("02-27T10:00", due), aware="2026-02-27T09:00").found
        assert before(("02-28T11:00", not_due), ("02-27T10:00", due), aware="2026-02-27T09:00") == Result()
        assert before(("02-20T10:00", due), ("02-28T10:00", not_due), aware="2026-02-20T09:00") == Result(), (
            "told of in its month"
        )
        assert before(("02-20T10:00", due), ("02-28T10:00", "hm"), aware="2026-02-20T09:00").found, "still due"
        again: dict[str, Any] = {"decision": due, "aware_at": "2026-02-20T09:00:00.000000Z"}
        earlier = (("a1", again | {"recorded_at": "2026-02-21T09:00:00.000000Z"}),)
        assert self.result(recorded("02T10:00", not_due, "01T09:00"), incidents_before=earlier).found

    def test_what_was_recorded_before_the_period_counts(self) -> None:
        def before(decision: str, told: str | None = None) -> dict[str, Any]:
            given = recorded("", decision, "01T00:00", told) | {"aware_at": "2026-02-25T09:00:00.000000Z"}
            return {"incidents_before": (("a1", given | {"recorded_at": "2026-02-27T10:00:00.000000Z"}),)}

        (found,) = self.result(**before("reportable")).found
        assert found.first_seen == "2026-02-25T09:00:00.000000Z"
        assert self.result(**before("reportable", "2026-02-27T09:00:00.000000Z")) == Result()
        planned = before("reportable", "2026-03-30T09:00:00.000000Z")
        assert self.result(**planned).found, "what was still to come when it was recorded is no notice"
        assert self.result(**before("hm")).missing == ("decision",)
        moved = recorded("12T10:00", "reportable", "11T09:00", "2026-03-12T09:00:00.000000Z")
        assert self.result(moved, **before("reportable")).found, "also where a record of the period moves it"


class TestOthersAlerts:
    """A burst is excused by an alert of a pattern that looks at it, about this very actor, at that time."""

    @staticmethod
    def burst(**changed: Any) -> Result:
        trail = Trail()
        for second in range(5):
            event = trail.say(
                "access.cross_tenant_denied", f"05T08:00:0{second}", outcome="denied", who="a", role="user"
            )
        at = "2026-03-05T08:30:00.000000Z"
        given = {"pattern": "unauthorized_access", "key": "a", "first_seen": at, "last_seen": at, "raised_at": at}
        own = {"event_ids": frozenset({event})} if changed.pop("own", False) else {}
        return run("ACC-09", trail, "pci_dss", alerts=(alert(**given | own | changed),))

    def test_only_a_fitting_one_excuses(self) -> None:
        assert self.burst() == Result()
        assert self.burst(key="x", own=True) == Result(), "it names the event"
        assert self.burst(key="ada").found, "the actor's id is part of another's"
        assert self.burst(key="A").found
        assert self.burst(pattern="suspicious_password_change").found
        assert self.burst(pattern="mass_deletion", own=True).found
        assert self.burst(first_seen="2026-03-05T09:01:00.000000Z", last_seen="2026-03-05T10:00:00.000000Z").found

    @pytest.mark.parametrize(
        ("pattern", "key", "excused"),
        [
            ("brute_force", "bob", True),
            ("account_takeover", "bob", True),
            ("brute_force", "bo", False),
            ("unauthorized_access", "bob", False),
        ],
    )
    def test_of_signing_in(self, pattern: str, key: str, excused: bool) -> None:
        trail = Trail()
        for minute in range(6):
            trail.login("bob", f"05T08:0{minute}", "failure")
        trail.login("bob", "05T08:07")
        at = "2026-03-05T08:05:00.000000Z"
        told = alert(pattern=pattern, key=key, raised_at=at, first_seen=at, last_seen=at)
        assert (run("AUTH-03", trail, alerts=(told,)) == Result()) == excused

    @pytest.mark.parametrize("kind", ["user.role_change", "user.invite"])
    def test_an_administrator_made_without_approval_is_excused_by_whoever_looked_in_time(self, kind: str) -> None:
        trail = Trail()
        event = trail.say(kind, "10T08:00", target="bob", old_role="user", new_role="tenant_admin")
        trail.entries[-1]["attributes"]["role"] = "tenant_admin"
        assert [each.text for each in run("ACC-02", trail).found] == ["tenant_admin given to bob"]

        def excused(**changed: Any) -> bool:
            told = alert(**{"pattern": "privilege_escalation", "event_ids": frozenset({event})} | changed)
            return run("ACC-02", trail, alerts=(told,)) == Result()

        assert excused()
        assert not excused(pattern="bulk_data_access")
        assert not excused(acknowledged_at=None, closed_at=None)
        late: dict[str, Any] = {"acknowledged_at": "2026-03-11T08:00:01.000000Z", "closed_at": None}
        assert not excused(**late), "acknowledged after a day"
        for name in ("approved_by", "ticket"):
            trail.entries[-1]["attributes"][name] = "eve"
            assert run("ACC-02", trail) == Result()
            del trail.entries[-1]["attributes"][name]
        trail.entries[-1]["attributes"]["approved_by"] = trail.entries[-1]["actor"]["id"]
        assert len(run("ACC-02", trail).found) == 1, "nobody approves what the own hands did"
        assert status("pci-7.2.2", new_evidence(trail, "pci_dss"))[0] == "exception"

    def test_an_invitation_without_power_needs_no_approval(self) -> None:
        trail = Trail()
        for role in ("viewer", "user", "unheard-of"):
            trail.say("user.invite", "10T08:00", target="i")
            trail.entries[-1]["attributes"]["role"] = role
        assert run("ACC-02", trail) == Result()


@pytest.mark.parametrize("control", ["soc2-cc7.1", "soc2-cc8.1", "iso-a.8.9", "iso-a.8.32", "iso-a.5.3"])
@pytest.mark.parametrize("changes", [{"key": "webhook.test"}, {"actor": "system", "key": "ledger.rollups"}])
def test_what_no_rule_looks_at_is_no_change(control: str, changes: dict[str, Any]) -> None:
    trail = Trail()
    actor = changes.get("actor", "user")
    trail.say("config.change", "05T10:00", actor=actor, key=changes["key"], changed_fields=["x"])
    framework = "soc2" if control.startswith("soc2") else "iso_27001"
    assert status(control, new_evidence(trail, framework)) == ("not-evidenced", "no-occurrence")


def test_what_was_done_beyond_what_is_kept_is_not_taken_for_undone() -> None:
    trail, many = Trail(), 120
    for number in range(many):
        name, about = f"r{number}", f"patient-{number}"
        trail.say("privacy.erasure", "05T10:00", target=about, reason="executed", request_id=name, counts={})
    done = tuple(request(f"r{number}", subject=f"patient-{number}") for number in range(many))
    assert run("DSR-02", trail, "gdpr", requests=done) == Result((), ("facts",))
    assert run("DSR-02", Trail(), "gdpr", requests=done[:1]).found


class TestReviewsOfAccess:
    """ACC-05, of a year: what was reviewed at its end was not reviewed within it."""

    @staticmethod
    def texts(*reviews: str, months: int = 6, last: str | None = None, before: str | None = None) -> list[str]:
        days = Period(date(2025, 5, 1), date(2026, 4, 1)).days
        documents = {}
        for at in reviews:
            trail = Trail()
            trail.say("review.complete", "15T10:00", population=3)
            (entry,) = trail.entries
            entry |= {"recorded_at": f"{at}T10:00:00.000000Z", "period": at[:7]}
            documents[at] = fold(at, [(0, entry_of(entry))])
        evidence = new_evidence(
            Trail(),
            "pci_dss",
            Facts(days, documents),
            period=Period(date(2025, 5, 1), date(2026, 4, 1)),
            organization=Organization("t", "Example", "2025-01-01T00:00:00.000000Z"),
            last_review_at=f"{max(reviews)}T10:00:00.000000Z" if reviews else last,
            review_before=before,
        )
        thresholds = {**evidence.thresholds, "access_review_months": months}
        return [each.text for each in RULES["ACC-05"].run(dataclasses.replace(evidence, thresholds=thresholds)).found]

    def test_each_time_between_two_counts(self) -> None:
        assert self.texts("2025-06-01", "2025-11-30", "2026-03-31") == []
        half_a_year = "2025-05-01T00:00:00.000000Z"
        told = ["No review from 2025-05-01 to 2025-11-01"]
        assert self.texts("2025-11-01", "2026-03-31", before=half_a_year) == told, "and ten hours more"
        assert self.texts("2025-06-01", "2026-03-31") == ["No review from 2025-06-01 to 2026-03-31"]
        assert self.texts("2025-06-01", "2025-09-30") == ["The last review was 2025-09-30"], "183 days, and 14 hours"
        assert self.texts("2025-06-01", "2025-10-01") == []
        assert self.texts(last="2025-04-30T00:00:00.000000Z") == ["The last review was 2025-04-30"]
        assert self.texts() == ["The last review was never"]
        assert self.texts("2025-06-01", "2026-03-31", months=10) == []

    def test_what_began_before_the_period_counts_whole(self) -> None:
        """Else a review at its end would hide what every report of a day within it tells."""
        late, reviews = "2024-11-01T10:00:00.000000Z", ("2025-05-02", "2025-11-01", "2026-03-31")
        assert self.texts(*reviews, before=late) == ["No review from 2024-11-01 to 2025-05-02"]
        assert self.texts(*reviews, before="2024-11-02T10:00:00.000000Z") == []
        assert self.texts("2025-06-30", "2025-12-30") == [], "six months since the organization began"
        assert self.texts("2025-07-02", "2025-12-31") == ["No review from 2025-01-01 to 2025-07-02"]


class TestRequestsOfPersons:
    """DSR-01 and DSR-02: what was taken back too late was late, and only what was asked for answers a request."""

    @staticmethod
    def done(kind: str, at: str = "05T10:00", **told: Any) -> Result:
        trail = Trail()
        given = {"target": "p1", "request_id": "other", "reason": "executed", "counts": {}} | told
        trail.say(kind, at, **given)
        return run("DSR-02", trail, "gdpr", requests=(request("r1", subject="p1"),))

    def test_only_an_erasure_since_then_answers_a_request_for_one(self) -> None:
        """It came on the 3rd."""
        assert self.done("privacy.erasure") == Result()
        assert self.done("privacy.erasure", reason="replayed") == Result()
        assert self.done("privacy.erasure", at="02T10:00", request_id="r1") == Result(), "by its id"
        assert self.done("privacy.erasure", at="02T10:00").found, "it was before"
        for reason in ("requested", "extended", "withdrawn"):
            assert self.done("privacy.erasure", reason=reason).found, reason
        assert self.done("privacy.erasure", outcome="failure", reason="refused").found
        assert self.done("privacy.erasure", target="p2").found
        assert self.done("privacy.export").found, "a copy is no erasure"
        assert self.done("privacy.export", request_id="r1").found

    def test_a_copy_is_handed_out_or_it_is_none(self) -> None:
        trail = Trail()
        asked = request("r1", kind="export", subject="p1")
        trail.say("privacy.erasure", "05T10:00", target="p1", reason="executed", request_id="x", counts={})
        trail.say(
            "privacy.export",
            "05T11:00",
            outcome="failure",
            reason="abandoned",
            target="p1",
            request_id="r1",
            counts={},
        )
        assert run("DSR-02", trail, "gdpr", requests=(asked,)).found
        trail.say("privacy.export", "05T11:00", target="p1", request_id="r1", counts={})
        assert run("DSR-02", trail, "gdpr", requests=(asked,)) == Result()

    def test_what_was_withdrawn_once_it_was_overdue_was_late(self) -> None:
        due = "2026-03-10T00:00:00.000000Z"

        def late(state: str, answered_at: str | None) -> bool:
            asked = request("r1", state=state, due_at=due, answered_at=answered_at)
            return bool(run("DSR-01", Trail(), "gdpr", requests=(asked,)).found)

        for state in ("executed", "withdrawn", "refused"):
            assert late(state, "2026-03-10T00:00:00.000001Z"), state
            assert not late(state, due), state
        assert late("received", None)


class TestSettings:
    def test_sessions_that_may_lie_for_long_are_found(self) -> None:
        evidence = good_evidence("pci_dss")
        for minutes, expected in ((15, "satisfied"), (16, "exception"), (1440, "exception")):
            policies = dataclasses.replace(evidence.policies, session_idle_minutes=minutes)
            assert status("pci-8.2.8", dataclasses.replace(evidence, policies=policies))[0] == expected
        unknown = dataclasses.replace(evidence.policies, session_idle_minutes=None)
        assert status("pci-8.2.8", dataclasses.replace(evidence, policies=unknown)) == ("not-evidenced", "data-missing")

    def test_a_day_on_which_they_could_is_named(self) -> None:
        trail = good_trail()
        for day, minutes in ((10, 15), (11, 60), (12, 15)):
            policy = {"session_idle_minutes": minutes}
            trail.say("system.heartbeat", f"{day}T03:00", source="policy", policy=policy, who=None, actor="system")
        (found,) = RULES["IDL-01"].run(good_evidence("hipaa", trail)).found
        assert [ref.recorded_at[:10] for ref in found.events] == ["2026-03-11"]

    def test_a_framework_limits_what_an_organization_may_set(self) -> None:
        given = dict.fromkeys(THRESHOLDS, 1000)
        for framework in FRAMEWORKS:
            found, limits = thresholds_for(framework, given), MOST_FOR_FRAMEWORK.get(framework, {})
            for name, each in THRESHOLDS.items():
                assert found[name] == limits.get(name, 1000 if each.settable else each.value), (framework, name)
        assert thresholds_for("pci_dss", {"idle_minutes": 5})["idle_minutes"] == 5, "stricter is allowed"
        assert thresholds_for("pci_dss", {})["offboarding_hours"] == 0


def signed(trail: Trail, at: dict[str, tuple[str, str] | None]) -> Facts:
    """Facts whose days have checkpoints at these times, first and last, or none."""
    documents = trail.documents()
    for day, document in documents.items():
        times = at.get(day[-2:])
        first, last = (f"{day}T{each}:00.000000Z" for each in times) if times else (None, None)
        document["checkpoints"] = {"n": 2 if times else 0, "first": first, "last": last, "gaps": []}
    return Facts(DAYS, documents)


class TestCheckpoints:
    """INT-03 looks at the edges of a period, too."""

    @staticmethod
    def trail(*times: str) -> Trail:
        trail = Trail()
        for at in times:
            trail.say("profile.view", at)
        return trail

    @pytest.mark.parametrize(
        ("times", "checkpoints", "fires"),
        [
            (["05T10:00"], {}, True),
            ([f"05T{hour:02}:30" for hour in range(24)], {"05": ("23:59", "23:59")}, True),
            ([f"05T{hour:02}:30" for hour in range(24)], {"05": ("00:31", "12:00")}, True),
            ([f"05T{hour:02}:30" for hour in range(24)], {"05": ("00:31", "23:40")}, False),
            (["05T10:00"], {"05": ("10:01", "10:01")}, False),
            (["05T10:00"], {"05": ("12:30", "12:30")}, True),
            (["31T23:50"], {}, False),
            (["01T00:10"], {"01": ("02:30", "02:30")}, True),
            (["01T00:10"], {"01": ("00:20", "00:20")}, False),
            ([], {}, False),
        ],
    )
    def test_what_was_not_signed_is_found(self, times: list[str], checkpoints: dict[str, Any], fires: bool) -> None:
        trail = self.trail(*times)
        found = run("INT-03", trail, "pci_dss", facts=signed(trail, checkpoints)).found
        assert bool(found) == fires
        for each in found:
            assert "2026-03-01" <= each.first_seen < each.last_seen <= "2026-04-01T00:00:00.000000Z"


class TestReportsThatAreDue:
    @staticmethod
    def texts(
        *schedules: Regular, since: str | None = None, trail: Trail | None = None, after: Sequence[Any] = ()
    ) -> list[str]:
        evidence = good_evidence("soc2", trail, reports_after=tuple(after))
        policies = dataclasses.replace(evidence.policies, schedules=schedules, schedules_since=since)
        return [each.text for each in RULES["RPT-01"].run(dataclasses.replace(evidence, policies=policies)).found]

    def test_a_schedule_that_made_nothing_is_found(self) -> None:
        """In the good month a report of soc2 on February was made, on the 8th, and signed."""
        assert self.texts() == []
        assert self.texts(Regular("soc2", "monthly")) == [
            "The monthly soc2 report of 2026-02-01 to 2026-03-01 was made late",
        ]
        assert self.texts(Regular("gdpr", "monthly")) == [
            "No monthly gdpr report of 2026-02-01 to 2026-03-01 was made",
        ]
        weekly = self.texts(Regular("gdpr", "weekly"))
        assert weekly[0] == "No weekly gdpr report of 2026-02-23 to 2026-03-02 was made"
        assert len(weekly) == 5
        assert self.texts(Regular("gdpr", "monthly"), since="2026-03-01T00:00:00.000001Z") == []
        assert len(self.texts(Regular("gdpr", "weekly"), since="2026-03-16T00:00:00.000000Z")) == 3
        assert len(self.texts(Regular("gdpr", "daily"), since="2026-03-25T10:00:00.000000Z")) == 5

    @pytest.mark.parametrize("every", ["daily", "weekly", "monthly"])
    @pytest.mark.parametrize("length", [1, 2, 7])
    def test_each_is_judged_by_one_report_however_long_these_are(self, every: str, length: int) -> None:
        """Its time runs out in one of them."""

        def lost(first: date, days: int) -> list[str]:
            period = Period(first, first + timedelta(days=days))
            evidence = good_evidence("gdpr", Trail(), period=period, facts=Facts(period.days, {}))
            policies = dataclasses.replace(evidence.policies, schedules=(Regular("gdpr", every),))
            evidence = dataclasses.replace(
                evidence, policies=policies, organization=Organization("t", "Example", "2024-01-01T00:00:00.000000Z")
            )
            found = RULES["RPT-01"].run(evidence).found
            return [each.text for each in found if each.text.startswith(f"No {every} gdpr report")]

        begin = date(2026, 2, 24)
        whole = lost(begin, 14)
        assert [each for offset in range(0, 14, length) for each in lost(begin + timedelta(offset), length)] == whole
        first = {"daily": "2026-02-22 to 2026-02-23", "weekly": "2026-02-16 to 2026-02-23"}
        assert whole[0] == f"No {every} gdpr report of {first.get(every, '2026-02-01 to 2026-03-01')} was made"
        assert len(whole) == {"daily": 14, "weekly": 2, "monthly": 1}[every]

    def test_one_that_was_made_before_the_period_in_which_its_time_runs_out_is_there(self) -> None:
        """Of February, until the 2nd of March: in a report of that day alone."""

        def texts(start: int, *before: tuple[tuple[str, str, str], str, str]) -> list[str]:
            period = Period(date(2026, 3, start), date(2026, 3, start + 1))
            evidence = good_evidence("soc2", Trail(), period=period, facts=Facts(period.days, {}))
            policies = dataclasses.replace(evidence.policies, schedules=(Regular("soc2", "monthly"),))
            evidence = dataclasses.replace(evidence, policies=policies, reports_before=before)
            return [each.text for each in RULES["RPT-01"].run(evidence).found if "monthly" in each.text]

        missing = ["No monthly soc2 report of 2026-02-01 to 2026-03-01 was made"]
        assert (texts(1), texts(2), texts(3)) == ([], missing, [])
        edition = ("soc2", "2026-02-01", "2026-03-01")
        assert texts(2, (edition, "r", "2026-03-01T05:00:00.000000Z")) == []
        assert texts(2, (("soc2", "2026-02-01", "2026-02-28"), "r", "2026-03-01T05:00:00.000000Z")) == missing

    def test_one_that_failed_again_after_it_was_made_is_there(self) -> None:
        trail = Trail()
        self.made(trail, "10T10:00", "r9", "hipaa", "2026-03-01", "2026-03-09", outcome="failure", reason="not_built")
        period = Period(date(2026, 3, 10), date(2026, 3, 11))
        evidence = good_evidence("soc2", trail, period=period, facts=Facts(period.days, trail.documents()))
        failed = "hipaa report r9 could not be made"
        assert failed in [each.text for each in RULES["RPT-01"].run(evidence).found]
        made = ((("hipaa", "2026-03-01", "2026-03-09"), "r9", "2026-03-09T10:00:00.000000Z"),)
        evidence = dataclasses.replace(evidence, reports_before=made)
        assert failed not in [each.text for each in RULES["RPT-01"].run(evidence).found]

    def test_one_that_failed_was_not_made(self) -> None:
        trail = good_trail()
        kept = [each for each in trail.entries if each["target"] is None or each["target"]["id"] != "report-1"]
        trail.entries = kept
        made: dict[str, Any] = {
            "who": None,
            "actor": "system",
            "role": None,
            "target": "report-1",
            "framework": "soc2",
            "period_from": "2026-02-01",
            "period_to": "2026-03-01",
        }
        trail.say("report.generate", "31T10:00", outcome="failure", reason="not_built", **made)
        failed = "soc2 report report-1 could not be made"
        assert self.texts(Regular("soc2", "monthly"), trail=trail) == [
            failed,
            "No monthly soc2 report of 2026-02-01 to 2026-03-01 was made",
        ]
        trail.say("report.generate", "31T11:00", **made)
        assert self.texts(Regular("soc2", "monthly"), trail=trail) == [
            "soc2 report report-1 not signed",
            "The monthly soc2 report of 2026-02-01 to 2026-03-01 was made late",
        ]

    @staticmethod
    def made(trail: Trail, at: str, target: str, framework: str = "soc2", *days: str, **changed: Any) -> None:
        start, end = days or ("2026-02-01", "2026-03-01")
        told: dict[str, Any] = {"who": None, "actor": "system", "role": None, "target": target, "framework": framework}
        trail.say("report.generate", at, **told | {"period_from": start, "period_to": end} | changed)

    def test_of_a_report_that_was_replaced_the_one_in_its_place_is_signed(self) -> None:
        trail = good_trail()
        self.made(trail, "09T10:00", "report-1b")
        assert self.texts(trail=trail) == ["soc2 report report-1b not signed"], "though the first one was"
        trail.say("report.sign_off", "09T11:00", target="report-1b", framework="soc2")
        assert self.texts(trail=trail) == []
        self.made(trail, "20T10:00", "report-2", "soc2", "2026-03-01", "2026-03-08")
        assert self.texts(trail=trail) == ["soc2 report report-2 not signed"]
        self.made(trail, "20T11:00", "report-3", "soc2", "2026-03-01", "2026-03-09")
        assert len(self.texts(trail=trail)) == 2, "of other days"
        later = (("soc2", "2026-03-01", "2026-03-08"), "report-2b", "2026-04-01T10:00:00.000000Z")
        assert self.texts(trail=trail, after=[later]) == ["soc2 report report-3 not signed"], (
            "replaced after the period"
        )

    def test_what_was_made_late_is_late_and_not_missing(self) -> None:
        """Within two days of its end it is in time: whatever the hour and the time zone."""
        trail = good_trail()
        trail.entries = [
            each
            for each in trail.entries
            if each["attributes"].get("period_from") not in ("2026-03-09", "2026-03-10", "2026-03-30", "2026-03-31")
        ]
        self.made(trail, "12T00:00", "d9", "activity", "2026-03-09", "2026-03-10")
        self.made(trail, "13T00:01", "d10", "activity", "2026-03-10", "2026-03-11")
        later = [(("activity", "2026-03-30", "2026-03-31"), "d30", "2026-04-02T00:00:01.000000Z")]
        assert self.texts(trail=trail, after=later) == [
            "No activity report of 2026-03-31",
            "The activity report of 2026-03-10, 2026-03-30 was made late",
        ]
        later.append((("activity", "2026-03-31", "2026-04-01"), "d31", "2026-04-01T01:00:00.000000Z"))
        evidence = good_evidence("soc2", trail, reports_after=tuple(later))
        (found,) = RULES["RPT-01"].run(evidence).found
        assert (found.count, found.remedied_at) == (2, "2026-04-02T00:00:01.000000Z")

    def test_a_schedules_report_that_was_made_late_is_late(self) -> None:
        week, trail = Regular("gdpr", "weekly"), good_trail()
        since = "2026-03-20T00:00:00.000000Z"
        self.made(trail, "31T10:00", "w1", "gdpr", "2026-03-23", "2026-03-30")
        trail.say("report.sign_off", "31T11:00", target="w1", framework="gdpr")
        missing = "No weekly gdpr report of 2026-03-16 to 2026-03-23 was made"
        late = "The weekly gdpr report of 2026-03-16 to 2026-03-23 was made late"
        assert self.texts(week, since=since, trail=trail) == [missing]
        edition = ("gdpr", "2026-03-16", "2026-03-23")
        assert self.texts(week, since=since, trail=trail, after=[(edition, "w", "2026-04-01T00:00:00.000000Z")]) == [
            late
        ]
        self.made(trail, "26T10:00", "w0", "gdpr", "2026-03-16", "2026-03-17")
        assert missing in self.texts(week, since=since, trail=trail), "of its first day alone"
        self.made(trail, "26T10:00", "w", "gdpr", "2026-03-16", "2026-03-23")
        assert late in self.texts(week, since=since, trail=trail)
        self.made(trail, "24T10:00", "w", "gdpr", "2026-03-16", "2026-03-23")
        unsigned = ["gdpr report w not signed", "gdpr report w0 not signed"]
        assert sorted(self.texts(week, since=since, trail=trail)) == unsigned, "the first one was in time"

    def test_one_that_failed_and_came_after_the_period_is_there(self) -> None:
        trail = good_trail()
        self.made(trail, "31T10:00", "r9", "hipaa", "2026-03-01", "2026-03-31", outcome="failure", reason="not_built")
        assert self.texts(trail=trail) == ["hipaa report r9 could not be made"]
        edition = ("hipaa", "2026-03-01", "2026-03-31")
        assert self.texts(trail=trail, after=[(edition, "r9", "2026-04-01T00:00:00.000000Z")]) == []

    def test_a_days_tally_that_failed_was_not_made(self) -> None:
        trail = good_trail()
        for each in trail.entries:
            if each["attributes"].get("period_from") == "2026-03-09":
                each["outcome"] = "failure"
        texts = self.texts(trail=trail)
        assert "No activity report of 2026-03-09" in texts


def test_starts_are_told_by_the_services_own_trail() -> None:
    operations = Operations(frozenset(DAYS), (), 1)
    assert status("pci-10.2.1.6", new_evidence(good_trail(), "pci_dss", operations=operations)) == ("satisfied", None)
    none = dataclasses.replace(operations, starts=0)
    assert status("pci-10.2.1.6", new_evidence(good_trail(), "pci_dss", operations=none))[1] == "no-occurrence"
