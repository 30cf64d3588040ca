"""Which rare events a rule could find something in. Where a day has more than fit, these are kept before the others,
and it is told how many did not fit: a cap may hide names, and never what matters (docs/adr/0059)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from shared.compliance.facts.parts import Entry

_PRIVILEGED = frozenset({"auditor", "tenant_admin", "system_admin"})


def matters(entry: Entry) -> bool:
    """Whether a rule could find something in a rare event, or in its absence."""
    judge = _JUDGES.get(entry["type"])
    return judge is not None and judge(entry, entry["attributes"])


def _unapproved(entry: Entry, given: Mapping[str, Any]) -> bool:
    """Nobody else approved it, and it names no ticket; or whoever did it approved it, too."""
    approver = given.get("approved_by")
    return not (approver or given.get("ticket")) or _by_oneself(entry, given)


def _by_oneself(entry: Entry, given: Mapping[str, Any]) -> bool:
    approver = given.get("approved_by")
    return bool(approver) and approver == entry["actor"]["id"]


def _role(entry: Entry, given: Mapping[str, Any]) -> bool:
    target = entry["target"]
    return _unapproved(entry, given) or (target is not None and target["id"] == entry["actor"]["id"])


def _status(entry: Entry, given: Mapping[str, Any]) -> bool:
    return bool(given.get("left_at")) or _by_oneself(entry, given)


def _setting(entry: Entry, given: Mapping[str, Any]) -> bool:
    return _unapproved(entry, given) or not (entry["commitments"] and entry["actor"]["id"])


def _invitation(entry: Entry, given: Mapping[str, Any]) -> bool:
    return _by_oneself(entry, given) or (given.get("role") in _PRIVILEGED and _unapproved(entry, given))


def _error(entry: Entry, given: Mapping[str, Any]) -> bool:
    return given.get("error_code") == "source_silent" or given.get("source") == "audit_writer"


def _told(entry: Entry, given: Mapping[str, Any]) -> bool:
    return given.get("policy") is not None


def _done(entry: Entry, given: Mapping[str, Any]) -> bool:
    return entry["outcome"] == "success" and entry["reason"] in (None, "executed", "replayed")


def _always(entry: Entry, given: Mapping[str, Any]) -> bool:
    return True


_JUDGES: dict[str, Callable[[Entry, Mapping[str, Any]], bool]] = {
    "user.role_change": _role,
    "user.status_change": _status,
    "user.invite": _invitation,
    "config.change": _setting,
    "apikey.create": _unapproved,
    "privacy.erasure": _done,
    "privacy.export": _done,
    "system.error": _error,
    "system.heartbeat": _told,
    **dict.fromkeys(
        (*("incident.record", "ledger.verify_failed", "report.generate", "report.sign_off", "review.complete"),),
        _always,
    ),
}
