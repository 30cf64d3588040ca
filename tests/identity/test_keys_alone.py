"""API keys without the app around them: what one is, what it may, and when it is good for nothing."""

from datetime import timedelta
from typing import Any

from shared.core.clock import rfc3339
from shared.core.errors import Forbidden, Invalid, NotFoundError, Unauthenticated
from shared.identity.api_keys import shown_api_key
from shared.identity.approvals import Approval
from shared.identity.model import ServicePrincipal
from shared.storage.containers import IDENTITY
from shared.storage.documents import Item
from tests.identity.gate import ADA, ELSEWHERE, GRACE, HERE, HOUR, Gate, refused


async def made(gate: Gate, **given: Any) -> tuple[Item, str]:
    asked: dict[str, Any] = {"name": "feed", "scopes": ["alerts:read"], "expires_at": None, **given}
    return await gate.keys.make(await gate.caller(), request=gate.request, **asked)


async def test_a_key_is_its_tenants_and_does_what_its_scopes_say(gate: Gate) -> None:
    expires = gate.clock.now() + HOUR
    item, text = await made(gate, scopes=["reports:read", "alerts:read"], expires_at=expires)
    assert {name: value for name, value in item.items() if name not in ("id", "key_id", "secret_hash")} == {
        "tenant_id": HERE,
        "kind": "api_key",
        "name": "feed",
        "scopes": ["alerts:read", "reports:read"],
        "created_by": ADA,
        "created_at": rfc3339(gate.clock.now()),
        "expires_at": rfc3339(expires),
        "last_used_at": None,
        "last_sent_at": None,
        "silent_since": None,
    }
    (event,) = await gate.told("apikey.create")
    assert (event["actor"]["id"], event["target"]) == (ADA, {"kind": "api_key", "id": item["key_id"]})
    assert event["attributes"] == {"scopes": ["alerts:read", "reports:read"], "expires_at": rfc3339(expires)}

    program = await gate.keys.authenticate(text, gate.request)
    assert program == ServicePrincipal(item["key_id"], HERE, frozenset({"alerts:read", "reports:read"}))
    await gate.keys.require_scope(program, "alerts:read", gate.request)
    assert await gate.told() == []
    for scope, detail in (
        ("events:write", "This call needs the scope events:write."),
        (None, "This call is not for API keys."),
    ):
        error = await refused(gate.keys.require_scope(program, scope, gate.request), Forbidden, "forbidden")
        assert error.detail == detail
        event = (await gate.told())[-1]
        assert (event["reason"], event["attributes"]["required_scope"]) == ("scope", scope)
        assert event["actor"] == {"kind": "service", "id": item["key_id"], "role": None}
        gate.clock.advance(seconds=1)


async def test_a_key_says_what_it_sent_last(gate: Gate) -> None:
    item, text = await made(gate)
    await gate.change(
        item["id"], last_sent_at="2026-03-15T11:00:00.000000Z", silent_since="2026-03-15T11:30:00.000000Z"
    )
    program = await gate.keys.authenticate(text, gate.request)
    assert (program.last_sent_at, program.silent) == ("2026-03-15T11:00:00.000000Z", True)


def test_what_is_shown_of_a_key() -> None:
    common = {name: f"its {name}" for name in ("name", "scopes", "created_at", "expires_at", "last_used_at")}
    held = {**common, "key_id": "k", "secret_hash": "h", "tenant_id": HERE, "created_by": ADA}
    shown = {**common, "id": "k", "last_sent_at": None, "silent_since": None}
    assert shown_api_key(held) == shown
    sent = {"last_sent_at": "then", "silent_since": "since then"}
    assert shown_api_key({**held, **sent}) == {**shown, **sent}


async def test_a_key_that_is_over_before_it_begins_is_refused(gate: Gate) -> None:
    now = gate.clock.now()
    error = await refused(made(gate, expires_at=now), Invalid, "invalid_request")
    assert error.detail == "Some fields are not as they must be."
    (fault,) = error.errors
    assert (fault.field, fault.code, fault.message) == ("expires_at", "past", "must be in the future")
    await made(gate, expires_at=now + timedelta(microseconds=1))
    await refused(made(gate, approval=Approval(ADA)), Invalid, "invalid_request")
    assert len(await gate.told("apikey.create")) == 1


async def test_a_key_that_does_not_hold(gate: Gate) -> None:
    item, text = await made(gate, expires_at=gate.clock.now() + HOUR)
    other, another = await made(gate)
    swapped = text.rpartition(".")[0] + "." + another.rpartition(".")[2]
    foreign = text.replace(HERE, ELSEWHERE)
    wrong = [("", "malformed"), (text[:-1], "malformed"), (swapped, "api_key_unknown"), (foreign, "api_key_unknown")]

    async def reason_for(key: str) -> str:
        await refused(gate.keys.authenticate(key, gate.request), Unauthenticated, "invalid_token")
        gate.clock.advance(seconds=61)  # one a minute is recorded by itself
        return str((await gate.told("auth.token_rejected", "platform"))[-1]["reason"])

    for key, reason in wrong:
        assert await reason_for(key) == reason
    gate.clock.set(gate.clock.now().replace(hour=13, minute=0, second=0, microsecond=0) - timedelta(microseconds=1))
    assert (await gate.keys.authenticate(text, gate.request)).key_id == item["key_id"]
    gate.clock.advance(seconds=1e-6)
    assert await reason_for(text) == "expired"
    assert (await gate.keys.authenticate(another, gate.request)).key_id == other["key_id"]
    await gate.change("tenant", status="suspended")
    assert await reason_for(another) == "tenant_suspended"


async def test_the_use_of_a_key_is_noted_once_an_hour(gate: Gate) -> None:
    item, text = await made(gate)
    noted = []
    for minutes in (0, 59, 1, 59, 1):
        gate.clock.advance(minutes=minutes)
        await gate.keys.authenticate(text, gate.request)
        held = await gate.store.read(IDENTITY, (HERE,), item["id"])
        noted.append(held["last_used_at"])
    start = gate.clock.now() - 2 * HOUR
    assert noted == [rfc3339(start + n * HOUR) for n in (0, 0, 1, 1, 2)]


async def test_keys_are_listed_newest_first_and_end_at_once(gate: Gate) -> None:
    first, text = await made(gate)
    gate.clock.advance(seconds=1)
    second, _ = await made(gate, name="second")
    page = await gate.keys.page(HERE, limit=1, after=None)
    assert [each["key_id"] for each in page.items] == [second["key_id"]]
    rest = await gate.keys.page(HERE, limit=5, after=page.next)
    assert [each["key_id"] for each in rest.items] == [first["key_id"]]
    assert (await gate.keys.page(ELSEWHERE, limit=5, after=None)).items == []

    await gate.keys.revoke(await gate.caller(), first["key_id"], gate.request)
    await refused(gate.keys.authenticate(text, gate.request), Unauthenticated, "invalid_token")
    (event,) = await gate.told("apikey.revoke")
    assert (event["target"], event["actor"]["id"]) == ({"kind": "api_key", "id": first["key_id"]}, ADA)
    assert event["attributes"] == {"scopes": ["alerts:read"]}


async def test_another_tenants_key_is_nobodys_to_end(gate: Gate) -> None:
    item, text = await made(gate)
    revoking = gate.keys.revoke(await gate.caller(GRACE), item["key_id"], gate.request)
    await refused(revoking, NotFoundError, "not_found")
    (event,) = await gate.told("access.denied", ELSEWHERE)
    assert (event["reason"], event["target"]) == ("unknown_id", {"kind": "api_key", "id": item["key_id"]})
    assert (await gate.keys.authenticate(text, gate.request)).tenant_id == HERE
