"""The own account: what a user reads and changes of it, and what that leaves in the trail."""

import asyncio
import itertools
from typing import Any

import httpx
import pytest

from shared.identity.model import user_key
from shared.storage.containers import IDENTITY
from tests.app import PASSWORD, Account, App, assert_problem, registration

NEW = "a quite different password"


async def put(app: App, account: Account, fields: Any, **headers: str) -> httpx.Response:
    return await app.client.put("/v1/profile", json=fields, headers={**account.auth, **headers})


async def change(app: App, account: Account, new: str, current: str = PASSWORD) -> httpx.Response:
    body = {"current_password": current, "new_password": new}
    return await app.client.post("/v1/password", json=body, headers=account.auth)


async def test_given_fields_change_and_the_others_stay(app: App, ada: Account) -> None:
    app.clock.advance(minutes=1)
    answer = await put(app, ada, {"first_name": "Augusta", "phone": "+44 20 7946 0000", "bio": "Two\nlines"})
    assert answer.status_code == 200
    body = answer.json()
    assert (body["first_name"], body["last_name"], body["phone"]) == ("Augusta", "Body", "+44 20 7946 0000")
    assert body["updated_at"] == "2026-03-15T12:01:00.000000Z"
    assert (await app.client.get("/v1/profile", headers=ada.auth)).json() == body
    (view,) = await app.events(ada.tenant_id, "profile.view")
    assert (view["actor"]["id"], view["data_class"], view["record_count"]) == (ada.id, "personal", 1)
    (event,) = await app.events(ada.tenant_id, "profile.update")
    assert event["attributes"] == {"changed_fields": ["bio", "first_name", "phone"]}
    personal = event["personal"][ada.id]["data"]
    assert personal["old_values"] == {"bio": None, "first_name": "Some", "phone": None}
    assert personal["new_values"] == {"bio": "Two\nlines", "first_name": "Augusta", "phone": "+44 20 7946 0000"}
    assert "Augusta" not in str({name: value for name, value in event.items() if name != "personal"})
    cleared = await put(app, ada, {"phone": None})
    assert cleared.json()["phone"] is None


async def test_a_change_of_nothing_is_recorded_and_changes_nothing(app: App, ada: Account) -> None:
    before = await app.client.get("/v1/profile", headers=ada.auth)
    answer = await put(app, ada, {"first_name": "Some"})
    assert (answer.status_code, answer.json()) == (200, before.json())
    assert answer.headers["etag"] == before.headers["etag"]
    (event,) = await app.events(ada.tenant_id, "profile.update")
    assert event["attributes"] == {"changed_fields": []}


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"role": "tenant_admin"}, "role"),
        ({"tenant_id": "x"}, "tenant_id"),
        ({"id": "x"}, "id"),
        ({"status": "active"}, "status"),
        ({"email": "other@example.com"}, "email"),
        ({"password_hash": "x"}, "password_hash"),
        ({"sessions_valid_from": "x"}, "sessions_valid_from"),
        ({"mfa": True}, "mfa"),
        ({"first_name": None}, "first_name"),
        ({"first_name": ""}, "first_name"),
        ({"first_name": "x" * 101}, "first_name"),
        ({"first_name": "a\nb"}, "first_name"),
        ({"first_name": 7}, "first_name"),
        ({"bio": "x" * 1001}, "bio"),
        ({"bio": "a\x00b"}, "bio"),
        ({"phone": "call me"}, "phone"),
        ({"website": "javascript:alert(1)"}, "website"),
        ({"website": "https://user:secret@example.com/"}, "website"),
        ({"website": "https://"}, "website"),
        ({"website": 'https://example.com/"><script>'}, "website"),
    ],
)
async def test_what_cannot_be_in_a_profile_is_named(app: App, ada: Account, fields: Any, named: str) -> None:
    before = await app.store.read(IDENTITY, (ada.tenant_id,), user_key(ada.id))
    assert_problem(await put(app, ada, fields), 422, "invalid_request", named)
    assert await app.store.read(IDENTITY, (ada.tenant_id,), user_key(ada.id)) == before


async def test_of_two_changes_to_one_version_one_is_made(app: App, ada: Account) -> None:
    etag = (await app.client.get("/v1/profile", headers=ada.auth)).headers["etag"]
    answers = await asyncio.gather(
        *(put(app, ada, {"first_name": name}, **{"If-Match": etag}) for name in ("Augusta", "Byron"))
    )
    assert sorted(a.status_code for a in answers) == [200, 412]
    events = await app.events(ada.tenant_id, "profile.update")
    assert sorted((e["outcome"], e["reason"]) for e in events) == [("failure", "version_conflict"), ("success", None)]
    assert_problem(await put(app, ada, {"bio": "x"}, **{"If-Match": etag}), 412, "version_conflict")
    assert_problem(await put(app, ada, {"bio": "x"}, **{"If-Match": "nonsense"}), 412, "version_conflict")
    fresh = (await app.client.get("/v1/profile", headers=ada.auth)).headers["etag"]
    assert (await put(app, ada, {"bio": "x"}, **{"If-Match": f'"other", {fresh}'})).status_code == 200
    assert_problem(await put(app, ada, {"bio": "y"}, **{"If-Match": f"W/{fresh}"}), 412, "version_conflict")
    assert (await put(app, ada, {"bio": "y"}, **{"If-Match": "*"})).status_code == 200


async def test_without_a_version_all_changes_are_made(app: App, ada: Account) -> None:
    names = ("phone", "company", "job_title", "location")
    answers = await asyncio.gather(*(put(app, ada, {name: "+44 20"}) for name in names))
    assert {a.status_code for a in answers} == {200}
    profile = (await app.client.get("/v1/profile", headers=ada.auth)).json()
    assert {profile[name] for name in names} == {"+44 20"}
    assert len(await app.events(ada.tenant_id, "profile.update")) == len(names)


async def test_a_wrong_current_password_counts_like_a_failed_sign_in(app: App, ada: Account) -> None:
    for _ in range(10):
        assert_problem(await change(app, ada, NEW, "wrong"), 403, "wrong_password")
    for answer in (await change(app, ada, NEW), await change(app, ada, NEW, "wrong"), await app.login(ada.email)):
        assert_problem(answer, 423, "account_locked")
    assert (await app.client.get("/v1/profile", headers=ada.auth)).status_code == 200  # the session goes on
    reasons = sorted(str(e["reason"]) for e in await app.events(ada.tenant_id, "auth.password_change"))
    assert reasons == ["locked"] * 2 + ["wrong_password"] * 10
    assert len(await app.events(ada.tenant_id, "auth.account_locked")) == 1
    app.clock.advance(minutes=10)
    assert_problem(await app.login(ada.email), 423, "account_locked")


async def test_the_last_four_passwords_cannot_come_back(app: App, ada: Account) -> None:
    used = [PASSWORD, *(f"{word} is what it was once" for word in ("orange", "violet", "crimson"))]
    for current, new in itertools.pairwise(used):
        assert (await change(app, ada, new, current)).status_code == 204
    for old in used:
        problem = assert_problem(await change(app, ada, old, used[-1]), 422, "invalid_request", "new_password")
        assert problem["errors"][0]["code"] == "reused"
    assert (await change(app, ada, "emerald is what it is now", used[-1])).status_code == 204
    assert (await change(app, ada, PASSWORD, "emerald is what it is now")).status_code == 204
    user = await app.store.read(IDENTITY, (ada.tenant_id,), user_key(ada.id))
    assert len(user["password_history"]) == 3
    assert "password" not in str((await app.client.get("/v1/profile", headers=ada.auth)).json())


@pytest.mark.parametrize(
    ("password", "code"),
    [
        ("password1234", "too_common"),
        ("PASSWORDpassword", "too_common"),
        ("aaaaaaaaaaaaaaaa", "too_common"),
        ("qwertyuiop123", "too_common"),
        ("123456789012", "too_common"),
        ("abcdefghijklm", "too_common"),
        ("ada@example.com", "contains_personal"),
        ("AdaExample.com1!", "contains_personal"),
        ("Example Some 1", "contains_personal"),
        ("somebodysomebody", "contains_personal"),
        ("ﬀﬀﬀﬀ", "string_too_short"),
        ("x" * 129, "string_too_long"),
        ("\u1112\u1161\u11ab" * 4, "length"),  # twelve characters that are four
        ("twelve\x00characters", "control_character"),
    ],
)
async def test_what_may_not_be_a_password_says_why(app: App, ada: Account, password: str, code: str) -> None:
    problem = assert_problem(await change(app, ada, password), 422, "invalid_request", "new_password")
    assert [error["code"] for error in problem["errors"]] == [code]
    body = registration("new@example.com", password=password, first_name="Ada", last_name="Somebody")
    opened = await app.client.post("/v1/register", json=body)
    assert opened.status_code == 422, "registration screens alike"
    assert password not in opened.text + str(problem)


@pytest.mark.parametrize(
    "password",
    [
        "correct horse battery staple",
        "пароль не такой уж простой",
        "密码密码很难猜到的密码啊对吧",
        "🦊🐢🦉🐝🐌🦔🦦🦥🐧🐬🦩🐙",
        "x7#kQ9$mLp2v",
        "no rules of composition at all",
    ],
)
async def test_any_unicode_will_do_in_every_spelling_of_it(app: App, password: str) -> None:
    import unicodedata

    account = await app.register("new@example.com", password=unicodedata.normalize("NFC", password))
    assert (await app.login(account.email, unicodedata.normalize("NFD", password))).status_code == 200


async def test_a_password_change_that_is_refused_is_in_the_trail_without_the_password(app: App, ada: Account) -> None:
    await change(app, ada, "password1234")
    (event,) = await app.events(ada.tenant_id, "auth.password_change")
    assert (event["outcome"], event["reason"]) == ("failure", "refused")
    assert "password1234" not in str(event)
    assert PASSWORD not in str(event)


async def test_two_changes_at_once_leave_one_password(app: App, ada: Account) -> None:
    new = ("orange is what it is now", "violet is what it is now")
    answers = await asyncio.gather(*(change(app, ada, each) for each in new))
    assert sorted(a.status_code for a in answers) == [204, 412]
    works = [(await app.login(ada.email, each)).status_code for each in new]
    assert works == [200 if a.status_code == 204 else 401 for a in answers]


LONG = "".join(f"{number * 7919 % 1000:03} " for number in range(32))


@pytest.mark.parametrize("length", [12, 64, 128])
async def test_a_password_counts_to_its_last_character(app: App, ada: Account, length: int) -> None:
    """As long as it may be, and the shortest: neither cut nor filled up, and each case its own."""
    password = f"{LONG[: length - 1]}é"
    assert (await change(app, ada, password)).status_code == 204
    for wrong in (password[:-1], f"{password[:-1]}É", f"{password[:-1]}e", f"{password}x", password.swapcase()):
        assert (await app.login(ada.email, wrong)).status_code in (401, 422)
    assert (await app.login(ada.email, password)).status_code == 200


@pytest.mark.parametrize(("length", "code"), [(11, "string_too_short"), (129, "string_too_long")])
async def test_a_password_is_too_short_or_too_long_by_one(app: App, ada: Account, length: int, code: str) -> None:
    problem = assert_problem(await change(app, ada, f"{LONG}x"[:length]), 422, "invalid_request", "new_password")
    assert [error["code"] for error in problem["errors"]] == [code]


@pytest.mark.parametrize("current", [None, "", NEW, "Correct horse battery staple"])
async def test_a_password_is_changed_by_who_knows_the_one_before(app: App, ada: Account, current: str | None) -> None:
    body = {"new_password": NEW} | ({} if current is None else {"current_password": current})
    answer = await app.client.post("/v1/password", json=body, headers=ada.auth)
    assert answer.status_code == (403 if current else 422)
    assert (await app.login(ada.email, NEW)).status_code == 401
    assert (await change(app, ada, NEW)).status_code == 204
    assert (await app.login(ada.email, NEW)).status_code == 200
    assert (await app.login(ada.email)).status_code == 401


async def test_a_password_is_good_until_somebody_changes_it(app: App, ada: Account) -> None:
    """After ten years, too, and nothing asks for another one."""
    before = (await app.login(ada.email)).json()
    app.clock.advance(days=3653)
    answer = await app.login(ada.email)
    assert answer.status_code == 200
    assert answer.json().keys() == before.keys()
    token = {"Authorization": f"Bearer {answer.json()['access_token']}"}
    for path in ("/v1/profile", "/v1/admin/users"):
        assert (await app.client.get(path, headers=token)).status_code == 200
