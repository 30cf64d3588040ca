"""Timer triggers: six-field NCRONTAB in UTC, past-due detection over restarts, never two runs of one timer at once."""

import asyncio
import json
import logging
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from croniter import croniter

from devhost.bindings import Function, TimerTrigger
from devhost.errors import HostError
from devhost.leases import Leases, timer_lease_id
from devhost.loops import Loop
from devhost.retry import Outcome, Sleep, attempts, run_with_retries
from devhost.runtime import Datum, Worker
from shared.core.clock import Clock, parse_rfc3339, rfc3339

_log = logging.getLogger("devhost")
# croniter reads more dialects than NCRONTAB; NCRONTAB has numbers, names of months and days, and * / , -
_FIELD = re.compile(r"(?:[0-9*/,\-]|[A-Za-z]{3,})+")
_MONITORED_FROM = timedelta(minutes=1)
_SOME_DAY = datetime(2026, 1, 1, tzinfo=UTC)
_LONGEST_NAP_SECONDS = 3600.0


class Schedule:
    """A parsed NCRONTAB expression: {second} {minute} {hour} {day} {month} {day of week}; both day fields must hold.

    `interval`: the usual time between two occurrences.
    """

    def __init__(self, expression: str) -> None:
        fields = expression.split()
        if len(fields) != 6 or not all(_FIELD.fullmatch(field) for field in fields):
            raise HostError(_unrecognized(expression))
        self._expression = " ".join(fields)
        try:
            self.interval = _interval(self._expression)
        except ValueError as error:  # also for a day that never comes
            raise HostError(_unrecognized(expression)) from error

    def after(self, moment: datetime) -> datetime:
        """The first occurrence later than `moment`."""
        return _next(self._expression, moment)


def _next(expression: str, moment: datetime) -> datetime:
    found: datetime = croniter(expression, moment, second_at_beginning=True, day_or=False).get_next(datetime)
    return found


@cache
def _interval(expression: str) -> timedelta:
    """The time between the first two occurrences of some year. ValueError."""
    first = _next(expression, _SOME_DAY)
    return _next(expression, first) - first


def _unrecognized(expression: str) -> str:
    return f"The schedule expression '{expression}' was not recognized as a valid cron expression with six fields."


class Timer:
    """One timer function: its schedule, its stored status and its runs."""

    def __init__(self, worker: Worker, function: Function, trigger: TimerTrigger, leases: Leases, clock: Clock) -> None:
        self.function = function
        self.trigger = trigger
        self.schedule = Schedule(trigger.schedule)
        self.lease_id = timer_lease_id(function.name)
        self._worker = worker
        self._leases = leases
        self._clock = clock
        self._lock = asyncio.Lock()
        self._monitored = trigger.use_monitor and self.schedule.interval >= _MONITORED_FROM

    async def fire(self, *, past_due: bool = False, sleep: Sleep | None = None, once: bool = True) -> bool:
        """Run the function now, after a run that is under way. `once`: without its retry policy. True on success."""
        async with self._lock:
            status = await self._leases.read(self.lease_id) if self._monitored else None
            payload = Datum(json.dumps(_timer_info(status, past_due)), "json")
            attempt = attempts(self._worker, self.function, self.trigger.parameter, payload)
            if once:
                result = await attempt(0)
                if not result.ok:
                    _log.error("function_failed function=%s error=%s", self.function.name, result.error)
                return result.ok
            return await run_with_retries(self.function, attempt, sleep) is Outcome.DONE

    async def run(self, loop: Loop, sleep: Sleep) -> None:
        """Fire at start where that is due, then at every occurrence, until the loop is stopped."""
        pausing = loop.sleeper(sleep)
        past_due = await self._guarded(self._was_missed)
        if past_due or self.trigger.run_on_startup:
            await self._run_scheduled(self._clock.now(), pausing, past_due=past_due)
        while loop.running:
            now = self._clock.now()
            occurrence = self.schedule.after(now)
            while now < occurrence:
                await pausing(min((occurrence - now).total_seconds(), _LONGEST_NAP_SECONDS))
                now = self._clock.now()
            await self._run_scheduled(occurrence, pausing, past_due=False)

    async def _was_missed(self) -> bool:
        """True when an occurrence passed while the host was down. The first start ever only notes the time."""
        if not self._monitored:
            return False
        status = await self._leases.read(self.lease_id)
        if status is None:
            await self._note(None)
            return False
        return self.schedule.after(parse_rfc3339(status["checked_at"])) < self._clock.now()

    async def _run_scheduled(self, occurrence: datetime, sleep: Sleep, *, past_due: bool) -> None:
        async def run() -> bool:
            done = await self.fire(past_due=past_due, sleep=sleep, once=False)
            if self._monitored:
                await self._note(occurrence)
            return done

        await self._guarded(run)

    async def _guarded(self, action: Callable[[], Awaitable[bool]]) -> bool:
        """`action`, or False when it raises: the timer must outlive whatever the store does."""
        try:
            return await action()
        except Exception as error:  # noqa: BLE001 - see above
            _log.error("timer_failed function=%s error=%s", self.function.name, type(error).__name__)
            return False

    async def _note(self, last: datetime | None) -> None:
        """Store the status: every occurrence until now is answered for, `last` is the one that ran."""
        now = self._clock.now()
        fields: dict[str, Any] = {
            "function": self.function.name,
            "schedule": self.trigger.schedule,
            "last": None if last is None else rfc3339(last),
            "next": rfc3339(self.schedule.after(now)),
            "checked_at": rfc3339(now),
        }
        await self._leases.write(self.lease_id, fields)


def _timer_info(status: dict[str, Any] | None, past_due: bool) -> dict[str, Any]:
    """The message that the real host sends with a timer invocation."""
    return {
        "IsPastDue": past_due,
        "Schedule": {"AdjustForDST": True},
        "ScheduleStatus": None
        if status is None
        else {"Last": status["last"], "Next": status["next"], "LastUpdated": status["updated_at"]},
    }
