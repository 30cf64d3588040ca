"""How people signed in, by day: reports of single days find together what the report of all of them does."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.audit.model import Actor, RequestContext, Target
from shared.compliance.evidence import Evidence, Period
from shared.compliance.facts.logins import UNSURE_SECONDS
from shared.compliance.facts.merged import Facts
from shared.compliance.rules import RULES
from shared.compliance.rules.model import Result
from shared.core.settings import Settings
from shared.identity.model import new_tenant
from shared.ledger.shards import head_id
from shared.storage.containers import AUDIT_EVENTS, IDENTITY, LEDGER
from shared.storage.sqlite import SqliteStore
from shared.wiring import build_services
from tests.audit.support import ADA, EXAMPLES, TENANT
from tests.compliance.bureau import SAID, Bureau
from tests.compliance.judging import status
from tests.compliance.trails import Trail, account, new_evidence
from tests.compliance.worlds import OLD
from tests.fakes import ManualClock

FIRST, END = 10, 14


def evidence_of(trail: Trail, first: int, end: int, *, is_lead_whole: bool = True, **changed: Any) -> Evidence:
    """Evidence of some days of March, with the week before."""
    trail.entries.sort(key=lambda each: (each["recorded_at"], each["id"]))
    period = Period(date(2026, 3, first), date(2026, 3, end))
    facts = Facts(period.days, trail.documents(), lead=period.lead, is_lead_whole=is_lead_whole)
    return new_evidence(trail, "pci_dss", facts, period=period, **changed)


type About = tuple[set[str], int, set[str]]


def about(result: Result) -> About:
    """Whom findings are about, of how many uses or days, and what is missing."""
    return {each.text.split(":")[0] for each in result.found}, sum(e.count for e in result.found), set(result.missing)


def by_days(rule: str, trail: Trail, **changed: Any) -> tuple[About, About]:
    """What the reports of single days find together, and what the one of all days does."""
    names, count, gaps = set[str](), 0, set[str]()
    for day in range(FIRST, END):
        own = about(RULES[rule].run(evidence_of(trail, day, day + 1, **changed)))
        names, count, gaps = names | own[0], count + own[1], gaps | own[2]
    return (names, count, gaps), about(RULES[rule].run(evidence_of(trail, FIRST, END, **changed)))


AT = st.tuples(st.integers(FIRST - 1, END - 1), st.sampled_from(["00:00:05", "00:02", "09:00", "12:00", "23:59:50"]))
STEPS = st.lists(st.tuples(st.sampled_from(["one", "both", "use", "password"]), st.sampled_from("ab"), AT), max_size=12)


@settings(max_examples=150, deadline=None)
@given(steps=STEPS)
def test_single_days_find_together_what_all_of_them_do(steps: list[tuple[str, str, tuple[int, str]]]) -> None:
    trail = Trail()
    passwords: dict[str, list[str]] = {}
    for what, who, (day, time) in steps:
        at = f"{day:02}T{time}"
        if what == "use":
            trail.say("data.read", at, who=who, role="user", data_class="cardholder", purpose="care")
        elif what == "password":
            trail.say("auth.password_change", at, who=who, target=who, role="user")
            passwords.setdefault(who, []).append(trail.entries[-1]["recorded_at"])
        else:
            trail.login(who, at, mfa=what == "both")
    held = tuple(account(who, created_at=OLD, passwords=tuple(sorted(passwords.get(who, ())))) for who in "ab")
    for rule in ("AUTH-05", "AUTH-06"):
        days, whole = by_days(rule, trail, accounts=held)
        assert days == whole, rule


class TestCardData:
    def test_a_login_with_one_factor_taints_no_use_that_another_covers(self) -> None:
        trail = Trail()
        trail.login("ada", "10T10:00", mfa=False)
        trail.login("ada", "11T09:00")
        trail.say("data.read", "11T10:00", data_class="cardholder", purpose="care")
        for first, end in ((10, 11), (11, 12), (10, 12)):
            assert RULES["AUTH-06"].run(evidence_of(trail, first, end)) == Result()
        assert status("pci-8.4.2", evidence_of(trail, 10, 12)) == ("satisfied", None)

    def test_uses_are_counted_and_dated(self) -> None:
        trail = Trail()
        trail.login("ada", "10T10:00", mfa=False)
        for at in ("10T09:00", "10T11:00", "10T12:00", "11T08:00"):
            trail.say("data.read", at, data_class="cardholder", purpose="care")
        result = RULES["AUTH-06"].run(evidence_of(trail, 10, 12))
        (found,) = result.found
        assert found.text == "Account ada: 3 uses of card data after a login with one factor alone"
        assert (found.count, found.first_seen[:10], found.last_seen[:10]) == (3, "2026-03-10", "2026-03-11")
        assert result.missing == ("two_factors",), "the first use came before any login"

    def test_where_the_day_before_cannot_be_relied_on_nobody_is_accused(self) -> None:
        trail = Trail()
        trail.login("ada", "10T09:00", mfa=False)
        trail.say("data.read", "10T10:00", data_class="cardholder", purpose="care")
        assert RULES["AUTH-06"].run(evidence_of(trail, 10, 11)).found
        assert RULES["AUTH-06"].run(evidence_of(trail, 10, 11, is_lead_whole=False)) == Result((), ("facts",))
        assert RULES["AUTH-06"].run(evidence_of(trail, 9, 11, is_lead_whole=False)).found, "its day before is known"
        trail.login("ada", "10T09:30")
        assert RULES["AUTH-06"].run(evidence_of(trail, 10, 11, is_lead_whole=False)) == Result(), "its own day tells"


class TestSystems:
    """8.6.1: a system's act and a sign-in under its id, in either order, at most a week apart for reports of days."""

    @staticmethod
    def names(trail: Trail, first: int, end: int, **told: Any) -> list[str]:
        result = RULES["ACC-12"].run(evidence_of(trail, first, end, **told))
        assert result.missing == ()
        return [each.text for each in result.found]

    @pytest.mark.parametrize(("acts", "signs"), [(10, 11), (11, 10), (4, 11), (11, 4), (11, 11)])
    def test_the_report_of_the_later_day_tells_of_both(self, acts: int, signs: int) -> None:
        trail = Trail()
        trail.say("data.read", f"{acts:02}T10:00", who="billing", actor="service", role=None)
        trail.login("billing", f"{signs:02}T09:00")
        trail.login("ada", "11T09:00")
        both = ["billing signed in"]
        assert self.names(trail, 11, 12) == self.names(trail, 10, 12) == self.names(trail, 3, 13) == both
        assert self.names(trail, 12, 13) == [], "neither is of that day"
        assert self.names(trail, 10, 11) == []

    def test_what_is_more_than_a_week_before_is_not_looked_at(self) -> None:
        trail = Trail()
        trail.say("data.read", "03T10:00", who="billing", actor="service", role=None)
        trail.login("billing", "11T09:00")
        assert self.names(trail, 11, 12) == []
        assert self.names(trail, 3, 12) == ["billing signed in"]

    def test_where_the_week_before_cannot_be_relied_on_it_is_said(self) -> None:
        trail = Trail()
        trail.login("ada", "11T09:00")
        run = RULES["ACC-12"].run
        assert run(evidence_of(trail, 11, 12)) == Result()
        assert run(evidence_of(trail, 11, 12, is_lead_whole=False)) == Result((), ("facts",))
        assert run(evidence_of(trail, 12, 13, is_lead_whole=False)) == Result(), "nobody did anything"

    def test_a_system_that_does_little_is_not_overlooked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("shared.compliance.facts.presence.MOST_ACTORS", 1)
        trail = Trail()
        for _ in range(3):
            trail.say("profile.view", "11T10:00")
        trail.say("custom.tick", "11T10:00", who="billing", actor="service", role=None)
        trail.login("billing", "11T11:00")
        assert self.names(trail, 11, 12) == ["billing signed in"]


class TestPasswords:
    """8.3.9: the age at the login counts, not the one at the end of the period."""

    @staticmethod
    def found(trail: Trail, first: int, end: int, **of_account: Any) -> list[tuple[str, int]]:
        held = (account("bob", **({"mfa": False, "created_at": OLD} | of_account)),)
        result = RULES["AUTH-05"].run(evidence_of(trail, first, end, accounts=held))
        assert result.missing == ()
        return [(each.text, each.count) for each in result.found]

    def test_a_change_at_the_end_takes_nothing_back(self) -> None:
        trail, changed = Trail(), "2026-03-12T09:00:00.000000Z"
        for at in ("10T10:00", "11T10:00", "12T08:00", "12T10:00", "13T10:00"):
            trail.login("bob", at, mfa=False)
        trail.say("auth.password_change", "12T09:00", target="bob", who="bob", role="user")
        text = "Account bob: signed in with a password older than 90 days"
        assert self.found(trail, 10, 14, passwords=(changed,)) == [(text, 3)]
        assert self.found(trail, 12, 13, passwords=(changed,)) == [(text, 1)], "before the change"
        assert self.found(trail, 13, 14, passwords=(changed,)) == []
        assert self.found(trail, 10, 14, passwords=(changed,), mfa=True) == [(text, 3)], "what was enrolled later"

    @pytest.mark.parametrize(
        ("since", "is_old"),
        [("2025-12-10T10:00:00.000000Z", False), ("2025-12-10T09:59:59.999999Z", True), (OLD, True)],
    )
    def test_a_password_that_grew_old_after_the_login_is_none(self, since: str, is_old: bool) -> None:
        trail = Trail()
        trail.login("bob", "10T10:00", mfa=False)
        for end in (11, 31):
            assert bool(self.found(trail, 10, end, passwords=(since,))) == is_old
            assert bool(self.found(trail, 10, end, created_at=since)) == is_old

    def test_a_login_of_which_nobody_can_tell_is_a_gap_where_the_password_is_old(self) -> None:
        trail = Trail()
        trail.login("bob", "10T00:00:59", mfa=False)
        held = account("bob", mfa=False, created_at=OLD)
        assert RULES["AUTH-05"].run(evidence_of(trail, 10, 11, accounts=(held,))) == Result((), ("factors",))
        young = dataclasses.replace(held, created_at="2026-03-01T00:00:00.000000Z")
        assert RULES["AUTH-05"].run(evidence_of(trail, 10, 11, accounts=(young,))) == Result()

    def test_an_account_that_is_not_named_is_a_gap(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("shared.compliance.facts.logins.MOST_SINGLE", 1)
        trail = Trail()
        for who in ("ada", "bob"):
            trail.login(who, "10T10:00", mfa=False)
        held = (account("bob", created_at=OLD),)
        assert RULES["AUTH-05"].run(evidence_of(trail, 10, 11, accounts=held)) == Result((), ("facts",))


@pytest.fixture
async def local_week() -> AsyncIterator[Bureau]:
    """An organization of the embedded store with days from February on, sealed and checked."""
    began = datetime(2026, 2, 20, 8, tzinfo=UTC)
    clock = ManualClock(began)
    store = await SqliteStore.open(None, clock=clock)
    bureau = Bureau(await build_services(Settings(kraftd_data=":memory:"), clock=clock, store=store), clock)
    await store.create(IDENTITY, (TENANT,), new_tenant(TENANT, "Example", began))
    for number in range(12):
        await bureau.record(began + timedelta(days=number, hours=1), *SAID)
    await bureau.seal()
    yield bureau
    await bureau.services.close()


async def say(bureau: Bureau, kind: str, at: datetime, request: RequestContext | None = None) -> None:
    bureau.clock.set(at)
    own: dict[str, Any] = {"target": Target("user", ADA), "actor": Actor("user", ADA, "user"), "tenant_id": TENANT}
    draft = dataclasses.replace(EXAMPLES[kind], outcome="success", reason=None, **own)
    await bureau.services.recorder.record(dataclasses.replace(draft, request=request or bureau.request()))


async def single(bureau: Bureau, day: str) -> dict[str, Any]:
    rollups = await bureau.services.shards.rollups(TENANT, day[:7], [day])
    found: Any = (await bureau.services.facts.days(TENANT, [day], rollups, bureau.request()))[day]["single_factor"]
    return {"n": found["n"], "unsure": [int(row.split("\t")[2]) for row in found["logins"].split("\n") if row]}


UNSURE = {"n": 0, "unsure": [1]}


async def test_a_factor_of_another_month_makes_no_login_one_of_one_factor(local_week: Bureau) -> None:
    context, midnight = local_week.request(), datetime(2026, 3, 1, tzinfo=UTC)
    await say(local_week, "mfa.challenge", midnight - timedelta(seconds=1), context)
    await say(local_week, "auth.login", midnight, context)
    await say(local_week, "auth.login", midnight + timedelta(seconds=UNSURE_SECONDS))
    await local_week.seal()
    assert await single(local_week, "2026-03-01") == {"n": 1, "unsure": [1]}, "a minute later it is told"


async def test_a_factor_two_tiles_back_or_sealed_later_makes_none_either(local_week: Bureau) -> None:
    """The last entry of a tile, with another one between; and one that is sealed when the day has been folded."""
    midnight = datetime(2026, 3, 5, tzinfo=UTC)
    await local_week.seal()
    size = (await local_week.store.read(LEDGER, (TENANT, "2026-03"), head_id("2026-03")))["size"]
    await local_week.record(midnight - timedelta(minutes=20), *("profile.view",) * (255 - size))
    context = local_week.request()
    await say(local_week, "mfa.challenge", midnight - timedelta(seconds=2), context)
    await local_week.seal()
    await say(local_week, "profile.view", midnight - timedelta(seconds=1))
    await local_week.seal()
    await say(local_week, "auth.login", midnight, context)
    await local_week.seal()
    assert await single(local_week, "2026-03-05") == UNSURE
    context, midnight = local_week.request(), midnight + timedelta(days=1)
    await say(local_week, "mfa.challenge", midnight - timedelta(seconds=1), context)
    await say(local_week, "auth.login", midnight, context)
    held = await local_week.all(AUDIT_EVENTS)
    await local_week.services.sealer.consume([e for e in held if not e["recorded_at"].startswith("2026-03-05T23")])
    assert await single(local_week, "2026-03-06") == UNSURE
    await local_week.seal()
    assert await single(local_week, "2026-03-06") == UNSURE


async def test_a_report_of_a_day_knows_passwords_of_then(local_week: Bureau) -> None:
    """From the store: the login of one day, and the change on the evening of the next."""
    user = {"kind": "user", "role": "user", "status": "active", "mfa": False, "created_at": OLD, "user_id": ADA}
    await local_week.store.create(IDENTITY, (TENANT,), user | {"id": f"user|{ADA}", "tenant_id": TENANT})
    await say(local_week, "auth.login", datetime(2026, 3, 4, 20, tzinfo=UTC))
    await say(local_week, "auth.password_change", datetime(2026, 3, 5, 8, tzinfo=UTC))
    await say(local_week, "auth.login", datetime(2026, 3, 5, 9, tzinfo=UTC))
    await local_week.seal()
    local_week.clock.set(datetime(2026, 3, 6, 6, tzinfo=UTC))
    await local_week.check()
    for first, end, is_found in ((4, 5, True), (5, 6, False), (4, 6, True)):
        head = await local_week.services.compliance.build(
            TENANT, "pci_dss", date(2026, 3, first), date(2026, 3, end), local_week.request()
        )
        report = await local_week.services.compliance.report(head)
        found = [each.text for each in report.exceptions if each.rule == "AUTH-05"]
        assert found == ([f"Account {ADA}: signed in with a password older than 90 days"] if is_found else [])
