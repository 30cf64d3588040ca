"""Putting together what the service tells of itself."""

from typing import TYPE_CHECKING, Any

from shared.core.settings import Settings

if TYPE_CHECKING:  # cold start
    from shared.audit.outbox import Outbox
    from shared.audit.writing import Writing
    from shared.ledger.shards import Shards


def life_services(
    settings: Settings, common: dict[str, Any], *, outbox: "Outbox", writing: "Writing", shards: "Shards"
) -> dict[str, Any]:
    """The services of heartbeats and continuity, by their names in `Services`."""
    from shared.audit.continuity import Continuity
    from shared.audit.heartbeats import Heartbeats
    from shared.detection.reached import Reached
    from shared.identity.policy_snapshot import PolicySnapshots

    store, recorder, clock = common["store"], common["recorder"], common["clock"]
    deployment = {
        "lockout_max_attempts": settings.lockout_failures,
        "lockout_window_minutes": settings.lockout_window_minutes,
        "lockout_minutes": settings.lockout_minutes,
        "session_idle_minutes": settings.session_idle_hours * 60,
        "session_days": settings.session_days,
        "access_token_minutes": settings.access_token_minutes,
        "retention_days": settings.cosmos_db_ttl_days,
    }
    policies, reached = PolicySnapshots(store, clock, deployment), Reached(store, shards)
    return {
        "continuity": Continuity(recorder, writing, clock),
        "heartbeats": Heartbeats(store, recorder, outbox, clock, policies.of, reached.of),
    }
