import asyncio
from datetime import timedelta

import pytest

from shared.core.clock import rfc3339
from shared.core.errors import Clash
from shared.identity.confirmation import confirm_founder
from shared.identity.directory import Entry
from shared.identity.model import user_key
from shared.identity.service import stranger_id
from shared.storage.containers import DIRECTORY, IDENTITY
from shared.storage.documents import PatchSet, Query
from tests.app import PASSWORD, PEER, Account, App, assert_problem, registration
from tests.storage.conftest import LOCAL


@pytest.fixture(params=LOCAL)
def adapter(request: pytest.FixtureRequest) -> str:
    store: str = request.param
    return store


async def test_register_opens_a_tenant_and_signs_its_admin_in(app: App) -> None:
    answer = await app.client.post("/v1/register", json=registration("Ada@Example.com", marketing_opt_in=True))
    assert answer.status_code == 201
    body = answer.json()
    assert body["token_type"] == "bearer"
    assert body["expires_in"] == 900
    assert body["user"]["email"] == "Ada@Example.com"  # as typed
    assert body["user"]["role"] == "tenant_admin"
    profile = await app.client.get("/v1/profile", headers={"Authorization": f"Bearer {body['access_token']}"})
    assert profile.json() == body["user"]


async def test_register_leaves_its_events(app: App) -> None:
    ada = await app.register(marketing_opt_in=True)
    events = await app.events(ada.tenant_id)
    assert sorted(e["type"] for e in events) == ["auth.register", *3 * ["consent.grant"]]
    registered = next(e for e in events if e["type"] == "auth.register")
    assert registered["actor"] == {"kind": "user", "id": ada.id, "role": "tenant_admin"}
    assert registered["subjects"] == [ada.id]
    assert registered["source"] == {"kind": "function", "id": "register"}
    assert registered["attributes"] == {"organization": True, "terms_version": "1", "privacy_version": "1"}
    personal = registered["personal"][ada.id]["data"]
    assert personal["email"] == ada.email
    assert personal["ip"] == PEER[0]
    assert personal["first_name"] == "Some"
    assert {e["attributes"]["purpose"] for e in events if e["type"] == "consent.grant"} == {
        "terms",
        "privacy",
        "marketing",
    }


async def test_register_leaves_nothing_in_the_outbox_and_confirms_the_email(app: App) -> None:
    ada = await app.register()
    page = await app.store.query(IDENTITY, (ada.tenant_id,), Query())
    assert sorted(item["kind"] for item in page.items) == ["session", "tenant", "user"]
    key = await app.services.directory.key(ada.email)
    assert (await app.store.read(DIRECTORY, (key,), key))["state"] == "confirmed"
    assert await app.services.directory.tenant_of(ada.id) == ada.tenant_id


@pytest.mark.parametrize(
    "spelling",
    ["ada@example.com", "ADA@EXAMPLE.COM", "Ada@Example.Com", "ａｄａ@example.com", "ada@ｅxample.com"],
)
async def test_one_address_in_other_spellings_is_taken(app: App, ada: Account, spelling: str) -> None:
    answer = await app.client.post("/v1/register", json=registration(spelling))
    assert_problem(answer, 409, "email_taken")
    failed = [e for e in await app.events(ada.tenant_id, "auth.register") if e["outcome"] == "failure"]
    assert [(e["reason"], e["target"]["id"]) for e in failed] == [("email_taken", ada.id)]
    assert failed[0]["personal"][ada.id]["data"]["email"] == spelling
    assert "first_name" not in failed[0]["personal"][ada.id]["data"]


@pytest.mark.parametrize("other", ["ada+x@example.com", "аda@example.com", "ada@example.org", "a.da@example.com"])
async def test_addresses_that_only_look_alike_are_others(app: App, ada: Account, other: str) -> None:
    assert (await app.register(other)).tenant_id != ada.tenant_id


async def test_two_registrations_at_the_same_instant_one_wins(app: App) -> None:
    answers = await asyncio.gather(
        *(app.client.post("/v1/register", json=registration(e)) for e in ["eve@example.com", "EVE@example.com"] * 4)
    )
    assert sorted(a.status_code for a in answers) == [201] + [409] * 7
    winner = next(a.json() for a in answers if a.status_code == 201)
    failed = [e for e in await app.events(winner["user"]["tenant_id"], "auth.register") if e["outcome"] == "failure"]
    stranger = [e for e in await app.events() if e["reason"] == "email_taken"]
    assert len(failed) + len(stranger) == 7  # a loser that came before the winner's commit is audited apart
    assert (await app.login("eve@example.com")).status_code == 200


async def test_an_abandoned_reservation_is_taken_over_after_a_minute(app: App) -> None:
    ghost = Entry(app.services.ids.new(), app.services.ids.new())
    await app.services.directory.reserve("ada@example.com", ghost)
    assert_problem(await app.client.post("/v1/register", json=registration()), 409, "email_taken")
    app.clock.advance(seconds=61)
    await app.register()
    assert (await app.login("ada@example.com")).status_code == 200


async def test_an_unconfirmed_account_is_confirmed_by_whoever_meets_it(app: App, ada: Account) -> None:
    key = await app.services.directory.key(ada.email)
    await app.store.patch(DIRECTORY, (key,), key, [PatchSet("state", "reserved")])
    app.clock.advance(seconds=61)
    assert_problem(await app.client.post("/v1/register", json=registration()), 409, "email_taken")
    assert (await app.store.read(DIRECTORY, (key,), key))["state"] == "confirmed"


async def test_a_creator_who_lost_the_reservation_takes_its_account_back(app: App, ada: Account) -> None:
    """Its e-mail was taken over while it slept: the account goes, the trail says so, the request is refused."""
    key = await app.services.directory.key(ada.email)
    other = Entry(app.services.ids.new(), app.services.ids.new())
    item = await app.store.read(DIRECTORY, (key,), key)
    await app.store.replace(DIRECTORY, (key,), {**item, "user_id": other.user_id, "tenant_id": other.tenant_id})
    for _ in range(2):  # the follow-up may run twice
        follow_up = confirm_founder(key, Entry(ada.tenant_id, ada.id))
        with pytest.raises(Clash, match="email_taken"):
            await app.services.outbox.commit(IDENTITY, ada.tenant_id, [], [], [follow_up])
    assert [i["kind"] for i in (await app.store.query(IDENTITY, (ada.tenant_id,), Query())).items] == ["session"]
    deleted = await app.events(ada.tenant_id, "user.delete")
    assert [(e["reason"], e["actor"]["kind"], e["target"]["id"]) for e in deleted] == [
        ("email_taken", "system", ada.id)
    ]
    assert_problem(await app.client.get("/v1/profile", headers=ada.auth), 401, "invalid_token")


async def test_login_in_any_spelling(app: App, ada: Account) -> None:
    answer = await app.login("ADA@Example.com")
    assert answer.status_code == 200
    assert set(answer.json()) == {"access_token", "refresh_token", "token_type", "expires_in"}
    event = (await app.events(ada.tenant_id, "auth.login"))[0]
    assert event["outcome"] == "success"
    assert event["actor"]["id"] == event["target"]["id"] == ada.id
    assert event["attributes"] == {"attempt_count": 0}


async def test_wrong_password_and_unknown_account_answer_alike_and_are_audited_apart(app: App, ada: Account) -> None:
    wrong = await app.login("Ada@example.com", "not the password")
    unknown = await app.login("nobody@example.com", "not the password")
    first = assert_problem(wrong, 401, "invalid_credentials")
    second = assert_problem(unknown, 401, "invalid_credentials")
    assert first | {"request_id": ""} == second | {"request_id": ""}
    assert wrong.headers.keys() == unknown.headers.keys()

    known_event = (await app.events(ada.tenant_id, "auth.login"))[0]
    assert (known_event["reason"], known_event["actor"]["kind"]) == ("bad_credentials", "anonymous")
    assert known_event["target"] == {"kind": "user", "id": ada.id}
    assert known_event["personal"][ada.id]["data"]["email"] == "Ada@example.com"
    platform_event = (await app.events(type_="auth.login"))[0]
    assert (platform_event["reason"], platform_event["target"]) == ("unknown_account", None)
    assert platform_event["subjects"] == [stranger_id("nobody@example.com", app.clock.now())]
    assert platform_event["subjects"][0].startswith("stranger-2026-03-")


async def test_failures_are_counted_until_the_next_success(app: App, ada: Account) -> None:
    for _ in range(3):
        await app.login(ada.email, "wrong")
    await app.login(ada.email)
    await app.login(ada.email, "wrong")
    counts = [(e["outcome"], e["attributes"]["attempt_count"]) for e in await app.events(ada.tenant_id, "auth.login")]
    assert sorted(counts) == [("failure", 1), ("failure", 1), ("failure", 2), ("failure", 3), ("success", 3)]


async def test_concurrent_failures_are_each_counted_once(app: App, ada: Account) -> None:
    await asyncio.gather(*(app.login(ada.email, "wrong") for _ in range(12)))
    events = await app.events(ada.tenant_id, "auth.login")
    assert sorted(e["attributes"]["attempt_count"] for e in events) == [*range(1, 11), 10, 10]
    assert sorted(e["reason"] for e in events) == ["bad_credentials"] * 10 + ["locked"] * 2


async def test_a_suspended_user_cannot_sign_in_nor_go_on(app: App, ada: Account) -> None:
    await app.store.patch(IDENTITY, (ada.tenant_id,), user_key(ada.id), [PatchSet("status", "suspended")])
    assert_problem(await app.login(ada.email), 401, "invalid_credentials")
    assert (await app.events(ada.tenant_id, "auth.login"))[0]["reason"] == "suspended"
    assert_problem(await app.client.get("/v1/profile", headers=ada.auth), 401, "invalid_token")


async def test_logout_ends_the_session_at_once_and_says_how_long_it_was(app: App, ada: Account) -> None:
    other = (await app.login(ada.email)).json()["access_token"]
    app.clock.advance(seconds=90)
    answer = await app.client.post("/v1/logout", headers=ada.auth)
    assert (answer.status_code, answer.content) == (204, b"")
    assert_problem(await app.client.get("/v1/profile", headers=ada.auth), 401, "invalid_token")
    assert_problem(await app.client.post("/v1/logout", headers=ada.auth), 401, "invalid_token")
    assert (await app.client.get("/v1/profile", headers={"Authorization": f"Bearer {other}"})).status_code == 200
    event = (await app.events(ada.tenant_id, "auth.logout"))[0]
    assert event["attributes"] == {"session_seconds": 90}
    assert event["source"] == {"kind": "session", "id": event["context"]["session_id"]}


async def test_two_logouts_at_once_end_one_session_once(app: App, ada: Account) -> None:
    answers = await asyncio.gather(*(app.client.post("/v1/logout", headers=ada.auth) for _ in range(2)))
    assert sorted(a.status_code for a in answers) == [204, 401]
    assert len(await app.events(ada.tenant_id, "auth.logout")) == 1


async def test_sessions_end_by_age_and_by_sessions_valid_from(app: App, ada: Account) -> None:
    later = rfc3339(app.clock.now() + timedelta(seconds=1))
    await app.store.patch(IDENTITY, (ada.tenant_id,), user_key(ada.id), [PatchSet("sessions_valid_from", later)])
    assert_problem(await app.client.get("/v1/profile", headers=ada.auth), 401, "invalid_token")
    app.clock.advance(seconds=2)
    fresh = (await app.login(ada.email)).json()["access_token"]
    headers = {"Authorization": f"Bearer {fresh}"}
    assert (await app.client.get("/v1/profile", headers=headers)).status_code == 200
    app.clock.advance(days=31)
    assert_problem(await app.client.get("/v1/profile", headers=headers), 401, "invalid_token")


async def test_profile_view_is_audited_every_time(app: App, ada: Account) -> None:
    for _ in range(3):
        assert (await app.client.get("/v1/profile", headers=ada.auth | {"User-Agent": "probe/1"})).status_code == 200
    events = await app.events(ada.tenant_id, "profile.view")
    assert len(events) == 3
    assert {e["data_class"] for e in events} == {"personal"}
    assert events[0]["personal"][ada.id]["data"] == {"email": ada.email, "ip": PEER[0], "user_agent": "probe/1"}


async def test_passwords_and_hashes_are_nowhere_but_in_the_account(app: App, ada: Account) -> None:
    await app.login(ada.email, PASSWORD + "!")
    events = [*await app.events(ada.tenant_id), *await app.events()]
    user = await app.store.read(IDENTITY, (ada.tenant_id,), user_key(ada.id))
    assert user["password_hash"].startswith("$argon2id$v=19$")
    assert PASSWORD not in str(user)
    assert PASSWORD not in str(events)
    assert "argon2" not in str(events)
    assert "password_hash" not in (await app.client.get("/v1/profile", headers=ada.auth)).text
