"""What a tenant sets: mutes and exemptions by event time, thresholds as they are, and nobody else's business."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from shared.core.clock import parse_rfc3339, rfc3339
from shared.core.errors import Invalid
from shared.detection import all_patterns
from shared.detection.history import Limits
from shared.detection.replay import History
from shared.detection.rules import (
    KEPT_ENDED,
    MOST_ENDED,
    NO_RULES,
    Exemption,
    Rules,
    StoredRules,
    check_thresholds,
    since,
    standing,
)
from shared.detection.traits import TRAITS_KIND, KnownRules, Traits
from shared.storage.containers import ALERTS
from shared.storage.documents import Item
from tests.detection.histories import TENANTS
from tests.detection.support import (
    ACCOUNT,
    BRUTE_FORCE,
    START,
    TENANT,
    Same,
    World,
    failures,
    new_world,
    seconds,
    stored_event,
)

STUFFING = all_patterns()["credential_stuffing"]
HOUR = timedelta(hours=1)


def exempt(value: str, start: datetime = START, length: timedelta = HOUR) -> tuple[Exemption]:
    return (Exemption(value, start, start + length),)


async def test_a_mute_holds_by_event_time(world: World) -> None:
    world.rules = Same(Rules(mutes=exempt("brute_force")))
    late = failures(*(3600 + n for n in range(5)), prefix="late")

    await world.deliver([*late, *failures(0, 1, 2, 3, 4)])

    (alert,) = await world.current()
    assert alert["event_ids"] == [event["id"] for event in late]


async def test_an_exempt_address_and_an_exempt_account_count_for_nothing(world: World) -> None:
    ours = failures(0, 1, 2, 3, 4, ip_key="v1:office")
    for rules in (Rules(addresses=exempt("v1:office")), Rules(accounts=exempt(ACCOUNT))):
        world.rules = Same(rules)
        await world.deliver(ours)
        assert not await world.current()

    world.rules = Same(Rules(addresses=exempt("v1:office", START, seconds(4))))
    await world.deliver(ours)
    assert not await world.current(), "the last of five counts, for it happened when the entry had expired"


async def test_thresholds_of_ones_own(world: World) -> None:
    world.rules = Same(Rules(thresholds={"brute_force": {"threshold": 7}}))
    await world.deliver(failures(*range(6)))
    assert not await world.current()
    await world.deliver(failures(6, prefix="more"))
    (alert,) = await world.current()
    assert alert["count"] == 7


async def test_thresholds_out_of_todays_bounds_count_for_nothing() -> None:
    assert Rules(thresholds={"brute_force": {"threshold": 1}}).parameters(BRUTE_FORCE) == BRUTE_FORCE.defaults


async def test_what_one_tenant_sets_hides_an_attack_from_nobody_else(world: World) -> None:
    world.clock.set(START)
    world.rules = Same(Rules(addresses=exempt("v1:attacker"), mutes=exempt("brute_force")), TENANTS[0])
    tried = [
        stored_event(
            f"e{n}", START, tenant_id=TENANTS[n % 2], target={"kind": "user", "id": f"a{n}"}, ip_key="v1:attacker"
        )
        for n in range(6)
    ]

    await world.deliver(tried, STUFFING)

    assert not await world.current(TENANTS[0])
    (theirs,) = await world.current(TENANTS[1])
    (operators,) = await world.current("platform")
    assert theirs["event_ids"] == ["e1", "e3", "e5"]
    assert operators["count"] == 6


def tried(n: int, at: float, tenant_id: str = TENANTS[0]) -> Item:
    target = {"kind": "user", "id": f"account-{n}"}
    return stored_event(f"e{n:04}", START + seconds(at), tenant_id=tenant_id, target=target, ip_key="v1:attacker")


async def replayed(world: World, events: list[Item], rules: Rules) -> None:
    """A replay finds what the feed raised."""
    history = History({STUFFING.id: STUFFING}, {TENANTS[0]: rules})
    history.add(events)
    found = {each.alert_id: each.finding.evidence["event_ids"] for each in history.alerts()}
    told = [each for whose in (*TENANTS[:2], "platform") for each in await world.current(whose)]
    assert {each["id"]: each["event_ids"] for each in told} == found


@pytest.mark.parametrize("limits", [Limits(), Limits(hot_from=5)], ids=["cold", "hot"])
@pytest.mark.parametrize("name", ["mutes", "addresses"])
@pytest.mark.parametrize(
    ("muted_from", "muted_for"),
    [(0, 1510), (1500, 3600), (8, 1492), (0, 5)],
    ids=["until the middle", "from the middle", "not its first crossing", "only the first crossing"],
)
async def test_a_mute_of_part_of_an_attack_on_all_hides_that_part(
    limits: Limits, name: str, muted_from: float, muted_for: float
) -> None:
    value = STUFFING.id if name == "mutes" else "v1:attacker"
    entries = exempt(value, START + seconds(muted_from), seconds(muted_for))
    rules = Rules(mutes=entries) if name == "mutes" else Rules(addresses=entries)
    events = [tried(n, n) for n in range(10)] + [tried(10 + n, 20 + 20 * n) for n in range(100)]
    async with new_world(START, limits) as world:
        world.rules = Same(rules, TENANTS[0])
        await world.deliver(events[:60], STUFFING)
        await world.deliver(events[60:], STUFFING)

        told = await world.current(TENANTS[0])
        assert told, "what is not muted is told"
        crossed = [each["crossed"]["at"] for each in told]
        assert not any(rules.hides(STUFFING, "v1:attacker", parse_rfc3339(at)) for at in crossed)
        await replayed(world, events, rules)


async def test_an_exempt_account_is_in_no_alert_of_its_tenant(world: World) -> None:
    world.clock.set(START)
    rules = Rules(accounts=exempt("account-0"))
    world.rules = Same(rules, TENANTS[0])
    events = [tried(0, 0), tried(1, 1), *(tried(n, n, TENANTS[1]) for n in range(2, 5))]

    await world.deliver(events, STUFFING)

    (own,) = await world.current(TENANTS[0])
    assert own["event_ids"] == ["e0001"]
    (whole,) = await world.current("platform")
    assert whole["count"] == 5, "it counts with others, whom one tenant's list does not blind"
    await replayed(world, events, rules)


def test_an_exemption_is_of_one_value_and_for_its_time() -> None:
    rules = Rules(addresses=exempt("v1:office"), accounts=exempt(ACCOUNT), mutes=exempt("brute_force"))
    for told, value in (
        (rules.exempts_address, "v1:office"),
        (rules.exempts_account, ACCOUNT),
        (lambda name, at: rules.mutes_at(all_patterns()[name], at), "brute_force"),
    ):
        assert told(value, START)
        assert not told("webhook_paused", START)
        assert not told(value, START - seconds(1e-6))
        assert not told(value, START + HOUR)


@pytest.mark.parametrize("whose", ["actor", "target"])
def test_an_event_is_exempt_by_who_did_it_and_by_whom_it_is_about(whose: str) -> None:
    rules = Rules(accounts=exempt("v1:office"))
    ours: dict[str, Any] = {whose: {"kind": "user", "id": "v1:office"}}
    at = {"user": stored_event("e", START, **ours)}
    at["nobody"] = stored_event("e", START, actor=None, target=None, ip_key="v1:office")
    at["later"] = stored_event("e", START + HOUR, **ours)
    assert {name for name, event in at.items() if rules.exempts(event)} == {"user"}


def test_what_counts_for_all_tenants_is_hidden_by_time_and_place() -> None:
    rules = Rules(mutes=exempt(STUFFING.id), addresses=exempt("v1:office", START + HOUR))
    assert rules.hides(STUFFING, "v1:elsewhere", START)
    assert not rules.hides(STUFFING, "v1:elsewhere", START + HOUR)
    assert rules.hides(STUFFING, "v1:office", START + HOUR)
    assert not rules.hides(STUFFING, "v1:office", START + 2 * HOUR)


def test_nobodys_own_thresholds_are_those_of_what_counts_for_all_tenants() -> None:
    assert Rules(thresholds={STUFFING.id: {"threshold": 99}}).parameters(STUFFING) == STUFFING.defaults


async def test_stored_settings_are_read() -> None:
    times = {"since": "2026-03-15T12:00:00.000000Z", "until": "2026-03-15T13:00:00.000000Z", "reason": "a test"}

    async def settings_of(_tenant_id: str) -> dict[str, Any]:
        return {
            "thresholds": {"brute_force": {"threshold": 9}},
            "mutes": [{"pattern": "brute_force", **times}],
            "allow_lists": {"addresses": [{"value": "203.0.113.9", "key": "v1:k", **times}], "accounts": []},
        }

    rules = await StoredRules(settings_of).rules_of(TENANT)
    assert rules.parameters(BRUTE_FORCE).model_dump()["threshold"] == 9
    assert rules.mutes_at(BRUTE_FORCE, START)
    assert not rules.mutes_at(BRUTE_FORCE, START + HOUR)
    assert rules.exempts_address("v1:k", START)
    assert rules.fingerprint(BRUTE_FORCE) != NO_RULES.fingerprint(BRUTE_FORCE)


async def test_what_is_not_set_is_nothing_and_accounts_are_read() -> None:
    times = {"since": "2026-03-15T12:00:00.000000Z", "until": "2026-03-15T13:00:00.000000Z"}
    stored: dict[str, dict[str, Any]] = {
        "none": {},
        "empty": {"allow_lists": {}},
        "accounts": {"allow_lists": {"accounts": [{"value": ACCOUNT, **times}]}},
    }

    async def settings_of(tenant_id: str) -> dict[str, Any]:
        return stored[tenant_id]

    source = StoredRules(settings_of)
    assert await source.rules_of("none") == await source.rules_of("empty") == NO_RULES
    assert (await source.rules_of("accounts")).accounts == exempt(ACCOUNT)


def test_a_fingerprint_tells_what_changes_a_pattern_and_nothing_else() -> None:
    none = NO_RULES.fingerprint(BRUTE_FORCE)
    other = Rules(mutes=exempt("mass_deletion"), thresholds={"mass_deletion": {"threshold": 99}})
    assert other.fingerprint(BRUTE_FORCE) == none
    told = {
        Rules(mutes=exempt("brute_force")).fingerprint(BRUTE_FORCE),
        Rules(mutes=exempt("brute_force", length=2 * HOUR)).fingerprint(BRUTE_FORCE),
        Rules(accounts=exempt(ACCOUNT)).fingerprint(BRUTE_FORCE),
        Rules(thresholds={"brute_force": {"threshold": 9}}).fingerprint(BRUTE_FORCE),
        none,
    }
    assert len(told) == 5


def test_each_wrong_threshold_is_named() -> None:
    check_thresholds({"brute_force": {"threshold": 9}})
    with pytest.raises(Invalid) as caught:
        check_thresholds(
            {
                "nonsense": {"threshold": 9},
                STUFFING.id: {"threshold": 9},
                "brute_force": {"threshold": 1, "window": 60},
                "mass_deletion": {},
            }
        )
    assert (caught.value.code, caught.value.detail) == ("invalid_request", "Some fields are not as they must be.")
    assert [(each.field, each.code) for each in caught.value.errors] == [
        ("thresholds.nonsense", "unknown"),
        (f"thresholds.{STUFFING.id}", "not_settable"),
        ("thresholds.brute_force.threshold", "greater_than_equal"),
        ("thresholds.brute_force.window", "extra_forbidden"),
    ]
    assert [each.message for each in caught.value.errors] == [
        "is no pattern",
        "counts across organizations: its thresholds are fixed",
        "Input should be greater than or equal to 3",
        "Extra inputs are not permitted",
    ]


async def test_traits_are_known_at_once_to_who_noted_them(world: World) -> None:
    traits = Traits(world.store)
    known = KnownRules(Same(NO_RULES), traits)
    assert not (await known.of(TENANT)).has_odd_times
    await known.note_odd_times(TENANT)
    assert (await known.of(TENANT)).has_odd_times
    before = await world.position()
    await known.note_odd_times(TENANT)
    assert await world.position() == before
    item = await world.store.read(ALERTS, (TENANT,), TRAITS_KIND)
    assert (item["kind"], item["tenant_id"], item["traits"]) == (TRAITS_KIND, TENANT, ["odd_times"])


LATER = START + 9 * HOUR


def entry(value: str, until: datetime = LATER, reason: str = "a test", name: str = "value") -> Item:
    return {name: value, "reason": reason, "until": rfc3339(until)}


def held_entry(value: str, start: datetime = START, until: datetime = LATER, name: str = "value") -> Item:
    return {**entry(value, until, name=name), "since": rfc3339(start)}


def test_an_entry_that_stays_holds_since_it_was_made() -> None:
    held = since([entry("a")], [], START)
    now = START + HOUR
    assert held == [held_entry("a")]
    assert since([entry("a"), entry("b")], held, now) == [*held, held_entry("b", now)]


@pytest.mark.parametrize("name", ["pattern", "value"])
def test_a_changed_entry_holds_since_it_was_made_while_it_holds(name: str) -> None:
    held, now = [held_entry("a", name=name)], START + HOUR
    longer = entry("a", LATER + HOUR, "another reason", name)
    assert since([longer], held, now) == [{**longer, "since": rfc3339(START)}]
    (over,) = since([entry("a", START, name=name)], held, now)
    assert (over["since"], over["until"]) == (rfc3339(START), rfc3339(now)), "what it hid until now stays hidden"
    anew, ended = since([longer], held, LATER)
    assert anew == {**longer, "since": rfc3339(LATER)}, "at its end it holds no more"
    assert (ended["since"], ended["until"]) == (rfc3339(START), rfc3339(LATER))


def test_a_changed_entry_is_none_about_something_else() -> None:
    now = START + HOUR
    kept, ended = since([entry("b", LATER + HOUR)], [held_entry("a"), held_entry("b", START + HOUR / 2)], now)
    assert kept == {**entry("b", LATER + HOUR), "since": rfc3339(START + HOUR / 2)}
    assert (ended["value"], ended["until"]) == ("a", rfc3339(now))


def test_an_entry_that_is_over_is_not_made_longer_by_being_given_again() -> None:
    held = held_entry("a", until=START + HOUR)
    assert since([entry("a", START + HOUR)], [held], START + 2 * HOUR) == [held]


def test_an_entry_that_another_one_is_stays_that_ones() -> None:
    short, long = held_entry("a", until=START + 2 * HOUR), held_entry("a", START + HOUR)
    given = [entry("a", LATER + HOUR), entry("a", START + 2 * HOUR)]
    now = START + HOUR
    assert since(given, [short, long], now) == [{**given[0], "since": rfc3339(START + HOUR)}, short]


def test_an_entry_that_is_left_out_is_ended_and_kept_for_late_events() -> None:
    now = START + HOUR
    ended = since([], [held_entry("a")], now)

    assert ended == [{"value": "a", "since": rfc3339(START), "until": rfc3339(now), "ended": True}]
    assert standing([*ended, held_entry("b")]) == [held_entry("b")]
    later = now + timedelta(days=8)
    assert since([entry("a", later + HOUR)], ended, later) == [held_entry("a", later, later + HOUR), *ended]
    assert since([], ended, now + KEPT_ENDED) == []


def test_no_more_than_the_latest_are_kept() -> None:
    held = [held_entry(f"{n}", until=START + n * timedelta(minutes=1)) for n in range(MOST_ENDED + 1)]
    kept = since([], held[::-1], LATER)
    assert [each["value"] for each in kept] == [f"{n}" for n in range(1, MOST_ENDED + 1)]


@pytest.mark.parametrize("change", ["lifted", "longer"])
async def test_what_a_mute_hid_stays_hidden_when_it_changes(world: World, change: str) -> None:
    held = since([entry("brute_force", name="pattern")], [], START)
    now = START + HOUR
    entries = {"lifted": [], "longer": [entry("brute_force", LATER + HOUR, name="pattern")]}[change]
    settings = {"mutes": since(entries, held, now)}

    async def settings_of(_tenant_id: str) -> dict[str, Any]:
        return settings

    world.rules = StoredRules(settings_of)
    await world.deliver(failures(*range(6)))
    assert not await world.current()
    await world.deliver(failures(*range(3600, 3605), prefix="after"))
    assert len(await world.current()) == (change == "lifted")
