"""The plan: the same for the same seed, and exactly what it says is there for the patterns to find.

What fires is decided here once more, from the table of patterns alone, over the planned actions: a slow and plain
reading that shares nothing with the plan's own making.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import groupby, pairwise
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from devhost.simulation.actions import SETUP, Action, Call, Record
from devhost.simulation.attacks import NAMES, PATTERNS
from devhost.simulation.driver import TOGETHER, rounds
from devhost.simulation.people import TEAM, Person, cast, password
from devhost.simulation.plan import DEFAULT_START, Options, Plan, make_plan
from devhost.simulation.requests import Known
from devhost.simulation.scene import PlanError
from devhost.simulation.truth import ground_truth

type Key = tuple[str, str]

SMALL = settings(max_examples=10)
some_options = st.builds(
    Options,
    seed=st.integers(0, 10**9),
    tenants=st.integers(1, 4),
    users=st.integers(8, 14),
    days=st.integers(2, 9),
    attacks=st.sets(st.sampled_from((*PATTERNS, *NAMES))).map(lambda chosen: tuple(sorted(chosen))),
    start=st.timedeltas(timedelta(), timedelta(days=365)).map(lambda after: datetime(2026, 1, 1, tzinfo=UTC) + after),
)


def crowded(
    moments: Iterable[tuple[datetime, object]],
    minutes: float,
    enough: Callable[[Sequence[object]], bool],
) -> bool:
    """Whether the things of some window are enough."""
    held = sorted(moments, key=lambda each: each[0])
    times, window = [at for at, _ in held], timedelta(minutes=minutes)
    ends = (bisect_right(times, at + window) for at in times)
    return any(enough([thing for _, thing in held[first:end]]) for first, end in enumerate(ends))


def fired(actions: Sequence[Action], slack_minutes: float = 0) -> set[Key]:
    """The patterns that fire, with the key of each: PATTERNS read literally. `slack`: added to every window."""
    facts: dict[tuple[str, str], list[tuple[datetime, object]]] = defaultdict(list)
    for action in actions:
        for kind, key, thing in _of_record(action) if isinstance(action, Record) else _of_call(action):
            facts[kind, key].append((action.at, thing))
    found = {
        (pattern, key)
        for kind, pattern, minutes, enough in RULES
        for (of, key), moments in facts.items()
        if of == kind and crowded(moments, minutes + slack_minutes, enough)
    }
    by_person: dict[str, list[Call]] = defaultdict(list)
    for action in actions:
        if isinstance(action, Call) and not action.text.startswith("nobody"):
            by_person[action.who.name].append(action)
    slack = timedelta(minutes=slack_minutes)
    return found.union(*(_by_history(who, calls, slack) for who, calls in by_person.items()))


def _by_history(who: str, calls: Sequence[Call], slack: timedelta) -> Iterator[Key]:
    """What fires because of what was before: failures before a success, addresses and user agents never seen."""
    quarter, fresh = timedelta(minutes=15) + slack, timedelta(hours=24) + slack
    registered = next((call.at for call in calls if call.verb in ("found", "join")), None)
    failures: list[datetime] = []
    strange: list[datetime] = []
    seen: set[str] = set()
    for call in calls:
        unseen = seen.isdisjoint((call.client.address, call.client.agent))
        right = call.expected[0] < 300
        if call.verb == "login" and not right:
            failures.append(call.at)
        elif call.verb == "login":
            strange += [call.at] if unseen else []
            if len([at for at in failures if call.at - at <= quarter]) >= 5:
                yield "account_takeover", who
        elif call.verb == "change_password" and right:
            if unseen and (registered is None or call.at - registered > fresh):
                yield "suspicious_password_change", who
            if any(call.at - at <= quarter for at in strange):
                yield "account_takeover", who
        if (right and not unseen) or call.verb in ("found", "join"):
            seen |= {call.client.address, call.client.agent}


def _total(things: Sequence[object]) -> int:
    return sum({thing[0]: thing[1] for thing in things if isinstance(thing, tuple)}.values())


RULES: tuple[tuple[str, str, float, Callable[[Sequence[object]], bool]], ...] = (
    ("failure", "brute_force", 15, lambda things: len(things) >= 5),
    ("tried", "credential_stuffing", 20, lambda things: len(set(things)) >= 5),
    ("raise", "privilege_escalation", 0, bool),
    ("role", "privilege_escalation", 60, lambda things: len(things) >= 5),
    ("denied", "unauthorized_access", 10, lambda things: len(things) >= 5),
    ("forbidden", "unauthorized_access", 0, bool),
    ("deleted", "mass_deletion", 30, lambda things: len(set(things)) >= 10),
    ("read", "bulk_data_access", 15, lambda things: _total(things) >= 50),
    ("refused", "suspicious_password_change", 15, lambda things: len(things) >= 3),
)


def _of_record(record: Record) -> Iterator[tuple[str, str, object]]:
    if record.type == "data.delete":
        yield "deleted", record.who.name, record.target
    if record.type in ("data.read", "data.export"):
        yield "read", record.who.name, ((record.target, record.at), record.count)


KINDS: dict[tuple[str, int], tuple[str, ...]] = {
    ("change_role", 403): ("raise", "denied"),
    ("change_role", 200): ("role",),
    ("change_password", 403): ("refused",),
    ("search_trail", 403): ("forbidden", "denied"),
    ("list_users", 403): ("denied",),
    ("view_user", 404): ("forbidden",),
    ("delete_user", 204): ("deleted",),
}


def _of_call(call: Call) -> Iterator[tuple[str, str, object]]:
    who, target = call.who.name, call.target.name if call.target else ""
    for kind in KINDS.get((call.verb, call.expected[0]), ()):
        yield kind, who, target
    if call.verb == "login" and 401 in call.expected:
        yield "tried", call.client.address, call.text or who
        if not call.text:
            yield "failure", who, None
    if (call.verb, call.text) == ("change_role", "tenant_admin"):
        yield "raise", who, None
    if call.verb == "view_user" and 200 in call.expected:
        yield "read", who, (target, 1)
    if call.verb == "list_users" and 200 in call.expected:
        yield "read", who, (("list", call.at), int(call.text))


def told(plan: Plan) -> list[dict[str, Any]]:
    """The cases of the ground truth; names instead of ids."""
    known = Known(plan.options.seed, plan.tenants)
    known.tenant_ids = {tenant.index: tenant.name for tenant in plan.tenants}
    known.user_ids = {person: person.name for tenant in plan.tenants for person in tenant.people}
    cases: list[dict[str, Any]] = ground_truth(plan, known, {}, clock="real", calls={}, events=0)["cases"]
    return cases


def expected(plan: Plan) -> set[Key]:
    """What the ground truth says is to be found."""
    found: set[Key] = set()
    for case in told(plan):
        if case["alert_expected"]:
            person = case["account"] or case["actor"]
            key = case["address"] if case["pattern"] == "credential_stuffing" else person["id"]
            found |= {(pattern, key) for pattern in (case["pattern"], *case["also"])}
    return found


@SMALL
@given(some_options)
@example(Options(users=8, days=2, attacks=("guessed",)))  # a day after everybody registered
def test_what_fires_is_what_the_plan_says(options: Options) -> None:
    plan = make_plan(options)
    assert fired(plan.actions) == expected(plan)
    moved = TOGETHER.total_seconds() / 60  # ordinary calls may be made that much earlier
    assert fired(plan.actions, slack_minutes=moved) == expected(plan)


def test_a_whole_month_of_a_whole_company_is_quiet_but_for_its_cases() -> None:
    plan = make_plan(Options(tenants=2))
    assert fired(plan.actions) == expected(plan)
    assert {pattern for pattern, _ in expected(plan)} == set(PATTERNS)
    assert {case.name for case in plan.cases if case.attack} == set(NAMES)


@SMALL
@given(some_options)
@example(Options(tenants=4, users=8, days=3))  # more tenants under attack than one list of passwords is for
def test_alerts_are_expected_in_the_tenants_whose_accounts_are_touched(options: Options) -> None:
    plan = make_plan(options)
    for case, shown in zip(plan.cases, told(plan), strict=True):
        counted = [each for each in case.actions if each.case == case.number and not _is_of_nobody(each)]
        tenants = {plan.tenants[each.who.tenant].name for each in counted}
        assert set(shown["tenants"]) - {"platform"} == tenants, case.name
        assert ("platform" in shown["tenants"]) == (case.attack and case.pattern == "credential_stuffing")


def _is_of_nobody(action: Action) -> bool:
    return isinstance(action, Call) and action.text.startswith("nobody")


@SMALL
@given(some_options, st.integers(2, 4))
def test_on_a_real_clock_what_fires_is_what_the_plan_says(options: Options, tenants: int) -> None:
    """Where everything happens within a moment, what other services report at its end."""
    plan = make_plan(replace(options, tenants=tenants, users=20, live=True))
    ordered = sorted(plan.actions, key=lambda each: isinstance(each, Record))
    step = timedelta(milliseconds=1)
    happened = [replace(each, at=options.start + turn * step) for turn, each in enumerate(ordered)]
    assert fired(happened) == expected(plan)


def test_attacks_can_be_named_one_by_one() -> None:
    plan = make_plan(Options(users=8, days=3, attacks=("export", "mass_deletion")))
    names = [(case.pattern, case.name) for case in plan.cases]
    assert names == [
        ("mass_deletion", "documents"),
        ("bulk_data_access", "export"),
        ("mass_deletion", "nine_deletions"),
        ("bulk_data_access", "forty_nine_records"),
    ]
    assert make_plan(Options(tenants=1, users=8, days=2, attacks=("cross_tenant",))).left_out == ("cross_tenant",)


def test_without_attacks_nothing_fires() -> None:
    plan = make_plan(Options(users=12, days=14, attacks=()))
    assert (plan.cases, fired(plan.actions)) == ((), set())


@SMALL
@given(some_options)
def test_every_near_miss_is_one_event_short(options: Options) -> None:
    """One more of any of its counted actions, and the pattern fires: the case tests the threshold, not less."""
    plan = make_plan(options)
    before = [each for each in plan.actions if isinstance(each, Call) and each.verb in SETUP]
    for case in plan.cases:
        if not case.attack:
            assert fired([*before, *case.actions]) == set()
            counted = next(each for each in case.actions if each.case == case.number)
            more = fired([*before, *_with_one_more(case.actions, counted)])
            assert case.pattern in {pattern for pattern, _ in more}


def _with_one_more(actions: Sequence[Action], counted: Action) -> list[Action]:
    """A case with one of its counted actions once more, about something else."""
    more: list[Action] = [replace(counted)]
    if isinstance(counted, Record):
        more = [replace(counted, target="one-more")]
    elif counted.verb == "login":
        more.append(replace(counted, text="one-more@example.net"))
    return sorted([*actions, *more], key=lambda each: each.at)


@SMALL
@given(some_options)
def test_the_same_options_have_the_same_plan(options: Options) -> None:
    assert make_plan(options) == make_plan(replace(options))
    if options.attacks:
        assert make_plan(replace(options, seed=options.seed + 1)) != make_plan(options)


@SMALL
@given(some_options)
def test_people_do_things_in_order_while_they_are_there_and_know_their_password(options: Options) -> None:
    plan = make_plan(options)
    assert all(before.at <= after.at for before, after in pairwise(plan.actions))
    assert all(options.start <= each.at <= options.end for each in plan.actions)
    versions: dict[Person, int] = {}
    gone: set[Person | None] = set()
    for action in plan.actions:
        assert action.who not in gone
        if isinstance(action, Call) and action.verb in ("found", "join"):
            versions[action.who] = 0
        assert action.who in versions
        if isinstance(action, Record):
            continue
        if action.password is not None:
            assert action.password == versions[action.who]
        if (action.verb, action.expected) == ("change_password", (204,)):
            versions[action.who] += 1
        if action.verb in ("suspend_user", "delete_user"):
            gone.add(action.target)


@SMALL
@given(some_options)
def test_everybody_has_a_session_that_holds_when_they_call(options: Options) -> None:
    used: dict[tuple[Person, str], datetime] = {}
    for call in make_plan(options).actions:
        if isinstance(call, Record):
            continue
        session = (call.who, call.session)
        if call.verb in ("found", "join") or (call.verb, call.expected) == ("login", (200,)):
            used[session] = call.at
        elif call.verb != "login":
            assert call.at - used[session] < timedelta(hours=24) - TOGETHER  # idle for longer, it would have ended
            if call.at - used[session] > timedelta(minutes=14):
                used[session] = call.at
        ended: set[Person | None] = set()
        if call.verb in ("change_role", "suspend_user", "delete_user") and 403 not in call.expected:
            ended = {call.target}
        others = {each for each in used if each[0] in ended}
        if call.verb == "logout":
            others = {session}
        if (call.verb, call.expected) == ("change_password", (204,)):
            others = {each for each in used if each[0] == call.who} - {session}
        used = {each: at for each, at in used.items() if each not in others}


@SMALL
@given(some_options)
def test_the_clean_tenant_has_no_attack(options: Options) -> None:
    plan = make_plan(options)
    clean = {tenant.index for tenant in plan.tenants if tenant.clean}
    assert len(clean) == (1 if options.tenants > 1 else 0)
    for case in plan.cases:
        if case.attack:
            assert case.tenant.index not in clean
            assert not {each.tenant for each in case.accounts} & clean
        else:
            assert not clean or case.tenant.index in clean


@SMALL
@given(some_options)
def test_nobody_meets_a_limit_of_the_server(options: Options) -> None:
    """60 sign-ins in a minute and 10 registrations in an hour from one address; seven days of ingest."""
    calls: dict[tuple[str, str], list[tuple[datetime, object]]] = defaultdict(list)
    for action in make_plan(options).actions:
        if isinstance(action, Call) and action.verb in ("login", "change_password", "found", "join"):
            what = "register" if action.verb in ("found", "join") else "login"
            calls[what, action.client.address].append((action.at, None))
    for (what, _), moments in calls.items():
        most, minutes = (10, 60) if what == "register" else (60, 1 + TOGETHER.total_seconds() / 60)
        assert not crowded(moments, minutes, lambda things, most=most: len(things) > most)  # type: ignore[misc]


@SMALL
@given(some_options)
def test_rounds_hold_every_action_once_and_exact_ones_alone(options: Options) -> None:
    actions = make_plan(options).actions
    turns = list(rounds(actions))
    assert [each for turn in turns for each in turn] == list(actions)
    for turn in turns:
        assert turn[-1].at - turn[0].at <= TOGETHER
        if any(isinstance(each, Call) and each.exact for each in turn):
            assert len(turn) == 1
        verbs = {each.verb if isinstance(each, Call) else None for each in turn}
        assert len(verbs) == 1 or not verbs & {"found", "make_key", "invite", "join"}


def test_people_share_an_address_in_small_numbers_only() -> None:
    (tenant,) = cast(1, 1, 40)
    offices = sorted(person.office.address for person in tenant.people)
    assert max(len(list(group)) for _, group in groupby(offices)) <= TEAM < 5
    assert len({person.home.address for person in tenant.people}) == 40
    assert len({password(1, person, version) for person in tenant.people for version in (0, 1)}) == 80


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (Options(attacks=("phishing",)), "no attack is called phishing"),
        (Options(tenants=0), "tenants is 1 to"),
        (Options(users=7), "users is 8 to"),
        (Options(days=1), "days is 2 to"),
        (Options(days=10**6), "days is 2 to"),
        (Options(tenants=1, live=True), "tenants is 2 to"),
        (Options(users=12, tenants=2, live=True), "users: too few"),
    ],
)
def test_options_without_a_plan(options: Options, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        make_plan(options)


def test_on_a_real_clock_there_are_all_attacks_and_nobody_is_in_two() -> None:
    plan = make_plan(Options(users=20, days=1, live=True))
    assert plan.left_out == ()
    assert {case.name for case in plan.cases if case.attack} == set(NAMES)
    people = [each for case in plan.cases for each in (case.account, case.actor) if each and each.number]
    people += [each for case in plan.cases for each in case.accounts]
    assert len(people) == len(set(people))


def test_what_needs_another_tenant_is_left_out_of_one() -> None:
    assert make_plan(Options(tenants=1, users=8, days=2)).left_out == ("cross_tenant",)
    assert make_plan(Options(tenants=1, users=8, days=2, attacks=("brute_force",))).left_out == ()


def test_the_default_start_is_a_monday() -> None:
    assert DEFAULT_START.weekday() == 0
