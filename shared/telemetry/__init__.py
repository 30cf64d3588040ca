"""Structured logs and metrics. Telemetry may be sampled or dropped: it is never the audit trail."""

from shared.telemetry.logs import Log, get_log, place_of
from shared.telemetry.timing import Timed, untimed

__all__ = ["Log", "Timed", "get_log", "place_of", "untimed"]
