"""Exports in the register of requests, each with its event (`privacy.export`): entered with the first part, counted
with each further one, closed with the last one, or by a timer when nobody asks for it any more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from shared.audit.events.privacy import PrivacyExport
from shared.audit.export_runs import ABANDONED_AFTER, RunOver
from shared.audit.model import SYSTEM, Draft, RequestContext, Target
from shared.audit.outbox import Outbox
from shared.audit.recorder import Recorder
from shared.core.clock import Clock, parse_rfc3339, rfc3339
from shared.core.errors import Unready
from shared.identity.model import Principal
from shared.storage.containers import IDENTITY
from shared.storage.documents import DocumentStore, Item, create, replace
from shared.storage.errors import NotFound, PreconditionFailed
from shared.subject_rights.export_document import Scope, number_of
from shared.subject_rights.model import EXPORT, look_again, new_export, over, request_key

_RACES = 5

type Form = Literal["json", "html"]


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asks for whose data (None: the own), in which form."""

    principal: Principal
    subject: str | None
    form: Form
    request: RequestContext

    @property
    def whose(self) -> str:
        """The person's id."""
        return self.subject or self.principal.user_id

    @property
    def tenant_id(self) -> str:
        """Where the person is."""
        return self.principal.tenant_id


class ExportRegister:
    """The register, as far as exports are in it."""

    def __init__(self, store: DocumentStore, recorder: Recorder, outbox: Outbox, clock: Clock) -> None:
        self._store = store
        self._recorder = recorder
        self._outbox = outbox
        self._clock = clock

    async def find(self, asked: Asked, run: str) -> Item:
        """An export that may go on, or of which a part may be asked for again. RunOver for any other."""
        try:
            item = await self._store.read(IDENTITY, (asked.tenant_id,), request_key(run))
        except NotFound:
            raise RunOver from None
        if item["about"] != EXPORT or item["subject"] != asked.whose or "kept" not in item:
            raise RunOver
        return item

    async def open(self, asked: Asked, scope: Scope, email: str | None, counts: dict[str, int], *, last: bool) -> None:
        """Enter an export whose first part is handed out; `last`: there is no other. `email`: the person's."""
        received_at = parse_rfc3339(scope.received_at)
        draft = _draft(asked, email, scope.export_id, scope.due_at, counts, "executed" if last else "requested")
        event = await self._recorder.finish(draft)
        item = new_export(asked.tenant_id, asked.whose, scope.by, event, scope.export_id, received_at)
        item |= _counted(counts)
        if last:
            item |= {"state": "executed", "executed_at": rfc3339(self._clock.now())}
        else:
            kept = [{"period": each.period, "state": each.state, "note": each.note} for each in scope.months]
            item = self._later({**item, "kept": kept})
        await self._outbox.commit(IDENTITY, asked.tenant_id, [create(item)], [event])

    async def advance(self, asked: Asked, email: str | None, run: str, counts: dict[str, int], *, last: bool) -> None:
        """Count a further part; with `last` close the export. A part that is asked for again changes nothing. RunOver
        for more than a closed export handed out."""
        partition, handed_out = (asked.tenant_id,), sum(counts.values())
        for _ in range(_RACES):
            try:
                item = await self._store.read(IDENTITY, partition, request_key(run))
                known = sum(item["exported"].values())
                if item["state"] != "running":
                    if handed_out > known:
                        raise RunOver
                elif last:
                    await self._close(asked, email, item, counts if handed_out >= known else item["exported"])
                elif handed_out > known:
                    changed = self._later({**item, **_counted(counts)})
                    await self._store.replace(IDENTITY, partition, changed, if_match=item["_etag"])
            except PreconditionFailed:
                continue  # the same part was asked for twice, at once
            except NotFound:
                raise RunOver from None
            return
        raise Unready("store_unavailable", "Too many changes at once.", retry_after_seconds=1)

    async def tidy(self, item: Item, request: RequestContext) -> None:
        """Close an export that nobody can go on with, with its event, and forget what its parts had to know.
        PreconditionFailed, NotFound: somebody else is at it."""
        if item["work_at"] > rfc3339(self._clock.now()):
            return
        tenant_id = item["tenant_id"]
        if item["state"] != "running":
            await self._store.replace(IDENTITY, (tenant_id,), over(item), if_match=item["_etag"])
            return
        now = rfc3339(self._clock.now())
        closed = {**over(item), "state": "withdrawn", "cause": "abandoned", "closed_at": now}
        event = PrivacyExport(request_id=item["request_id"], counts=item["exported"], due_at=item["due_at"])
        draft = Draft(
            tenant_id,
            event,
            request,
            outcome="failure",
            reason="abandoned",
            actor=SYSTEM,
            target=Target("user", item["subject"]),
            record_count=sum(item["exported"].values()),
        )
        steps = [replace(closed, if_match=item["_etag"])]
        await self._outbox.commit(IDENTITY, tenant_id, steps, [await self._recorder.finish(draft)])

    async def _close(self, asked: Asked, email: str | None, item: Item, counts: dict[str, int]) -> None:
        now = rfc3339(self._clock.now())
        done = self._later({**item, **_counted(counts), "state": "executed", "executed_at": now})
        draft = _draft(asked, email, item["request_id"], item["due_at"], counts, "executed")
        steps = [replace(done, if_match=item["_etag"])]
        await self._outbox.commit(IDENTITY, asked.tenant_id, steps, [await self._recorder.finish(draft)])

    def _later(self, item: Item) -> Item:
        """The request, which the timer looks at once no further part can be asked for."""
        return look_again(item, rfc3339(self._clock.now() + ABANDONED_AFTER))


def _draft(asked: Asked, email: str | None, export_id: str, due_at: str, counts: dict[str, int], reason: str) -> Draft:
    principal = asked.principal
    return Draft(
        asked.tenant_id,
        PrivacyExport(request_id=export_id, counts=dict(counts), due_at=due_at),
        asked.request,
        reason=reason,
        actor=principal.actor,
        target=Target("user", asked.whose, email),
        person=principal.person,
        record_count=sum(counts.values()),
    )


def _counted(counts: dict[str, int]) -> Item:
    return {"exported": dict(counts), "counts": number_of(counts)}
