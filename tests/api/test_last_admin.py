"""A tenant never loses its last active tenant_admin, however many remove each other at once."""

import asyncio
import random
from typing import Any

import httpx
import pytest

from shared.identity.model import TENANT_ITEM, Role, is_active_admin
from shared.storage.containers import IDENTITY
from shared.storage.documents import Eq, Query
from tests.app import Account, App, assert_problem
from tests.storage.conftest import LOCAL

WAYS = ("demote", "suspend", "delete")


@pytest.fixture(params=LOCAL)
def adapter(request: pytest.FixtureRequest) -> str:
    store: str = request.param
    return store


async def oust(app: App, by: Account, whom: Account, way: str) -> httpx.Response:
    url = f"/v1/admin/users/{whom.id}"
    if way == "delete":
        return await app.client.delete(f"{url}?reason=a+quarrel", headers=by.auth)
    body = {"role": "auditor"} if way == "demote" else {"status": "suspended"}
    return await app.client.put(url, json=body, headers=by.auth)


async def admins(app: App, tenant_id: str) -> list[dict[str, Any]]:
    """The active tenant_admins, after checking that the tenant's item counts them right."""
    page = await app.store.query(IDENTITY, (tenant_id,), Query((Eq("kind", "user"),), limit=1000))
    found = [user for user in page.items if is_active_admin(user)]
    assert (await app.store.read(IDENTITY, (tenant_id,), TENANT_ITEM))["admins"] == len(found)
    return found


@pytest.mark.parametrize("way", WAYS)
async def test_two_who_remove_each_other_leave_one(app: App, ada: Account, way: str) -> None:
    bob = await app.join(ada, "bob@example.com", Role.TENANT_ADMIN)
    answers = await asyncio.gather(oust(app, ada, bob, way), oust(app, bob, ada, way))
    assert len(await admins(app, ada.tenant_id)) == 1
    (lost,) = (a for a in answers if not a.is_success)
    if lost.status_code == 409:
        assert_problem(lost, 409, "last_admin")
        (event,) = await app.events(ada.tenant_id, "access.denied")
        assert event["reason"] == "last_admin"
        assert event["personal"][event["target"]["id"]]["data"]["attempted"]
    else:
        assert_problem(lost, 401, "invalid_token")  # the other one was quicker than the check of the token


@pytest.mark.parametrize("seed", range(3))
async def test_many_who_remove_each_other_leave_at_least_one(app: App, ada: Account, seed: int) -> None:
    dice = random.Random(seed)  # noqa: S311 - no secret
    everyone = [ada, *[await app.join(ada, f"admin{n}@example.com", Role.TENANT_ADMIN) for n in range(4)]]
    assert len(await admins(app, ada.tenant_id)) == 5
    duels = [(by, whom, dice.choice(WAYS)) for by in everyone for whom in everyone if by is not whom]
    dice.shuffle(duels)
    answers = await asyncio.gather(*(oust(app, *duel) for duel in duels))
    assert {a.status_code for a in answers} <= {200, 204, 401, 403, 404, 409}
    left = await admins(app, ada.tenant_id)
    assert left
    done = [e for e in await app.events(ada.tenant_id) if e["outcome"] == "success"]
    removed = {
        e["target"]["id"] for e in done if e["type"] in {"user.role_change", "user.status_change", "user.delete"}
    }
    assert removed == {each.id for each in everyone} - {user["user_id"] for user in left}


async def test_the_count_follows_every_change(app: App, ada: Account) -> None:
    bob = await app.join(ada, "bob@example.com")
    url = f"/v1/admin/users/{bob.id}"
    for body, count in (
        ({"role": "tenant_admin"}, 2),
        ({"role": "tenant_admin", "phone": "123"}, 2),
        ({"status": "suspended"}, 1),
        ({"role": "user"}, 1),
        ({"role": "tenant_admin"}, 1),
        ({"status": "active"}, 2),
        ({"status": "suspended", "role": "viewer"}, 1),
        ({"status": "active", "role": "tenant_admin"}, 2),
    ):
        assert (await app.client.put(url, json=body, headers=ada.auth)).status_code == 200
        assert len(await admins(app, ada.tenant_id)) == count
    assert (await oust(app, ada, bob, "delete")).status_code == 204
    assert len(await admins(app, ada.tenant_id)) == 1


async def test_a_suspended_admin_is_not_one_that_counts(app: App, ada: Account) -> None:
    bob = await app.join(ada, "bob@example.com", Role.TENANT_ADMIN)
    sam = await app.join(ada, "sam@example.com")
    await app.give_role(sam, Role.SYSTEM_ADMIN)
    assert (await oust(app, ada, bob, "suspend")).status_code == 200
    for way in WAYS:
        assert_problem(await oust(app, sam, ada, way), 409, "last_admin")
    assert (await oust(app, sam, bob, "demote")).status_code == 200
    assert [user["user_id"] for user in await admins(app, ada.tenant_id)] == [ada.id]
    assert [e["reason"] for e in await app.events(ada.tenant_id, "access.denied")] == ["last_admin"] * 3


@pytest.mark.parametrize("way", WAYS)
async def test_the_platforms_own_tenant_needs_no_tenant_admin(app: App, way: str) -> None:
    """It has its system_admins, who may remove the only one that they invited; the count stays right."""
    root = await app.system_admin()
    bob = await app.join(root, "bob@example.com", Role.TENANT_ADMIN)
    assert (await oust(app, root, bob, way)).is_success
    assert await admins(app, "platform") == []
    assert not await app.events("platform", "access.denied")
    await app.join(root, "eve@example.com", Role.TENANT_ADMIN)
    assert len(await admins(app, "platform")) == 1
