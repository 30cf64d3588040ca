"""Least privilege over data: what the roles allow, and what the code does. What an endpoint or timer was seen to do is
held to its role in tests/test_store_budget.py; here the source is read, for what one walk does not come by."""

import ast
from pathlib import Path

import pytest

from functions.change_feed import CONSUMERS
from functions.timers import OF_ERASURE, TIMERS
from shared.storage.containers import CONTAINERS, LEASES
from tests.app import ROOT
from tests.infra.grants import ACTIONS, DATABASE, DECLARED, granted, refused

CHANGES = frozenset({"create", "replace", "upsert", "delete", "patch", "batch"})
BY_THE_ERASURE = {
    "shared/subject_rights/copies.py",
    "shared/subject_rights/held_records.py",
    "shared/subject_rights/holds.py",
}
BY_OPERATORS = {"shared/ledger/recount.py"}
IN_ANY_CONTAINER = {
    "shared/audit/outbox.py": {"alerts", "identity", "reports"},
    "shared/subject_rights/copies.py": {"alerts", "identity", "reports"},
    "shared/subject_rights/held_records.py": {"identity", "reports"},
    "shared/subject_rights/holds.py": {"audit_events", "ledger"},
}
"""Modules that change items of a container which they are given, and the containers that it can be."""
EVERYTHING = {action for actions in ACTIONS.values() for action in actions}


def test_nobody_deletes_an_event_and_only_the_erasure_replaces_one() -> None:
    assert granted("app")["audit_events"] == {"items/create", "items/read", "executeQuery", "readChangeFeed"}
    assert granted("operator")["audit_events"] == granted("app")["audit_events"]
    assert granted("erasure")["audit_events"] == granted("app")["audit_events"] | {"items/replace"}


def test_the_app_takes_nothing_out_of_the_ledger_and_forgets_no_key() -> None:
    for name in ("ledger", "subject_keys"):
        assert "items/delete" not in granted("app")[name]
        assert "items/delete" not in granted("erasure")[name]


def test_the_erasure_gets_at_nothing_that_it_does_not_need() -> None:
    assert set(CONTAINERS) - set(granted("erasure")) == {"dead_letters", "leases"}
    assert granted("erasure")["tenants"] == {"items/read", "executeQuery", "readChangeFeed"}


@pytest.mark.parametrize("identity", ["app", "erasure", "operator"])
def test_grants_name_containers_that_are_there_each_once_and_nothing_wider(identity: str) -> None:
    scopes = [each["scope"] for each in DECLARED["grants"][identity]]
    assert len(scopes) == len(set(scopes))
    assert {scope for scope in scopes if scope} <= {DATABASE + name for name in CONTAINERS}
    assert granted(identity)[""] == {"Microsoft.DocumentDB/databaseAccounts/readMetadata"}


def test_roles_have_their_reason_are_used_and_have_no_wildcard() -> None:
    used = {each["role"] for grants in DECLARED["grants"].values() for each in grants}
    assert {each["name"] for each in DECLARED["roles"]} == used
    for role in DECLARED["roles"]:
        assert len(role["description"]) > 10
        assert not [action for action in role["dataActions"] if "*" in action]


def test_triggers_can_read_their_feeds_and_write_their_leases() -> None:
    may = granted("app")
    assert may[LEASES.name] >= EVERYTHING
    for container, _ in CONSUMERS.values():
        assert may[container.name] >= {"items/read", "readChangeFeed", "executeQuery"}


def test_the_timers_of_the_erasure_are_timers() -> None:
    assert set(TIMERS) >= OF_ERASURE


def changes_in(source: str, path: str) -> set[tuple[str, str]]:
    """What a module does to items, and in which containers, as its source says; of batches every step it can make."""
    tree = ast.parse(source)
    imported = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "shared.storage.documents"
        for alias in node.names
    }
    steps = imported & (CHANGES - {"batch"})
    if "PatchSet" in imported or "PatchRemove" in imported or "PatchIncrement" in imported:
        steps |= {"patch"}
    found: set[tuple[str, str]] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CHANGES:
            if not ast.unparse(node.func.value).endswith("store") or not node.args:
                continue
            where = ast.unparse(node.args[0]).lower()
            names = {where} if where in CONTAINERS else IN_ANY_CONTAINER.get(path)
            assert names is not None, f"{path}:{node.lineno}: in which container?"
            kinds = steps if node.func.attr == "batch" else {node.func.attr}
            found |= {(kind, name) for kind in kinds for name in names}
    return found


def _modules() -> dict[str, Path]:
    every = (path for folder in ("shared", "functions") for path in (ROOT / folder).rglob("*.py"))
    found = {path.relative_to(ROOT).as_posix(): path for path in every}
    return {name: path for name, path in found.items() if not name.startswith("shared/storage/")}


def test_what_the_source_does_is_granted() -> None:
    seen: set[str] = set()
    for name, path in _modules().items():
        source = path.read_text(encoding="utf-8")
        done = changes_in(source, name) if "store." in source else set()
        seen |= {name} if done else set()
        if name not in BY_THE_ERASURE | BY_OPERATORS:
            assert not refused("app", done), name
        if name in BY_THE_ERASURE:
            assert not refused("erasure", done), name
        if name in BY_OPERATORS:
            assert not refused("operator", done), name
    assert seen >= BY_THE_ERASURE | BY_OPERATORS | {"shared/audit/recorder.py", "shared/ledger/sealer.py"}


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("self._store.replace(AUDIT_EVENTS, p, x)", {("replace", "audit_events")}),
        ("store.delete(LEDGER, p, x)", {("delete", "ledger")}),
        ("self._store.batch(AUDIT_EVENTS, p, steps)", {("upsert", "audit_events"), ("create", "audit_events")}),
    ],
)
def test_reading_the_source_notices(call: str, expected: set[tuple[str, str]]) -> None:
    source = f"from shared.storage.documents import create, upsert\nasync def f(): await {call}\n"
    assert changes_in(source, "x.py") == expected
    assert refused("app", expected)


def test_a_container_that_is_not_named_has_to_be_explained() -> None:
    with pytest.raises(AssertionError, match="in which container"):
        changes_in("async def f(): await self._store.create(container, p, x)", "x.py")
