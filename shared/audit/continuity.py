"""That the trail was written without a break: starts of instances, and times in which one could not write.

An instance keeps what it notices of itself in memory until the store takes it, and tells of an outage once it is over.
What ends with the instance (a crash within an outage) is not told; the next start is.
"""

import asyncio
from contextvars import Context
from datetime import timedelta

from shared.audit.events.system import SystemFailure, SystemStart
from shared.audit.model import PLATFORM_TENANT, SYSTEM, Draft, RequestContext
from shared.audit.recorder import Recorder
from shared.audit.writing import Writing
from shared.core.clock import Clock, rfc3339
from shared.core.errors import Unready
from shared.core.ids import IdFactory
from shared.core.version import VERSION
from shared.telemetry import get_log

_log = get_log(__name__)

PAUSE = timedelta(seconds=10)
"""Between tries to tell what the store did not take."""


class Continuity:
    """Tells of this instance, in the trail of platform."""

    def __init__(self, recorder: Recorder, writing: Writing, clock: Clock) -> None:
        self._recorder = recorder
        self._writing = writing
        self._clock = clock
        self._started_at = clock.now()
        self._start_told = False
        self._telling = False
        self._not_before = self._started_at
        self._beside: asyncio.Task[None] | None = None

    @property
    def has_news(self) -> bool:
        """Whether there is something to tell, and it is time to try."""
        if self._telling or self._clock.now() < self._not_before:
            return False
        return not self._start_told or self._writing.outage() is not None

    def tell_beside(self, ids: IdFactory) -> None:
        """Begin to tell what there is, beside whatever calls this, which neither waits nor has less time for it."""
        if self.has_news and (self._beside is None or self._beside.done()):
            request = RequestContext(ids.new(), "start", "start", self._clock.now())
            self._beside = asyncio.create_task(self.tell(request), context=Context())

    async def close(self) -> None:
        """Give up what is being told."""
        if self._beside is not None:
            self._beside.cancel()
            await asyncio.wait([self._beside])

    async def tell(self, request: RequestContext) -> None:
        """Record the start of this instance, once, and an outage that is over. Whatever the store does not take is
        tried again later: nothing is raised for it."""
        if not self.has_news:
            return
        self._telling = True
        try:
            await self._tell(request)
        except Unready:
            self._not_before = self._clock.now() + PAUSE
            _log.warning("continuity_not_told")
        finally:
            self._telling = False

    async def _tell(self, request: RequestContext) -> None:
        if not self._start_told:
            started = Draft(
                PLATFORM_TENANT,
                SystemStart(version=VERSION),
                request,
                actor=SYSTEM,
                occurred_at=self._started_at,
            )
            await self._recorder.record(started)
            self._start_told = True
        outage = self._writing.outage()
        if outage is not None:
            event = SystemFailure(
                source="audit_writer",
                error_code="store_unreachable",
                since=rfc3339(outage.since),
                until=rfc3339(outage.until),
                count=outage.failures,
            )
            await self._recorder.record(Draft(PLATFORM_TENANT, event, request, outcome="error", actor=SYSTEM))
            self._writing.told(outage)
            _log.warning("writing_was_down", failures=outage.failures)
