"""What the trail keeps of a change that was refused: who wanted to change what of whom, and never a secret."""

import json
from typing import Any

import pytest

from functions import ENDPOINTS
from functions._api import Endpoint, Nothing
from functions._attempts import MOST_CHARACTERS, MOST_ITEMS, asks_for_a_role, attempted
from functions._parsing import MAX_BODY_BYTES
from shared.identity.model import USERS, Role
from shared.storage.documents import Item
from tests.app import Account, App, assert_problem
from tests.second_factors import enrolled, require

BY_NAME = {each.name: each for each in ENDPOINTS}
UPDATE = BY_NAME["update_user"]
NOWHERE = "01890a5d-ac96-774b-bcce-b302099a8057"
SECRETS = {"password", "current_password", "new_password", "code", "recovery_code", "challenge", "refresh_token"}
OTHERS = "of an event that was refused: it is about other persons, none of whom may be who sent it"
UNTOLD = {
    ("invite_user", "email"): "a stranger's, who has no box of the own before there is an invitation",
    ("complete_access_review", "decisions"): OTHERS,
    ("set_webhook", "url"): "sealed wherever it is kept: an address may hold a receiver's token",
    **{("set_webhook", each): "a secret" for each in ("secret", "new_secret")},
    **{("write_events", each): OTHERS for each in ("actor", "target", "subjects", "attributes", "personal", "events")},
}
"""Fields of mutations with a rank that a refusal does not keep, and why."""


async def last_denied(app: App, account: Account) -> Item:
    """The newest; the next one is later."""
    app.clock.advance(seconds=1)
    return (await app.events(account.tenant_id, "access.denied"))[-1]


def told(event: Item) -> dict[str, Any]:
    """What stands unsealed, without what is not there."""
    return {name: value for name, value in event["attributes"].items() if value}


def boxes(event: Item) -> dict[str, Any]:
    return {who: box["data"]["attempted"] for who, box in event["personal"].items() if "attempted" in box["data"]}


def attempt(raw: bytes, endpoint: Endpoint = UPDATE, query: str = "") -> Any:
    return attempted(endpoint, raw, f"http://kraftd.test/api/v1/x{query}", {"id": NOWHERE})


@pytest.mark.parametrize("role", [Role.VIEWER, Role.USER, Role.AUDITOR])
async def test_a_role_that_is_too_low(app: App, ada: Account, role: Role) -> None:
    bob = await app.join(ada, "bob@example.com", role)
    eve = await app.join(ada, "eve@example.com", Role.VIEWER)
    body = {"role": "tenant_admin", "company": "Example", "surprise": "x", "password": "hunter2"}
    answer = await app.client.put(f"/v1/admin/users/{eve.id}", json=body, headers=bob.auth)
    assert_problem(answer, 403, "forbidden")
    event = await last_denied(app, ada)
    assert (event["reason"], event["actor"]["id"], event["target"]) == ("role", bob.id, {"kind": "user", "id": eve.id})
    assert told(event) == {
        "required_role": "tenant_admin",
        "held_role": role.value,
        "attempted_fields": ["company", "role"],
        "attempted_role": "tenant_admin",
        "target_role": "viewer",
    }
    assert boxes(event) == {eve.id: {"role": "tenant_admin", "company": "Example"}}
    assert "hunter2" not in json.dumps(event)


async def test_an_id_of_nobody_here_is_no_target_and_looks_the_same(app: App, ada: Account, grace: Account) -> None:
    """The actor's own box has what was tried; the trail holds nothing of the other tenant."""
    bob = await app.join(ada, "bob@example.com", Role.USER)
    for wanted in (NOWHERE, grace.id):
        answer = await app.client.put(f"/v1/admin/users/{wanted}", json={"role": "viewer"}, headers=bob.auth)
        assert_problem(answer, 403, "forbidden")
        event = await last_denied(app, ada)
        assert (event["target"], event["subjects"]) == (None, [bob.id])
        assert (told(event)["attempted_role"], event["attributes"]["target_role"]) == ("viewer", None)
        assert boxes(event) == {bob.id: {"role": "viewer"}}
        assert wanted not in json.dumps(event)


async def test_what_is_no_person_is_a_target_and_has_no_box(app: App, ada: Account) -> None:
    bob = await app.join(ada, "bob@example.com", Role.USER)
    made = await app.client.post("/v1/admin/api-keys", json={"name": "x", "scopes": ["alerts:read"]}, headers=ada.auth)
    path = f"/v1/admin/api-keys/{made.json()['id']}"
    assert_problem(await app.client.delete(path, headers=bob.auth), 403, "forbidden")
    event = await last_denied(app, ada)
    assert event["target"] == {"kind": "api_key", "id": made.json()["id"]}
    assert (boxes(event), set(event["personal"])) == ({}, {bob.id})
    settings = {"require_mfa": "off"}
    assert_problem(await app.client.put("/v1/admin/settings", json=settings, headers=bob.auth), 403, "forbidden")
    assert boxes(await last_denied(app, ada)) == {bob.id: settings}


async def test_a_deletion_keeps_its_reason_wherever_it_stands(app: App, ada: Account) -> None:
    bob = await app.join(ada, "bob@example.com", Role.USER)
    path = f"/v1/admin/users/{ada.id}"
    assert_problem(await app.client.delete(path, params={"reason": "because"}, headers=bob.auth), 403, "forbidden")
    assert boxes(await last_denied(app, ada)) == {ada.id: {"reason": "because"}}


async def test_a_factor_that_is_not_fresh(app: App, ada: Account) -> None:
    bob = await app.join(ada, "bob@example.com")
    await enrolled(app, ada)
    await require(app, ada, "all")
    app.clock.advance(minutes=15)
    renewed = await app.client.post("/v1/token/refresh", json={"refresh_token": ada.refresh_token})
    headers = {"Authorization": f"Bearer {renewed.json()['access_token']}"}
    answer = await app.client.put(f"/v1/admin/users/{bob.id}", json={"role": "auditor"}, headers=headers)
    assert_problem(answer, 403, "step_up_required")
    event = await last_denied(app, ada)
    assert (event["reason"], event["target"]["id"]) == ("step_up", bob.id)
    assert told(event)["attempted_role"] == "auditor"
    assert boxes(event) == {bob.id: {"role": "auditor"}}


async def test_a_key_that_may_not(app: App, ada: Account) -> None:
    """A program has no box; of a person of the tenant there is one."""
    made = await app.client.post("/v1/admin/api-keys", json={"name": "x", "scopes": ["alerts:read"]}, headers=ada.auth)
    headers = {"Authorization": f"Bearer {made.json()['key']}"}
    await app.client.put(f"/v1/admin/users/{ada.id}", json={"role": "viewer"}, headers=headers)
    event = await last_denied(app, ada)
    assert (event["reason"], boxes(event)) == ("scope", {ada.id: {"role": "viewer"}})
    await app.client.put("/v1/admin/settings", json={"require_mfa": "off"}, headers=headers)
    event = await last_denied(app, ada)
    assert (event["personal"], told(event)["attempted_fields"]) == ({}, ["require_mfa"])


async def test_secrets_of_a_refused_call_are_not_kept(app: App, ada: Account) -> None:
    await require(app, ada, "all")
    body = {"current_password": "the one I have now", "new_password": "the one that I want"}
    assert_problem(await app.client.post("/v1/password", json=body, headers=ada.auth), 403, "mfa_enrollment_required")
    event = await last_denied(app, ada)
    assert (event["target"]["id"], told(event)["attempted_fields"]) == (ada.id, sorted(body))
    assert boxes(event) == {}
    assert "the one" not in json.dumps(event)


@pytest.mark.parametrize(
    ("method", "path", "role"),
    [
        ("PUT", "/v1/admin/users/{bob}", "system_admin"),
        ("PUT", "/v1/admin/users/{ada}", "system_admin"),
        ("POST", "/v1/admin/invitations", "system_admin"),
        ("PUT", "/v1/profile", "tenant_admin"),
        ("PUT", "/v1/profile?role=tenant_admin", None),
        ("PUT", "/v1/admin/settings", "system_admin"),
    ],
)
async def test_a_role_that_nobody_gets_in_this_way_is_422_and_in_the_trail(
    app: App, ada: Account, method: str, path: str, role: str | None
) -> None:
    bob = await app.join(ada, "bob@example.com")
    junk = {f"field{number}": 1 for number in range(60)}  # more than the answer names
    body = {**junk, "email": "x@example.com"} | ({"role": role} if role else {})
    url = path.format(ada=ada.id, bob=bob.id)
    assert (await app.client.request(method, url, json=body, headers=ada.auth)).status_code == 422
    event = await last_denied(app, ada)
    assert (event["reason"], event["actor"]["id"]) == ("role", ada.id)
    assert told(event)["attempted_role"] == (role or "tenant_admin")
    about = bob.id if "{bob}" in path else ada.id
    assert boxes(event)[about]["role"] == told(event)["attempted_role"]
    roles = {"/v1/admin/users/{bob}": "viewer", "/v1/admin/invitations": None, "/v1/admin/settings": None}
    assert event["attributes"]["target_role"] == roles.get(path, "tenant_admin")


@pytest.mark.parametrize("body", [{"role": "king"}, {"role": "user", "surprise": 1}, {"role": 5}, {"role": ["user"]}])
async def test_what_is_only_wrong_is_no_refusal(app: App, ada: Account, body: dict[str, Any]) -> None:
    bob = await app.join(ada, "bob@example.com")
    answer = await app.client.put(f"/v1/admin/users/{bob.id}", json=body, headers=ada.auth)
    assert answer.status_code == 422
    assert await app.events(ada.tenant_id, "access.denied") == []


async def test_what_rank_would_have_done(app: App, ada: Account) -> None:
    """None at all, where the refusal is not about rank."""
    sam = await app.join(ada, "sam@example.com")
    await app.give_role(sam, Role.SYSTEM_ADMIN)
    for whom in (ada.id, sam.id):
        answer = await app.client.put(f"/v1/admin/users/{whom}", json={"role": "viewer"}, headers=ada.auth)
        assert_problem(answer, 403, "forbidden")
        event = await last_denied(app, ada)
        assert event["attributes"]["required_role"] is None
        assert (event["attributes"]["attempted_role"], event["attributes"]["attempted_fields"]) == ("viewer", ["role"])
    assert event["attributes"]["target_role"] == "system_admin"


def test_a_body_that_is_wrong_in_any_way_is_read_as_far_as_it_goes() -> None:
    for raw in (b"", b"{", b"\xff", b"[1]", b"null", b'{"role": NaN}', b'{"role":"user","role":"user"}', b"[" * 10**5):
        assert (attempt(raw).fields, attempt(raw).values) == ((), {})
    assert attempt(b" " * 2**21).fields == ()
    assert attempt(b'{"role":"' + b"9" * 5000 + b'"}').role is None


def test_what_is_kept_is_bounded_and_fits_every_store() -> None:
    fields: dict[str, Any] = {
        "bio": "\ud800" + "x" * 10_000,
        "phone": [["deep"], {"a": 1}, "x", *range(100)],
        "company": {"nested": "x"},
        "website": 10**30,
        "location": 1e300,
        "role": "x" * 1000,
    }
    found = attempt(json.dumps(fields).replace("1e+300", "1e999").encode())
    assert found.fields == tuple(sorted(fields))
    assert found.values.keys() == {"bio", "phone", "role"}
    assert found.values["bio"] == "?" + "x" * (MOST_CHARACTERS - 1)
    assert len(found.values["role"]) == MOST_CHARACTERS
    assert found.values["phone"][:2] == ["x", 0]
    assert len(found.values["phone"]) <= MOST_ITEMS
    json.dumps(dict(found.values), allow_nan=False).encode()


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (None, None),
        (True, True),
        (0, 0),
        (2**53 - 1, 2**53 - 1),
        (-(2**53) + 1, -(2**53) + 1),
        (2**53, ...),
        (-(2**53), ...),
        (0.5, 0.5),
        ("", ""),
        ("4111 1111 1111 1111", ...),
        ({}, ...),
        ([], []),
        ([1, [2], "4111111111111111", {}, False], [1, False]),
        (list(range(21)), list(range(20))),
        ("é" * 501, "é" * 500),
    ],
)
def test_what_of_a_value_is_kept(given: object, kept: object) -> None:
    found = attempt(json.dumps({"company": given}).encode())
    assert found.fields == ("company",)
    assert found.values == ({} if kept is ... else {"company": kept})
    assert type(found.values.get("company", ...)) is type(kept)


def test_a_query_counts_where_the_body_says_nothing_else() -> None:
    assert attempt(b"", query="?role=auditor").role is Role.AUDITOR
    found = attempt(b'{"role":"viewer"}', query="?role=auditor&surprise=1&company=%ff")
    assert (found.fields, found.role) == (("company", "role"), Role.VIEWER)
    assert found.values == {"company": "\ufffd", "role": "viewer"}
    assert attempt(b"", query="?" + "&".join(f"f{n}=1" for n in range(99)) + "&role=user").role is Role.USER
    assert attempt(b"", query="?" + "&".join(f"f{n}=1" for n in range(100)) + "&role=user").role is None


def test_a_body_of_just_the_size_that_is_taken_is_read() -> None:
    text = b'{"role":"user"}'
    assert attempt(text.ljust(MAX_BODY_BYTES)).role is Role.USER
    assert attempt(text.ljust(MAX_BODY_BYTES + 1)).role is None


@pytest.mark.parametrize(
    ("name", "kind", "target", "oneself"),
    [
        ("update_user", "user", NOWHERE, False),
        ("revoke_api_key", "api_key", NOWHERE, False),
        ("revoke_invitation", "invitation", NOWHERE, False),
        ("revoke_session", "session", NOWHERE, False),
        ("invite_user", None, None, False),
        ("update_profile", None, None, True),
    ],
)
def test_what_a_path_names(name: str, kind: str | None, target: str | None, oneself: bool) -> None:
    found = attempt(b"{}", BY_NAME[name])
    assert (found.kind, found.target_id, found.oneself) == (kind, target, oneself)


@pytest.mark.parametrize(
    ("name", "role", "asks"),
    [
        ("update_user", "tenant_admin", False),
        ("update_user", "system_admin", True),
        ("update_user", "king", False),
        ("update_profile", "viewer", True),
        ("update_profile", "king", False),
    ],
)
def test_which_calls_ask_for_a_role_that_they_never_give(name: str, role: str, asks: bool) -> None:
    found = attempt(json.dumps({"role": role}).encode(), BY_NAME[name])
    assert asks_for_a_role(BY_NAME[name], found) == asks


def test_reading_is_no_attempt() -> None:
    assert attempt(b'{"role":"user"}', BY_NAME["get_user"]) is None


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=[each.name for each in ENDPOINTS])
def test_every_field_of_a_mutation_is_told_or_is_a_secret(endpoint: Endpoint) -> None:
    declared = endpoint.body.model_fields.items() if endpoint.body is not Nothing else ()
    fields = {field.alias or name for name, field in declared}
    assert not set(endpoint.told) & SECRETS
    assert set(endpoint.told) <= fields | set(endpoint.query.model_fields)
    if endpoint.who is not None and endpoint.who != USERS and endpoint.method != "GET":
        untold = fields - set(endpoint.told)
        assert {(endpoint.name, name) for name in untold} <= set(UNTOLD), "say which fields a refusal keeps: `told`"
