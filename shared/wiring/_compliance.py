"""Putting the services of compliance together, and what they ask of their siblings."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from shared.compliance.evidence import (
    Acceptance,
    Account,
    AlertRow,
    Declaration,
    Organization,
    Policies,
    Regular,
    RequestRow,
)
from shared.compliance.thresholds import WorkingHours
from shared.core.clock import parse_rfc3339, rfc3339
from shared.core.ids import IdFactory
from shared.core.settings import Settings
from shared.detection.alerts import ALERT_KIND, BY_SYSTEM, CLOSED
from shared.identity.api_keys import KIND as API_KEY
from shared.identity.model import TENANT_ITEM
from shared.identity.own_account import KEPT_PASSWORDS
from shared.identity.password_policy import MIN_LENGTH
from shared.identity.tenant_settings import settings_of
from shared.storage.containers import ALERTS, AUDIT_EVENTS, IDENTITY, Container
from shared.storage.documents import Defined, DocumentStore, Eq, Filter, Item, Query, Range, find_item, pages
from shared.subject_rights.model import KIND as REQUEST

if TYPE_CHECKING:  # cold start
    from shared.audit.outbox import Outbox
    from shared.compliance.delivery import Delivery
    from shared.compliance.orders import ReportOrders
    from shared.compliance.readiness import Readiness
    from shared.compliance.reading import Reader
    from shared.compliance.schedules import ReportSchedules, Schedule
    from shared.identity.directory import Directory
    from shared.privacy.secrets import SecretsPort

_OPEN_BEFORE = timedelta(days=400)
"""So long before a period an alert may have been first seen, and still be told of."""
_MOST_CHANGES = 100
_CHANGE = ("recorded_at", "attributes")
_WEEK = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True, slots=True)
class FrameworkReports:
    """What has reports on frameworks made, and hands them out."""

    orders: "ReportOrders"
    schedules: "ReportSchedules"
    delivery: "Delivery"


def compliance_services(
    settings: Settings,
    common: dict[str, Any],
    ids: IdFactory,
    outbox: "Outbox",
    directory: "Directory",
    ledger: dict[str, Any],
    secrets: "SecretsPort",
) -> dict[str, Any]:
    """The services of compliance, by their names in `Services`. `ledger`: those of the ledger."""
    from shared.compliance.delivery import Delivery
    from shared.compliance.facts.store import FactsStore
    from shared.compliance.orders import ReportOrders
    from shared.compliance.reporting import ComplianceReports
    from shared.compliance.schedules import ReportSchedules
    from shared.compliance.service import Reports
    from shared.compliance.sign_off import SignOffs
    from shared.telemetry.metrics import report_builds

    store, clock = common["store"], common["clock"]
    place = (store, ledger["ledger"], ledger["shards"], clock, settings.cosmos_db_ttl_days)
    facts, siblings = FactsStore(*place, secrets), Siblings(store, settings)

    @cache
    def reader() -> "Reader":
        from shared.compliance.gate import Inspection
        from shared.compliance.reading import Ports, Reader

        ports = Ports(siblings, siblings, siblings, siblings)
        return Reader(store, ports, Inspection(*place), facts, clock)

    @cache
    def readiness() -> "Readiness":
        from shared.compliance.readiness import Readiness

        return Readiness(store, ledger["ledger"], ledger["shards"], clock)

    reports = ComplianceReports(
        outbox=outbox,
        organizations=siblings,
        facts=facts,
        reader=reader,
        retention_days=settings.cosmos_db_ttl_days,
        **common,
    )
    orders = ReportOrders(outbox=outbox, reports=reports, readiness=readiness, ids=ids, **common)
    sign_offs = SignOffs(outbox=outbox, **common)
    of_ledger = {name: ledger[name] for name in ("ledger", "shards", "evidence")}
    delivery = Delivery(
        store=store,
        recorder=common["recorder"],
        reports=reports,
        orders=orders,
        sign_offs=sign_offs,
        **of_ledger,
    )
    schedules = ReportSchedules(outbox=outbox, orders=orders, schedules=siblings, **common)
    return {
        "facts": facts,
        "reports": Reports(store, common["recorder"], outbox, directory, clock, timed=report_builds()),
        "compliance": reports,
        "framework_reports": FrameworkReports(orders, schedules, delivery),
        "sign_offs": sign_offs,
    }


class Siblings:
    """What compliance asks of identity, detection and the rights of persons."""

    def __init__(self, store: DocumentStore, settings: Settings) -> None:
        self._store = store
        self._settings = settings

    async def _tenant(self, tenant_id: str) -> Item | None:
        return await find_item(self._store, IDENTITY, (tenant_id,), TENANT_ITEM)

    async def organization(self, tenant_id: str) -> Organization | None:
        """As the port says."""
        tenant = await self._tenant(tenant_id)
        if tenant is None:
            return None
        zone = str(settings_of(tenant).get("time_zone", "UTC"))
        return Organization(tenant_id, tenant["name"], tenant["created_at"], zone)

    async def policies(self, tenant_id: str) -> Policies:
        """As the port says."""
        tenant = await self._tenant(tenant_id)
        own = settings_of(tenant) if tenant else {}
        return Policies(
            lockout_failures=self._settings.lockout_failures,
            lockout_minutes=self._settings.lockout_minutes,
            password_min_length=MIN_LENGTH,
            password_history=KEPT_PASSWORDS,
            session_idle_minutes=self._settings.session_idle_hours * 60,
            require_mfa=own.get("require_mfa"),
            retention_days=self._settings.cosmos_db_ttl_days,
            thresholds=own.get("report_thresholds", {}),
            data_roles=own.get("data_roles") or None,
            on_call=_ids(own.get("on_call")),
            sources=_sources(own.get("expected_sources")),
            schedules=tuple(Regular(each["framework"], each["every"]) for each in own.get("schedules", [])),
            schedules_since=await self._schedules_since(tenant_id) if own.get("schedules") else None,
            declarations=tuple(map(_declaration, own.get("not_applicable", []))),
            acceptances=tuple(map(_acceptance, own.get("accepted_risks", []))),
            working_hours=_working_hours(own.get("working_hours")),
            legal_hold=bool(own.get("legal_hold")),
        )

    async def _schedules_since(self, tenant_id: str) -> str | None:
        """When the schedules became what they are, as the trail says. Of very many changes of settings the last ones
        are looked at. None: they were never changed."""
        query = Query(
            (Eq("type", "config.change"),), order_by="recorded_at", descending=True, limit=_MOST_CHANGES, fields=_CHANGE
        )
        changes = (await self._store.query(AUDIT_EVENTS, (tenant_id,), query)).items
        for each in changes:
            if "schedules" in each["attributes"]["changed_fields"]:
                return str(each["recorded_at"])
        return str(changes[-1]["recorded_at"]) if len(changes) == _MOST_CHANGES else None

    async def schedules(self, tenant_id: str) -> "tuple[str, Sequence[Schedule]]":
        """As the port says."""
        from shared.compliance.schedules import Schedule

        tenant = await self._tenant(tenant_id)
        own = settings_of(tenant) if tenant else {}
        wanted = [Schedule(each["framework"], each["every"], each["hour"]) for each in own.get("schedules", [])]
        return str(own.get("time_zone", "UTC")), wanted

    async def accounts(self, tenant_id: str) -> Sequence[Account]:
        """As the port says."""
        fields = ("user_id", "role", "status", "mfa", "created_at")
        items = await self._all(IDENTITY, tenant_id, (Eq("kind", "user"),), "created_at", fields)
        return [Account(e["user_id"], e["role"], e["status"], bool(e["mfa"]), e["created_at"]) for e in items]

    async def alerts(self, tenant_id: str, start: str, end: str) -> Sequence[AlertRow]:
        """As the port says; those that another alert tells of are left out."""
        since = rfc3339(parse_rfc3339(start) - _OPEN_BEFORE)
        where = (
            Eq("kind", ALERT_KIND),
            Defined("superseded_by", present=False),
            Defined("overflowed_by", present=False),
            Range("first_seen", ge=since, lt=end),
        )
        fields = (
            *("id", "pattern", "severity", "key", "created_at", "first_seen", "last_seen", "closed_at"),
            *("history", "event_ids", "incident"),
        )
        items = await self._all(ALERTS, tenant_id, where, "first_seen", fields)
        rows = [_alert(item) for item in items]
        return [each for each in rows if each.raised_at >= start or each.is_open_at(start)]

    async def requests(self, tenant_id: str, start: str, end: str) -> Sequence[RequestRow]:
        """As the port says."""
        where = (Eq("kind", REQUEST), Range("created_at", lt=end))
        rows = [_request(item) for item in await self._all(IDENTITY, tenant_id, where, "created_at", None)]
        return [each for each in rows if each.received_at >= start or (each.answered_at or end) >= start]

    async def _all(
        self,
        container: Container,
        tenant_id: str,
        where: tuple[Filter, ...],
        order: str,
        fields: tuple[str, ...] | None,
    ) -> list[Item]:
        query = Query(where, order_by=order, limit=1000, fields=fields)
        return [item async for page in pages(self._store, container, (tenant_id,), query) for item in page]


def _alert(item: Item) -> AlertRow:
    steps = [each for each in item["history"] if each["by"] != BY_SYSTEM]
    seen = [each["at"] for each in steps if each["to"] == "acknowledged"]
    closing = [each for each in steps if each["to"] in CLOSED]
    return AlertRow(
        id=item["id"],
        pattern=item["pattern"],
        severity=item["severity"],
        key=item["key"],
        raised_at=item["created_at"],
        first_seen=item["first_seen"],
        last_seen=item["last_seen"],
        acknowledged_at=min(seen, default=None),
        closed_at=item.get("closed_at"),
        closed_note=any(each.get("note") for each in closing),
        event_ids=frozenset(item["event_ids"]),
        incident=item.get("incident"),
    )


def _request(item: Item) -> RequestRow:
    return RequestRow(
        id=item["request_id"],
        kind=item["about"],
        subject=item["subject"],
        state=item["state"],
        received_at=item["created_at"],
        due_at=item["due_at"],
        answered_at=item.get("executed_at") or item.get("closed_at"),
        extended=item["extended"],
    )


def _declaration(given: Item) -> Declaration:
    name = f"{given['framework']}:{given['control']}"
    return Declaration(name, given["reason"], given["declared_by"], given["declared_at"])


def _acceptance(given: Item) -> Acceptance:
    names = ("framework", "rule", "reason", "accepted_by", "accepted_at", "until")
    return Acceptance(*(given[name] for name in names))


def _ids(given: list[str] | None) -> frozenset[str] | None:
    return None if given is None else frozenset(given)


def _sources(keys: list[str] | None) -> tuple[str, ...] | None:
    return None if keys is None else tuple(f"{API_KEY}:{each}" for each in keys)


def _working_hours(given: Item | None) -> WorkingHours:
    if given is None:
        return WorkingHours()
    begins, ends = (int(text[:2]) * 60 + int(text[3:]) for text in (given["from"], given["to"]))
    return WorkingHours(frozenset(_WEEK.index(day) for day in given["days"]), begins, ends)
