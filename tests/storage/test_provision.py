"""The provisioning command as its user runs it, on the emulator, over HTTPS."""

import asyncio
import itertools
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from shared.storage import provision
from shared.storage._cosmos_account import Wanted, change, survey
from shared.storage._cosmos_client import Account, Client
from shared.storage._cosmos_definition import definition
from shared.storage._cosmos_throughput import Throughput
from shared.storage.containers import AUDIT_EVENTS, CONTAINERS, IDENTITY
from shared.storage.cosmos import CosmosStore
from shared.storage.documents import Eq, Query
from tests.app import ROOT
from tests.commands import call
from tests.cosmos_emulator.emulator import KEY, Emulator
from tests.fakes import ManualClock

WITHOUT = ("COSMOS_", "KEY_VAULT_", "AZURE_", "WEBSITE_", "KRAFTD_")
_numbers = itertools.count()

type Done = subprocess.CompletedProcess[str]


@dataclass
class Bench:
    """The emulator's account and a database in it that is not there yet."""

    emulator: Emulator
    database: str

    def environment(self, **changes: str | None) -> dict[str, str]:
        """Settings of the command; None takes one away."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith(WITHOUT)}
        settings = {
            "COSMOS_DB_ENDPOINT": self.emulator.endpoint,
            "COSMOS_DB_EMULATOR": "true",
            "COSMOS_DB_KEY": KEY,
            "COSMOS_DB_NAME": self.database,
            "COSMOS_DB_THROUGHPUT": "400",
            "PYTHONWARNINGS": "error",
        }
        chosen = {**settings, **changes}
        return {**clean, **{name: value for name, value in chosen.items() if value is not None}}

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "shared.storage.provision", *arguments]

    def run(self, *arguments: str, **changes: str | None) -> Done:
        return self._checked(call(provision.main, arguments, self.environment(**changes)))

    def run_process(self, *arguments: str, **changes: str | None) -> Done:
        done = subprocess.run(  # noqa: S603 - our own module
            self.command(*arguments),
            cwd=ROOT,
            env=self.environment(**changes),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return self._checked(done)

    @staticmethod
    def _checked(done: Done) -> Done:
        assert KEY not in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    def containers(self) -> dict[str, Any]:
        """What the account holds, without what it adds itself."""
        _, _, body = self.emulator.request("GET", f"/dbs/{self.database}/colls")
        return {
            each["id"]: {name: value for name, value in each.items() if not name.startswith("_")}
            for each in body.get("DocumentCollections", [])
        }

    def put(self, name: str, **changes: Any) -> None:
        """Change a container behind the command's back; None takes a property away."""
        changed = {**self.containers()[name], **changes}
        body = {name: value for name, value in changed.items() if value is not None}
        status, _, answer = self.emulator.request("PUT", f"/dbs/{self.database}/colls/{name}", body)
        assert status == 200, answer

    def offer(self) -> Any:
        """What the database shares, or None."""
        _, _, database = self.emulator.request("GET", f"/dbs/{self.database}")
        _, _, body = self.emulator.request("GET", "/offers")
        own = [each["content"] for each in body["Offers"] if each["resource"] == database["_self"]]
        return own[0] if own else None


@pytest.fixture
def bench(emulator: Emulator) -> Iterator[Bench]:
    made = Bench(emulator, f"provisioned_{next(_numbers)}")
    yield made
    emulator.control("account", {"consistency": "Strong", "serverless": False, "refused": None})
    emulator.delete_database(made.database)


def said(done: Done, code: int, *errors: str) -> list[str]:
    """The lines of standard output of a run that ended with `code` and these lines of errors."""
    assert done.returncode == code, done.stdout + done.stderr
    assert done.stderr.splitlines() == [f"provision: {line}" for line in errors]
    return done.stdout.splitlines()


# Creating


def test_it_creates_all_of_it_once(bench: Bench) -> None:
    absent = said(bench.run_process("--check"), 1)
    assert absent[0] == f"{bench.database}: database: is absent, should be present"
    assert absent[1:] == [f"{name}: container: is absent, should be present" for name in CONTAINERS]
    assert bench.containers() == {}, "--check changes nothing"

    lines = [line.split() for line in said(bench.run_process(), 0)]
    assert lines == [
        ["database", bench.database, "created"],
        *(["container", name, "created"] for name in CONTAINERS),
    ]
    made = bench.containers()
    assert set(made) == set(CONTAINERS)
    for name, container in CONTAINERS.items():
        wanted = definition(container, ttl_days=2555)
        assert {key: made[name].get(key) for key in wanted} == wanted
        assert made[name].get("defaultTtl") == wanted.get("defaultTtl")
    assert bench.offer()["offerThroughput"] == 400

    whole = f"database {bench.database} and its {len(CONTAINERS)} containers"
    assert said(bench.run(), 0) == [f"nothing to do: {whole}"]
    assert said(bench.run("--check"), 0) == [f"as declared: {whole}"]


async def test_the_app_serves_on_what_it_created(bench: Bench) -> None:
    said(bench.run(COSMOS_DB_AUDIT_CONTAINER="trail"), 0)
    store = await CosmosStore.open(
        bench.emulator.endpoint,
        clock=ManualClock(),
        database=bench.database,
        key=KEY,
        accept_self_signed=True,
        names={"audit_events": "trail"},
    )
    await store.verify()
    for number in range(3):
        event = {"id": f"e{number}", "tenant_id": "t1", "period": "2026-03", "type": "x", "recorded_at": f"{number}"}
        await store.create(AUDIT_EVENTS, ("t1", "2026-03"), event)
    page = await store.query(AUDIT_EVENTS, ("t1",), Query((Eq("type", "x"),), order_by="recorded_at", limit=2))
    assert [each["id"] for each in page.items] == ["e0", "e1"]
    await store.ping()
    await store.close()
    assert "audit_events" not in bench.containers()


async def test_two_at_once_both_succeed(bench: Bench) -> None:
    async def run() -> tuple[int | None, bytes]:
        process = await asyncio.create_subprocess_exec(
            *bench.command(), cwd=ROOT, env=bench.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        _, errors = await process.communicate()
        return process.returncode, errors

    assert await asyncio.gather(*(run() for _ in range(3))) == [(0, b"")] * 3
    said(bench.run("--check"), 0)
    assert set(bench.containers()) == set(CONTAINERS)


async def test_what_a_rival_made_meanwhile_is_no_error(bench: Bench) -> None:
    """The same, with the rival at the worst moment: after this one looked, before it creates."""
    wanted = Wanted(
        bench.database, [definition(each, ttl_days=2555) for each in CONTAINERS.values()], Throughput.of("400")
    )
    client = Client(Account(bench.emulator.endpoint, bench.database, KEY, accept_self_signed=True), 30)
    seen = await survey(client, wanted)
    await asyncio.to_thread(bench.run)
    made = bench.containers()
    await change(client, wanted, seen)
    assert bench.containers() == made
    assert not (await survey(client, wanted)).drifts
    await client.close()


@pytest.mark.parametrize(
    ("throughput", "content"),
    [
        ("autoscale:4000", {"offerThroughput": 400, "maxThroughput": 4000}),
        ("600", {"offerThroughput": 600}),
    ],
)
def test_throughput_is_shared_by_the_database(bench: Bench, throughput: str, content: dict[str, int]) -> None:
    said(bench.run(COSMOS_DB_THROUGHPUT=throughput), 0)
    offer = bench.offer()
    found = {**offer, **offer.get("offerAutopilotSettings", {})}
    assert content.items() <= found.items()
    said(bench.run("--check", COSMOS_DB_THROUGHPUT=throughput), 0)


def test_a_serverless_account_is_sold_nothing(bench: Bench) -> None:
    bench.emulator.control("account", {"serverless": True})
    said(bench.run(COSMOS_DB_THROUGHPUT=None), 0)
    said(bench.run("--check", COSMOS_DB_THROUGHPUT="serverless"), 0)
    bench.emulator.control("account", {"serverless": False})
    assert bench.offer() is None


@pytest.mark.parametrize(
    ("serverless", "throughput", "line"),
    [
        (True, "400", "account: capacity (COSMOS_DB_THROUGHPUT): is serverless, should be provisioned, for 400 RU/s"),
        (False, "serverless", "account: capacity (COSMOS_DB_THROUGHPUT): is provisioned, should be serverless"),
    ],
)
def test_in_an_account_of_the_other_kind_nothing_is_made(
    bench: Bench, serverless: bool, throughput: str, line: str
) -> None:
    """A container without throughput of its own would be billed for 400 RU/s where nobody meant to buy any."""
    bench.emulator.control("account", {"serverless": serverless})
    assert said(bench.run(COSMOS_DB_THROUGHPUT=throughput), 1, line, "nothing was changed") == []
    assert bench.emulator.request("GET", f"/dbs/{bench.database}")[0] == 404


# What differs


def test_what_was_tampered_with_is_told_and_repaired(bench: Bench) -> None:
    said(bench.run(), 0)
    policy = bench.containers()["identity"]["indexingPolicy"]
    computed = [{"name": "c", "query": "SELECT VALUE c.kind FROM c"}]
    bench.put(
        "identity",
        defaultTtl=None,
        indexingPolicy={**policy, "includedPaths": policy["includedPaths"][1:], "compositeIndexes": []},
        computedProperties=computed,
    )
    bench.put("audit_events", defaultTtl=60)
    before = bench.containers()

    expected = [
        "audit_events: default TTL: is 60 seconds, should be 220752000 seconds",
        "identity: default TTL: is off, should be on, without a default",
        "identity: included path /tenant_id/?: is absent, should be present",
        "identity: composite index (/created_at, /id): is absent, should be present",
        "identity: composite index (/kind, /created_at, /id): is absent, should be present",
        "identity: composite index (/kind, /user_id, /created_at, /id): is absent, should be present",
    ]
    assert said(bench.run("--check"), 1) == expected
    assert bench.containers() == before

    lines = said(bench.run(), 0)
    assert "default TTL: was 60 seconds, is 220752000 seconds" in lines[1]
    assert [re.split(r"  +", line)[2].split(":")[0] for line in lines] == [
        "unchanged",
        "updated",
        "updated",
        *["unchanged"] * (len(CONTAINERS) - 2),
    ]
    assert bench.containers()["identity"]["computedProperties"] == computed, "what is not ours is kept"
    said(bench.run("--check"), 0)


def test_a_changed_setting_is_a_change(bench: Bench) -> None:
    said(bench.run(), 0)
    changes = {"COSMOS_DB_TTL_DAYS": "30", "COSMOS_DB_THROUGHPUT": "500"}
    assert said(bench.run("--check", **changes), 1) == [
        f"{bench.database}: shared throughput: is 400 RU/s, should be 500 RU/s",
        "audit_events: default TTL: is 220752000 seconds, should be 2592000 seconds",
        "ledger: default TTL: is 220752000 seconds, should be 2592000 seconds",
    ]
    said(bench.run(**changes), 0)
    assert bench.offer()["offerThroughput"] == 500
    said(bench.run("--check", **changes), 0)


def test_what_only_hands_can_change_is_said_and_the_rest_is_done(bench: Bench) -> None:
    said(bench.run(), 0)
    bench.put("audit_events", defaultTtl=60)
    lines = said(
        bench.run(COSMOS_DB_THROUGHPUT="autoscale:1000"),
        1,
        f"{bench.database}: shared throughput: is 400 RU/s, should be autoscale up to 1000 RU/s",
        "to be changed by hand (portal, CLI or templates)",
    )
    assert "updated: default TTL" in lines[1]
    assert bench.offer() == {"offerThroughput": 400, "offerIsRUPerMinuteThroughputEnabled": False}
    assert bench.containers()["audit_events"]["defaultTtl"] == 220_752_000


def test_a_database_that_shares_nothing_is_told(bench: Bench) -> None:
    bench.emulator.create_database(bench.database, [])
    line = f"{bench.database}: shared throughput: is none, should be 400 RU/s"
    assert line in said(bench.run("--check"), 1)
    said(bench.run(), 1, line, "to be changed by hand (portal, CLI or templates)")
    assert set(bench.containers()) == set(CONTAINERS)


def test_weak_consistency_is_told(bench: Bench) -> None:
    bench.emulator.control("account", {"consistency": "BoundedStaleness"})
    line = "account: default consistency: is BoundedStaleness, should be Strong"
    assert said(bench.run("--check"), 1)[0] == line
    for lines in (1 + len(CONTAINERS), 0):
        made = said(bench.run(), 1, line, "to be changed by hand (portal, CLI or templates)")
        assert len(made) == lines


def test_a_run_that_was_cut_short_is_finished_by_the_next(bench: Bench) -> None:
    bench.emulator.create_database(bench.database, [definition(IDENTITY, ttl_days=1)])
    bench.emulator.control("account", {"serverless": True})
    lines = said(bench.run(COSMOS_DB_THROUGHPUT=None), 0)
    assert [line.split()[2] for line in lines] == [
        "unchanged",
        *("unchanged" if name == "identity" else "created" for name in CONTAINERS),
    ]


def test_what_does_not_stay_as_it_is_made_ends_the_run(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In this process, for nothing but a rival at just the wrong moments makes it so."""

    async def undone(*_: Any) -> None:
        """The change that somebody takes back."""

    monkeypatch.setattr(provision, "change", undone)
    for name, value in bench.environment().items():
        monkeypatch.setenv(name, value)
    assert provision.main([]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.splitlines()[-1] == (
        "provision: it does not stay as it is made; does something else provision, too?"
    )


def test_a_wrong_partition_key_stops_everything(bench: Bench) -> None:
    wrong = definition(IDENTITY, ttl_days=1) | {"partitionKey": {"paths": ["/id"], "kind": "Hash", "version": 2}}
    stray = {"id": "alerts", "partitionKey": {"paths": ["/tenant_id"], "kind": "Hash", "version": 2}}
    bench.emulator.create_database(bench.database, [wrong, stray])
    before = bench.containers()
    line = "identity: partition key: is /id (Hash, version 2), should be /tenant_id (Hash, version 2)"
    assert said(bench.run(), 1, line, "nothing was changed") == []
    assert bench.containers() == before
    assert line in said(bench.run("--check"), 1)


def test_what_is_not_ours_is_left_alone(bench: Bench) -> None:
    theirs = {"id": "theirs", "partitionKey": {"paths": ["/x"], "kind": "Hash"}, "defaultTtl": 7}
    bench.emulator.create_database(bench.database, [theirs])
    before = bench.containers()["theirs"]
    assert "theirs" not in bench.run().stdout
    assert "theirs" not in bench.run("--check").stdout
    assert bench.containers()["theirs"] == before


# What it cannot do


NO_KEY = (
    "COSMOS_DB_KEY: is not set, and a managed identity cannot create databases or containers. In Azure the Bicep "
    "templates create them; here --check compares them, if the identity may read the account's metadata"
)


def test_without_a_key_it_creates_nothing(bench: Bench) -> None:
    assert said(bench.run(COSMOS_DB_KEY=None), 2, NO_KEY) == []
    assert bench.emulator.request("GET", f"/dbs/{bench.database}")[0] == 404


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"COSMOS_DB_ENDPOINT": None, "COSMOS_DB_EMULATOR": None}, "COSMOS_DB_ENDPOINT: is not set; the embedded"),
        ({"COSMOS_DB_EMULATOR": None}, "COSMOS_DB_ENDPOINT: an endpoint on this machine is an emulator"),
        ({"COSMOS_DB_ENDPOINT": "http://127.0.0.1:1/"}, "COSMOS_DB_ENDPOINT: the endpoint is https"),
        ({"COSMOS_DB_KEY": "not base64!"}, "COSMOS_DB_KEY: the account key is base64"),
        ({"COSMOS_DB_KEY": "@Microsoft.KeyVault(x)"}, "COSMOS_DB_KEY: its Key Vault reference was not resolved"),
        ({"COSMOS_DB_NAME": "a/b"}, "COSMOS_DB_NAME: "),
        ({"COSMOS_DB_TTL_DAYS": "0"}, "COSMOS_DB_TTL_DAYS: "),
        ({"COSMOS_DB_THROUGHPUT": "lots"}, "COSMOS_DB_THROUGHPUT: "),
        ({"COSMOS_DB_THROUGHPUT": "450"}, "COSMOS_DB_THROUGHPUT: manual throughput goes by hundreds"),
        ({"COSMOS_DB_THROUGHPUT": "autoscale:500"}, "COSMOS_DB_THROUGHPUT: autoscale goes by thousands"),
        ({"COSMOS_DB_AUDIT_CONTAINER": "identity"}, "COSMOS_DB_AUDIT_CONTAINER: is the name of another container"),
    ],
)
def test_a_wrong_setting_is_named(bench: Bench, changes: dict[str, str | None], error: str) -> None:
    done = bench.run(**changes)
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"provision: {error}")
    assert "not base64!" not in line


@pytest.mark.parametrize(
    ("path", "status", "answer"),
    [
        ("/", 401, "401/0: the key or identity is not one of this account (or this machine's clock is wrong)"),
        ("/", 403, "403/0: the account does not let us: its firewall, its roles, or keys are disabled"),
        ("/dbs", 403, "403/0: the account does not let us: its firewall, its roles, or keys are disabled"),
        ("/dbs", 500, "500/0: try again"),
        ("/offers", 401, "401/0: the key or identity is not one of this account (or this machine's clock is wrong)"),
        ("/offers", 400, "400/0: Refused as a test wishes."),
    ],
)
def test_an_account_that_refuses(bench: Bench, path: str, status: int, answer: str) -> None:
    bench.emulator.control("account", {"refused": {"path": path, "status": status}})
    done = bench.run("--timeout", "20")
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"provision: the account answered {answer}")


def test_throughput_that_may_not_be_read_is_not_taken_for_wrong(bench: Bench) -> None:
    """No data role allows to read it, so `--check` with a managed identity cannot."""
    said(bench.run(), 0)
    bench.emulator.control("account", {"refused": {"path": "/offers", "status": 403}})
    note = "the throughput could not be checked: no data role allows to read it"
    assert said(bench.run("--check", COSMOS_DB_THROUGHPUT="autoscale:1000"), 0, note)[0].startswith("as declared")


def test_without_a_key_and_without_an_identity_nothing_can_be_checked(bench: Bench) -> None:
    done = bench.run("--check", COSMOS_DB_KEY=None, AZURE_TOKEN_CREDENTIALS="EnvironmentCredential")
    assert said(done, 2, "COSMOS_DB_KEY: is not set, and no identity could sign in") == []


def test_an_account_that_is_not_there(bench: Bench) -> None:
    with socket.socket() as reserved:  # bound, not listening: connections are refused
        reserved.bind(("127.0.0.1", 0))
        endpoint = f"https://127.0.0.1:{reserved.getsockname()[1]}/"
        done = bench.run(COSMOS_DB_ENDPOINT=endpoint)
    said(done, 2, "COSMOS_DB_ENDPOINT: not reached: ServiceRequestError")


def test_an_account_that_never_answers(bench: Bench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"https://127.0.0.1:{silent.getsockname()[1]}/"
        done = bench.run("--check", "--timeout", "1", COSMOS_DB_ENDPOINT=endpoint)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line == "provision: the account did not answer within 1 seconds"


@pytest.mark.parametrize("arguments", [["--chekc"], ["--timeout", "0"], ["--timeout", "soon"], ["now"]])
def test_a_wrong_option_runs_nothing(bench: Bench, arguments: list[str]) -> None:
    done = bench.run(*arguments)
    assert done.returncode == 2
    assert "usage: python -m shared.storage.provision" in done.stderr
    assert bench.emulator.request("GET", f"/dbs/{bench.database}")[0] == 404
