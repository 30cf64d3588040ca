"""Alerts as people handle them: read, acknowledge, resolve or dismiss, and record the incident behind one."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from shared.audit.events.alert import AlertUpdate
from shared.audit.events.incident import IncidentRecord
from shared.audit.model import Actor, AuditEvent, Draft, RequestContext, Target
from shared.audit.outbox import Outbox
from shared.audit.recorder import Recorder
from shared.core.clock import Clock, rfc3339
from shared.core.errors import Clash, NotFoundError, Unready
from shared.detection import alerts
from shared.detection.alerts import ALERT_KIND, CLOSED
from shared.detection.registry import all_patterns
from shared.detection.rules import NoRules, RulesSource
from shared.storage.containers import ALERTS
from shared.storage.documents import Cursor, Defined, DocumentStore, Eq, Filter, Item, Page, Query, Range, replace
from shared.storage.errors import NotFound, PreconditionFailed
from shared.storage.versions import check_version, entity_tag

_RACES = 20

type NewStatus = Literal["acknowledged", "resolved", "dismissed"]


@dataclass(frozen=True, slots=True)
class Handler:
    """Who handles an alert of which tenant; `person` owns what the events hold of them."""

    tenant_id: str
    actor: Actor
    person: str | None


@dataclass(frozen=True, slots=True)
class Incident:
    """What an organization decided about the incident behind an alert. Times are RFC 3339 as given."""

    aware_at: datetime
    decision: str
    facts: str
    authority_notified_at: datetime | None = None
    subjects_notified_at: datetime | None = None

    def item(self, at: str, by: str | None) -> dict[str, Any]:
        """As the alert holds it."""
        told = [self.authority_notified_at, self.subjects_notified_at]
        authority, subjects = (None if each is None else rfc3339(each) for each in told)
        return {
            "aware_at": rfc3339(self.aware_at),
            "decision": self.decision,
            "authority_notified_at": authority,
            "subjects_notified_at": subjects,
            "facts": self.facts,
            "recorded_at": at,
            "recorded_by": by,
        }


class AlertService:
    """The alerts of one tenant."""

    def __init__(
        self,
        store: DocumentStore,
        outbox: Outbox,
        recorder: Recorder,
        clock: Clock,
        rules: RulesSource | None = None,
    ) -> None:
        self._store = store
        self._outbox = outbox
        self._recorder = recorder
        self._clock = clock
        self.rules = rules or NoRules()

    async def patterns(self, tenant_id: str) -> list[dict[str, Any]]:
        """Every pattern with the thresholds that hold for a tenant."""
        rules = await self.rules.rules_of(tenant_id)
        return [pattern.described(rules.parameters(pattern)) for pattern in all_patterns().values()]

    async def list(
        self,
        tenant_id: str,
        *,
        pattern: str | None = None,
        severity: str | None = None,
        status: str | None = None,
        from_: datetime | None = None,
        to: datetime | None = None,
        superseded: bool = False,
        limit: int = 50,
        after: Cursor | None = None,
    ) -> Page:
        """One page of stored alerts, newest `first_seen` first; times bound `first_seen`, `to` excluded.

        Superseded alerts, and those beyond the limit of an hour, are part of it only with `superseded`: another tells
        of them.
        """
        where: list[Filter] = [Eq("kind", ALERT_KIND)]
        for path, value in (("pattern", pattern), ("severity", severity), ("status", status)):
            if value is not None:
                where.append(Eq(path, value))
        if not superseded:
            where += [Defined("superseded_by", present=False), Defined("overflowed_by", present=False)]
        if from_ is not None or to is not None:
            start, end = (rfc3339(moment) if moment else None for moment in (from_, to))
            where.append(Range("first_seen", ge=start, lt=end))
        query = Query(tuple(where), order_by="first_seen", descending=True, limit=limit, after=after)
        return await self._store.query(ALERTS, (tenant_id,), query)

    async def get(self, tenant_id: str, alert_id: str) -> Item:
        """One stored alert, superseded or not. NotFoundError for an id that the tenant has no alert of."""
        try:
            found = await self._store.read(ALERTS, (tenant_id,), alert_id)
        except NotFound:
            found = {}
        if found.get("kind") != ALERT_KIND:
            raise NotFoundError("not_found", "There is no such alert.")
        return found

    def shown(self, alert: Item) -> dict[str, Any]:
        """An alert as the API shows it."""
        return alerts.shown(alert)

    async def update(
        self,
        handler: Handler,
        alert_id: str,
        status: NewStatus,
        note: str | None,
        if_match: frozenset[str] | None,
        request: RequestContext,
    ) -> Item:
        """Acknowledge or close an alert, audited as alert.update; the alert as it is then.

        NotFoundError (404); VersionConflict (412); Clash (409) alert_closed for one that is closed or superseded,
        alert_unchanged for one that is acknowledged already.
        What happens after the closing opens another alert.
        """

        def change(alert: Item, now: str) -> tuple[Item, AuditEvent]:
            old = alert["status"]
            if old == status:
                raise Clash("alert_unchanged", "The alert has this status already.")
            entry = {"at": now, "by": handler.actor.id, "from": old, "to": status, "note": note}
            changed = {**alert, "status": status, "history": alerts.lengthened(alert["history"], entry)}
            if status in CLOSED:
                changed["closed_at"] = now
            severity = alert["severity"]
            return changed, AlertUpdate(pattern=alert["pattern"], severity=severity, old_status=old, new_status=status)

        return await self._change(handler, alert_id, change, if_match, request, open_only=True)

    async def record_incident(
        self,
        handler: Handler,
        alert_id: str,
        incident: Incident,
        if_match: frozenset[str] | None,
        request: RequestContext,
    ) -> Item:
        """Record the incident behind an alert, open or closed, in place of what was recorded; audited as
        incident.record. The alert as it is then. NotFoundError (404); VersionConflict (412)."""

        def change(alert: Item, now: str) -> tuple[Item, AuditEvent]:
            told = incident.item(now, handler.actor.id)
            named = {
                name: told[name] for name in ("aware_at", "decision", "authority_notified_at", "subjects_notified_at")
            }
            return {**alert, "incident": told}, IncidentRecord(**named)

        return await self._change(handler, alert_id, change, if_match, request, open_only=False)

    async def _change(
        self,
        handler: Handler,
        alert_id: str,
        change: Callable[[Item, str], tuple[Item, AuditEvent]],
        if_match: frozenset[str] | None,
        request: RequestContext,
        *,
        open_only: bool,
    ) -> Item:
        for _ in range(_RACES):
            alert = await self.get(handler.tenant_id, alert_id)
            if open_only and (alert["status"] in CLOSED or alert.get("superseded_by") is not None):
                raise Clash("alert_closed", "The alert is closed, or another one took its place.")
            check_version(entity_tag(alert), if_match)
            changed, event = change(alert, rfc3339(self._clock.now()))
            draft = Draft(
                handler.tenant_id,
                event,
                request,
                actor=handler.actor,
                target=Target("alert", alert_id),
                person=handler.person,
                severity=alert["severity"],
            )
            stored = [replace(changed, if_match=alert["_etag"])]
            try:
                await self._outbox.commit(ALERTS, handler.tenant_id, stored, [await self._recorder.finish(draft)])
            except (PreconditionFailed, NotFound):
                continue  # it grew meanwhile, or somebody else handled it
            return await self.get(handler.tenant_id, alert_id)
        raise Unready("store_unavailable", "The alert changes too fast.", retry_after_seconds=1)
