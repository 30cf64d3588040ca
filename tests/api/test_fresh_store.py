"""A store in which the app has only just started: there is nobody yet, and nothing that anybody could come in with."""

import itertools
from typing import cast

import pytest

from devhost.bindings import TimerTrigger
from shared.storage.containers import CONTAINERS
from shared.storage.sqlite import SqliteStore
from tests.app import Account, App, assert_problem, registration

SIGN_INS = {"user", "api_key", "invitation", "session", "challenge", "factor", "tenant"}
"""Kinds of items that somebody can sign in with, or belong to."""
NAMES = ("admin", "root", "administrator", "system", "operator", "test", "demo", "platform")
HOSTS = ("example.com", "localhost.localdomain", "kraftd.test", "platform.local")
PASSWORDS = ("admin", "password", "changeme", "kraftd", "Kraftd Audit 1", "correct horse battery staple", "")


async def kinds(app: App) -> set[str]:
    """The kinds of all that is stored; of an item without one, its container and how its id begins."""
    store, found = cast(SqliteStore, app.store), set()
    for name, container in CONTAINERS.items():
        for change in await store.changes(container, 0, 1000):
            found.add(change.item.get("kind") or f"{name} {change.item['id'].partition('|')[0]}")
    return found


@pytest.fixture
async def started(app: App) -> App:
    """After its first hour: every timer ran once, and the feed is settled."""
    for function in app.host.functions:
        if isinstance(function.trigger, TimerTrigger):
            await app.host.run_timer(function.name)
    await app.host.drain_feed()
    return app


async def test_nobody_is_there_before_somebody_was_made(started: App) -> None:
    found = await kinds(started)
    assert found >= {"pulse", "entry", "directory key_check"}, "it did start"
    assert found & SIGN_INS == set()
    assert {each for each in found if each.startswith(("directory", "tenants", "subject_keys"))} == {
        "directory key_check",
        "directory ledger_keys",
        "directory ledger_signed",
    }


async def test_what_could_sign_in_would_be_seen(app: App, ada: Account) -> None:
    """The same look at a store with one account, an invitation and a key."""
    await app.invite(ada, "bob@example.com")
    body = {"name": "reader", "scopes": ["alerts:read"]}
    assert (await app.client.post("/v1/admin/api-keys", json=body, headers=ada.auth)).status_code == 201
    assert await kinds(app) >= {"user", "tenant", "session", "invitation", "api_key"}


async def test_no_name_that_people_try_is_an_account(started: App) -> None:
    for name, host in itertools.product(NAMES, HOSTS):
        for password in PASSWORDS:
            answer = await started.login(f"{name}@{host}", password)
            assert answer.status_code in (401, 422, 423), answer.text
    for header in ("Bearer admin", "Bearer null", "Bearer undefined", "Basic YWRtaW46YWRtaW4="):
        answer = await started.client.get("/v1/profile", headers={"Authorization": header})
        assert answer.status_code == 401


async def test_the_first_who_registers_rules_the_own_organization_alone(started: App) -> None:
    """Neither the first account nor one that is named like the platform is more than any other."""
    first = await started.register("root@example.com", organization="platform")
    profile = (await started.client.get("/v1/profile", headers=first.auth)).json()
    assert (profile["role"], profile["tenant_id"]) == ("tenant_admin", first.tenant_id)
    assert first.tenant_id != "platform"
    answer = await started.client.post("/v1/register", json=registration(role="system_admin"))
    assert_problem(answer, 422, "invalid_request", "role")
