"""Putting the services of the ledger together."""

from typing import TYPE_CHECKING, Any

from shared.core.ids import IdFactory
from shared.core.settings import Settings, SettingsError

if TYPE_CHECKING:  # cold start
    from shared.audit.dead_letters import DeadLetters
    from shared.audit.outbox import Outbox
    from shared.audit.search import EventSearch
    from shared.identity.directory import Directory
    from shared.ledger.statements import Statements
    from shared.ledger.witness import Witness
    from shared.privacy.boxes import PersonalBox
    from shared.privacy.secrets import SecretsPort


def ledger_services(
    settings: Settings,
    common: dict[str, Any],
    ids: IdFactory,
    secrets: "SecretsPort",
    *,
    outbox: "Outbox",
    search: "EventSearch",
    box: "PersonalBox",
    statements: "Statements",
    dead_letters: "DeadLetters",
    directory: "Directory",
) -> dict[str, Any]:
    """The services of the ledger, by their names in `Services`."""
    from shared.audit.export_runs import ExportRuns
    from shared.ledger.checkpoints import Checkpoints
    from shared.ledger.closing import Closing
    from shared.ledger.evidence import Evidence
    from shared.ledger.keys import LedgerKeys
    from shared.ledger.reconciliation import Reconciliation
    from shared.ledger.roster import Roster
    from shared.ledger.sealer import Sealer
    from shared.ledger.service import Ledger
    from shared.ledger.shards import Shards
    from shared.ledger.verification import Verification
    from shared.telemetry.metrics import ReconcileCounts, SealCounts, VerifyCounts

    store, recorder, clock = common["store"], common["recorder"], common["clock"]
    keys, shards = LedgerKeys(secrets, store, clock, settings.ledger_origin), Shards(store)
    checkpoints = Checkpoints(store, keys, clock)
    retention_days = settings.cosmos_db_ttl_days
    ledger = Ledger(shards, checkpoints, keys, statements, clock, retention_days)
    sealer = Sealer(store, statements, checkpoints, dead_letters, clock, ids, SealCounts())
    witness = _witness(settings, ledger=ledger, shards=shards, keys=keys, store=store)
    return {
        "sealer": sealer,
        "shards": shards,
        "ledger_keys": keys,
        "checkpoints": checkpoints,
        "statements": statements,
        "ledger": ledger,
        "witness": witness,
        "verification": Verification(
            store=store,
            reconciliation=Reconciliation(store, sealer, clock, ReconcileCounts()),
            statements=statements,
            checkpoints=checkpoints,
            keys=keys,
            clock=clock,
            retention_days=retention_days,
            verified=VerifyCounts(),
        ),
        "roster": Roster(store, directory, statements, clock, retention_days),
        "closing": Closing(store, shards, checkpoints, statements, clock, retention_days),
        "evidence": Evidence(
            ledger=ledger,
            shards=shards,
            keys=keys,
            box=box,
            runs=ExportRuns(search, store, recorder, outbox, clock),
            ids=ids,
            witness=witness,
            **common,
        ),
    }


def _witness(settings: Settings, **parts: Any) -> "Witness | None":
    """The witness that the settings name. SettingsError when its key is none."""
    if settings.ledger_witness_url is None:
        return None
    from shared.ledger.note import NoteError, VerifierKey
    from shared.ledger.witness import Witness
    from shared.ledger.witness_http import witness_at
    from shared.telemetry.metrics import WitnessCounts

    try:
        key = VerifierKey.decode(settings.ledger_witness_vkey or "")
        return Witness(key=key, post=witness_at(settings.ledger_witness_url), counted=WitnessCounts(), **parts)
    except NoteError as error:
        raise SettingsError(f"LEDGER_WITNESS_VKEY: {error}") from None
