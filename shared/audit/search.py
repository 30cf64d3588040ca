"""Searching the trail of one tenant: filters as the API publishes them, newest first, one audit.search per search."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from shared.audit.model import StoredEvent
from shared.core.clock import rfc3339
from shared.privacy.blind_index import BlindIndex
from shared.privacy.boxes import PersonalBox
from shared.storage.containers import AUDIT_EVENTS
from shared.storage.documents import AnyOf, Cursor, DocumentStore, Eq, Filter, Has, In, Page, Prefix, Query, Range

AUTHORIZATION_LOG: tuple[str, ...] = ("auth.*", "access.*", "user.role_change", "user.status_change")
"""The types of GET /admin/logs/authorization."""


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

    def __init__(self, store: DocumentStore, index: BlindIndex, box: PersonalBox) -> None:
        self._store = store
        self._index = index
        self._box = box

    async def page(
        self,
        tenant_id: str,
        wanted: EventFilter,
        *,
        within: tuple[str, ...] = (),
        limit: int = 50,
        after: Cursor | None = None,
    ) -> Page:
        """One page of stored events, newest first. `within`: only types that match one of these patterns as well."""
        where: list[Filter] = []
        if within:
            where.append(types_filter(within))
        if wanted.types:
            where.append(types_filter(wanted.types))
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
            where.append(Eq("ip_key", await self._index.for_address(wanted.ip)))
        if wanted.email is not None:
            key = await self._index.for_email(tenant_id, wanted.email)
            where.append(AnyOf((Eq("actor_key", key), Eq("target_key", key))))
        if wanted.from_ is not None or wanted.to is not None:
            where.append(
                Range(
                    "recorded_at",
                    ge=rfc3339(wanted.from_) if wanted.from_ else None,
                    lt=rfc3339(wanted.to) if wanted.to else None,
                )
            )
        query = Query(tuple(where), order_by="recorded_at", descending=True, limit=limit, after=after)
        return await self._store.query(AUDIT_EVENTS, (tenant_id,), query)

    async def shown(self, event: StoredEvent) -> dict[str, Any]:
        """An event as the API shows it: the stored form with its boxes opened, without the store's own fields."""
        opened = {
            subject: await self._box.open(event["tenant_id"], subject, event["id"], box)
            for subject, box in event["personal"].items()
        }
        kept = {name: value for name, value in event.items() if not name.startswith("_") and name != "ttl"}
        return {**kept, "personal": opened}


def types_filter(patterns: tuple[str, ...]) -> Filter:
    """The filter for event types such as `auth.login` or `auth.*`."""
    exact = tuple(p for p in patterns if not p.endswith(".*"))
    filters: list[Filter] = [Prefix("type", p[:-1]) for p in patterns if p.endswith(".*")]
    if exact:
        filters.append(Eq("type", exact[0]) if len(exact) == 1 else In("type", exact))
    return filters[0] if len(filters) == 1 else AnyOf(tuple(filters))
