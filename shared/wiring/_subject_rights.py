"""Putting the services of persons' rights together."""

from datetime import timedelta
from typing import Any

from shared.core.ids import IdFactory
from shared.core.settings import Settings


def subject_rights_services(
    settings: Settings,
    trail: dict[str, Any],
    ids: IdFactory,
    keys: Any,
    pin: Any,
    box: Any,
    identity: dict[str, Any],
    ledger: dict[str, Any],
) -> dict[str, Any]:
    """The services of persons' rights, by their names in `Services`. `trail`: what reads and writes the trail."""
    from shared.identity.leaving import Leaving
    from shared.subject_rights.erasure import Erasures
    from shared.subject_rights.export import SubjectExports
    from shared.subject_rights.export_records import Records
    from shared.subject_rights.export_register import ExportRegister
    from shared.subject_rights.holds import Holds
    from shared.subject_rights.replay import Replays
    from shared.subject_rights.rewrapping import Rewrapping
    from shared.subject_rights.service import SubjectRequests

    common = {name: trail[name] for name in ("store", "recorder", "outbox")}
    leaving = Leaving(**common)
    requests = SubjectRequests(
        access=identity["access"],
        own_account=identity["own_account"],
        leaving=leaving,
        keys=keys,
        clock=trail["clock"],
        ids=ids,
        cooling_off=timedelta(hours=settings.erasure_cooling_off_hours),
        **common,
    )
    register = ExportRegister(clock=trail["clock"], **common)
    exports = SubjectExports(
        store=trail["store"],
        register=register,
        access=identity["access"],
        leaving=leaving,
        keys=keys,
        ledger=ledger["ledger"],
        shards=ledger["shards"],
        ledger_keys=ledger["ledger_keys"],
        records=Records(box, ledger["ledger"], ledger["shards"], trail["clock"]),
        clock=trail["clock"],
        ids=ids,
    )
    erasures = Erasures(keys=keys, leaving=leaving, requests=requests, exports=register, **trail)
    rewrapping: dict[str, Any] = {name: trail[name] for name in ("recorder", "directory", "index", "clock")}
    listed = {name: trail[name] for name in ("store", "recorder", "directory", "index", "clock")}
    return {
        "holds": Holds(trail["store"], trail["clock"], timedelta(days=settings.cosmos_db_ttl_days)),
        "subject_requests": requests,
        "subject_exports": exports,
        "erasures": erasures,
        "rewrapping": Rewrapping(keys=keys, pin=pin, ids=ids, **rewrapping),
        "replays": Replays(requests=requests, erasures=erasures, ids=ids, **listed),
    }
