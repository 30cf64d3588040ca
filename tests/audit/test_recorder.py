"""The recorder: what a stored event holds, what it must not hold, and what happens when it cannot be written."""

import base64
import dataclasses
import json
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import pytest

from shared.audit.events.auth import AuthLogin, AuthLogout
from shared.audit.events.profile import ProfileView
from shared.audit.model import (
    ANONYMOUS,
    SYSTEM,
    Actor,
    AuditEvent,
    Draft,
    FreeEvent,
    PersonalOf,
    RequestContext,
    Target,
)
from shared.audit.recorder import audit_unavailable
from shared.audit.registry import all_types, event_type
from shared.core.clock import parse_rfc3339, period_of, rfc3339
from shared.core.errors import Unready
from shared.core.ids import time_of
from shared.privacy.boxes import commitment_of
from shared.storage.documents import MAX_BATCH_OPERATIONS
from shared.storage.errors import StoreError, Throttled, TooLarge, Unavailable
from tests.audit.support import (
    ADA,
    AGENT,
    ANYONE,
    AUDITOR,
    BOB,
    EMAIL,
    EXAMPLES,
    IP,
    NOW,
    OTHER,
    REQUEST,
    TENANT,
    TIMER,
    World,
    by_ada,
)
from tests.faults import FaultyStore, Mode

OUTCOMES = ("success", "failure", "denied", "error")
VIEW = by_ada(ProfileView())


def changed(draft: Draft, **fields: Any) -> Draft:
    return dataclasses.replace(draft, **fields)


@pytest.mark.parametrize("name", sorted(EXAMPLES))
async def test_an_outcome_that_the_type_does_not_have_is_refused(name: str, world: World) -> None:
    for outcome in set(OUTCOMES) - all_types()[name].outcomes:
        with pytest.raises(ValueError, match=f"{name} cannot have the outcome {outcome}"):
            await world.recorder.record(changed(EXAMPLES[name], outcome=outcome))
    assert await world.events(EXAMPLES[name].tenant_id) == []


@pytest.mark.parametrize("name", sorted(EXAMPLES))
async def test_personal_data_is_in_boxes_and_nowhere_else(name: str, world: World) -> None:
    kind = all_types()[name]
    event = await world.recorder.finish(EXAMPLES[name])
    drafted = EXAMPLES[name].event
    if isinstance(drafted, FreeEvent):
        assert event["attributes"] == drafted.attributes
    else:
        unsaid = {name for name in drafted.sparse if getattr(drafted, name) is None}
        assert set(event["attributes"]) == set(kind.model.model_fields) - set(kind.personal) - unsaid
    outside = json.dumps({**event, "personal": None}, ensure_ascii=False).lower()
    for value in (EMAIL, IP, AGENT, "Łovelace", "ada@example.com"):
        assert value.lower() not in outside


@pytest.mark.parametrize("name", sorted(EXAMPLES))
async def test_commitments_prove_every_box(name: str, world: World) -> None:
    event = await world.recorder.finish(EXAMPLES[name])
    assert set(event["commitments"]) == set(event["personal"])
    assert set(event["personal"]) <= set(event["subjects"])
    for subject, box in event["personal"].items():
        salt = base64.b64decode(box["salt"])
        assert event["commitments"][subject] == commitment_of(salt, box["data"])


async def test_a_user_s_event_carries_e_mail_address_and_agent_sealed_under_the_user(world: World) -> None:
    event = await world.recorder.finish(VIEW)
    assert event["personal"][ADA]["data"] == {"email": EMAIL, "ip": IP, "user_agent": AGENT}
    assert event["subjects"] == [ADA]


async def test_without_a_person_nothing_personal_is_kept(world: World) -> None:
    """The address is still found through its index value, which cannot be read back."""
    event = await world.recorder.finish(EXAMPLES["auth.token_rejected"])
    assert (event["personal"], event["commitments"], event["subjects"]) == ({}, {}, [])
    assert event["ip_key"] == await world.index.for_address(IP)
    unowned = await world.recorder.finish(changed(EXAMPLES["auth.register"], person=None, target=None))
    assert unowned["personal"] == {}
    assert "first_name" not in unowned["attributes"]


async def test_a_failed_login_is_about_the_account_with_the_e_mail_as_typed(world: World) -> None:
    event = await world.recorder.finish(EXAMPLES["auth.login"])
    assert event["actor"] == {"kind": "anonymous", "id": None, "role": None}
    assert event["personal"] == {ADA: event["personal"][ADA]}
    assert event["personal"][ADA]["data"]["email"] == "ada@EXAMPLE.com"
    assert event["actor_key"] == event["target_key"] == await world.index.for_email(TENANT, EMAIL)


async def test_the_e_mail_of_a_target_is_sealed_under_the_target(world: World) -> None:
    event = await world.recorder.finish(changed(VIEW, target=Target("user", BOB, "bob@example.com")))
    assert event["personal"][BOB]["data"] == {"email": "bob@example.com"}
    assert event["personal"][ADA]["data"]["email"] == EMAIL
    assert event["subjects"] == [ADA, BOB]
    assert event["target"] == {"kind": "user", "id": BOB}
    assert event["actor_key"] == await world.index.for_email(TENANT, EMAIL)
    assert event["target_key"] == await world.index.for_email(TENANT, "bob@example.com")


@pytest.mark.usefixtures("scratch_registry")
async def test_each_personal_field_goes_to_its_owner_s_box(world: World) -> None:
    class Changed(AuditEvent):
        """Somebody changed somebody's data."""

        fields: list[str]
        old: Annotated[dict[str, str], PersonalOf("target")]
        note: Annotated[str, PersonalOf("actor")]
        more: Annotated[str | None, PersonalOf("target")] = None

    event_type("test.changed")(Changed)
    draft = by_ada(Changed(fields=["phone"], old={"phone": "+1 555"}, note="moved"), target=Target("user", BOB))
    event = await world.recorder.finish(draft)
    assert event["attributes"] == {"fields": ["phone"]}
    assert event["personal"][BOB]["data"] == {"old": {"phone": "+1 555"}}
    assert event["personal"][ADA]["data"] == {"email": EMAIL, "ip": IP, "user_agent": AGENT, "note": "moved"}
    without_target = await world.recorder.finish(changed(draft, target=None))
    assert set(without_target["personal"]) == {ADA}
    assert "+1 555" not in json.dumps(without_target)


@pytest.mark.parametrize(
    ("actor", "target", "person", "subjects"),
    [
        (AUDITOR, None, ADA, [ADA]),
        (AUDITOR, Target("user", ADA), ADA, [ADA]),
        (AUDITOR, Target("user", BOB), ADA, [ADA, BOB]),
        (AUDITOR, Target("report", "r"), ADA, [ADA]),
        (AUDITOR, None, None, [ADA]),
        (SYSTEM, Target("user", BOB), None, [BOB]),
        (SYSTEM, Target("alert", "a"), None, []),
        (Actor("service", "s"), None, None, []),
        (ANONYMOUS, None, None, []),
        (ANONYMOUS, None, "stranger", ["stranger"]),
    ],
)
async def test_the_persons_concerned(
    actor: Actor, target: Target | None, person: str | None, subjects: list[str], world: World
) -> None:
    event = await world.recorder.finish(changed(VIEW, actor=actor, target=target, person=person))
    assert event["subjects"] == subjects


async def test_the_source_is_the_session_or_else_the_function(world: World) -> None:
    assert (await world.recorder.finish(VIEW))["source"] == {"kind": "session", "id": REQUEST.session_id}
    assert (await world.recorder.finish(changed(VIEW, request=ANYONE)))["source"] == {"kind": "function", "id": "login"}


async def test_index_values_are_null_where_there_is_nothing(world: World) -> None:
    event = await world.recorder.finish(EXAMPLES["report.generate"])
    assert {event[name] for name in ("actor_key", "target_key", "ip_key", "ua_key")} == {None}
    empty = RequestContext("r", "route", "function", NOW, ip="", user_agent="")
    assert (await world.recorder.finish(Draft(TENANT, ProfileView(), empty)))["ip_key"] is None


async def test_index_values_of_two_tenants_meet_only_in_the_address(world: World) -> None:
    one, two = [await world.recorder.finish(changed(VIEW, tenant_id=tenant)) for tenant in (TENANT, OTHER)]
    assert one["ip_key"] == two["ip_key"]
    assert one["actor_key"] != two["actor_key"]
    assert one["ua_key"] != two["ua_key"]


async def test_severity(world: World) -> None:
    assert (await world.recorder.finish(VIEW))["severity"] == "info"
    assert (await world.recorder.finish(EXAMPLES["access.denied"]))["severity"] == "low"
    assert (await world.recorder.finish(EXAMPLES["access.cross_tenant_denied"]))["severity"] == "high"
    assert (await world.recorder.finish(EXAMPLES["user.delete"]))["severity"] == "medium"
    assert (await world.recorder.finish(changed(VIEW, severity="critical")))["severity"] == "critical"


@pytest.mark.parametrize(
    "moment",
    [
        NOW,
        datetime(2026, 1, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(2026, 2, 1, tzinfo=UTC),
        datetime(2024, 2, 29, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(2025, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    ],
)
async def test_id_period_and_time_agree(moment: datetime, world: World) -> None:
    world.clock.set(moment)
    event = await world.recorder.record(VIEW)
    assert event["recorded_at"] == event["occurred_at"] == rfc3339(moment)
    assert event["period"] == period_of(moment) == period_of(time_of(event["id"]))
    assert time_of(event["id"]) == moment.replace(microsecond=moment.microsecond // 1000 * 1000)


async def test_occurred_at_is_the_producer_s_and_moves_nothing_else(world: World) -> None:
    occurred = NOW - timedelta(days=40)
    event = await world.recorder.finish(changed(VIEW, occurred_at=occurred))
    assert parse_rfc3339(event["occurred_at"]) == occurred
    assert (event["recorded_at"], event["period"]) == (rfc3339(NOW), "2026-03")


@pytest.mark.parametrize(("back", "shown"), [(0, 0), (0.0004, 0), (0.0016, 2), (61, 61_000), (-5, 0)])
async def test_duration_in_milliseconds_is_never_negative(back: float, shown: int, world: World) -> None:
    request = dataclasses.replace(REQUEST, started_at=NOW - timedelta(seconds=back))
    assert (await world.recorder.finish(changed(VIEW, request=request)))["context"]["duration_ms"] == shown


async def test_ids_of_events_differ_and_order_as_they_were_recorded(world: World) -> None:
    events = [await world.recorder.record(VIEW) for _ in range(3)]
    world.clock.advance(seconds=1)
    events.append(await world.recorder.record(VIEW))
    assert len({event["id"] for event in events}) == 4
    assert max(event["id"] for event in events) == events[-1]["id"]


async def test_finishing_writes_nothing(world: World) -> None:
    watched = FaultyStore(world.store)
    await world.over(watched).recorder.finish(VIEW)
    assert watched.calls == []


async def test_publishing_twice_is_one_event_the_first(world: World) -> None:
    event = await world.recorder.record(VIEW)
    await world.recorder.publish(event)
    await world.recorder.publish({**event, "outcome": "failure"})
    assert await world.events() == [event]


@pytest.mark.parametrize("there", [(0,), (1,), (4,), (0, 3), (0, 1, 2, 3, 4)], ids=repr)
async def test_a_batch_of_which_some_are_there_already_writes_the_others(there: tuple[int, ...], world: World) -> None:
    """A store refuses such a batch whole; what an earlier attempt wrote stays as it was."""
    events = [await world.recorder.finish(VIEW) for _ in range(5)]
    for place in there:
        await world.recorder.publish(events[place])
    await world.recorder.publish_all([{**e, "reason": "again"} if i in there else e for i, e in enumerate(events)])
    assert await world.events() == events


async def test_one_event_that_is_there_holds_up_no_chunk(world: World) -> None:
    """In the second of three chunks: all of the three are whole."""
    events = [await world.recorder.finish(VIEW) for _ in range(2 * MAX_BATCH_OPERATIONS + 2)]
    await world.recorder.publish(events[MAX_BATCH_OPERATIONS + 1])
    await world.recorder.publish_all(events)
    assert await world.events() == events


async def test_an_unregistered_event_is_refused(world: World) -> None:
    class Unknown(AuditEvent):
        """Nobody registered this."""

    with pytest.raises(KeyError):
        await world.recorder.record(changed(VIEW, event=Unknown()))


@pytest.mark.parametrize("mode", ["before", "after"])
@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (Unavailable("ada@example.com"), 5),
        (TooLarge("ada@example.com"), 5),
        (Throttled("ada@example.com", retry_after_seconds=0.01), 1),
        (Throttled("ada@example.com", retry_after_seconds=2.2), 3),
        (Throttled("ada@example.com", retry_after_seconds=30), 30),
    ],
    ids=repr,
)
async def test_what_cannot_be_audited_is_refused(mode: Mode, error: StoreError, seconds: int, world: World) -> None:
    faulty = world.over(FaultyStore(world.store, 1, mode, error))
    with pytest.raises(Unready) as caught:
        await faulty.recorder.record(VIEW)
    assert (caught.value.status, caught.value.code) == (503, "audit_unavailable")
    assert caught.value.retry_after_seconds == seconds
    assert caught.value.__cause__ is error
    assert "ada" not in caught.value.detail
    assert len(await world.events()) == (1 if mode == "after" else 0)


async def test_a_store_error_of_publishing_passes_through(world: World) -> None:
    """The outbox and its drain decide for themselves what to do."""
    faulty = world.over(FaultyStore(world.store, 1, error=Unavailable()))
    event = await faulty.recorder.finish(VIEW)
    with pytest.raises(Unavailable):
        await faulty.recorder.publish(event)


def test_retry_after_is_never_shorter_than_the_store_asks() -> None:
    for asked in (0.0, 0.4, 1.0, 1.4, 1.6, 2.5, 59.1):
        answered = audit_unavailable(Throttled(retry_after_seconds=asked)).retry_after_seconds
        assert answered is not None
        assert answered >= max(asked, 1)


def test_no_repr_shows_personal_data() -> None:
    draft = changed(EXAMPLES["auth.login"], actor=AUDITOR)
    shown = repr((draft, TIMER))
    for value in (EMAIL, IP, AGENT, "ada@EXAMPLE.com"):
        assert value not in shown


async def test_two_types_differ_by_their_attributes_alone(world: World) -> None:
    events = (AuthLogin(attempt_count=1), AuthLogout(session_seconds=1))
    login, logout = [await world.recorder.finish(by_ada(event)) for event in events]
    assert {name for name in login if login[name] != logout[name]} == {"id", "type", "attributes"}
