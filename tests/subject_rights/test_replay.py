"""After a restore: the list that was kept apart, its replay, and the check; as an operator runs them."""

import asyncio
import contextlib
import io
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import pytest

from devhost.host import Host
from shared.core.settings import Settings
from shared.privacy.file_secrets import FileSecrets
from shared.storage import sqlite
from shared.storage.containers import AUDIT_EVENTS, DIRECTORY, Container
from shared.storage.documents import BatchOperation, Item, Partition, Patch
from shared.storage.errors import Unavailable
from shared.storage.sqlite import SqliteStore
from shared.subject_rights.replay import Line, read_line, written
from tests.app import UNLIMITED, Account, App, running
from tests.fakes import ManualClock
from tests.infra.grants import refused
from tests.subject_rights.support import ask, events_of, left, requests, run, settle, with_a_past
from tools.operator import main


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The operator's command reads its settings from the environment: `operator` sets this one."""
    monkeypatch.setenv("KRAFTD_DATA", ":memory:")


async def operator(data: Path, *arguments: str, code: int = 0) -> str:
    """What a command prints, in a loop of its own as in a process of its own; its exit code is checked."""
    out, told = io.StringIO(), io.StringIO()

    def run_it() -> int:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(told):
            return main(arguments)

    os.environ["KRAFTD_DATA"] = str(data)
    assert await asyncio.to_thread(run_it) == code, told.getvalue()
    return (out.getvalue() or told.getvalue()).strip()


class Deployment:
    """An embedded deployment that is started, stopped, backed up and restored."""

    def __init__(self, host: Host, folder: Path) -> None:
        self.host = host
        self.folder = folder
        self.clock = ManualClock()

    async def start(self) -> "tuple[App, object]":
        secrets = FileSecrets(self.folder / "secrets", clock=self.clock)
        store = await SqliteStore.open(self.folder / "kraftd.sqlite", clock=self.clock)
        settings = Settings(kraftd_data=str(self.folder), **UNLIMITED)
        context = running(self.host, self.clock, store, settings, secrets)
        return await context.__aenter__(), context


async def stop(context: object) -> None:
    await context.__aexit__(None, None, None)  # type: ignore[attr-defined]


async def erased(host: Host, data: Path, backup: Path) -> tuple[Deployment, Account, Account, str]:
    """A deployment that is stopped after a person was erased, and a copy from before: with the tenant's administrator,
    the person, and the id of the request."""
    deployment = Deployment(host, data)
    app, context = await deployment.start()
    ada = await app.register("ada@example.com")
    bob = await with_a_past(app, ada, "bob@example.com")
    await stop(context)
    await asyncio.to_thread(shutil.copytree, data, backup)
    app, context = await deployment.start()
    request_id = await ask(app, bob)
    await run(app)
    await settle(app)
    assert await left(app, bob) == []
    await stop(context)
    return deployment, ada, bob, request_id


async def restore(backup: Path, data: Path) -> None:
    await asyncio.to_thread(shutil.rmtree, data)
    await asyncio.to_thread(shutil.copytree, backup, data)


async def test_a_restore_from_before_the_erasure(host: Host, tmp_path: Path) -> None:
    data, backup, listed = tmp_path / "data", tmp_path / "backup", tmp_path / "erasures.jsonl"
    deployment, ada, bob, request_id = await erased(host, data, backup)
    assert await operator(data, "erasures-list", str(listed)) == ("1 erasures added, 1 in the list")
    assert await operator(data, "erasures-list", str(listed)) == ("0 erasures added, 1 in the list")
    (line,) = listed.read_text(encoding="utf-8").splitlines()
    assert json.loads(line) == {
        "tenant_id": ada.tenant_id,
        "subject": bob.id,
        "request_id": request_id,
        "received_at": "2026-03-15T12:00:00.000000Z",
    }
    assert listed.stat().st_mode & 0o077 == 0
    nothing = "nothing is left of this person in any copy that the app knows, by the id and by the e-mail"
    assert await operator(data, "check-erasure", ada.tenant_id, bob.id) == nothing

    await restore(backup, data)
    said = await operator(data, "check-erasure", ada.tenant_id, bob.id, code=1)
    assert f"identity: user|{bob.id}" in said
    said = await operator(data, "--operator", "some.one", "replay-erasures", str(listed))
    assert said.startswith("1 of 1 erasures begun again")
    assert await operator(data, "check-erasure", ada.tenant_id, bob.id) == nothing
    said = await operator(data, "replay-erasures", str(listed))
    assert said.startswith("0 of 1 erasures begun again")

    deployment.clock.set((await now_of(deployment)).now())
    app, context = await deployment.start()
    try:
        await finished(app, ada, bob, request_id, replays=2)
    finally:
        await stop(context)


class OfAnOperator(SqliteStore):
    """The store as roles.json gives it to operators: what they may not do is refused."""

    denied: ClassVar[set[tuple[str, str]]] = set()

    def _may(self, container: Container, *kinds: str) -> None:
        wrong = refused("operator", [(kind, container.name) for kind in kinds])
        if wrong:
            self.denied.update(wrong)
            raise Unavailable("403")

    async def replace(
        self, container: Container, partition: Partition, item: Item, if_match: str | None = None
    ) -> Item:
        self._may(container, "replace")
        return await super().replace(container, partition, item, if_match)

    async def upsert(self, container: Container, partition: Partition, item: Item) -> Item:
        self._may(container, "upsert")
        return await super().upsert(container, partition, item)

    async def delete(
        self, container: Container, partition: Partition, item_id: str, if_match: str | None = None
    ) -> None:
        self._may(container, "delete")
        await super().delete(container, partition, item_id, if_match)

    async def patch(
        self,
        container: Container,
        partition: Partition,
        item_id: str,
        patches: Sequence[Patch],
        if_match: str | None = None,
    ) -> Item:
        self._may(container, "patch")
        return await super().patch(container, partition, item_id, patches, if_match)

    async def batch(
        self, container: Container, partition: Partition, operations: Sequence[BatchOperation]
    ) -> list[Item | None]:
        self._may(container, *(str(each.kind) for each in operations))
        return await super().batch(container, partition, operations)


async def test_an_operator_begins_it_with_the_rights_of_operators_and_the_app_does_the_rest(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, backup, listed = tmp_path / "data", tmp_path / "backup", tmp_path / "erasures.jsonl"
    deployment, ada, bob, request_id = await erased(host, data, backup)
    await operator(data, "erasures-list", str(listed))
    for begin_only in (False, True):
        await restore(backup, data)
        OfAnOperator.denied.clear()
        with monkeypatch.context() as patched:
            patched.setattr(sqlite, "SqliteStore", OfAnOperator)
            options = ("--begin-only",) if begin_only else ()
            said = await operator(data, "replay-erasures", *options, str(listed), code=0 if begin_only else 1)
        assert bool(OfAnOperator.denied) is not begin_only, "without the option it rewrites events"
    assert said == "1 of 1 erasures begun again, which the app carries out; the others were not undone"
    assert "places hold something" in await operator(data, "check-erasure", ada.tenant_id, bob.id, code=1)

    deployment.clock.set((await now_of(deployment)).now())
    app, context = await deployment.start()
    try:
        await run(app)
        assert await left(app, bob) == []
        await finished(app, ada, bob, request_id, replays=1)
    finally:
        await stop(context)


async def test_the_check_says_what_it_could_not_look_for(host: Host, tmp_path: Path) -> None:
    """After the last pass nothing tells the e-mail: what only that leads to is found when it is given."""
    data = tmp_path / "data"
    deployment = Deployment(host, data)
    app, context = await deployment.start()
    ada = await app.register("ada@example.com")
    bob = await with_a_past(app, ada, "bob@example.com")
    reserved = await app.services.directory.key(bob.email)
    entry = await app.store.read(DIRECTORY, (reserved,), reserved)
    await ask(app, bob)
    await run(app)
    await settle(app)
    deployment.clock.advance(days=8)
    await run(app)
    restored = {name: value for name, value in entry.items() if not name.startswith("_")}
    await app.store.create(DIRECTORY, (reserved,), restored)
    await stop(context)
    said = await operator(data, "check-erasure", ada.tenant_id, bob.id)
    assert "app knows, by the id\nNOT LOOKED FOR" in said
    assert "--email" in said
    for email in (bob.email, "BOB@Example.com"):
        said = await operator(data, "check-erasure", ada.tenant_id, bob.id, "--email", email, code=1)
        assert said == f"operator: 1 places hold something of this person:\ndirectory: {reserved}"
    said = await operator(data, "check-erasure", ada.tenant_id, bob.id, "--email", "nobody", code=1)
    assert said.startswith("operator: --email: ")


async def now_of(deployment: Deployment) -> ManualClock:
    """The operator's commands run by the clock of the machine: the app's goes on from there."""
    from shared.core.clock import SystemClock

    return ManualClock(SystemClock().now())


async def finished(app: App, ada: Account, bob: Account, request_id: str, *, replays: int) -> None:
    """The app's own timer does the second pass; the register and the trail are what they were."""
    held = (await requests(app, ada.tenant_id))[bob.id]
    assert (held["request_id"], held["state"], held["created_at"]) == (
        request_id,
        "running",
        "2026-03-15T12:00:00.000000Z",
    )
    await settle(app)
    held = (await requests(app, ada.tenant_id))[bob.id]
    assert held["state"] == "executed"
    told = [each for each in (await events_of(app, ada.tenant_id)).values() if each["type"] == "privacy.erasure"]
    assert sorted(each["reason"] for each in told) == ["executed", "replayed"]
    (replayed,) = [each for each in told if each["reason"] == "replayed"]
    assert replayed["context"]["route"] == "operator replay-erasures"
    changes = await app.events("platform", "config.change")
    assert [each["attributes"]["key"] for each in changes] == ["erasures"] * replays
    alerts = await app.client.get("/v1/alerts", headers=(await signed_in(app, ada)).auth)
    assert alerts.json()["items"] == [], "nobody is told that a replay is overdue"


async def signed_in(app: App, ada: Account) -> Account:
    token = (await app.login(ada.email)).json()["access_token"]
    return Account(ada.id, ada.tenant_id, ada.email, token)


async def test_hashes_that_an_earlier_version_kept_are_taken_out(app: App, ada: Account) -> None:
    """Of an erased person nothing was undone, and yet something is left: it is erased again, and what the open request
    knows of the e-mail is kept for it."""
    await app.login("bob@example.com", "before there is an account")
    bob = await with_a_past(app, ada, "bob@example.com")
    request_id = await ask(app, bob)
    await run(app)
    await settle(app)
    (event, *_) = [each for each in await app.events(ada.tenant_id, "auth.login") if each["target"]["id"] == bob.id]
    (tried,) = await app.events("platform", "auth.login")
    for each, fields in ((event, {"ip_key": "k:ip", "ua_key": "k:ua"}), (tried, {"ip_key": "k:ip"})):
        partition = (each["tenant_id"], each["period"])
        held = await app.store.read(AUDIT_EVENTS, partition, each["id"])
        keys = (await requests(app, ada.tenant_id))[bob.id]["keys"]
        earlier = {"actor_key": keys["platform_key"]} if each is tried else {}
        await app.store.replace(AUDIT_EVENTS, partition, held | fields | earlier)
    assert await left(app, bob) == [f"audit_events: {event['id']}"]
    line = Line(
        tenant_id=ada.tenant_id, subject=bob.id, request_id=request_id, received_at="2026-03-15T12:00:00.000000Z"
    )
    assert await app.services.replays.replay([line], "op") == 1
    await settle(app)
    assert (await requests(app, ada.tenant_id))[bob.id]["state"] == "executed"
    assert await left(app, bob) == []
    (tried,) = await app.events("platform", "auth.login")
    assert (tried["actor_key"], tried["ip_key"]) == (None, None)
    assert await app.services.replays.replay([line], "op") == 0


GOOD = '{"tenant_id":"t","subject":"s","request_id":"r","received_at":"2026-03-15T12:00:00.000000Z"}'


def test_a_line_and_back() -> None:
    line = read_line(GOOD)
    assert line == Line(tenant_id="t", subject="s", request_id="r", received_at="2026-03-15T12:00:00.000000Z")
    assert written(line) == GOOD + "\n"


@pytest.mark.parametrize(
    "text",
    [
        *("", "{}", "[]", GOOD[:-1], GOOD.replace('"s"', "1"), GOOD.replace('"s"', '"a/b"'), GOOD.replace("Z", "")),
        GOOD[:-1] + ',"more":1}',
    ],
    ids=["empty", "object", "array", "cut", "number", "no id", "no time", "more"],
)
async def test_a_damaged_list_is_refused_before_anything_is_done(tmp_path: Path, text: str) -> None:
    listed = tmp_path / "list.jsonl"
    listed.write_text(f"{GOOD}\n{text}\n", encoding="utf-8")
    for command in ("replay-erasures", "erasures-list"):
        said = await operator(tmp_path / "data", command, str(listed), code=1)
        assert f"{listed}, line 2: " in said
    assert listed.read_text(encoding="utf-8") == f"{GOOD}\n{text}\n"


async def test_a_list_that_is_not_there(tmp_path: Path) -> None:
    said = await operator(tmp_path / "data", "replay-erasures", str(tmp_path / "no"), code=1)
    assert "cannot be read" in said
    said = await operator(tmp_path / "data", "erasures-list", str(tmp_path), code=1)
    assert "cannot be" in said
