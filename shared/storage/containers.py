"""Every container of the app, declared once: adapters, provisioning and infrastructure follow this file.

Index paths are dotted (`target.id`); an index serves filters on its leading fields and order by its last one.
"""

from dataclasses import dataclass

from shared.core.settings import Settings, SettingsError

PERIOD = "period"


@dataclass(frozen=True, slots=True)
class Container:
    """One container: its name, partition key paths (one, or two for a hierarchical key), TTL and indexes.

    `default_ttl_seconds`: None = no TTL at all; -1 = only items that carry `ttl` expire.
    `expires_by_period`: the adapter sets each item's `ttl` so that a whole `period` expires together.
    `indexes`: the composite indexes, each a tuple of paths below the partition key.
    Where several would do, the first declared is preferred: what tells most comes first.
    `array_indexes`: array and ordered field, for filters on one value of the array.
    `also_indexed`: what is filtered by in no index of its own.
    """

    name: str
    partition_key: tuple[str, ...]
    indexes: tuple[tuple[str, ...], ...] = ()
    array_indexes: tuple[tuple[str, str], ...] = ()
    also_indexed: tuple[str, ...] = ()
    default_ttl_seconds: int | None = None
    expires_by_period: bool = False

    def __post_init__(self) -> None:
        if not 1 <= len(self.partition_key) <= 3:
            raise ValueError(f"{self.name}: a partition key has one to three paths")


AUDIT_EVENTS = Container(
    name="audit_events",
    partition_key=("tenant_id", PERIOD),
    indexes=(
        ("recorded_at",),
        ("target.id", "recorded_at"),
        ("target_key", "recorded_at"),
        ("actor.id", "recorded_at"),
        ("actor_key", "recorded_at"),
        ("ip_key", "recorded_at"),
        ("type", "recorded_at"),
        ("severity", "recorded_at"),
        ("data_class", "recorded_at"),
        ("outcome", "recorded_at"),
        ("type", "target.id", "occurred_at"),
        ("type", "actor.id", "occurred_at"),
    ),
    array_indexes=(("subjects", "recorded_at"),),
    default_ttl_seconds=2555 * 86_400,
    expires_by_period=True,
)
IDENTITY = Container(
    name="identity",
    partition_key=("tenant_id",),
    indexes=(("kind", "created_at"), ("kind", "user_id", "created_at")),
    also_indexed=("role", "status", "next_at", "subject", "search_email", "search_name", "search_last_name"),
    default_ttl_seconds=-1,
)
DIRECTORY = Container(name="directory", partition_key=("id",))
TENANTS = Container(name="tenants", partition_key=("shard",))
ALERTS = Container(
    name="alerts",
    partition_key=("tenant_id",),
    indexes=(("kind", "created_at"), ("kind", "first_seen"), ("kind", "series", "first_seen")),
    also_indexed=("pattern", "severity", "status", "superseded_by", "overflowed_by"),
    default_ttl_seconds=-1,
)
LEDGER = Container(
    name="ledger",
    partition_key=("tenant_id", PERIOD),
    indexes=(("index",),),
    default_ttl_seconds=2555 * 86_400,
    expires_by_period=True,
)
REPORTS = Container(
    name="reports",
    partition_key=("tenant_id",),
    indexes=(("kind", "created_at"), ("kind", "from")),
    also_indexed=("framework",),
    default_ttl_seconds=-1,
)
SUBJECT_KEYS = Container(name="subject_keys", partition_key=("tenant_id",), also_indexed=("kind",))
GUARDS = Container(name="guards", partition_key=("id",), default_ttl_seconds=-1)
SIGNALS = Container(
    name="signals",
    partition_key=("ip_key",),
    indexes=(("at",),),
    also_indexed=("tenant_id",),
    default_ttl_seconds=9 * 86_400,
)
LEASES = Container(name="leases", partition_key=("id",))
DEAD_LETTERS = Container(
    name="dead_letters",
    partition_key=("tenant_id",),
    indexes=(("kind", "created_at"), ("kind", "retry_at")),
)

CONTAINERS: dict[str, Container] = {
    each.name: each
    for each in (
        AUDIT_EVENTS,
        IDENTITY,
        DIRECTORY,
        TENANTS,
        LEDGER,
        ALERTS,
        REPORTS,
        GUARDS,
        SIGNALS,
        LEASES,
        DEAD_LETTERS,
        SUBJECT_KEYS,
    )
}


def container_names(settings: Settings) -> dict[str, str]:
    """What containers are called in the account, by our name, where the settings name them.

    SettingsError for a name that another container has: both would be one there.
    """
    name = settings.cosmos_db_audit_container
    if name in CONTAINERS and name != AUDIT_EVENTS.name:
        raise SettingsError("COSMOS_DB_AUDIT_CONTAINER: is the name of another container of the app")
    return {AUDIT_EVENTS.name: name}
