"""Everything that a client can get wrong, and that nothing is half done when it does."""

import json
from typing import Any

import pytest

from functions._http import client_address
from shared.core.settings import load_settings
from shared.storage.containers import DIRECTORY
from shared.storage.errors import NotFound
from tests.app import PASSWORD, Account, App, assert_problem, registration

JSON = {"Content-Type": "application/json"}


async def _refused(app: App, body: bytes | dict[str, Any], status: int, code: str, *fields: str) -> None:
    """POST /register answers so, and leaves no reservation behind."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = await app.client.post("/v1/register", content=raw, headers=JSON)
    assert_problem(answer, status, code, *fields)
    key = await app.services.directory.key("ada@example.com")
    with pytest.raises(NotFound):
        await app.store.read(DIRECTORY, (key,), key)
    assert await app.events() == []


@pytest.mark.parametrize(
    "raw",
    [
        b"{",
        b"nonsense",
        b'{"email": "a"} trailing',
        b"{'email': 1}",
        b'{"email": NaN}',
        b'{"email": Infinity}',
        b'{"email": 1' + b"0" * 5000 + b"}",
        b"[" * 100_000,
        b'{"email": "a@example.com", "email": "b@example.com"}',
        b'{"email": "\\ud800"}',
        b"\xef\xbb\xbf{}",
    ],
    ids=[
        "open",
        "word",
        "trailing",
        "quotes",
        "nan",
        "infinity",
        "bignum",
        "deep",
        "duplicate",
        "surrogate",
        "bom",
    ],
)
async def test_malformed_json(app: App, raw: bytes) -> None:
    await _refused(app, raw, 400, "malformed_json")


@pytest.mark.parametrize(
    "raw", [b'{"email": "\xff"}', b'{"email": "\xed\xa0\x80"}', '{"email": "ä"}'.encode("latin-1")]
)
async def test_invalid_utf8(app: App, raw: bytes) -> None:
    await _refused(app, raw, 400, "invalid_encoding")


@pytest.mark.parametrize("raw", [b"[]", b'"text"', b"7", b"null", b"true"])
async def test_json_that_is_no_object(app: App, raw: bytes) -> None:
    await _refused(app, raw, 422, "invalid_request", "")


async def test_a_body_of_two_mebibytes(app: App) -> None:
    body = json.dumps(registration(organization="x" * 2 * 1024 * 1024)).encode()
    await _refused(app, body, 413, "body_too_large")


async def test_the_body_limit_is_one_mebibyte_exactly(app: App) -> None:
    body = json.dumps(registration()).encode()
    await _refused(app, body.ljust(1024 * 1024 + 1), 413, "body_too_large")
    answer = await app.client.post("/v1/register", content=body.ljust(1024 * 1024), headers=JSON)
    assert answer.status_code == 201


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("email", 7),
        ("email", None),
        ("email", ["ada@example.com"]),
        ("email", "ada"),
        ("email", "ada@"),
        ("email", "ada@localhost"),
        ("email", "ada@example.com\n"),
        ("email", "ada\x00@example.com"),
        ("email", "ada@exam ple.com"),
        ("email", "a@b@example.com"),
        ("email", "Ada <ada@example.com>"),
        ("email", "x" * 10_000 + "@example.com"),
        ("password", "short"),
        ("password", "x" * 129),
        ("password", "x" * 10_000),
        ("password", "nul\x00inside the password"),
        ("password", 123456789012),
        ("first_name", ""),
        ("first_name", "   "),
        ("first_name", "Ada\x00"),
        ("first_name", "Ada\nBody"),
        ("first_name", "Ada\u202eadA"),
        ("first_name", "x" * 10_000),
        ("last_name", {"$ne": 1}),
        ("organization", "x" * 101),
        ("organization", "\x1b[31mred"),
        ("accept_terms", False),
        ("accept_terms", 1),
        ("accept_terms", "true"),
        ("accept_privacy", None),
        ("marketing_opt_in", "yes"),
        ("role", "system_admin"),
        ("tenant_id", "another"),
        ("status", "active"),
        ("id", "mine"),
    ],
)
async def test_a_wrong_field_is_named(app: App, field: str, value: object) -> None:
    await _refused(app, registration() | {field: value}, 422, "invalid_request", field)


@pytest.mark.parametrize("field", sorted(set(registration()) - {"marketing_opt_in"}))
async def test_a_missing_field_is_named(app: App, field: str) -> None:
    body = registration()
    del body[field]
    await _refused(app, body, 422, "invalid_request", field)


async def test_every_wrong_field_is_named_at_once(app: App) -> None:
    body = registration(email="x", password="short", extra=1)
    await _refused(app, body, 422, "invalid_request", "email", "password", "extra")


async def test_errors_do_not_repeat_what_was_typed(app: App) -> None:
    secret = "a secret that nobody"  # too long to be a field name, too telling to be in an answer
    body = registration(password=secret * 20, email=secret)
    answer = await app.client.post("/v1/register", json=body)
    assert secret not in answer.text


async def test_text_of_the_whole_world_is_stored_as_typed(app: App) -> None:
    names = {
        "first_name": "Ἀδα 👩🏽‍💻 عائدة",
        "last_name": "O'Brien; DROP TABLE--",
        "organization": "例え 株式会社 %_*",
    }
    ada = await app.register(**names, password="пароль 密码 🔑 parole")
    profile = (await app.client.get("/v1/profile", headers=ada.auth)).json()
    assert {k: profile[k] for k in ("first_name", "last_name")} == {k: names[k] for k in ("first_name", "last_name")}
    assert (await app.login(ada.email, "пароль 密码 🔑 parole")).status_code == 200


async def test_a_password_is_compared_in_its_normal_form(app: App) -> None:
    ada = await app.register(password="ﬁve cafe\u0301 tables")
    assert (await app.login(ada.email, "five café tables")).status_code == 200
    assert (await app.login(ada.email, "FIVE café tables")).status_code == 401


@pytest.mark.parametrize("body", [{}, {"email": "ada@example.com"}, {"email": "ada@example.com", "password": ""}])
async def test_login_wants_both_fields(app: App, body: dict[str, str]) -> None:
    answer = await app.client.post("/v1/login", json=body)
    assert answer.status_code == 422


async def test_login_with_unknown_fields(app: App, ada: Account) -> None:
    body = {"email": ada.email, "password": PASSWORD, "tenant_id": ada.tenant_id}
    assert_problem(await app.client.post("/v1/login", json=body), 422, "invalid_request", "tenant_id")


@pytest.mark.parametrize("raw", [b"", b"{}", b"  "])
async def test_logout_takes_no_body(app: App, ada: Account, raw: bytes) -> None:
    assert (await app.client.post("/v1/logout", content=raw, headers=ada.auth)).status_code == 204


async def test_logout_refuses_a_body_and_keeps_the_session(app: App, ada: Account) -> None:
    answer = await app.client.post("/v1/logout", json={"everywhere": True}, headers=ada.auth)
    assert_problem(answer, 422, "invalid_request", "everywhere")
    assert (await app.client.get("/v1/profile", headers=ada.auth)).status_code == 200


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=ten", "limit"),
        ("limit=", "limit"),
        ("limit=%2B5", "limit"),
        ("limit=1_0", "limit"),
        ("limit=5.0", "limit"),
        ("limit=%205", "limit"),
        ("limit=1&limit=2", "limit"),
        ("page=2", "page"),
        ("from=yesterday", "from"),
        ("from=2026-01-01T00:00:00", "from"),
        ("to=", "to"),
        ("ip=999.1.1.1", "ip"),
        ("email=nobody", "email"),
        ("outcome=maybe", "outcome"),
        ("severity=HIGH", "severity"),
        ("type=auth", "type.0"),
        ("type=%2A", "type.0"),
        ("type=auth.login&type=nothing", "type.1"),
        ("&".join(["type=auth.login"] * 21), "type"),
        ("from=0001-01-01T00:00:00%2B14:00", "from"),
        ("from=1700000000", "from"),
        ("actor=a%00b", "actor"),
        ("subject=" + "x" * 10_000, "subject"),
        ("cursor=" + "x" * 10_000, "cursor"),
        ("LIMIT=1", "LIMIT"),
    ],
)
async def test_a_wrong_query_parameter_is_named(app: App, ada: Account, query: str, field: str) -> None:
    before = len(await app.events(ada.tenant_id))
    answer = await app.client.get(f"/v1/admin/logs/authorization?{query}", headers=ada.auth)
    assert_problem(answer, 422, "invalid_request", field)
    assert len(await app.events(ada.tenant_id)) == before


async def test_a_query_string_that_is_not_utf8(app: App, ada: Account) -> None:
    answer = await app.client.get("/v1/alerts?pattern=%ff", headers=ada.auth)
    assert_problem(answer, 400, "invalid_encoding")


@pytest.mark.parametrize(
    "user_agent", ["x" * 20_000, "café 👩🏽‍💻", "\x7fodd", ""], ids=["long", "wide", "control", "empty"]
)
async def test_any_user_agent_can_be_recorded(app: App, ada: Account, user_agent: str) -> None:
    headers = [(b"authorization", ada.auth["Authorization"].encode()), (b"user-agent", user_agent.encode())]
    answer = await app.client.get("/v1/profile", headers=headers)
    assert answer.status_code == 200
    personal = (await app.events(ada.tenant_id, "profile.view"))[0]["personal"][ada.id]["data"]
    assert len(personal.get("user_agent", "")) <= 512


@pytest.mark.parametrize(
    ("forwarded", "expected"),
    [
        ("198.51.100.7", "203.0.113.9"),
        ("198.51.100.7, 10.0.0.1:1234", "203.0.113.9"),
        ("<script>", "203.0.113.9"),
        ("9" * 30_000, "203.0.113.9"),
        (", ,", "203.0.113.9"),
    ],
)
async def test_a_forged_forwarded_header_changes_nothing(app: App, ada: Account, forwarded: str, expected: str) -> None:
    await app.client.get("/v1/profile", headers=ada.auth | {"X-Forwarded-For": forwarded})
    assert (await app.events(ada.tenant_id, "profile.view"))[0]["personal"][ada.id]["data"]["ip"] == expected


@pytest.mark.parametrize(
    ("hops", "forwarded", "expected"),
    [
        (2, None, None),  # the peer alone: it came past our front end, and its own address proves nothing
        (2, "198.51.100.7", "198.51.100.7"),
        (2, "192.0.2.66, 198.51.100.7:443", "198.51.100.7"),
        (2, "192.0.2.66, nonsense", None),
        (3, "198.51.100.7", None),
        (0, "198.51.100.7", None),
    ],
)
async def test_only_what_our_own_front_ends_wrote_is_believed(
    app: App, ada: Account, hops: int, forwarded: str | None, expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host adds the last entry, the peer's; of `hops` front ends all before it must have added theirs."""
    monkeypatch.setenv("TRUSTED_PROXY_HOPS", str(hops))
    monkeypatch.setattr(app.host.module.services, "settings", load_settings())
    headers = ada.auth | ({} if forwarded is None else {"X-Forwarded-For": forwarded})
    assert (await app.client.get("/v1/profile", headers=headers)).status_code == 200
    (event,) = await app.events(ada.tenant_id, "profile.view")
    assert event["personal"][ada.id]["data"].get("ip") == expected


@pytest.mark.parametrize(
    ("forwarded", "hops", "expected"),
    [
        ("198.51.100.7", 1, "198.51.100.7"),
        ("198.51.100.7", 2, None),
        ("198.51.100.7, 10.0.0.1", 3, None),
        (", 10.0.0.1", 2, None),
        ("192.0.2.66, 198.51.100.7, 10.0.0.1", 2, "198.51.100.7"),
        ("192.0.2.66, [2001:DB8::1]:443, 10.0.0.1", 2, "2001:db8::1"),
        ("198.51.100.7", 0, None),
        ("", 1, None),
        (None, 1, None),
    ],
)
def test_an_address_is_counted_from_the_right(forwarded: str | None, hops: int, expected: str | None) -> None:
    assert client_address(forwarded, hops) == expected
