"""system.*: the life of the service itself."""

from typing import ClassVar

from shared.audit.model import AuditEvent
from shared.audit.registry import event_type

type Policy = dict[str, str | int | bool]


@event_type("system.start")
class SystemStart(AuditEvent):
    """An instance of the service started, in a version. `occurred_at` is when; it is recorded at its first work."""

    version: str


@event_type("system.heartbeat")
class SystemHeartbeat(AuditEvent):
    """A sign of life, so that silence can be told from nothing to say. `source`: whose.

    detect_threats: detection has worked through a day (`window_from` to `window_to`, UTC, by `recorded_at`), in which
    `events` were sealed; `patterns` were run, and `waiting` of the tenant's events could not be handled yet. Daily, one
    for each day. policy: the values of the organization's `policy` as they hold now, daily. api_key: the target, which
    had fallen silent, sends events again; the window is its silence. service: in the trail of platform, hourly, with
    the `version` that runs and `clock_offset_ms`, by which its clock is ahead of the store's (true to a second)."""

    sparse: ClassVar[frozenset[str]] = frozenset(
        {"window_from", "window_to", "events", "patterns", "waiting", "version", "clock_offset_ms", "policy"}
    )
    source: str
    window_from: str | None = None
    window_to: str | None = None
    events: int | None = None
    patterns: int | None = None
    waiting: int | None = None
    version: str | None = None
    clock_offset_ms: int | None = None
    policy: Policy | None = None


@event_type("system.error", outcomes=("error",), severity="medium")
class SystemFailure(AuditEvent):
    """A part of the service failed in a way that its operators have to look at. `error_code` is stable; no text of the
    error is kept.

    audit_writer, store_unreachable: an instance could not write the trail from `since` to `until`, and refused or put
    off `count` writes. api_key, source_silent: the target sent events, and has sent none since `since`. service,
    clock_offset: the service's clock is `clock_offset_ms` ahead of the store's."""

    sparse: ClassVar[frozenset[str]] = frozenset({"since", "until", "count", "clock_offset_ms"})
    source: str
    error_code: str
    since: str | None = None
    until: str | None = None
    count: int | None = None
    clock_offset_ms: int | None = None
