"""What the Functions host will read of us: names, levels, triggers, retries."""

import ast
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import azure.functions as func
import pytest

from devhost.bindings import CosmosTrigger, HttpTrigger, TimerTrigger
from devhost.host import Host
from functions import ENDPOINTS, register
from functions._api import Api
from functions.auth import LoginBody, RegisterBody
from functions.change_feed import CONSUMERS, _function, blueprint
from functions.timers import TIMERS
from shared.core.settings import Settings, SettingsError
from shared.identity.model import USERS
from shared.storage.containers import AUDIT_EVENTS, CONTAINERS
from shared.telemetry import untimed
from shared.wiring import LazyServices, Services
from tests.app import PASSWORD, ROOT, registration

CATCH_ALL = "zz_not_found"
COSMOS_ADAPTER = (
    "azure_identity",
    "cosmos",
    "_cosmos_account",
    "_cosmos_client",
    "_cosmos_feed",
    "_cosmos_pages",
    "_cosmos_requests",
    "provision",
)


def test_the_app_has_the_declared_functions(host: Host) -> None:
    names = [function.name for function in host.functions]
    assert len(names) == len(set(names))
    assert set(names) == {e.name for e in ENDPOINTS} | set(CONSUMERS) | set(TIMERS) | {CATCH_ALL}


def _registered(role: str) -> set[str]:
    """The functions that a process of this role registers."""
    app = func.FunctionApp()
    register(app, LazyServices(Settings(kraftd_data=":memory:", app_role=role)))
    return {str(each.get_function_name()) for each in app.get_functions()}


def test_two_roles_share_the_functions_and_the_eraser_has_nothing_but_its_timers() -> None:
    every = {e.name for e in ENDPOINTS} | set(CONSUMERS) | set(TIMERS) | {CATCH_ALL}
    assert _registered("all") == every
    assert _registered("erasure") == {"keep_held", "run_erasures"}
    assert _registered("app") == every - {"keep_held", "run_erasures"}


def test_every_http_function_is_anonymous_we_authenticate(host: Host) -> None:
    levels = {f.name: f.trigger.auth_level for f in host.functions if isinstance(f.trigger, HttpTrigger)}
    assert len(levels) == len(ENDPOINTS) + 1
    assert {level.upper() for level in levels.values()} == {"ANONYMOUS"}


def test_one_function_per_method_and_route(host: Host) -> None:
    pairs = [
        (method, f.trigger.route.lower())
        for f in host.functions
        if isinstance(f.trigger, HttpTrigger)
        for method in (f.trigger.methods or ["*"])
    ]
    assert len(pairs) == len(set(pairs))


def test_the_catch_all_comes_last(host: Host) -> None:
    http = sorted((f.name for f in host.functions if isinstance(f.trigger, HttpTrigger)), key=str.upper)
    assert http[-1] == CATCH_ALL


def test_change_feed_functions_retry_for_ever_and_keep_their_own_lease(host: Host) -> None:
    """A finite policy that runs out loses the batch in Azure."""
    feeds = [f for f in host.functions if isinstance(f.trigger, CosmosTrigger)]
    assert {f.name for f in feeds} == set(CONSUMERS)
    assert all(f.retry is not None and f.retry.max_retry_count == -1 for f in feeds)
    prefixes = [f.trigger.lease_prefix for f in feeds if isinstance(f.trigger, CosmosTrigger)]
    assert len(set(prefixes)) == len(prefixes)
    assert all(f.trigger.start_from_beginning for f in feeds if isinstance(f.trigger, CosmosTrigger))


def test_timers_do_not_run_at_startup_and_make_up_for_missed_runs(host: Host) -> None:
    timers = [f.trigger for f in host.functions if isinstance(f.trigger, TimerTrigger)]
    assert len(timers) == len(TIMERS)
    assert not any(t.run_on_startup for t in timers)
    assert all(t.use_monitor for t in timers)


def test_azure_packages_stay_at_the_edges() -> None:
    """azure.functions appears only in functions/ and function_app.py, any other azure package in adapters only."""
    adapters = {Path(f"shared/privacy/{name}.py") for name in ("_vault", "key_vault", "vault_keys")}
    adapters |= {Path(f"shared/storage/{name}.py") for name in COSMOS_ADAPTER}
    for folder in ("functions", "shared", "devhost"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            where = path.relative_to(ROOT)
            for name in _imported(path):
                if name == "azure.functions" or name.startswith("azure.functions."):
                    assert folder == "functions", f"{where} imports {name}"
                elif name == "azure" or name.startswith("azure."):
                    assert where in adapters, f"{where} imports {name}"


def _imported(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def test_an_endpoint_that_knows_its_caller_is_not_bare() -> None:
    with pytest.raises(ValueError, match="needs the services"):
        Api("x").endpoint("GET", "v1/x", who=USERS, bare=True)


def test_what_was_typed_is_not_in_a_repr() -> None:
    body = RegisterBody(**registration())
    login = LoginBody(email="ada@example.com", password=PASSWORD)
    for shown in (repr(body), repr(login), str(body)):
        assert PASSWORD not in shown
        assert "ada@example.com" not in shown


async def test_a_consumer_sees_no_field_that_only_a_store_or_the_host_sets() -> None:
    seen: list[dict[str, Any]] = []

    async def consumer(_: Services, items: Sequence[dict[str, Any]]) -> None:
        seen.extend(items)

    async def nothing() -> Services:
        return cast("Services", SimpleNamespace(runs=untimed))

    run = _function("f", consumer, LazyServices(Settings(kraftd_data=":memory:"), nothing))
    own = {"id": "a", "n": {"_inner": 1}, "_etag": '"1"', "_ts": 5}
    more = {"_rid": "r", "_self": "s", "_attachments": "a", "_lsn": 7, "_write": "mark", "_metadata": {}}
    await run(func.DocumentList([func.Document.from_dict({**own, **more})]))
    assert seen == [own]


def test_triggers_name_the_containers_that_the_settings_do() -> None:
    settings = Settings(kraftd_data=":memory:", cosmos_db_audit_container="trail", cosmos_db_name="db")
    app = func.FunctionApp()
    app.register_functions(blueprint(LazyServices(settings)))
    bindings = {each.get_function_name(): each.get_trigger() for each in app.get_functions()}
    named = {name: binding.get_dict_repr() for name, binding in bindings.items() if binding}
    assert {name: each["containerName"] for name, each in named.items()} == {
        name: "trail" if container is AUDIT_EVENTS else container.name for name, (container, _) in CONSUMERS.items()
    }
    assert {(each["databaseName"], each["connection"]) for each in named.values()} == {("db", "COSMOS_DB")}


@pytest.mark.parametrize("name", sorted(set(CONTAINERS) - {"audit_events"}))
def test_two_containers_never_become_one(name: str) -> None:
    settings = Settings(kraftd_data=":memory:", cosmos_db_audit_container=name)
    with pytest.raises(SettingsError, match=r"^COSMOS_DB_AUDIT_CONTAINER: "):
        blueprint(LazyServices(settings))
