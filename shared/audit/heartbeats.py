"""Signs of life: what has to be told regularly, so that silence can be told from nothing to say.

Of each tenant daily: the policy that holds for it, and, once detection has worked through the day before, that it has.
Of the service hourly, in the trail of platform: its version, and how far its clock is from the store's. Each is written
once, however often and wherever this runs: what was told stands beside the tenant, and changes with the event. None
follows from another, so that there is no end to nothing: what reads these events writes none.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from shared.audit.events.system import Policy, SystemFailure, SystemHeartbeat
from shared.audit.model import PLATFORM_TENANT, SYSTEM, AuditEvent, Draft, Outcome, RequestContext
from shared.audit.outbox import Outbox
from shared.audit.recorder import Recorder
from shared.core.clock import Clock, rfc3339
from shared.core.version import VERSION
from shared.storage.containers import GUARDS, IDENTITY
from shared.storage.documents import BatchOperation, DocumentStore, Item, create, find_item, replace
from shared.storage.errors import Conflict, NotFound, PreconditionFailed
from shared.telemetry import get_log

_log = get_log(__name__)

PULSE = "pulse"
"""Id and kind of the item of what was told of a tenant."""
POLICY, DETECTION, SERVICE = "policy", "detect_threats", "service"
"""Sources of heartbeats."""
LOOK_BACK_DAYS = 7
"""Days whose detection a run still tells of: a week without the timer, or with a feed that is behind, loses none."""
MOST_CLOCK_OFFSET = timedelta(seconds=5)
_MEASURED_FOR = timedelta(minutes=10)
_CLOCK = "clock"
_CLOCK_SECONDS = 86_400
_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Detected:
    """That detection has worked through a day: events sealed in it, patterns that were run, and events of the tenant
    that could not be handled yet."""

    events: int
    patterns: int
    waiting: int


type PolicyOf = Callable[[str], Awaitable[Policy | None]]
"""The policy that holds for a tenant; None: there is no such tenant."""
type DetectedOf = Callable[[str, date], Awaitable[Detected | None]]
"""What detection made of a tenant's day (UTC, by `recorded_at`); None: it has not worked through it yet."""


class Heartbeats:
    """Tells of tenants and of the service, each when it is time."""

    def __init__(
        self,
        store: DocumentStore,
        recorder: Recorder,
        outbox: Outbox,
        clock: Clock,
        policy_of: PolicyOf,
        detected_of: DetectedOf,
    ) -> None:
        self._store = store
        self._recorder = recorder
        self._outbox = outbox
        self._clock = clock
        self._policy_of = policy_of
        self._detected_of = detected_of
        self._measured: tuple[datetime, int] | None = None

    async def beat(self, tenant_id: str, request: RequestContext) -> int:
        """Tell of a tenant what is due; how many events that were. Where another run is quicker, nothing."""
        held = await self._held(tenant_id)
        told, events = dict(held or {}), list[AuditEvent]()
        if tenant_id == PLATFORM_TENANT:
            await self._of_service(told, events)
        else:
            await self._of_policy(tenant_id, told, events)
            await self._of_detection(tenant_id, told, events)
        if not events:
            return 0
        item: Item = {**told, "id": PULSE, "tenant_id": tenant_id, "kind": PULSE}
        step = create(item) if held is None else replace(item, if_match=held["_etag"])
        return await self._commit(tenant_id, step, events, request)

    async def _commit(
        self, tenant_id: str, step: BatchOperation, events: list[AuditEvent], request: RequestContext
    ) -> int:
        finished = []
        for event in events:
            outcome: Outcome = "error" if isinstance(event, SystemFailure) else "success"
            finished.append(
                await self._recorder.finish(Draft(tenant_id, event, request, outcome=outcome, actor=SYSTEM))
            )
        try:
            await self._outbox.commit(IDENTITY, tenant_id, [step], finished)
        except (Conflict, PreconditionFailed, NotFound):
            _log.info("heartbeat_told_elsewhere", tenant_id=tenant_id)
            return 0
        return len(finished)

    async def _of_policy(self, tenant_id: str, told: Item, events: list[AuditEvent]) -> None:
        today = self._clock.now().date()
        if told.get("policy_day") in (today.isoformat(), (today + timedelta(days=1)).isoformat()):
            return
        policy = await self._policy_of(tenant_id)
        if policy is None:
            return
        offset = await self._clock_offset()
        events.append(SystemHeartbeat(source=POLICY, policy=policy, clock_offset_ms=offset))
        told["policy_day"] = today.isoformat()
        told.setdefault("detected_day", (today - timedelta(days=1)).isoformat())

    async def _of_detection(self, tenant_id: str, told: Item, events: list[AuditEvent]) -> None:
        """Tell of days that are over, from the one after the last that was told of; a tenant's first is that on which
        it was met."""
        today = self._clock.now().date()
        if "detected_day" not in told:
            return
        last = max(date.fromisoformat(told["detected_day"]), today - timedelta(days=LOOK_BACK_DAYS + 1))
        for day in (last + timedelta(days=n) for n in range(1, (today - last).days)):
            found = await self._detected_of(tenant_id, day)
            if found is None:
                return
            start = datetime(day.year, day.month, day.day, tzinfo=UTC)
            event = SystemHeartbeat(
                source=DETECTION,
                window_from=rfc3339(start),
                window_to=rfc3339(start + timedelta(days=1)),
                events=found.events,
                patterns=found.patterns,
                waiting=found.waiting,
            )
            events.append(event)
            told["detected_day"] = day.isoformat()

    async def _of_service(self, told: Item, events: list[AuditEvent]) -> None:
        now = self._clock.now()
        hour, next_hour = (rfc3339(each)[: len("YYYY-MM-DDTHH")] for each in (now, now + timedelta(hours=1)))
        if told.get("hour") in (hour, next_hour):  # the next one: by an instance whose clock is ahead
            return
        offset = await self._clock_offset()
        events.append(SystemHeartbeat(source=SERVICE, version=VERSION, clock_offset_ms=offset))
        if abs(offset) * _MILLISECOND > MOST_CLOCK_OFFSET:
            _log.error("clock_is_off", offset_ms=offset)
            events.append(SystemFailure(source=SERVICE, error_code="clock_offset", clock_offset_ms=offset))
        told["hour"] = hour

    async def _clock_offset(self) -> int:
        """Milliseconds by which this instance's clock is ahead of the store's, as measured within ten minutes. The
        store tells the second of a write: the half of one, and half of the way there and back, stay unknown."""
        now = self._clock.now()
        if self._measured is None or not timedelta(0) <= now - self._measured[0] < _MEASURED_FOR:
            item = await self._store.upsert(GUARDS, (_CLOCK,), {"id": _CLOCK, "ttl": _CLOCK_SECONDS})
            after = self._clock.now()
            stores = datetime.fromtimestamp(item["_ts"], UTC) + timedelta(milliseconds=500)
            self._measured = now, (now + (after - now) / 2 - stores) // _MILLISECOND
        return self._measured[1]

    async def _held(self, tenant_id: str) -> Item | None:
        return await find_item(self._store, IDENTITY, (tenant_id,), PULSE)
