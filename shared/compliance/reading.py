"""Reading evidence: the ledger, facts, the trail where facts do not reach, and what the ports tell."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from shared.audit.model import PLATFORM_TENANT, RequestContext
from shared.compliance.builder import silences
from shared.compliance.catalogue import FRAMEWORKS
from shared.compliance.earlier import Earlier
from shared.compliance.evidence import (
    SETTLED,
    Account,
    Accounts,
    Act,
    AlertRow,
    AlertsOf,
    Edition,
    Evidence,
    LedgerState,
    Operations,
    Organization,
    Organizations,
    Outage,
    Period,
    Policies,
    RequestRow,
    RequestsOf,
    Seed,
    edition_of,
    moment_after,
)
from shared.compliance.facts.merged import Facts
from shared.compliance.facts.store import FactsStore
from shared.compliance.gate import Inspection, Month, gate_of, shards_of
from shared.compliance.report_model import Gate
from shared.compliance.rules.data import answer_to, undone, was_done
from shared.compliance.thresholds import thresholds_for
from shared.core.clock import Clock
from shared.storage.containers import AUDIT_EVENTS
from shared.storage.documents import DocumentStore, Eq, Item, Query, Range, pages

_LATER = 9 * 86_400
"""Seconds after a period in which its last day's signs of life come: after a downtime, up to eight days later."""
_INCIDENT_DAYS = 183
"""So many days before a period incidents are looked for that are not over."""


@dataclass(frozen=True, slots=True)
class Ports:
    """What compliance asks of its siblings. None: nobody can tell."""

    organizations: Organizations
    accounts: Accounts | None = None
    alerts: AlertsOf | None = None
    requests: RequestsOf | None = None


class _Sealed(NamedTuple):
    months: Sequence[Month]
    facts: Facts
    gate: Gate
    state: LedgerState
    seed: Seed | None


class Reader:
    """Collects the evidence of a report."""

    def __init__(
        self, store: DocumentStore, ports: Ports, inspection: Inspection, facts: FactsStore, clock: Clock
    ) -> None:
        self._store = store
        self._ports = ports
        self._inspection = inspection
        self._facts = facts
        self._clock = clock
        self._earlier = Earlier(store)

    async def evidence(
        self, organization: Organization, framework: str, period: Period, request: RequestContext
    ) -> Evidence:
        """The evidence of an organization, framework and period. StoreError, SecretsError."""
        tenant_id, start, end = organization.id, period.start, period.end
        policies = await self._ports.organizations.policies(tenant_id)
        rules = {rule for control in FRAMEWORKS[framework].controls for rule in control.rules.split()}
        sealed = await self._sealed(organization, period, rules, request)
        facts, thresholds = sealed.facts, thresholds_for(framework, policies.thresholds)
        spans = silences(facts, start, thresholds["source_silence_hours"])
        alerts, alerts_before = await self._alerts(tenant_id, period, thresholds["recurrence_days"])
        review, review_before = await self._reviews(tenant_id, period, rules)
        evidence = Evidence(
            framework=framework,
            organization=organization,
            period=period,
            facts=facts,
            gate=sealed.gate,
            shards=shards_of(period, sealed.months, spans),
            ledger=sealed.state,
            policies=_of_framework(policies, framework),
            seed=sealed.seed,
            thresholds=thresholds,
            alerts=alerts,
            alerts_before=alerts_before,
            requests=await self._requests(tenant_id, period, facts),
            accounts=await self._accounts(tenant_id, rules, facts, period, thresholds),
            operations=await self._operations(tenant_id, period, facts),
            last_review_at=review,
            review_before=review_before,
            incidents_before=await self._incidents(tenant_id, period),
            reports_before=await self._reports(tenant_id, moment_after(start, -SETTLED.total_seconds()), start, rules),
            reports_after=await self._reports(tenant_id, end, moment_after(end, _LATER), rules),
        )
        acts = await self._acts(tenant_id, undone(evidence), end) if "DSR-02" in rules else ()
        return replace(evidence, acts_around=acts)

    async def _sealed(
        self, organization: Organization, period: Period, rules: Collection[str], request: RequestContext
    ) -> _Sealed:
        """What is sealed of a period, and of the days before it."""
        tenant_id = organization.id
        months = await self._inspection.months(tenant_id, period, request)
        rollups = {day: item for month in months for day, item in month.rollups.items()}
        lead = await self._inspection.lead(tenant_id, period, months, request)
        days = await self._facts.days(tenant_id, (*period.lead, *period.days), rollups | (lead or {}), request)
        state, told = await self._inspection.state(tenant_id, period)
        seed = await self._inspection.seed(tenant_id, period, months, request)
        gate = gate_of(
            period,
            months,
            days,
            told,
            organization.enrolled_at,
            self._clock.now(),
            retention_days=state.retention_days,
            previous=await self._inspection.previous(tenant_id, period),
            seed=seed,
        )
        consents = any(days[day]["based_on_consent"] for day in period.days if day in days)
        facts = Facts(
            period.days,
            days,
            await self._earlier.before(tenant_id, period.start, rules, consents=consents),
            lead=self._inspection.kept(period.lead),
            is_lead_whole=lead is not None and days.keys() >= lead.keys(),
        )
        return _Sealed(months, facts, gate, state, seed)

    async def _requests(self, tenant_id: str, period: Period, facts: Facts) -> tuple[RequestRow, ...] | None:
        """Requests of persons, those among them that are answered as they are made."""
        if self._ports.requests is None:
            return None
        asked = await self._ports.requests.requests(tenant_id, period.start, period.end)
        return (*asked, *answered_at_once(facts))

    async def _reviews(self, tenant_id: str, period: Period, rules: Collection[str]) -> tuple[str | None, str | None]:
        """When the last review before the end of the period was completed, and the last one before its start."""
        last = await self._last(tenant_id, "review.complete", period.end)
        if last is None or last < period.start or "ACC-05" not in rules:
            return last, last
        return last, await self._last(tenant_id, "review.complete", period.start)

    async def _alerts(
        self, tenant_id: str, period: Period, days: int
    ) -> tuple[tuple[AlertRow, ...] | None, tuple[AlertRow, ...]]:
        """The alerts, and apart from them those that were over before the period by so many days and one more."""
        if self._ports.alerts is None:
            return None, ()
        start = period.start
        found = await self._ports.alerts.alerts(tenant_id, moment_after(start, -(days + 1) * 86_400), period.end)
        is_of_it = [each.raised_at >= start or each.is_open_at(start) for each in found]
        return (
            tuple(each for each, own in zip(found, is_of_it, strict=True) if own),
            tuple(each for each, own in zip(found, is_of_it, strict=True) if not own),
        )

    async def _accounts(
        self, tenant_id: str, rules: Collection[str], facts: Facts, period: Period, thresholds: Mapping[str, int]
    ) -> tuple[Account, ...] | None:
        """The accounts, with what the trail tells of logins and passwords, where a rule asks for it."""
        if self._ports.accounts is None:
            return None
        held = list(await self._ports.accounts.accounts(tenant_id))
        if "ACC-04" in rules:
            held = await self._earlier.with_logins(
                tenant_id, held, facts.actors, period.end, thresholds["inactive_account_days"]
            )
        if "AUTH-05" in rules:
            passwords = await self._passwords(tenant_id, period, thresholds["password_max_age_days"])
            held = [replace(each, passwords=tuple(passwords.get(each.id, ()))) for each in held]
        return tuple(held)

    async def _passwords(self, tenant_id: str, period: Period, days: int) -> dict[str, list[str]]:
        """When passwords were set in a period and within so many days before it, by account, in order."""
        since = moment_after(period.start, -days * 86_400)
        found: dict[str, list[str]] = {}
        for each in await self._events(tenant_id, "auth.password_change", since, period.end, ("target", "outcome")):
            if each["outcome"] == "success":
                found.setdefault(each["target"]["id"], []).append(each["recorded_at"])
        return found

    async def _last(self, tenant_id: str, kind: str, end: str) -> str | None:
        where = (Eq("type", kind), Range("recorded_at", lt=end))
        query = Query(where, order_by="recorded_at", descending=True, limit=1, fields=("recorded_at",))
        items = (await self._store.query(AUDIT_EVENTS, (tenant_id,), query)).items
        return str(items[0]["recorded_at"]) if items else None

    async def _operations(self, tenant_id: str, period: Period, facts: Facts) -> Operations | None:
        """The signs of life: of detection in the organization's trail, of the service in that of platform."""
        until = moment_after(period.end, _LATER)
        beats = await self._events(tenant_id, "system.heartbeat", period.start, until, ("attributes",))
        detected = {
            str(each["attributes"].get("window_from"))[:10]
            for each in beats
            if each["attributes"].get("source") == "detect_threats"
        }
        service = await self._events(PLATFORM_TENANT, "system.error", period.start, until, ("attributes",))
        own = [each.attributes for each in facts.extracts("system.error")]
        outages = [
            Outage(str(each["since"]), str(each["until"]), str(each["source"]))
            for each in (*(item["attributes"] for item in service), *own)
            if each.get("source") == "audit_writer" and each.get("since") and each.get("until")
        ]
        outages = [each for each in outages if each.since < period.end and each.until >= period.start]
        beat = await self._last(PLATFORM_TENANT, "system.heartbeat", until)
        if facts.lacks("system.error"):
            return None  # an outage could be among those that are not kept
        if not detected and not outages and (beat is None or beat < period.start):
            return None
        start = await self._last(PLATFORM_TENANT, "system.start", period.end)
        return Operations(frozenset(detected), tuple(outages), int(start is not None and start >= period.start))

    async def _incidents(self, tenant_id: str, period: Period) -> tuple[tuple[str, dict[str, Any]], ...]:
        """What was recorded of incidents before the period, by the ids of their alerts."""
        since = moment_after(period.start, -_INCIDENT_DAYS * 86_400)
        told = await self._events(tenant_id, "incident.record", since, period.start, ("target", "attributes"))
        return tuple((e["target"]["id"], {**e["attributes"], "recorded_at": e["recorded_at"]}) for e in told)

    async def _reports(
        self, tenant_id: str, since: str, until: str, rules: Collection[str]
    ) -> tuple[tuple[Edition, str, str], ...]:
        """The reports that were made within some time, where a rule asks for them."""
        if "RPT-01" not in rules:
            return ()
        made = await self._events(tenant_id, "report.generate", since, until, ("outcome", "target", "attributes"))
        return tuple(
            (edition_of(each["attributes"]), str(each["target"]["id"]), str(each["recorded_at"]))
            for each in made
            if each["outcome"] == "success"
        )

    async def _acts(self, tenant_id: str, requests: Sequence[RequestRow], end: str) -> tuple[Act, ...]:
        """What was done since such requests came, until shortly after the period."""
        found, until = list[Act](), moment_after(end, _LATER)
        for kind in dict.fromkeys(map(answer_to, requests)):
            since = min(each.received_at for each in requests if answer_to(each) == kind)
            told = await self._events(tenant_id, kind, since, until, ("outcome", "reason", "target", "attributes"))
            found += [
                (kind, each["attributes"].get("request_id"), (each["target"] or {}).get("id"), str(each["recorded_at"]))
                for each in told
                if was_done(kind, each["outcome"], each["reason"])
            ]
        return tuple(found)

    async def _events(self, tenant_id: str, kind: str, start: str, end: str, fields: Iterable[str]) -> list[Item]:
        """Events of one type, oldest first; some of their fields."""
        where = (Eq("type", kind), Range("recorded_at", ge=start, lt=end))
        query = Query(where, order_by="recorded_at", limit=1000, fields=("recorded_at", *fields))
        return [item async for page in pages(self._store, AUDIT_EVENTS, (tenant_id,), query) for item in page]


def answered_at_once(facts: Facts) -> list[RequestRow]:
    """Copies that persons took of their data: requests that are answered as they are made."""
    return [
        RequestRow(
            id=str(each.attributes.get("request_id")),
            kind="access",
            subject=each.target or each.actor[1] or "",
            state="executed",
            received_at=each.at,
            due_at=each.at,
            answered_at=each.at,
            extended=False,
        )
        for each in facts.extracts("privacy.export")
        if each.ref.outcome == "success"
    ]


def _of_framework(policies: Policies, framework: str) -> Policies:
    """The settings with the declarations of one framework: `framework:control`, or of any."""
    own = [
        replace(each, control=each.control.removeprefix(f"{framework}:"))
        for each in policies.declarations
        if ":" not in each.control or each.control.startswith(f"{framework}:")
    ]
    return replace(policies, declarations=tuple(own))
