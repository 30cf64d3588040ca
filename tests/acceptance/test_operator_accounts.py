"""What the operator's command line does to single accounts, of any role, and what it leaves in the trail."""

import contextlib
import io
from pathlib import Path
from typing import Any

import pytest

from devhost.host import Host
from shared.core.errors import Clash, NotFoundError
from shared.identity.account_operations import Order
from shared.identity.factors import factor_key
from shared.identity.model import TENANT_ITEM, Role, attempts_key, user_key
from shared.storage.containers import IDENTITY
from shared.storage.documents import Item
from shared.storage.errors import NotFound, StoreError
from shared.storage.sqlite import SqliteStore
from tests.acceptance.test_operator import ADMIN, boxed
from tests.app import PASSWORD, Account, App, assert_problem, running
from tests.fakes import ManualClock
from tests.faults import FaultyFeedStore
from tests.second_factors import enrolled
from tools.operator import main

WHY = "asked for in person"


def order(command: str) -> Order:
    return Order(command, "some.one", WHY)


async def told(app: App, account: Account, kind: str, command: str) -> tuple[Item, dict[str, Any]]:
    """The event for the account's tenant and what is sealed in that of `platform`, after checking what both share."""
    events = await app.events(account.tenant_id, kind)
    (event,) = [e for e in events if e["context"]["route"] == f"operator {command}"]
    (known,) = [e for e in await app.events("platform", "config.change") if e["reason"] == command]
    assert (event["reason"], event["severity"], event["actor"]["kind"]) == ("operator", "high", "system")
    assert (event["source"]["id"], event["outcome"]) == ("operator", "success")
    assert event["target"]["id"] == known["target"]["id"] == account.id
    assert event["personal"][account.id]["data"]["reason_text"] == WHY
    assert event["actor"] == known["actor"]
    assert boxed(known)["operator"] == "some.one"
    assert "some.one" not in str(event)
    assert WHY not in str(known)
    assert account.email not in str(known)
    return event, boxed(known)


@pytest.mark.parametrize("by", ["id", "email"])
async def test_a_system_admin_is_suspended_and_resumed(app: App, by: str) -> None:
    root = await app.system_admin()
    name, operations = getattr(root, by), app.services.account_operations
    assert await operations.set_status(name, "suspended", order("suspend-user"))
    assert not await operations.set_status(name, "suspended", order("suspend-user"))
    assert_problem(await app.client.get("/v1/profile", headers=root.auth), 401, "invalid_token")
    assert_problem(await app.login(root.email), 401, "invalid_credentials")
    event, known = await told(app, root, "user.status_change", "suspend-user")
    assert event["attributes"] == {"old_status": "active", "new_status": "suspended"}
    assert (known["old_values"], known["new_values"]) == ({"status": "active"}, {"status": "suspended"})

    assert await operations.set_status(name, "active", order("resume-user"))
    assert not await operations.set_status(name, "active", order("resume-user"))
    assert_problem(await app.client.get("/v1/profile", headers=root.auth), 401, "invalid_token")
    assert (await app.login(root.email)).status_code == 200
    await told(app, root, "user.status_change", "resume-user")


async def test_a_tenant_keeps_its_last_admin_and_its_count(app: App, ada: Account) -> None:
    operations = app.services.account_operations

    async def count() -> int:
        return int((await app.store.read(IDENTITY, (ada.tenant_id,), TENANT_ITEM))["admins"])

    with pytest.raises(Clash) as refusal:
        await operations.set_status(ada.id, "suspended", order("suspend-user"))
    assert refusal.value.code == "last_admin"
    assert not await app.events(ada.tenant_id, "user.status_change")
    bob = await app.join(ada, "bob@example.com", Role.TENANT_ADMIN)
    assert await operations.set_status(ada.id, "suspended", order("suspend-user"))
    assert await count() == 1
    with pytest.raises(Clash):
        await operations.set_status(bob.id, "suspended", order("suspend-user"))
    assert await operations.set_status(ada.id, "active", order("resume-user"))
    assert await count() == 2


@pytest.mark.parametrize("role", [Role.SYSTEM_ADMIN, Role.TENANT_ADMIN])
async def test_who_is_locked_out_comes_back(app: App, role: Role) -> None:
    who = await app.system_admin() if role == Role.SYSTEM_ADMIN else await app.register()
    operations = app.services.account_operations
    assert not await operations.unlock(who.id, order("unlock-user"))
    for _ in range(10):
        await app.login(who.email, "not the password")
    assert_problem(await app.login(who.email), 423, "account_locked")
    assert await operations.unlock(who.email.upper(), order("unlock-user"))
    _, known = await told(app, who, "user.unlock", "unlock-user")
    assert known["old_values"]["locked_until"]
    assert known["new_values"] == {"locked_until": None}
    assert (await app.client.get("/v1/profile", headers=who.auth)).status_code == 200
    assert (await app.login(who.email)).status_code == 200


@pytest.mark.parametrize("role", [Role.SYSTEM_ADMIN, Role.TENANT_ADMIN])
async def test_who_lost_the_factor_comes_back(app: App, role: Role) -> None:
    who = await app.system_admin() if role == Role.SYSTEM_ADMIN else await app.register()
    operations = app.services.account_operations
    assert not await operations.reset_factor(who.id, order("reset-mfa"))
    device = await enrolled(app, who)
    challenge = await device.challenge()
    assert await operations.reset_factor(who.email, order("reset-mfa"))
    assert not await operations.reset_factor(who.email, order("reset-mfa"))
    event, known = await told(app, who, "mfa.disable", "reset-mfa")
    assert event["attributes"] == {"factor": "totp"}
    assert (known["old_values"], known["new_values"]) == ({"mfa": True}, {"mfa": False})
    assert_problem(await app.client.get("/v1/profile", headers=who.auth), 401, "invalid_token")
    assert not (await device.answer(challenge, device.code(1), factor="totp")).is_success
    token = (await app.login(who.email)).json()["access_token"]
    profile = await app.client.get("/v1/profile", headers={"Authorization": f"Bearer {token}"})
    assert profile.json()["mfa"] is False
    with pytest.raises(NotFound):
        await app.store.read(IDENTITY, (who.tenant_id,), factor_key(who.id))


@pytest.mark.parametrize("account", ["nobody@example.com", "01890a5d-ac96-774b-bcce-b302099a8057", "../x", "tenant"])
async def test_nobodys_account(app: App, ada: Account, account: str) -> None:
    operations = app.services.account_operations
    for command in (
        operations.set_status(account, "suspended", order("suspend-user")),
        operations.unlock(account, order("unlock-user")),
        operations.reset_factor(account, order("reset-mfa")),
    ):
        with pytest.raises(NotFoundError):
            await command
    assert not await app.events("platform", "config.change")


@pytest.mark.parametrize("command", ["suspend-user", "unlock-user", "reset-mfa"])
async def test_a_command_that_is_cut_off_is_told_in_both_trails_or_was_not_done(
    host: Host, clock: ManualClock, command: str
) -> None:
    store = FaultyFeedStore(await SqliteStore.open(None, clock=clock))
    async with running(host, clock, store) as app:
        operations = app.services.account_operations
        for k in range(1, 15):
            who = await app.register(f"ada{k}@example.com")
            bob = await app.join(who, f"bob{k}@example.com", Role.TENANT_ADMIN)
            await app.login(bob.email, "not the password")
            await store.replace(IDENTITY, (bob.tenant_id,), {**await held(app, bob), "mfa": True})
            store.arm(k, "gone_after")
            with contextlib.suppress(StoreError):
                await {
                    "suspend-user": lambda: operations.set_status(bob.id, "suspended", order(command)),  # noqa: B023
                    "unlock-user": lambda: operations.unlock(bob.id, order(command)),  # noqa: B023
                    "reset-mfa": lambda: operations.reset_factor(bob.id, order(command)),  # noqa: B023
                }[command]()
            reached = store.failed > 0
            store.mend()
            await app.host.drain_feed()
            clock.advance(minutes=2)
            assert await app.host.run_timer("sweep_outbox")
            done = await is_done(app, bob, command)
            trails = [await app.events(each) for each in (bob.tenant_id, "platform")]
            about = [[e for e in trail if e["context"]["route"] == f"operator {command}"] for trail in trails]
            assert [len([e for e in each if e["target"]["id"] == bob.id]) for each in about] == [done, done]
            if not reached:
                assert done
                return
    pytest.fail("a command without end")


async def held(app: App, account: Account) -> Item:
    return await app.store.read(IDENTITY, (account.tenant_id,), user_key(account.id))


async def is_done(app: App, account: Account, command: str) -> bool:
    user = await held(app, account)
    if command == "unlock-user":
        try:
            await app.store.read(IDENTITY, (account.tenant_id,), attempts_key(account.id))
        except NotFound:
            return True
        return False
    return bool(user["status"] == "suspended" if command == "suspend-user" else not user["mfa"])


def test_as_an_operator_types_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KRAFTD_DATA", str(tmp_path))
    monkeypatch.setattr("sys.stdin", io.StringIO(PASSWORD + "\n"))

    def said(*arguments: str, code: int = 0) -> str:
        assert main(arguments) == code
        out, err = capsys.readouterr()
        return (err if code else out).strip()

    user_id = said(*ADMIN).rpartition(" ")[2]
    assert said("suspend-user", user_id, "--reason", WHY) == f"account {user_id} suspended"
    assert said("suspend-user", "ROOT@example.com") == "account ROOT@example.com was suspended already"
    assert said("resume-user", "root@example.com") == "account root@example.com resumed"
    assert said("reset-mfa", user_id) == f"account {user_id} had no second factor"
    assert said("unlock-user", user_id).endswith("was not locked, and had no failures to forget")
    for arguments, says in (
        (("unlock-user", "x@example.com"), "There is no account of that e-mail or id."),
        (("unlock-user", "x@"), "ACCOUNT: "),
        (("reset-mfa", ""), "ACCOUNT: "),
        (("suspend-user", user_id, "--reason", "x"), "--reason: "),
        (("suspend-user", user_id, "--reason", "a\nline"), "--reason: "),
    ):
        assert said(*arguments, code=1).startswith(f"operator: {says}")
