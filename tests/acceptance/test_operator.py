"""The operator's command line, as an operator runs it, and what it leaves in the trail."""

import contextlib
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from devhost.host import Host
from shared.core.clock import SystemClock, parse_rfc3339, rfc3339
from shared.core.errors import Unready
from shared.core.settings import Settings
from shared.identity.model import TENANT_ITEM, Role
from shared.identity.operations import NewAdmin
from shared.ledger.shards import rollup_id
from shared.privacy.file_secrets import FileSecrets
from shared.privacy.index_versions import ITEM
from shared.privacy.person_keys import key_id
from shared.storage.containers import AUDIT_EVENTS, DIRECTORY, IDENTITY, LEDGER, SUBJECT_KEYS
from shared.storage.documents import Eq, Item, Query
from shared.storage.errors import StoreError
from shared.storage.sqlite import SqliteStore
from shared.wiring import Services, build_services
from tests.app import PASSWORD, ROOT, Account, App, assert_problem, running, services_for
from tests.commands import call
from tests.fakes import ManualClock
from tests.faults import FaultyFeedStore, FaultyStore
from tools import operator

ROTATE = ("rotate-keys", "tokens")
ADMIN = ("system-admin", "--email", "root@example.com", "--first-name", "Some", "--last-name", "Operator")


def run(data: Path, *arguments: str, typed: str = "", code: int = 0, **environment: str) -> str:
    """What a command prints; its exit code is checked, and that it shows no password."""
    done = call(operator.main, arguments, {**os.environ, "KRAFTD_DATA": str(data), **environment}, typed=typed)
    return _checked(done, typed, code)


def run_process(data: Path, *arguments: str, typed: str = "", code: int = 0) -> str:
    """The same of a process of its own."""
    done = subprocess.run(  # noqa: S603 - our own module
        [sys.executable, "-m", "tools.operator", *arguments],
        cwd=ROOT,
        env={**os.environ, "KRAFTD_DATA": str(data)},
        input=typed,
        capture_output=True,
        text=True,
        check=False,
    )
    return _checked(done, typed, code)


def _checked(done: subprocess.CompletedProcess[str], typed: str, code: int) -> str:
    assert done.returncode == code, done.stderr
    assert not typed.strip() or typed.strip() not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return (done.stdout or done.stderr).strip()


async def services_of(data: Path) -> Services:
    return await build_services(Settings(kraftd_data=str(data)), clock=SystemClock())


async def test_a_system_admin_is_made_with_a_password_from_the_terminal(tmp_path: Path) -> None:
    said = run_process(tmp_path, *ADMIN, typed=PASSWORD + "\n")
    assert said.startswith("system administrator ")
    services = await services_of(tmp_path)
    try:
        entry = await services.directory.find("root@example.com")
        assert entry is not None
        assert (entry.tenant_id, f"system administrator {entry.user_id}") == ("platform", said)
    finally:
        await services.close()
    assert run_process(tmp_path, *ADMIN, typed=PASSWORD + "\n", code=1) == "operator: this e-mail has an account"


@pytest.mark.parametrize(
    ("arguments", "typed", "says"),
    [
        (ADMIN, "short\n", "password: "),
        (ADMIN, "password1234\n", "password: "),
        (ADMIN, "\n", "password: "),
        ((*ADMIN[:2], "no e-mail", *ADMIN[3:]), PASSWORD, "--email: "),
        ((*ADMIN[:4], "a\nb", *ADMIN[5:]), PASSWORD, "--first-name: "),
        (("suspend-tenant", "01890a5d-ac96-774b-bcce-b302099a8057"), "", "There is no tenant of that id."),
        (("--operator", "a\nb", *ADMIN), PASSWORD, "--operator: "),
        (("--operator", "", *ADMIN), PASSWORD, "--operator: "),
        (("suspend-tenant", "../x"), "", "There is no tenant of that id."),
        (("suspend-tenant", "platform"), "", "The platform's own tenant cannot be suspended"),
    ],
)
def test_what_cannot_be_done_says_why(tmp_path: Path, arguments: tuple[str, ...], typed: str, says: str) -> None:
    assert run(tmp_path, *arguments, typed=typed, code=1).startswith(f"operator: {says}")


def test_wrong_usage_and_wrong_settings(tmp_path: Path) -> None:
    assert "usage" in run(tmp_path, "make-me-king", code=2)
    assert run(tmp_path, "rotate-keys", code=1, SESSION_DAYS="x").startswith("operator: SESSION_DAYS: ")


async def test_counts_are_compared_with_the_entries_and_put_right(tmp_path: Path) -> None:
    run(tmp_path, *ADMIN, typed=PASSWORD + "\n")
    assert run(tmp_path, "recount-rollups", "platform", code=1) == "operator: nothing of it was sealed"
    services = await services_of(tmp_path)
    try:
        events = (await services.store.query(AUDIT_EVENTS, ("platform",), Query())).items
        await services.sealer.consume(events)
        day, here = events[0]["recorded_at"][:10], ("platform", events[0]["period"])
        right = await services.store.read(LEDGER, here, rollup_id(day))
        await services.store.replace(LEDGER, here, right | {"events": 7})
    finally:
        await services.close()
    recount = ("--operator", "Some Operator", "recount-rollups", "platform")
    assert run(tmp_path, *recount) == f"{day} has other counts than its entries"
    assert run(tmp_path, *recount, "--month", "2001-01", code=1) == "operator: nothing of it was sealed"
    assert run(tmp_path, *recount, "--month", day[:7], "--write") == f"{day} was counted anew"
    assert run(tmp_path, *recount, "--write") == "all counts are those of the entries"
    services = await services_of(tmp_path)
    try:
        repaired = await services.store.read(LEDGER, here, rollup_id(day))
        assert {**repaired, "_etag": "", "_ts": 0, "ttl": 0} == {**right, "_etag": "", "_ts": 0, "ttl": 0}
        told = (await services.store.query(AUDIT_EVENTS, ("platform",), Query((Eq("type", "config.change"),)))).items
        [event] = [each for each in told if each["attributes"]["key"] == "ledger.rollups"]
        assert event["attributes"]["changed_fields"] == [day]
        assert event["target"] == {"kind": "ledger", "id": day[:7]}
        [personal] = (await services.search.shown(event))["personal"].values()
        assert "Some Operator" in str(personal)
        await services.store.delete(LEDGER, here, events[0]["id"])
    finally:
        await services.close()
    assert run(tmp_path, *recount, code=1).startswith("operator: the ledger is broken: entry 0 is missing")


def test_keys_are_rotated_in_files_of_their_own(tmp_path: Path) -> None:
    said = run(tmp_path, "rotate-keys")
    assert "secret tokens has a new version v2" in said
    assert "secret ledger has a new version v2" in said
    assert "secret index stays as it is: reindex has to be run after it" in said
    assert "new version v3" in run(tmp_path, "rotate-keys", "tokens")
    said = run(tmp_path, "rotate-keys", "tokens", "index")
    assert "secret index has a new version v2; it is used within 15 minutes, run reindex then" in said
    refused = run(tmp_path, "rotate-keys", "index", code=1)
    assert refused == "operator: the rotation to v2 is not over: run reindex"
    assert run(tmp_path, "reindex", code=1).startswith("operator: not before ")
    assert run(tmp_path, "drop-index", "v1", code=1) == "operator: the directory is not rid of it: run reindex"
    assert "invalid choice" in run(tmp_path, "rotate-keys", "every one", code=2)
    files = sorted(path.name for path in (tmp_path / "secrets").iterdir())
    tokens = ["tokens.v1", "tokens.v2", "tokens.v3", "tokens.v4"]
    assert files == ["index.v1", "index.v2", "ledger.v1", "ledger.v2", "persons.v1", *tokens]
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "secrets").iterdir()} == {0o600}
    assert len({path.read_bytes() for path in (tmp_path / "secrets").iterdir()}) == 9


async def test_persons_keys_are_wrapped_anew(tmp_path: Path) -> None:
    services = await services_of(tmp_path)
    await services.person_keys.prepare("platform", ["one", "another", "damaged"], make=True)
    held = await services.store.read(SUBJECT_KEYS, ("platform",), key_id("damaged"))
    await services.store.replace(SUBJECT_KEYS, ("platform",), held | {"wrapped": "AAAA"})
    await services.close()
    said = run(tmp_path, "rotate-keys", "persons")
    assert said == "secret persons has a new version v2; it is used within five minutes, run rewrap in an hour"
    said = run(tmp_path, "rewrap").splitlines()[-1]
    assert said == (
        "0 keys of persons were wrapped anew, 4 were current and were not tried (--verify tries them); "
        "the newest version v2 is not in use yet: run rewrap again an hour after the rotation"
    )
    refused = run(tmp_path, "rewrap", "--verify", code=1).splitlines()[-1]
    assert "3 were current and unwrap; 1 do not unwrap and stay" in refused
    for path in (tmp_path / "secrets").glob("persons.*"):
        os.utime(path, (path.stat().st_mtime - 86_400,) * 2)  # a day later
    refused = run(tmp_path, "rewrap", code=1).splitlines()[-1]
    wanted = "operator: 3 keys of persons were wrapped anew, 0 were current and were not tried"
    assert refused.startswith(wanted)
    assert "; 1 do not unwrap and stay as they are" in refused, "the operator's own, too"
    (tmp_path / "secrets" / "persons.v1").unlink()
    services = await services_of(tmp_path)
    for person in ("one", "another"):
        assert await services.person_keys.for_opening("platform", person) is not None
    await services.close()


def test_secrets_in_memory_are_not_rotated(tmp_path: Path) -> None:
    assert run(tmp_path, "rotate-keys", code=1, KRAFTD_DATA=":memory:") == (
        "operator: secrets in memory cannot be rotated"
    )


async def test_who_gave_a_command_is_in_the_trail(tmp_path: Path) -> None:
    """By name in that of the platform; one operator has one id, another one another."""
    for name, arguments in (("some.one", ADMIN), ("some.one", ROTATE), ("other.one", ROTATE)):
        run(tmp_path, "--operator", name, *arguments, typed=PASSWORD + "\n")
    run(tmp_path, *ROTATE, LOGNAME="login.name")
    services = await services_of(tmp_path)
    try:
        query = Query((Eq("type", "config.change"),), order_by="recorded_at")
        stored = (await services.store.query(AUDIT_EVENTS, ("platform",), query)).items
        events = await services.search.shown_all(stored)
    finally:
        await services.close()
    told = [(e["attributes"]["key"], e["reason"], e["personal"][e["actor"]["id"]]["operator"]) for e in events]
    rotations = [("secrets.tokens", reason) for reason in ("rotation_begun", "rotated")]
    assert told == [
        ("system_admin", "system_admin", "some.one"),
        *[(*each, name) for name in ("some.one", "other.one", "login.name") for each in rotations],
    ]
    assert [e["target"]["id"] for e in events[1:5]] == ["tokens", "tokens:v2", "tokens", "tokens:v3"]
    ids = [e["actor"]["id"] for e in events]
    assert ids[0] == ids[1] == ids[2] != ids[3] != ids[5]
    assert all(".one" not in str({**e, "personal": {}}) for e in events), "a name is sealed"


def boxed(event: Item) -> dict[str, Any]:
    """What is sealed under the operator."""
    data: dict[str, Any] = event["personal"][event["actor"]["id"]]["data"]
    return data


async def test_a_suspension_says_what_was_and_who_to_those_who_may_know(app: App, ada: Account) -> None:
    await app.services.operations.set_tenant_status(ada.tenant_id, "suspended", operator="some.one")
    (told,), (known,) = [await app.events(each, "config.change") for each in (ada.tenant_id, "platform")]
    values = {"old_values": {"status": "active"}, "new_values": {"status": "suspended"}}
    assert boxed(told) == values
    assert boxed(known) == values | {"operator": "some.one"}
    assert told["actor"] == known["actor"]
    assert "some.one" not in str(told)
    assert known["target"] == {"kind": "tenant", "id": ada.tenant_id}


@pytest.mark.parametrize("status", ["suspended", "active"])
async def test_a_suspension_that_is_cut_off_has_both_events_or_none(
    host: Host, clock: ManualClock, status: str
) -> None:
    store = FaultyFeedStore(await SqliteStore.open(None, clock=clock))
    async with running(host, clock, store) as app:
        ada = await app.register()
        for k in range(1, 12):
            await app.services.operations.set_tenant_status(ada.tenant_id, "active")
            if status == "active":
                await app.services.operations.set_tenant_status(ada.tenant_id, "suspended")
            before = [len(await app.events(each, "config.change")) for each in (ada.tenant_id, "platform")]
            store.arm(k, "gone_after")
            with contextlib.suppress(StoreError):
                await app.services.operations.set_tenant_status(ada.tenant_id, status, operator="some.one")
            reached = store.failed > 0
            store.mend()
            await app.host.drain_feed()
            clock.advance(minutes=2)
            assert await app.host.run_timer("sweep_outbox")
            held = await store.read(IDENTITY, (ada.tenant_id,), TENANT_ITEM)
            done = held["status"] == status
            after = [len(await app.events(each, "config.change")) for each in (ada.tenant_id, "platform")]
            assert after == [number + done for number in before]
            if not reached:
                assert done
                return
    pytest.fail("a suspension without end")


async def test_a_rotation_that_is_cut_off_was_announced(clock: ManualClock, tmp_path: Path) -> None:
    """Whatever fails, no secret has a version that the trail says nothing of."""

    async def versions() -> int:
        return len(await FileSecrets(tmp_path, clock=clock).versions("tokens"))

    store = FaultyStore(await SqliteStore.open(None, clock=clock))
    services = await services_for(clock, store, secrets=FileSecrets(tmp_path, clock=clock))
    await services.operations.rotate("tokens", operator="some.one")
    for k in (1, 2, 3):
        before = await versions()
        store.arm(k, "gone_after")
        with contextlib.suppress(Unready):
            await services.operations.rotate("tokens", operator="some.one")
        store.mend()
        assert await versions() - before == (0 if k == 1 else 1)
        query = Query((Eq("type", "config.change"),), order_by="recorded_at")
        events = (await store.query(AUDIT_EVENTS, ("platform",), query)).items
        assert [e["reason"] for e in events].count("rotation_begun") == k + 1
    await services.close()


async def test_a_suspended_tenant_cannot_act_and_a_resumed_one_can(app: App, ada: Account, grace: Account) -> None:
    key = await app.client.post("/v1/admin/api-keys", json={"name": "x", "scopes": ["alerts:read"]}, headers=ada.auth)
    program = {"Authorization": f"Bearer {key.json()['key']}"}
    assert await app.services.operations.set_tenant_status(ada.tenant_id, "suspended")
    assert not await app.services.operations.set_tenant_status(ada.tenant_id, "suspended")
    for headers in (ada.auth, program):
        assert_problem(await app.client.get("/v1/alerts", headers=headers), 401, "invalid_token")
    assert_problem(await app.login(ada.email), 401, "invalid_credentials")
    assert (await app.client.get("/v1/alerts", headers=grace.auth)).status_code == 200

    assert await app.services.operations.set_tenant_status(ada.tenant_id, "active")
    for headers in (ada.auth, program):
        assert (await app.client.get("/v1/alerts", headers=headers)).status_code == 200
    events = await app.events(ada.tenant_id, "config.change")
    assert sorted((e["reason"], e["severity"], e["actor"]["kind"], e["source"]["id"]) for e in events) == [
        ("active", "high", "system", "operator"),
        ("suspended", "high", "system", "operator"),
    ]


async def test_a_system_admin_is_in_the_trail_and_nobody_becomes_one_over_http(app: App, ada: Account) -> None:

    user_id = await app.services.operations.make_system_admin(
        NewAdmin("root@example.com", PASSWORD, "Some", "Operator")
    )
    assert (await app.login("root@example.com")).status_code == 200
    (event,) = await app.events("platform", "auth.register")
    assert (event["reason"], event["severity"], event["target"]["id"]) == ("system_admin", "high", user_id)
    bob = await app.join(ada, "bob@example.com", Role.USER)
    for body in ({"role": "system_admin"}, {"tenant_id": "platform"}):
        answer = await app.client.put(f"/v1/admin/users/{bob.id}", json=body, headers=ada.auth)
        assert_problem(answer, 422, "invalid_request", next(iter(body)))
    invited = await app.client.post(
        "/v1/admin/invitations", json={"email": "x@example.com", "role": "system_admin"}, headers=ada.auth
    )
    assert_problem(invited, 422, "invalid_request", "role")


async def test_the_index_secret_is_rotated_step_by_step(tmp_path: Path) -> None:
    services = await services_of(tmp_path)
    admin = NewAdmin("root@example.com", PASSWORD, "Ada", "Admin")
    await services.operations.make_system_admin(admin)
    await services.close()
    run(tmp_path, "rotate-keys", "index")
    await an_hour_earlier(tmp_path, "added_at")
    said = "1 e-mails have an entry under the new version, 0 had one already, 0 second factors and webhooks were sealed"
    assert run(tmp_path, "reindex") == f"{said} anew; run it again in 15 minutes"
    assert run(tmp_path, "reindex", code=1).startswith("operator: not before ")
    await an_hour_earlier(tmp_path, "indexed_at")
    assert run(tmp_path, "reindex") == "1 entries under the old version were removed; the rotation is over"
    assert run(tmp_path, "reindex", code=1) == "operator: no rotation of the index secret is under way"
    assert "it stays for 30 days at least" in run(tmp_path, "drop-index", "v1", code=1)
    await an_hour_earlier(tmp_path, "added_at", hours=24 * 31)
    assert "events that are found by it may be there until" in run(tmp_path, "drop-index", "v1", code=1)
    said = "version v1 of the secret index is not used any more; disable it in 15 minutes"
    assert run(tmp_path, "drop-index", "v1", "--early") == said
    (tmp_path / "secrets" / "index.v1").unlink()
    services = await services_of(tmp_path)
    try:
        assert await services.directory.find("root@example.com") is not None
    finally:
        await services.close()


async def an_hour_earlier(folder: Path, name: str, hours: int = 1) -> None:
    """As if a step of the rotation had been taken so long before."""
    services = await services_of(folder)
    held = await services.store.read(DIRECTORY, (ITEM,), ITEM)
    moment = rfc3339(parse_rfc3339(held["later"][0][name]) - timedelta(hours=hours))
    await services.store.replace(
        DIRECTORY, (ITEM,), {**held, "later": [{**held["later"][0], name: moment}]}, if_match=held["_etag"]
    )
    await services.close()
