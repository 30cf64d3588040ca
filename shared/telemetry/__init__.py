"""Structured logs. Telemetry may be sampled or dropped: it is never the audit trail."""

from shared.telemetry.logs import Log, get_log, place_of

__all__ = ["Log", "get_log", "place_of"]
