"""A person's data, handed out part by part (GDPR articles 15 and 20; docs/adr/0039).

The first part fixes what the export is: up to when, and under which checkpoints of the ledger. Both stand in the
register of requests, where each part is counted before it is answered. Parts are made from the store whenever they are
asked for; nothing is kept in the process.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from shared.audit.model import Target
from shared.core.canonical import canonical
from shared.core.clock import Clock, months_after, parse_rfc3339, rfc3339
from shared.core.deadline import remaining
from shared.core.errors import Clash, NotFoundError
from shared.core.ids import IdFactory
from shared.identity.access import Access
from shared.identity.consents import answers_of
from shared.identity.leaving import Leaving
from shared.identity.model import ADMINS, Role, shown_user
from shared.ledger.checkpoint import parse_checkpoint
from shared.ledger.keys import LedgerKeys
from shared.ledger.note import VerifierKey, parse_note
from shared.ledger.proving import SLICE
from shared.ledger.service import Ledger
from shared.ledger.shards import Shards
from shared.privacy.person_keys import PersonKeys
from shared.storage.containers import AUDIT_EVENTS
from shared.storage.documents import Cursor, DocumentStore, Has, Item, Query
from shared.subject_rights.export_document import (
    KINDS,
    Document,
    JsonDocument,
    Kind,
    Month,
    Scope,
    Tally,
)
from shared.subject_rights.export_html import HtmlDocument
from shared.subject_rights.export_records import Records, Walk, walks
from shared.subject_rights.export_register import Asked, ExportRegister
from shared.subject_rights.model import DUE_MONTHS

_LEFT_SECONDS = 8.0
"""A part ends early when less than this is left of the request's time."""
_RACES = 5

_FORMS: Mapping[str, type[JsonDocument | HtmlDocument]] = {"json": JsonDocument, "html": HtmlDocument}


@dataclass(frozen=True, slots=True)
class Limits:
    """What a part has at most; a single record may be more. `bytes`: of the records, so that with all that is around
    them a part has 8 MiB. `page`: records that are read at once."""

    records: int = 10_000
    bytes: int = 8 * 1024 * 1024 - 65_536
    page: int = 250


@dataclass(frozen=True, slots=True)
class Place:
    """Where an export goes on: its run, the part, what was handed out by then (in the order of KINDS), and behind which
    record of which walk."""

    run: str
    part: int
    counts: list[int]
    walk: int
    value: str | int | None
    id: str | None


@dataclass(frozen=True, slots=True)
class Part:
    """One part: its bytes, how many records are in it, the bound of the export, and where the next one begins."""

    body: bytes
    records: int
    until: str
    number: int
    next: Place | None


type _At = tuple[int, Cursor | None]


class SubjectExports:
    """Exports of persons."""

    def __init__(
        self,
        *,
        store: DocumentStore,
        register: ExportRegister,
        access: Access,
        leaving: Leaving,
        keys: PersonKeys,
        ledger: Ledger,
        shards: Shards,
        ledger_keys: LedgerKeys,
        records: Records,
        clock: Clock,
        ids: IdFactory,
        limits: Limits | None = None,
    ) -> None:
        self._store = store
        self._register = register
        self._access = access
        self._leaving = leaving
        self._keys = keys
        self._ledger = ledger
        self._shards = shards
        self._ledger_keys = ledger_keys
        self._records = records
        self._clock = clock
        self._ids = ids
        self._limits = limits or Limits()

    async def part(self, asked: Asked, place: Place | None) -> Part:
        """One part: the first one without a place. It is in the register and the trail before this returns.

        Forbidden (403) for who names somebody else and is no administrator; NotFoundError (404) for a person of whom
        nothing is known here, or who was erased: all audited. RunOver for a place that leads nowhere any more.
        """
        user = await self._user(asked)
        item = None if place is None else await self._register.find(asked, place.run)
        scope = await self._begin(asked, user) if item is None else await self._resumed(asked, user, item)
        number = place.part if place else 1
        body, tally, at = await self._write(asked, scope, number, user, place)
        before = place.counts if place else [0] * len(KINDS)
        counts: dict[str, int] = {kind: n + tally.counts[kind] for kind, n in zip(KINDS, before, strict=True)}
        email = None if user is None else user["email"]
        if place is None:
            await self._register.open(asked, scope, email, counts, last=at is None)
        else:
            await self._register.advance(asked, email, place.run, counts, last=at is None)
        following = None
        if at is not None:
            walk, after = at
            behind = (after.value, after.id) if after else (None, None)
            following = Place(scope.export_id, number + 1, [counts[kind] for kind in KINDS], walk, *behind)
        return Part(body, tally.records, scope.received_at, number, following)

    async def _user(self, asked: Asked) -> Item | None:
        """The person's account; None for one who has none, of whom something is known all the same."""
        principal, whose = asked.principal, asked.whose
        if whose == principal.user_id:
            return principal.user
        if principal.role not in ADMINS:
            raise await self._access.refused(
                principal, Target("user", whose), "role", {"export": True}, asked.request, required=Role.TENANT_ADMIN
            )
        user = await self._leaving.user(asked.tenant_id, whose)
        if user is None and not await self._is_known(asked.tenant_id, whose):
            raise await self._access.unknown_id(principal, "user", whose, asked.request)
        return user

    async def _is_known(self, tenant_id: str, subject: str) -> bool:
        """Whether there is anything of a person without an account, who was not erased."""
        stored = await self._keys.stored(tenant_id, subject)
        if stored is not None:
            return stored == "key"
        query = Query((Has("subjects", subject),), order_by="recorded_at", limit=1)
        return bool((await self._store.query(AUDIT_EVENTS, (tenant_id,), query)).items)

    async def _begin(self, asked: Asked, user: Item | None) -> Scope:
        """What the export is: everything up to now, under the checkpoints of now."""
        now = self._clock.now()
        heads, broken = await self._shards.each_head(asked.tenant_id)
        months = [await self._month(asked, head.period) for head in heads]
        for period, error in broken.items():
            await self._ledger.broken(asked.tenant_id, period, error, asked.request)
            months.append(Month(period, "broken"))
        months.sort(key=lambda each: each.period)
        return await self._scope(asked, user, self._ids.new(now), rfc3339(now), months)

    async def _month(self, asked: Asked, period: str) -> Month:
        try:
            issued = await self._ledger.checkpoint(asked.tenant_id, period, asked.request, newest=True)
        except (Clash, NotFoundError):  # what is wrong with it is in the trail by now
            return Month(period, "broken")
        state: Literal["sealed", "expired"] = "expired" if self._ledger.is_over(period) else "sealed"
        return Month(period, state, issued.checkpoint, issued.note)

    async def _resumed(self, asked: Asked, user: Item | None, item: Item) -> Scope:
        months = [
            Month(each["period"], each["state"])
            if each["note"] is None
            else Month(
                each["period"],
                each["state"],
                parse_checkpoint(parse_note(each["note"].encode()).text),
                each["note"],
            )
            for each in item["kept"]
        ]
        return await self._scope(asked, user, item["request_id"], item["created_at"], months)

    async def _scope(self, asked: Asked, user: Item | None, export_id: str, now: str, months: list[Month]) -> Scope:
        name = self._name(asked.tenant_id)
        await self._ledger_keys.signer(name)  # publishes its key, if it is new
        keys = [VerifierKey(name, each.public_key).encode() for each in await self._ledger_keys.published()]
        invitation = (user or {}).get("invitation_id")
        return Scope(
            export_id=export_id,
            tenant_id=asked.tenant_id,
            subject=asked.whose,
            ids=(asked.whose,) if invitation is None else (asked.whose, invitation),
            by=asked.principal.user_id,
            received_at=now,
            due_at=rfc3339(months_after(parse_rfc3339(now), DUE_MONTHS)),
            months=tuple(months),
            keys=tuple(keys),
        )

    def _name(self, tenant_id: str) -> str:
        """The name under which statements are signed."""
        return f"{self._ledger_keys.log(tenant_id)}/subject-export"

    async def _write(
        self, asked: Asked, scope: Scope, number: int, user: Item | None, place: Place | None
    ) -> tuple[bytes, Tally, _At | None]:
        """The bytes of a part, what is in it, and where the next one begins, if there is one."""
        document, tally = _FORMS[asked.form](), Tally()
        if place is None and user is not None:
            _put(document, tally, "account", shown_user(user))
            for purpose, answer in sorted(answers_of(user).items()):
                _put(document, tally, "consents", {"purpose": purpose, **answer})
        at = await self._walk(asked, scope, document, tally, place)
        signer = await self._ledger_keys.signer(self._name(asked.tenant_id))
        statement = tally.statement(scope, number, signer, last=at is None)
        return document.finish(scope, number, statement, last=at is None), tally, at

    async def _walk(
        self, asked: Asked, scope: Scope, document: Document, tally: Tally, place: Place | None
    ) -> _At | None:
        """Put into a part what there is from a place on, until it is full; where to go on then."""
        size, first = 0, place.walk if place else 0
        after = Cursor(place.value, place.id) if place and place.id is not None and place.value is not None else None
        for number, walk in enumerate(walks(scope)):
            while number >= first:
                room = self._limits.records - tally.records
                if room <= 0 or remaining(_LEFT_SECONDS) < _LEFT_SECONDS:
                    return number, after
                page, found = await self._page(asked, scope, walk, min(room, self._limits.page), after)
                for place_in_page, (item, record) in enumerate(found, 1):
                    if place_in_page % SLICE == 0:
                        await asyncio.sleep(0)  # others get a turn
                    if record is not None:
                        text = canonical(record)
                        piece = document.piece(walk.kind, record, text)
                        if tally.records and size + len(piece) > self._limits.bytes:
                            return number, after
                        size += len(piece)
                        document.add(walk.kind, piece)
                        tally.add(walk.kind, text, item["period"] if walk.kind == "events" else None)
                    after = Cursor(item[walk.query.order_by], item["id"])
                after = page
                if page is None:
                    break
        return None

    async def _page(
        self, asked: Asked, scope: Scope, walk: Walk, limit: int, after: Cursor | None
    ) -> tuple[Cursor | None, list[tuple[Item, dict[str, Any] | None]]]:
        query = dataclasses.replace(walk.query, limit=limit, after=after)
        page = await self._store.query(walk.container, (asked.tenant_id,), query)
        return page.next, await self._records.of(walk, page.items, scope, asked.request)


def _put(document: Document, tally: Tally, kind: Kind, record: dict[str, Any]) -> None:
    text = canonical(record)
    document.add(kind, document.piece(kind, record, text))
    tally.add(kind, text, None)
