"""Search against a naive oracle: every filter over a mixed trail of two tenants, and pages while events arrive."""

import dataclasses
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest

from shared.audit.events.access import AccessDenied
from shared.audit.events.alert import AlertRaise
from shared.audit.events.audit import AuditSearch
from shared.audit.events.auth import AuthLogin, AuthLogout
from shared.audit.events.profile import ProfileView
from shared.audit.events.user import UserDelete
from shared.audit.model import ANONYMOUS, SYSTEM, Actor, DataClass, Draft, StoredEvent, Target
from shared.audit.registry import type_of
from shared.audit.search import AUTHORIZATION_LOG, EventFilter, types_filter
from shared.core.clock import parse_rfc3339
from shared.privacy.emails import normal_email
from shared.storage.containers import AUDIT_EVENTS
from shared.storage.documents import AnyOf, Cursor, Eq, Filter, In, Item, Prefix
from tests.audit.support import (
    ADA,
    ANYONE,
    BOB,
    EMAIL,
    EXAMPLES,
    IP,
    NOW,
    OTHER,
    REQUEST,
    TENANT,
    World,
    by_ada,
    new_world,
)

BOB_EMAIL, BOB_IP = "bob@münchen.de", "2001:db8::7"
STEP = timedelta(days=9)
TYPES = ("auth.login", "auth.logout", "access.denied", "user.delete", "audit.search", "alert.raise", "profile.view")


@dataclass(frozen=True)
class Kept:
    """An event beside the draft that it came from: what the oracle looks at."""

    draft: Draft
    event: StoredEvent


def drafts(tenant_id: str) -> list[Draft]:
    """A mixed day: two persons, the system and strangers; successes, failures and refusals; all data classes."""
    made: list[Draft] = []
    classes: tuple[DataClass, ...] = ("none", "personal", "phi")
    people = ((ADA, EMAIL, IP), (BOB, BOB_EMAIL, BOB_IP))
    for (person, email, ip), data_class in itertools.product(people, classes):
        request = dataclasses.replace(REQUEST, ip=ip)
        actor = Actor("user", person, "auditor", email)
        made += [
            Draft(
                tenant_id,
                AuthLogin(attempt_count=0),
                request,
                actor=actor,
                target=Target("user", person, email),
                person=person,
            ),
            Draft(
                tenant_id,
                AuthLogin(attempt_count=1),
                dataclasses.replace(ANYONE, ip=ip),
                outcome="failure",
                reason="bad_credentials",
                actor=ANONYMOUS,
                target=Target("user", person, email),
                person=person,
                email_typed=email.upper(),
            ),
            Draft(
                tenant_id,
                ProfileView(),
                request,
                actor=actor,
                target=Target("user", BOB, BOB_EMAIL),
                person=person,
                data_class=data_class,
            ),
            Draft(tenant_id, AuthLogout(session_seconds=1), request, actor=actor, person=person),
            Draft(tenant_id, AccessDenied(), request, outcome="denied", reason="role", actor=actor, person=person),
            Draft(tenant_id, AuditSearch(log="x", filters={}), request, actor=actor, person=person),
            Draft(tenant_id, UserDelete(), ANYONE, actor=SYSTEM, target=Target("user", person)),
            Draft(
                tenant_id, AlertRaise(pattern="p", severity="high"), ANYONE, actor=SYSTEM, target=Target("alert", "a1")
            ),
        ]
    return made


@pytest.fixture(scope="module")
async def trail() -> AsyncIterator[tuple[World, list[Kept]]]:
    """About a hundred events of two tenants in five months, several at the same moment."""
    async with new_world(NOW) as world:
        kept: list[Kept] = []
        for number, pair in enumerate(zip(drafts(TENANT), drafts(OTHER), strict=True)):
            if number % 3 == 0:
                world.clock.set(NOW + STEP * (number // 3))
            kept += [Kept(draft, await world.recorder.record(draft)) for draft in pair]
        for name in ("authx.login", "auth", "audit.search_all", "access_denied.x", "AUTH.login", "custom.auth.login"):
            event = {**await world.recorder.finish(by_ada(ProfileView())), "type": name}
            await world.recorder.publish(event)  # what producers may send one day: names that only begin alike
            kept.append(Kept(by_ada(ProfileView()), event))
        yield world, kept


def type_matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(name.startswith(p[:-1]) if p.endswith(".*") else name == p for p in patterns)


def matches(kept: Kept, tenant_id: str, wanted: EventFilter, within: tuple[str, ...] = ()) -> bool:
    """The naive oracle: it looks at what was drafted, not at what is indexed."""
    draft, event = kept.draft, kept.event
    recorded = parse_rfc3339(event["recorded_at"])
    emails = [draft.actor.email or draft.email_typed, draft.target.email if draft.target else None]
    tests = [
        draft.tenant_id == tenant_id,
        not within or type_matches(event["type"], within),
        not wanted.types or type_matches(event["type"], wanted.types),
        wanted.outcome is None or draft.outcome == wanted.outcome,
        wanted.severity is None or event["severity"] == wanted.severity,
        wanted.actor is None or draft.actor.id == wanted.actor,
        wanted.target is None or (draft.target is not None and draft.target.id == wanted.target),
        wanted.subject is None or wanted.subject in event["subjects"],
        wanted.data_class is None or (draft.data_class or type_of(draft.event).data_class) == wanted.data_class,
        wanted.from_ is None or recorded >= wanted.from_,
        wanted.to is None or recorded < wanted.to,
        wanted.ip is None or draft.request.ip == wanted.ip,
        wanted.email is None or normal_email(wanted.email) in [normal_email(each) for each in emails if each],
    ]
    return all(tests)


def expected(kept: list[Kept], tenant_id: str, wanted: EventFilter, within: tuple[str, ...] = ()) -> list[str]:
    found = [each.event for each in kept if matches(each, tenant_id, wanted, within)]
    return [event["id"] for event in sorted(found, key=lambda event: (event["recorded_at"], event["id"]), reverse=True)]


async def found(
    world: World, tenant_id: str, wanted: EventFilter, *, within: tuple[str, ...] = (), limit: int = 1000
) -> list[str]:
    """The ids of all pages of a search."""
    ids: list[str] = []
    after: Cursor | None = None
    while True:
        page = await world.search.page(tenant_id, wanted, within=within, limit=limit, after=after)
        assert len(page.items) <= limit
        assert all(item["tenant_id"] == tenant_id for item in page.items)
        ids += [item["id"] for item in page.items]
        after = page.next
        if after is None:
            return ids


SINGLE: dict[str, tuple[object, ...]] = {
    "types": (
        *((name,) for name in TYPES),
        ("auth.*",),
        ("access.*", "audit.*"),
        ("auth.*", "user.delete"),
        ("auth.login", "auth.logout", "alert.raise"),
        ("auth.login", "auth.*"),
        ("none.*",),
        ("auth",),
        ("auth.logi",),
    ),
    "outcome": ("success", "failure", "denied", "error"),
    "severity": ("info", "low", "medium", "high", "critical"),
    "actor": (ADA, BOB, "nobody", ADA[:-1]),
    "target": (ADA, BOB, "a1", "nobody"),
    "subject": (ADA, BOB, "a1", "nobody", ADA[:-1]),
    "data_class": ("none", "personal", "confidential", "phi"),
    "from_": (NOW - STEP, NOW, NOW + timedelta(microseconds=1), NOW + 3 * STEP, NOW + 50 * STEP),
    "to": (NOW, NOW + timedelta(microseconds=1), NOW + 3 * STEP, NOW + 50 * STEP),
    "ip": (IP, BOB_IP, "203.0.113.10"),
    "email": (
        EMAIL,
        "ADA@EXAMPLE.COM",
        BOB_EMAIL,
        "Bob@xn--mnchen-3ya.de",
        "ada+x@example.com",
        "\u0430da@example.com",
    ),
}


@pytest.mark.parametrize("name", sorted(SINGLE))
async def test_every_filter_finds_what_the_oracle_finds(name: str, trail: tuple[World, list[Kept]]) -> None:
    world, kept = trail
    hits = 0
    for value, tenant_id in itertools.product(SINGLE[name], (TENANT, OTHER)):
        wanted = EventFilter(**{name: value})  # type: ignore[arg-type] # values of the table above
        ids = await found(world, tenant_id, wanted)
        assert ids == expected(kept, tenant_id, wanted), (value, tenant_id)
        hits += len(ids)
    assert hits, "a filter that never finds anything proves nothing"


def test_every_filter_has_its_values() -> None:
    assert set(SINGLE) == {each.name for each in dataclasses.fields(EventFilter)}


async def test_all_filters_must_hold(trail: tuple[World, list[Kept]]) -> None:
    world, kept = trail
    hits = 0
    for (one, values), (other, others) in itertools.combinations(SINGLE.items(), 2):
        for value, another in zip(values[:3], itertools.islice(others, 1, 4), strict=False):
            wanted = EventFilter(**{one: value, other: another})  # type: ignore[arg-type] # values of the table above
            ids = await found(world, TENANT, wanted)
            assert ids == expected(kept, TENANT, wanted), wanted
            hits += bool(ids)
    assert hits > 20


async def test_no_filter_finds_the_whole_trail_of_one_tenant_newest_first(trail: tuple[World, list[Kept]]) -> None:
    world, kept = trail
    for tenant_id in (TENANT, OTHER):
        assert await found(world, tenant_id, EventFilter()) == expected(kept, tenant_id, EventFilter())
    assert await found(world, "nobody", EventFilter()) == []
    assert await found(world, TENANT[:-1], EventFilter()) == []


async def test_within_bounds_what_types_may_ask_for(trail: tuple[World, list[Kept]]) -> None:
    world, kept = trail
    for types in SINGLE["types"]:
        wanted = EventFilter(types=types)  # type: ignore[arg-type] # values of the table above
        ids = await found(world, TENANT, wanted, within=AUTHORIZATION_LOG)
        assert ids == expected(kept, TENANT, wanted, AUTHORIZATION_LOG)
    assert await found(world, TENANT, EventFilter(types=("audit.*",)), within=AUTHORIZATION_LOG) == []


async def test_bounds_are_exact_to_the_microsecond_and_to_is_excluded(trail: tuple[World, list[Kept]]) -> None:
    world, kept = trail
    moments = sorted({parse_rfc3339(each.event["recorded_at"]) for each in kept})
    tick = timedelta(microseconds=1)

    async def count(from_: datetime, to: datetime) -> int:
        return len(await found(world, TENANT, EventFilter(from_=from_, to=to)))

    for moment in moments[:4]:
        there = sum(
            parse_rfc3339(each.event["recorded_at"]) == moment for each in kept if each.draft.tenant_id == TENANT
        )
        assert there > 0
        assert await count(moment, moment + tick) == there
        assert await count(moment - tick, moment) == 0
        assert await count(moment + tick, moment + 2 * tick) == 0
        assert await count(moment, moment) == 0
        assert await count(moment + tick, moment - tick) == 0


async def test_months_join_without_a_seam(trail: tuple[World, list[Kept]]) -> None:
    world, kept = trail
    assert len({each.event["period"] for each in kept}) >= 4
    whole = await found(world, TENANT, EventFilter())
    for limit in (1, 2, 7, len(whole) - 1, len(whole), len(whole) + 1):
        assert await found(world, TENANT, EventFilter(), limit=limit) == whole


async def test_pages_neither_repeat_nor_skip_while_events_arrive(world: World) -> None:
    async def record(count: int) -> list[str]:
        return [(await world.recorder.record(by_ada(ProfileView())))["id"] for _ in range(count)]

    there = []
    for _ in range(10):
        there += await record(3)  # three of the same moment
        world.clock.advance(hours=80)  # across months
    seen: list[str] = []
    after: Cursor | None = None
    while True:
        page = await world.search.page(TENANT, EventFilter(), limit=4, after=after)
        seen += [item["id"] for item in page.items]
        after = page.next
        if after is None:
            break
        await record(2)
        await world.recorder.record(by_ada(ProfileView(), OTHER))
        world.clock.advance(seconds=1)
    assert seen == sorted(there, reverse=True)


async def test_a_lost_cursor_of_another_tenant_shows_only_ones_own(trail: tuple[World, list[Kept]]) -> None:
    world, _ = trail
    theirs = await world.search.page(OTHER, EventFilter(), limit=5)
    mine = await world.search.page(TENANT, EventFilter(), limit=1000, after=theirs.next)
    assert mine.items
    assert {item["tenant_id"] for item in mine.items} == {TENANT}


async def test_an_address_or_e_mail_is_looked_up_by_its_index_value_only(trail: tuple[World, list[Kept]]) -> None:
    """Neither is in the clear outside the boxes, so a search can only go by the keyed hash."""
    world, _ = trail
    page = await world.search.page(TENANT, EventFilter(email=EMAIL, ip=IP), limit=1)
    (event,) = page.items
    outside = str({name: value for name, value in event.items() if name != "personal"}).lower()
    assert EMAIL.lower() not in outside
    assert IP not in outside
    assert IP not in repr(EventFilter(email=EMAIL, ip=IP))
    assert EMAIL not in repr(EventFilter(email=EMAIL, ip=IP))


async def test_what_is_no_e_mail_is_a_value_error(world: World) -> None:
    with pytest.raises(ValueError, match="@"):
        await world.search.page(TENANT, EventFilter(email="ada"))


async def test_an_event_as_shown_is_the_stored_one_with_its_boxes_open(world: World) -> None:
    for name, draft in EXAMPLES.items():
        event = await world.recorder.record(draft)
        stored: Item = await world.store.read(AUDIT_EVENTS, (event["tenant_id"], event["period"]), event["id"])
        shown = await world.search.shown(stored)
        assert set(shown) == set(event), name
        assert {key: shown[key] for key in shown if key != "personal"} == {
            key: event[key] for key in event if key != "personal"
        }
        assert shown["personal"] == {subject: box["data"] for subject, box in event["personal"].items()}
        assert "salt" not in str(shown["personal"])


PREFIX = Prefix("type", "auth.")


@pytest.mark.parametrize(
    ("patterns", "wanted"),
    [
        (("auth.login",), Eq("type", "auth.login")),
        (("auth.*",), PREFIX),
        (("auth.login", "auth.logout"), In("type", ("auth.login", "auth.logout"))),
        (("auth.*", "user.delete"), AnyOf((PREFIX, Eq("type", "user.delete")))),
        (("a.b", "auth.*", "c.d"), AnyOf((PREFIX, In("type", ("a.b", "c.d"))))),
        (("auth.*", "user.*"), AnyOf((PREFIX, Prefix("type", "user.")))),
        (("auth*",), Eq("type", "auth*")),  # no prefix: only whole families are
        (("*",), Eq("type", "*")),
        ((), AnyOf(())),  # nothing asked for, nothing found
    ],
)
def test_types_filter(patterns: tuple[str, ...], wanted: Filter) -> None:
    assert types_filter(patterns) == wanted
