"""Whether what is stored as an event is formed as one: whoever writes past the app can put anything there.

What is not is shown to nobody and stops nobody; the ledger says that it is there (`ledger.verify_failed`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.audit.model import StoredEvent
from shared.telemetry import get_log

_log = get_log(__name__)

_TEXT = (str,)
_TEXT_OR_NONE = (str, type(None))
_OBJECT_OR_NONE = (dict, type(None))
_FIELDS: dict[str, tuple[type, ...]] = {
    "id": _TEXT,
    "tenant_id": _TEXT,
    "period": _TEXT,
    "type": _TEXT,
    "outcome": _TEXT,
    "severity": _TEXT,
    "reason": _TEXT_OR_NONE,
    "recorded_at": _TEXT,
    "occurred_at": _TEXT,
    "data_class": _TEXT,
    "record_count": (int,),
    "actor": (dict,),
    "target": _OBJECT_OR_NONE,
    "source": (dict,),
    "context": (dict,),
    "subjects": (list,),
    "attributes": (dict,),
}
_PARTS: dict[str, dict[str, tuple[type, ...]]] = {
    "actor": {"kind": _TEXT, "id": _TEXT_OR_NONE},
    "target": {"kind": _TEXT, "id": _TEXT_OR_NONE},
    "source": {"kind": _TEXT, "id": _TEXT_OR_NONE},
}


def formed(event: StoredEvent) -> StoredEvent | None:
    """The event, so that it can be read; None, once that is logged, where it is none.

    Personal data that is not formed as such becomes a box for each person, which does not open: it is shown as damaged.
    """
    if not _is_formed(event):
        malformed(event)
        return None
    commitments, personal = event.get("commitments"), event.get("personal")
    if isinstance(commitments, dict) and isinstance(personal, dict):
        return event
    recorded = commitments if isinstance(commitments, dict) else {}
    return {**event, "commitments": recorded, "personal": boxes_of(event, recorded)}


def malformed(event: Mapping[str, Any]) -> None:
    """Log that something stands among the events that is none."""
    _log.error("stored_event_malformed", event_id=str(event.get("id")), tenant_id=str(event.get("tenant_id")))


def boxes_of(event: Mapping[str, Any], recorded: Mapping[str, Any]) -> dict[str, Any]:
    """The boxes of an event by person; `recorded`: its commitments. One that does not open where there is something
    else in their place."""
    personal = event.get("personal")
    return personal if isinstance(personal, dict) else {subject: {} for subject in recorded}


def _is_formed(event: Mapping[str, Any]) -> bool:
    return _has(event, _FIELDS) and all(
        event[name] is None or _has(event[name], parts) for name, parts in _PARTS.items()
    )


def _has(found: Mapping[str, Any], fields: Mapping[str, tuple[type, ...]]) -> bool:
    return all(name in found and isinstance(found[name], types) for name, types in fields.items())
