"""What infra/roles.json lets each identity do with the items of each container."""

import json
from collections.abc import Iterable

from tests.app import ROOT

DECLARED = json.loads((ROOT / "infra/roles.json").read_text(encoding="utf-8"))
CONTAINER = "Microsoft.DocumentDB/databaseAccounts/sqlDatabases/containers/"
DATABASE = "/dbs/kraftd_audit/colls/"
ACTIONS: dict[str, tuple[str, ...]] = {
    "create": ("items/create",),
    "read": ("items/read",),
    "replace": ("items/replace",),
    "patch": ("items/replace",),  # no action of its own is documented
    "upsert": ("items/upsert",),
    "delete": ("items/delete",),
    "query": ("executeQuery", "readChangeFeed"),  # the SDK's queries take both
}
"""The data actions that an operation of the storage port takes."""


def granted(identity: str) -> dict[str, set[str]]:
    """The data actions, without the part that all share, of an identity by container; "" is the account."""
    roles = {each["name"]: each["dataActions"] for each in DECLARED["roles"]}
    found: dict[str, set[str]] = {}
    for grant in DECLARED["grants"][identity]:
        actions = {action.removeprefix(CONTAINER) for action in roles[grant["role"]]}
        found.setdefault(grant["scope"].removeprefix(DATABASE), set()).update(actions)
    return found


def refused(identity: str, done: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
    """Of operations on containers those that an identity may not do."""
    may = granted(identity)
    return {(kind, name) for kind, name in done if not set(ACTIONS[kind]) <= may.get(name, set())}
