"""Before an endpoint is asked anything: who calls, by which token, and which refusal comes first."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from functions import ENDPOINTS
from functions._api import Endpoint
from functions._caller import bearer, known_caller
from shared.core.errors import Forbidden, Unauthenticated
from shared.identity.attempted import Attempted
from shared.identity.model import ServicePrincipal, session_key
from shared.wiring import Services
from tests.identity.gate import ADA, BOB, HERE, Gate, refused

BY_NAME = {each.name: each for each in ENDPOINTS}
UPDATE, ALERTS, PROFILE = (BY_NAME[name] for name in ("update_user", "list_alerts", "get_profile"))


@pytest.mark.parametrize(
    ("header", "token"),
    [
        ("Bearer abc", "abc"),
        ("bearer abc", "abc"),
        ("BEARER   abc ", "abc"),
        ("Bearer a b", "a b"),
        ("Bearer", None),
        ("Bearer ", None),
        ("Bearer    ", None),
        ("Basic abc", None),
        ("abc", None),
        (" Bearer abc", None),
        ("Bearerabc", None),
        ("", None),
    ],
)
def test_what_is_a_bearer_token(header: str, token: str | None) -> None:
    assert bearer(header) == token


async def known(gate: Gate, endpoint: Endpoint, token: str | None, **attempted: Any) -> Any:
    services = cast("Services", SimpleNamespace(access=gate.access, api_keys=gate.keys))
    return await known_caller(endpoint, token, services, gate.request, lambda: Attempted(**attempted))


async def key(gate: Gate, *scopes: str) -> tuple[str, str]:
    item, text = await gate.keys.make(await gate.caller(), "feed", scopes, None, gate.request)
    return item["key_id"], text


async def test_a_person_calls_in_the_session_of_the_token(gate: Gate) -> None:
    caller, request = await known(gate, UPDATE, gate.tokens[ADA])
    assert caller == await gate.caller()
    assert (request.session_id, request.api_key_id) == (caller.session_id, None)
    assert (request.request_id, request.ip) == (gate.request.request_id, gate.request.ip)


async def test_a_program_calls_by_its_key(gate: Gate) -> None:
    key_id, text = await key(gate, "alerts:read")
    caller, request = await known(gate, ALERTS, text)
    assert caller == ServicePrincipal(key_id, HERE, frozenset({"alerts:read"}))
    assert (request.session_id, request.api_key_id) == (None, key_id)


async def test_nobody_calls_without_a_token(gate: Gate) -> None:
    await refused(known(gate, PROFILE, None), Unauthenticated, "missing_token")
    for wrong in ("x", "kak_x", gate.tokens[ADA] + "x"):
        await refused(known(gate, PROFILE, wrong), Unauthenticated, "invalid_token")


@pytest.mark.parametrize("endpoint", [PROFILE, UPDATE, BY_NAME["list_events"]])
async def test_a_key_opens_what_its_scope_names_and_nothing_else(gate: Gate, endpoint: Endpoint) -> None:
    key_id, text = await key(gate, "alerts:read")
    await refused(known(gate, endpoint, text, kind="user", target_id=BOB), Forbidden, "forbidden")
    (event,) = await gate.told()
    assert (event["reason"], event["attributes"]["required_scope"]) == ("scope", endpoint.scope)
    assert event["source"] == {"kind": "api_key", "id": key_id}
    assert event["target"] == {"kind": "user", "id": BOB}


async def test_a_role_that_is_too_low_is_told_before_anything_of_factors(gate: Gate) -> None:
    await gate.change("tenant", settings={"require_mfa": "all"})
    await refused(known(gate, UPDATE, gate.tokens[BOB], kind="user", target_id=ADA), Forbidden, "forbidden")
    (event,) = await gate.told()
    assert (event["reason"], event["target"]["id"]) == ("role", ADA)
    assert event["source"]["kind"] == "session"


async def test_a_factor_that_is_due_and_one_that_is_not_fresh(gate: Gate) -> None:
    await gate.change("tenant", settings={"require_mfa": "admins"})
    enroll = BY_NAME["mfa_enroll"]
    assert (await known(gate, enroll, gate.tokens[ADA]))[0].user_id == ADA, "enrolling is what is due"
    call = known(gate, UPDATE, gate.tokens[ADA], kind="user", target_id=BOB)
    await refused(call, Forbidden, "mfa_enrollment_required")
    await gate.change(f"user|{ADA}", mfa=True)
    assert (await known(gate, PROFILE, gate.tokens[ADA]))[0].user_id == ADA, "reading asks for no fresh one"
    call = known(gate, UPDATE, gate.tokens[ADA], kind="user", target_id=BOB)
    await refused(call, Forbidden, "step_up_required")
    told = await gate.told()
    assert {(each["reason"], each["target"]["id"]) for each in told} == {("mfa_enrollment", BOB), ("step_up", BOB)}
    ada = await gate.caller()
    await gate.change(session_key(ada.session_id), mfa_at=ada.session["created_at"])
    assert (await known(gate, UPDATE, gate.tokens[ADA]))[0].user_id == ADA
