"""A store that fails at any one call of an administrator's request, or of a registration by invitation: as in
test_faults.py, the client hears the truth, and each change that was made has its event, and no event is without one."""

from typing import Any

import httpx
import pytest

from shared.identity.invitations import invitation_key
from shared.identity.model import TENANT_ITEM, Role, attempts_key, user_key
from shared.storage.containers import IDENTITY
from shared.storage.documents import Eq, PatchSet, Query
from tests.api.broken import MODES, Admin
from tests.api.test_faults import ADMINISTRATION
from tests.app import Account, acceptance


async def test_update_user(admin: Admin) -> None:
    """Name, profile and role at once: one batch, two events."""
    wanted = {"first_name": "New", "role": "tenant_admin", "phone": "123"}
    bob = await admin.app.join(admin.ada, "bob@example.com")
    names = ("user.update", "user.role_change")
    before = {"first_name": "Bob", "role": "viewer", "phone": None}

    async def told() -> list[int]:
        return [len(await admin.events(name, bob.id)) for name in names]

    async def prepare(_: int) -> list[int]:
        assert (await admin.ask("PUT", f"/v1/admin/users/{bob.id}", before)).status_code == 200
        return await told()

    async def act(_: list[int]) -> httpx.Response:
        return await admin.ask("PUT", f"/v1/admin/users/{bob.id}", wanted)

    async def check(seen: list[int], answer: httpx.Response) -> None:
        user = await admin.item(user_key(bob.id))
        assert user is not None
        changed = user["role"] == "tenant_admin"
        assert changed or answer.status_code == 503
        assert {name: user[name] == value for name, value in wanted.items()} == dict.fromkeys(wanted, changed)
        assert await told() == [each + changed for each in seen]

    await admin.walk(prepare, act, check, 200)


async def test_delete_user(admin: Admin) -> None:
    """The user is there with the e-mail, or gone with the event, and the e-mail is free."""

    async def prepare(n: int) -> Account:
        role = Role.TENANT_ADMIN if n % 2 else Role.VIEWER
        account = await admin.app.join(admin.ada, f"m{n}@example.com", role)
        await admin.app.login(account.email, "wrong")
        return account

    async def act(account: Account) -> httpx.Response:
        return await admin.ask("DELETE", f"/v1/admin/users/{account.id}", {"reason": "left"})

    async def check(account: Account, answer: httpx.Response) -> None:
        gone = await admin.item(user_key(account.id)) is None
        assert gone or answer.status_code == 503
        assert len(await admin.events("user.delete", account.id)) == gone
        assert (await admin.app.services.directory.find(account.email) is None) == gone
        assert (await admin.app.services.directory.tenant_of(account.id) is None) == gone
        assert (await admin.item(attempts_key(account.id)) is None) == gone
        assert (await admin.app.login(account.email)).status_code == (401 if gone else 200)

    await admin.walk(prepare, act, check, 204)


async def test_unlock_user(admin: Admin) -> None:
    bob = await admin.app.join(admin.ada, "bob@example.com")

    async def prepare(n: int) -> int:
        if n % 2:
            await admin.app.login(bob.email, "wrong")
        return len(await admin.events("user.unlock", bob.id))

    async def act(_: int) -> httpx.Response:
        return await admin.ask("POST", f"/v1/admin/users/{bob.id}/unlock")

    async def check(before: int, answer: httpx.Response) -> None:
        told = len(await admin.events("user.unlock", bob.id)) - before
        locked = await admin.item(attempts_key(bob.id)) is not None
        assert told in ((1,) if answer.status_code == 204 else (0, 1))
        assert not (locked and told)

    await admin.walk(prepare, act, check, 204)


async def test_invite_user(admin: Admin) -> None:
    async def prepare(n: int) -> str:
        return f"m{n}@example.com"

    async def act(email: str) -> httpx.Response:
        return await admin.ask("POST", "/v1/admin/invitations", {"email": email, "role": "user"})

    async def check(email: str, answer: httpx.Response) -> None:
        page = await admin.broken.store.query(
            IDENTITY, (admin.ada.tenant_id,), Query((Eq("kind", "invitation"),), limit=1000)
        )
        made = [each for each in page.items if each["email"] == email]
        assert len(made) in ((1,) if answer.status_code == 201 else (0, 1))
        events = await admin.app.events(admin.ada.tenant_id, "user.invite")
        assert {e["target"]["id"] for e in events} == {each["invitation_id"] for each in page.items}
        assert len(events) == len(page.items)

    await admin.walk(prepare, act, check, 201)


async def test_revoke_invitation(admin: Admin) -> None:
    async def prepare(n: int) -> str:
        return (await admin.app.invite(admin.ada, f"m{n}@example.com")).split(".")[1]

    async def act(invitation_id: str) -> httpx.Response:
        return await admin.ask("DELETE", f"/v1/admin/invitations/{invitation_id}")

    async def check(invitation_id: str, answer: httpx.Response) -> None:
        gone = await admin.item(invitation_key(invitation_id)) is None
        assert gone or answer.status_code == 503
        assert len(await admin.events("user.invite_revoke", invitation_id)) == gone

    await admin.walk(prepare, act, check, 204)


async def test_register_by_invitation(admin: Admin) -> None:
    """Either the account is whole and the invitation used, or the invitation still opens, at once."""

    async def prepare(n: int) -> tuple[str, str]:
        email = f"m{n}@example.com"
        return await admin.app.invite(admin.ada, email, Role.TENANT_ADMIN if n % 2 else Role.USER), email

    async def act(thing: tuple[str, str]) -> httpx.Response:
        return await admin.app.client.post("/v1/register", json=acceptance(*thing))

    async def check(thing: tuple[str, str], answer: httpx.Response) -> None:
        there = (await admin.app.login(thing[1])).status_code == 200
        assert there or answer.status_code == 503
        again = await admin.app.client.post("/v1/register", json=acceptance(*thing))
        assert again.status_code == (422 if there else 201), again.text
        entry = await admin.app.services.directory.find(thing[1])
        assert entry is not None
        assert entry.tenant_id == admin.ada.tenant_id
        registered = [e for e in await admin.events("auth.register", entry.user_id) if e["outcome"] == "success"]
        assert len(registered) == 1
        assert len(await admin.events("consent.grant", entry.user_id)) == 2

    await admin.walk(prepare, act, check, 201)


async def test_create_api_key(admin: Admin) -> None:
    async def prepare(n: int) -> int:
        return n

    async def act(n: int) -> httpx.Response:
        return await admin.ask("POST", "/v1/admin/api-keys", {"name": f"key {n}", "scopes": ["alerts:read"]})

    async def check(_: int, answer: httpx.Response) -> None:
        page = await admin.broken.store.query(
            IDENTITY, (admin.ada.tenant_id,), Query((Eq("kind", "api_key"),), limit=1000)
        )
        events = await admin.app.events(admin.ada.tenant_id, "apikey.create")
        assert sorted(e["target"]["id"] for e in events) == sorted(each["key_id"] for each in page.items)
        if answer.status_code == 201:
            assert answer.json()["id"] in {each["key_id"] for each in page.items}

    await admin.walk(prepare, act, check, 201)


async def test_revoke_api_key(admin: Admin) -> None:
    async def prepare(n: int) -> Any:
        return (await admin.ask("POST", "/v1/admin/api-keys", {"name": "a key", "scopes": ["alerts:read"]})).json()

    async def act(made: Any) -> httpx.Response:
        return await admin.ask("DELETE", f"/v1/admin/api-keys/{made['id']}")

    async def check(made: Any, answer: httpx.Response) -> None:
        used = await admin.app.client.get("/v1/alerts", headers={"Authorization": f"Bearer {made['key']}"})
        gone = used.status_code == 401
        assert gone or answer.status_code == 503
        assert len(await admin.events("apikey.revoke", made["id"])) == gone

    await admin.walk(prepare, act, check, 204)


async def test_the_first_use_of_an_api_key(admin: Admin) -> None:
    """It is noted before the answer; that it could not be is a 503, and the next call does it."""

    async def prepare(n: int) -> Any:
        return (await admin.ask("POST", "/v1/admin/api-keys", {"name": "a key", "scopes": ["alerts:read"]})).json()

    async def act(made: Any) -> httpx.Response:
        return await admin.app.client.get("/v1/alerts", headers={"Authorization": f"Bearer {made['key']}"})

    async def check(made: Any, answer: httpx.Response) -> None:
        held = await admin.item(f"api_key|{made['id']}")
        assert held is not None
        assert held["last_used_at"] is not None or answer.status_code == 503

    store, counted = admin.broken.store, 0
    made = await prepare(0)
    store.arm(10**6)
    assert (await act(made)).status_code == 200
    counted = len(store.calls)
    assert counted == 4, "key, tenant, note of the use, list"
    for mode, times in MODES:
        for k in range(1, counted + 1):
            await admin.signed_in()
            made = await prepare(k)
            store.arm(k, mode, times=times)
            answer = await act(made)
            assert answer.status_code == 503, (mode, k)
            store.mend()
            await check(made, answer)
            assert (await act(made)).status_code == 200
    assert await admin.app.types(admin.ada.tenant_id)


async def test_update_settings(admin: Admin) -> None:
    """The policy is read and taken back behind the app's back: who asks would have to enroll a factor first."""
    store, tenant = admin.app.store, (admin.ada.tenant_id,)

    async def policy() -> str:
        held = await store.read(IDENTITY, tenant, TENANT_ITEM)
        return str(held.get("settings", {}).get("require_mfa", "off"))

    async def prepare(n: int) -> int:
        return len(await admin.app.events(admin.ada.tenant_id, "config.change"))

    async def act(_: int) -> httpx.Response:
        return await admin.ask("PUT", "/v1/admin/settings", {"require_mfa": "all"})

    async def check(before: int, answer: httpx.Response) -> None:
        changed = await policy() == "all"
        assert changed or answer.status_code == 503
        assert len(await admin.app.events(admin.ada.tenant_id, "config.change")) == before + changed
        await store.patch(IDENTITY, tenant, TENANT_ITEM, [PatchSet("settings", {"require_mfa": "off"})])

    await admin.walk(prepare, act, check, 200)


@pytest.mark.parametrize(
    ("method", "tail", "body", "status", "event"),
    [
        ("GET", "", None, 200, "user.list"),
        ("GET", "/{ada}", None, 200, "user.view"),
        ("PUT", "/{ada}", {}, 200, "user.view"),
        ("PUT", "/{ada}", {"role": "viewer"}, 403, "access.denied"),
        ("PUT", "/{ada}", {"role": "system_admin"}, 422, "access.denied"),
        ("DELETE", "/{ada}", {"reason": "tired"}, 403, "access.denied"),
    ],
    ids=["list_users", "get_user", "no change", "own role", "a role that nobody gets", "oneself"],
)
async def test_what_is_only_recorded(admin: Admin, method: str, tail: str, body: Any, status: int, event: str) -> None:
    """No event, no answer."""
    path = "/v1/admin/users" + tail.format(ada=admin.ada.id)

    async def prepare(_: int) -> int:
        return len(await admin.app.events(admin.ada.tenant_id, event))

    async def act(_: int) -> httpx.Response:
        return await admin.ask(method, path, body)

    async def check(before: int, answer: httpx.Response) -> None:
        told = len(await admin.app.events(admin.ada.tenant_id, event)) - before
        assert told in ((1,) if answer.status_code == status else (0, 1))

    await admin.walk(prepare, act, check, status)


def test_every_endpoint_that_is_said_to_be_walked_here_is() -> None:
    walked = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    assert walked | {"list_users", "get_user"} >= ADMINISTRATION
