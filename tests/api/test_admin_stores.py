"""The users of a tenant on both stores: races, versions, the search."""

import asyncio
from typing import Any

import pytest

from shared.identity.attempts import Failures
from shared.identity.lockout import failed_login
from shared.identity.model import Role, attempts_key, search_fields, user_key
from shared.storage.containers import IDENTITY
from shared.storage.documents import PatchRemove
from shared.storage.errors import NotFound
from tests.app import PASSWORD, Account, App, assert_problem
from tests.storage.conftest import LOCAL

NOWHERE = "11111111-1111-7111-8111-111111111111"


@pytest.fixture(params=LOCAL)
def adapter(request: pytest.FixtureRequest) -> str:
    store: str = request.param
    return store


async def put(app: App, by: Account, whom: str, body: dict[str, Any], **headers: str) -> Any:
    return await app.client.put(f"/v1/admin/users/{whom}", json=body, headers=by.auth | headers)


async def remove(app: App, by: Account, whom: str, **headers: str) -> Any:
    return await app.client.delete(f"/v1/admin/users/{whom}?reason=left", headers=by.auth | headers)


async def stored(app: App, account: Account) -> dict[str, Any]:
    return await app.store.read(IDENTITY, (account.tenant_id,), user_key(account.id))


@pytest.mark.parametrize("tag", ['"0"', 'W/"{tag}"', "{tag}", "garbage", '""'])
async def test_another_version_is_412(app: App, ada: Account, tag: str) -> None:
    bob = await app.join(ada, "bob@example.com")
    held = (await app.client.get(f"/v1/admin/users/{bob.id}", headers=ada.auth)).headers["etag"].strip('"')
    stale = {"If-Match": tag.format(tag=held)}
    assert_problem(await put(app, ada, bob.id, {"role": "user"}, **stale), 412, "version_conflict")
    assert_problem(await remove(app, ada, bob.id, **stale), 412, "version_conflict")
    assert (await put(app, ada, bob.id, {"role": "user"}, **{"If-Match": f'"{held}"'})).status_code == 200


async def test_of_two_puts_with_one_version_one_wins(app: App, ada: Account) -> None:
    bob = await app.join(ada, "bob@example.com")
    tag = (await app.client.get(f"/v1/admin/users/{bob.id}", headers=ada.auth)).headers["etag"]
    bodies = [{"company": f"company {n}"} for n in range(6)]
    answers = await asyncio.gather(*(put(app, ada, bob.id, body, **{"If-Match": tag}) for body in bodies))
    assert sorted(a.status_code for a in answers) == [200, 412, 412, 412, 412, 412]
    (winner,) = (a for a in answers if a.status_code == 200)
    assert (await stored(app, bob))["company"] == winner.json()["company"]
    assert len(await app.events(ada.tenant_id, "user.update")) == 1
    assert winner.headers["etag"] not in ("", tag)


async def test_puts_without_a_version_lose_nothing_of_each_other(app: App, ada: Account) -> None:
    bob = await app.join(ada, "bob@example.com")
    bodies = [{"company": "a"}, {"phone": "123"}, {"location": "b"}, {"role": "user"}, {"bio": "c\nd"}]
    answers = await asyncio.gather(*(put(app, ada, bob.id, body) for body in bodies))
    assert [a.status_code for a in answers] == [200] * 5
    held = await stored(app, bob)
    assert {name: held[name] for body in bodies for name in body} == {k: v for b in bodies for k, v in b.items()}


@pytest.mark.parametrize("how", ["role", "status", "deletion"])
async def test_a_sign_in_under_way_leaves_no_living_session(app: App, ada: Account, how: str) -> None:
    """Whatever the order in which the two finish."""
    for n in range(4):
        bob = await app.join(ada, f"bob{n}@example.com")
        if how == "deletion":
            change = remove(app, ada, bob.id)
        else:
            change = put(app, ada, bob.id, {"role": "user"} if how == "role" else {"status": "suspended"})

        async def late(change: Any = change) -> Any:
            await asyncio.sleep(0.004 * n)  # noqa: B023 - awaited within this round
            return await change

        signed_in, done = await asyncio.gather(app.login(bob.email), late())
        assert done.status_code in (200, 204)
        old = await app.client.get("/v1/profile", headers=bob.auth)
        assert_problem(old, 401, "invalid_token")
        if signed_in.status_code == 200 and how != "role":
            token = {"Authorization": f"Bearer {signed_in.json()['access_token']}"}
            assert_problem(await app.client.get("/v1/profile", headers=token), 401, "invalid_token")


async def test_a_session_written_after_the_deletion_opens_nothing(app: App, ada: Account) -> None:
    bob = await app.join(ada, "bob@example.com")
    user = await stored(app, bob)
    assert (await remove(app, ada, bob.id)).status_code == 204
    request = _request(app)
    failure = failed_login(user, bob.email, None, request)
    done = await app.services.identity._sign_in(user, PASSWORD, Failures(0, None), failure, request)
    token = {"Authorization": f"Bearer {done.tokens.access_token}"}
    assert_problem(await app.client.get("/v1/profile", headers=token), 401, "invalid_token")


def _request(app: App) -> Any:
    from shared.audit.model import RequestContext

    return RequestContext(app.services.ids.new(), "POST /v1/login", "login", app.clock.now())


async def test_a_deleted_users_email_can_be_registered_again_by_anyone(app: App, ada: Account) -> None:
    bob = await app.join(ada, "bob@example.com")
    await app.login(bob.email, "wrong")
    assert (await remove(app, ada, bob.id)).status_code == 204
    assert await app.services.directory.find(bob.email) is None
    assert await app.services.directory.tenant_of(bob.id) is None
    with pytest.raises(NotFound):
        await app.store.read(IDENTITY, (bob.tenant_id,), attempts_key(bob.id))
    assert_problem(await app.login(bob.email), 401, "invalid_credentials")
    again = await app.register(bob.email)
    assert again.id != bob.id
    assert (await app.login(bob.email)).status_code == 200


NAMES = [
    ("Ada", "Łovelace", "ada@example.com"),
    ("Bob", "O'Brien", "b.obrien@example.com"),
    ("Éva", "Nagy", "eva@bücher.example"),
    ("例え", "太郎", "taro@example.com"),
    ("Weiß", "Straße", "weiss@example.com"),
    ("Back", "\\xe9", "back@example.com"),
    ("Per%", "Un_der", "percent@example.com"),
    ("ＦＵＬＬ", "width", "full@example.com"),
]


SEARCHES: list[tuple[str, set[str]]] = [
    ("ADA", {"ada@example.com"}),
    ("łove", {"ada@example.com"}),
    ("ŁOVE", {"ada@example.com"}),
    ("ada łov", {"ada@example.com"}),
    ("ada  łov", {"ada@example.com"}),
    ("o'b", {"b.obrien@example.com"}),
    ("B.OBRIEN@", {"b.obrien@example.com"}),
    ("e\u0301va", {"eva@bücher.example"}),
    ("eva@bü", {"eva@bücher.example"}),
    ("例", {"taro@example.com"}),
    ("太郎", {"taro@example.com"}),
    ("strasse", {"weiss@example.com"}),
    ("weiss straß", {"weiss@example.com"}),
    ("\\", {"back@example.com"}),
    ("\\xe9", {"back@example.com"}),
    ("é", {"eva@bücher.example"}),
    ("full", {"full@example.com"}),
    ("%", set()),
    ("_", set()),
    ("un_", {"percent@example.com"}),
    ("*", set()),
    ("da", set()),
    ("example.com", set()),
    ("x" * 100, set()),
]


async def test_the_search_by_prefix(app: App) -> None:
    ada = await app.register("someone@example.com", first_name="Some", last_name="Body")
    for first, last, email in NAMES:
        user = {"first_name": first, "last_name": last, "email": email}
        item = await stored(app, ada) | {"user_id": app.services.ids.new()} | user
        item |= {"id": user_key(app.services.ids.new()), **search_fields(item)}
        await app.store.create(IDENTITY, (ada.tenant_id,), item)
    for q, found in SEARCHES:
        answer = await app.client.get("/v1/admin/users", params={"q": q}, headers=ada.auth)
        assert answer.status_code == 200, answer.text
        assert {each["email"] for each in answer.json()["items"]} == found, q


async def test_a_new_name_is_found_and_the_old_one_is_not(app: App, ada: Account) -> None:
    bob = await app.join(ada, "bob@example.com", first_name="Robert")
    assert (await put(app, ada, bob.id, {"first_name": "Bob", "last_name": "New"})).status_code == 200

    async def found(q: str) -> list[str]:
        answer = await app.client.get("/v1/admin/users", params={"q": q}, headers=ada.auth)
        return [each["id"] for each in answer.json()["items"]]

    assert await found("robert") == []
    assert await found("bob n") == await found("new") == [bob.id]


async def test_the_list_pages_and_filters_within_the_tenant(app: App, ada: Account, grace: Account) -> None:
    members = [ada]
    for n in range(5):
        app.clock.advance(seconds=1)
        members.append(await app.join(ada, f"m{n}@example.com", Role.USER if n % 2 else Role.VIEWER))
    ids: list[str] = []
    cursor: str | None = None
    while True:
        params = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        answer = (await app.client.get("/v1/admin/users", params=params, headers=ada.auth)).json()
        ids += [each["id"] for each in answer["items"]]
        cursor = answer["next_cursor"]
        if cursor is None:
            break
    assert ids == [each.id for each in reversed(members)]
    assert grace.id not in ids
    by_role = await app.client.get("/v1/admin/users", params={"role": "user"}, headers=ada.auth)
    assert [each["email"] for each in by_role.json()["items"]] == ["m3@example.com", "m1@example.com"]
    none = await app.client.get("/v1/admin/users", params={"role": "user", "status": "suspended"}, headers=ada.auth)
    assert none.json() == {"items": [], "next_cursor": None}
    events = await app.events(ada.tenant_id, "user.list")
    assert sorted(e["record_count"] for e in events) == [0, 2, 2, 2, 2], "three pages and two filtered lists"


async def test_users_of_the_first_version_are_served(app: App, ada: Account) -> None:
    """They have no search fields, their tenant does not count its administrators."""
    bob = await app.join(ada, "bob@example.com")
    for name in ("search_email", "search_name", "search_last_name"):
        await app.store.patch(IDENTITY, (ada.tenant_id,), user_key(bob.id), [PatchRemove(name)])
    await app.store.patch(IDENTITY, (ada.tenant_id,), "tenant", [PatchRemove("admins")])
    assert len((await app.client.get("/v1/admin/users", headers=ada.auth)).json()["items"]) == 2
    assert (await put(app, ada, bob.id, {"role": "tenant_admin"})).status_code == 200
    assert (await app.store.read(IDENTITY, (ada.tenant_id,), "tenant"))["admins"] == 2
    found = await app.client.get("/v1/admin/users", params={"q": "bob@"}, headers=ada.auth)
    assert [each["id"] for each in found.json()["items"]] == [bob.id]
