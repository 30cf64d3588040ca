"""Putting the checks of the ledger together."""

from typing import Any

from shared.core.settings import Settings


def ledger_check_services(settings: Settings, common: dict[str, Any], ledger: dict[str, Any]) -> dict[str, Any]:
    """The services that check and close ledgers, by their names in `Services`; `ledger`: those that they stand on."""
    from shared.ledger.closing import Closing
    from shared.ledger.reconciliation import Reconciliation
    from shared.ledger.verification import Verification
    from shared.telemetry.metrics import ReconcileCounts, VerifyCounts

    store, clock, retention_days = common["store"], common["clock"], settings.cosmos_db_ttl_days
    statements, checkpoints = ledger["statements"], ledger["checkpoints"]
    return {
        "verification": Verification(
            store=store,
            reconciliation=Reconciliation(store, ledger["sealer"], clock, ReconcileCounts()),
            statements=statements,
            checkpoints=checkpoints,
            keys=ledger["ledger_keys"],
            clock=clock,
            retention_days=retention_days,
            verified=VerifyCounts(),
        ),
        "closing": Closing(store, ledger["shards"], checkpoints, statements, clock, retention_days),
    }
