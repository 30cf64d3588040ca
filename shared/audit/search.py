"""Searching the trail of one tenant: filters as the API publishes them, newest first, one audit.search per search."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from shared.audit.events.audit import AuditExport, AuditSearch
from shared.audit.formed import formed
from shared.audit.model import StoredEvent
from shared.audit.sensitive import find_sensitive
from shared.core.clock import Clock, period_of, rfc3339
from shared.core.ids import time_of
from shared.privacy.blind_index import BlindIndex
from shared.privacy.boxes import BoxDamaged, PersonalBox
from shared.storage.containers import AUDIT_EVENTS
from shared.storage.documents import AnyOf, Cursor, DocumentStore, Eq, Filter, Has, In, Page, Prefix, Query, Range
from shared.storage.errors import NotFound
from shared.telemetry import get_log

_log = get_log(__name__)

AUTHORIZATION_LOG: tuple[str, ...] = ("auth.*", "access.*", "user.role_change", "user.status_change")
"""The types of GET /admin/logs/authorization."""
EXAMINED = 10_000
"""How many events the store may look at in vain before a page ends short, for each step back in time."""
PERSONAL_FILTERS = frozenset({"email", "ip"})
"""Filters whose values are personal data; ids are opaque."""
_MONTHS_AT_A_TIME = (1, 11)
_MONTH = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])")


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Filters of a search, all of which must hold. `types` may end in `.*`. Times bound recorded_at, `to` excluded."""

    types: tuple[str, ...] = ()
    outcome: str | None = None
    severity: str | None = None
    actor: str | None = None
    target: str | None = None
    subject: str | None = None
    data_class: str | None = None
    from_: datetime | None = None
    to: datetime | None = None
    ip: str | None = field(default=None, repr=False)
    email: str | None = field(default=None, repr=False)


class EventSearch:
    """Reads stored events of one tenant."""

    def __init__(self, store: DocumentStore, index: BlindIndex, box: PersonalBox, clock: Clock) -> None:
        self._store = store
        self._index = index
        self._box = box
        self._clock = clock

    async def page(
        self,
        tenant_id: str,
        wanted: EventFilter,
        *,
        within: tuple[str, ...] = (),
        limit: int = 50,
        after: Cursor | None = None,
    ) -> Page:
        """One page of stored events, newest first. `within`: only types that match one of these patterns as well.

        The newest month is read first, then the year before, then the rest: most searches end in the first. A page
        that had to look at too many events in vain is shorter than `limit`, or empty, and has a `next` all the same. So
        is one where something is stored that is no event: it is left out.
        """
        where = await self.filters(tenant_id, wanted, within)
        items: list[StoredEvent] = []
        for months in self._months(wanted, after):
            partition, period = (tenant_id, *months.only), months.filters
            query = Query(
                (*where, *period),
                order_by="recorded_at",
                descending=True,
                limit=max(limit - len(items), 1),  # 1: whether there is more
                after=after,
                examine=EXAMINED,
            )
            found = await self._store.query(AUDIT_EVENTS, partition, query)
            if len(items) == limit:
                if found.items or found.next:
                    return Page(items, _position(items[-1]))
                continue
            items += [event for event in map(formed, found.items) if event is not None]
            if found.next is not None:
                return Page(items, found.next)
        return Page(items, None)

    async def read(self, tenant_id: str, event_id: str) -> StoredEvent | None:
        """One stored event, by a point read: its month is in its id. None where the tenant has no such event, or what
        is there is none."""
        try:
            period = period_of(time_of(event_id))
        except ValueError:
            period = period_of(self._clock.now())  # no id of ours: it takes as long to find nothing
        try:
            return formed(await self._store.read(AUDIT_EVENTS, (tenant_id, period), event_id))
        except NotFound:
            return None

    async def shown_all(self, events: Sequence[StoredEvent], *, opened: bool = True) -> list[dict[str, Any]]:
        """Events of one tenant as `shown` has them."""
        await self.prepare(events, opened=opened)
        return [await self.shown(event, opened=opened) for event in events]

    async def prepare(self, events: Sequence[StoredEvent], *, opened: bool = True) -> None:
        """Have ready what showing events of one tenant needs."""
        if opened and events:
            await self._box.prepare(events[0]["tenant_id"], (who for event in events for who in event["personal"]))

    async def shown(self, event: StoredEvent, *, opened: bool = True) -> dict[str, Any]:
        """An event as the API shows it: the stored form without the store's own fields, its boxes opened.

        A commitment without a box, or without its key, is what is left of an erased person; where boxes are not
        `opened` they are withheld. A box that was changed is `damaged`, and so is one that is gone although neither the
        event nor the person's key says that it was erased.
        """
        boxes, personal = event["personal"], dict[str, Any]()
        for subject in dict.fromkeys((*event["commitments"], *boxes)):
            if subject not in boxes and event.get("erased_at") is not None:
                personal[subject] = {"erased": True}
            else:
                personal[subject] = await self._opened(event, subject, boxes) if opened else {"withheld": True}
        kept = {name: value for name, value in event.items() if not name.startswith("_") and name != "ttl"}
        return {**kept, "personal": personal}

    async def _opened(self, event: StoredEvent, subject: str, boxes: Mapping[str, Any]) -> dict[str, Any]:
        tenant_id, event_id = event["tenant_id"], event["id"]
        try:
            if subject not in boxes:
                await self._box.check_erased(tenant_id, subject, event_id)
                return {"erased": True}
            recorded = event["commitments"].get(subject, "")
            held = await self._box.open(tenant_id, subject, event_id, boxes[subject], recorded)
        except BoxDamaged as error:
            _log.error("personal_box_damaged", error, event_id=event_id, tenant_id=tenant_id)
            return {"damaged": True}
        return {"erased": True} if held is None else held.personal

    async def filters(self, tenant_id: str, wanted: EventFilter, within: tuple[str, ...] = ()) -> tuple[Filter, ...]:
        """The filters as the store takes them."""
        where = [types_filter(types) for types in (within, wanted.types) if types]
        for path, value in (
            ("outcome", wanted.outcome),
            ("severity", wanted.severity),
            ("actor.id", wanted.actor),
            ("target.id", wanted.target),
            ("data_class", wanted.data_class),
        ):
            if value is not None:
                where.append(Eq(path, value))
        if wanted.subject is not None:
            where.append(Has("subjects", wanted.subject))
        if wanted.ip is not None:
            where.append(_any_of(("ip_key",), await self._index.every_address(wanted.ip)))
        if wanted.email is not None:
            keys = await self._index.every_email(tenant_id, wanted.email)
            where.append(_any_of(("actor_key", "target_key"), keys))
        if wanted.from_ is not None or wanted.to is not None:
            where.append(
                Range(
                    "recorded_at",
                    ge=rfc3339(wanted.from_) if wanted.from_ else None,
                    lt=rfc3339(wanted.to) if wanted.to else None,
                )
            )
        return tuple(where)

    def _months(self, wanted: EventFilter, after: Cursor | None) -> Iterator["_Months"]:
        """The months to look at, the newest first.

        The newest is that of the cursor, of `to`, or of tomorrow: another instance's clock may be ahead of this one.
        """
        newest = period_of(self._clock.now() + timedelta(days=1))
        if wanted.to is not None:
            newest = min(newest, period_of(wanted.to - timedelta(microseconds=1)))
        if after is not None and _MONTH.fullmatch(month := str(after.value)[: len(newest)]):
            newest = min(newest, month)
        oldest = period_of(wanted.from_) if wanted.from_ is not None else None
        for count in _MONTHS_AT_A_TIME:
            if oldest is not None and oldest > newest:
                return
            first = _earlier(newest, count - 1)
            yield _Months(first if oldest is None else max(first, oldest), newest)
            newest = _earlier(first, 1)
        if oldest is None or oldest <= newest:
            yield _Months(oldest, newest)


@dataclass(frozen=True, slots=True)
class _Months:
    """Periods from `first` (None: the beginning) to `last`, both included."""

    first: str | None
    last: str

    @property
    def only(self) -> tuple[str, ...]:
        """The period, where there is but one: the rest of its partition's key."""
        return (self.last,) if self.first == self.last else ()

    @property
    def filters(self) -> tuple[Filter, ...]:
        """What bounds the periods, where there are several."""
        return () if self.only else (Range("period", ge=self.first, le=self.last),)


def _earlier(period: str, months: int) -> str:
    """The period so many months before another one."""
    year, month = divmod(int(period[:4]) * 12 + int(period[5:7]) - 1 - months, 12)
    return f"{year:04}-{month + 1:02}"


def _any_of(paths: Sequence[str], keys: Sequence[str]) -> Filter:
    """One of some fields is one of the hashes that a value has."""
    found = tuple(Eq(path, key) for key in keys for path in paths)
    return found[0] if len(found) == 1 else AnyOf(found)


def _position(event: StoredEvent) -> Cursor:
    return Cursor(event["recorded_at"], event["id"])


def searched(
    log: str, filters: Mapping[str, Any], *, by_person: bool, by: Mapping[str, Any] | None = None
) -> AuditSearch:
    """The event of a search. `by`: all that it was by, where some filters are kept elsewhere."""
    return AuditSearch(log=log, **_kept(filters, by or filters, by_person=by_person))


def exported(
    form: Any, filters: Mapping[str, Any], *, by_person: bool, by: Mapping[str, Any] | None = None
) -> AuditExport:
    """The event of an export in a format. `by`: as for a search."""
    return AuditExport(format=form, **_kept(filters, by or filters, by_person=by_person))


def _kept(filters: Mapping[str, Any], by: Mapping[str, Any], *, by_person: bool) -> dict[str, Any]:
    """Filters in an event: a person's are sealed, of a program's those are left out that name someone, or could be
    what must never enter the trail."""
    names = tuple(sorted(by))
    if by_person:
        return {"filtered_by": names, "filters": dict(filters)}
    kept = {
        name: value for name, value in filters.items() if name not in PERSONAL_FILTERS and not find_sensitive(value)
    }
    return {"filtered_by": names, "criteria": kept}


def types_filter(patterns: tuple[str, ...]) -> Filter:
    """The filter for event types such as `auth.login` or `auth.*`."""
    exact = tuple(p for p in patterns if not p.endswith(".*"))
    filters: list[Filter] = [Prefix("type", p[:-1]) for p in patterns if p.endswith(".*")]
    if exact:
        filters.append(Eq("type", exact[0]) if len(exact) == 1 else In("type", exact))
    return filters[0] if len(filters) == 1 else AnyOf(tuple(filters))
