"""Erasures that a restore undid: the list of all that were carried out, kept apart from the database, and doing them
again. A line names ids and times only, so the list may be kept for as long as any backup."""

from collections.abc import AsyncIterator, Sequence

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.audit.events.privacy import PrivacyErasure
from shared.audit.model import PLATFORM_TENANT, RequestContext, Target
from shared.audit.recorder import Recorder
from shared.core.clock import Clock
from shared.core.ids import IdFactory
from shared.core.text import Opaque
from shared.identity.directory import Directory
from shared.identity.operator_trail import OperatorTrail, changed, every_trail
from shared.privacy.blind_index import BlindIndex
from shared.storage.containers import IDENTITY
from shared.storage.documents import DocumentStore, Eq, Query, pages
from shared.subject_rights.erasure import Erasures
from shared.subject_rights.model import ERASURE, KIND, Person
from shared.subject_rights.service import SubjectRequests

COMMAND = "replay-erasures"
_CARRIED_OUT = ("running", "executed")
_TIME = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}Z$"


class Line(BaseModel):
    """One erasure of the list."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    tenant_id: Opaque
    subject: Opaque
    request_id: Opaque
    received_at: str = Field(pattern=_TIME)


class Replays:
    """Lists erasures, and carries listed ones out again."""

    def __init__(
        self,
        *,
        store: DocumentStore,
        recorder: Recorder,
        directory: Directory,
        index: BlindIndex,
        requests: SubjectRequests,
        erasures: Erasures,
        clock: Clock,
        ids: IdFactory,
    ) -> None:
        self._store = store
        self._recorder = recorder
        self._directory = directory
        self._requests = requests
        self._erasures = erasures
        self._clock = clock
        self._ids = ids
        self._trail = OperatorTrail(clock, ids, index)

    async def carried_out(self) -> AsyncIterator[Line]:
        """Every erasure of every tenant that was begun, or is done."""
        async for tenant_id in every_trail(self._directory):
            query = Query((Eq("kind", KIND),), order_by="created_at")
            async for items in pages(self._store, IDENTITY, (tenant_id,), query):
                for item in items:
                    if item["about"] == ERASURE and item["state"] in _CARRIED_OUT:
                        yield Line(
                            tenant_id=tenant_id,
                            subject=item["subject"],
                            request_id=item["request_id"],
                            received_at=item["created_at"],
                        )

    async def replay(self, lines: Sequence[Line], operator: str | None, *, begin_only: bool = False) -> int:
        """Carry erasures out again, but for the later passes, which are the timer's; of how many there was something
        left: what a restore brought back, or an earlier version did not take out.

        In the trail of each tenant, and in that of `platform` with the operator's name, before any is done.
        `begin_only`: all passes are the timer's. That takes no right to rewrite events, which operators do not have.
        """
        event = changed("erasures", "replayed", 0, len(lines), operator)
        told = await self._trail.draft(PLATFORM_TENANT, event, COMMAND, operator, Target("tenant", PLATFORM_TENANT))
        await self._recorder.record(told)
        count = sum([await self._open(line, operator) for line in lines])
        for tenant_id in () if begin_only else dict.fromkeys(line.tenant_id for line in lines):
            request = RequestContext(self._ids.new(), f"operator {COMMAND}", "operator", self._clock.now())
            while await self._erasures.run(tenant_id, request):
                continue
        return count

    async def _open(self, line: Line, operator: str | None) -> bool:
        event = PrivacyErasure(request_id=line.request_id, counts={})
        target = Target("user", line.subject)
        draft = await self._trail.draft(line.tenant_id, event, COMMAND, operator, target, reason="replayed")
        left = bool(await self._erasures.check(Person(line.tenant_id, line.subject)))
        return await self._requests.replay(
            line.tenant_id, line.subject, line.request_id, line.received_at, draft, left=left
        )


def read_line(text: str) -> Line:
    """One line of a list. ValueError for any other."""
    try:
        return Line.model_validate_json(text)
    except ValidationError as error:
        fault = error.errors(include_input=False)[0]
        raise ValueError(f"{'.'.join(map(str, fault['loc'])) or 'the line'}: {fault['msg']}") from None


def written(line: Line) -> str:
    """A line as the list has it."""
    return line.model_dump_json() + "\n"
