"""The tables that an auditor of a framework asks for, each cut at MOST_ROWS with how many rows there would be."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from shared.compliance.catalogue import FRAMEWORKS
from shared.compliance.evidence import Evidence, hour_off
from shared.compliance.facts.named import Extract
from shared.compliance.metrics.model import shown
from shared.compliance.report_model import Cell, Table
from shared.compliance.rules.data import is_late
from shared.compliance.rules.operations import first_seen_by_people
from shared.compliance.selectors import row_name

MOST_ROWS = 1000
_ALL_FIELDS = ("When", "Type", "Outcome", "Who", "Role", "From where", "What", "Records", "Month", "Index", "Event")
_CHANGES = ("config.change", "apikey.create", "apikey.revoke")
_ACCESS = (
    *("auth.register", "user.invite", "user.role_change", "user.status_change", "user.delete", "user.unlock"),
    *("mfa.enroll", "mfa.disable"),
)
_SECURITY = ("auth.", "mfa.", "access.", "ledger.", "alert.", "system.")

type Row = tuple[Cell, ...]


def table(
    table_id: str, title: str, columns: Sequence[str], rows: Iterable[Row], note: str = "", total: int | None = None
) -> Table:
    """A table of rows. `total`: how many there are, where that is more than the rows given."""
    found = tuple(rows)
    return Table(table_id, title, tuple(columns), found[:MOST_ROWS], max(total or 0, len(found)), note)


def tables_of(evidence: Evidence) -> tuple[Table, ...]:
    """The tables of a report: those of every framework, then its own."""
    own = _OWN.get(evidence.framework, ())
    return tuple(make(evidence) for make in (_days, _counts, _speaking, _sources, *own))


def person(evidence: Evidence, name: str | None) -> str:
    """A person as tables show one: by an opaque id, and whether the person was erased."""
    if name is None:
        return ""
    return f"{name} (erased)" if name in evidence.erased else name


def _persons(evidence: Evidence, each: Extract) -> str:
    return ", ".join(person(evidence, name) for name in each.subjects if name != each.actor[1])


def _who(evidence: Evidence, each: Extract) -> str:
    return person(evidence, each.actor[1]) or each.actor[0]


def _left(evidence: Evidence, *types: str) -> str:
    left = evidence.facts.left_out(*types)
    return f"{left} more are counted and not listed here; they are in the evidence bundle." if left else ""


def _extracted(
    evidence: Evidence, table_id: str, title: str, types: Sequence[str], columns: Sequence[str], row: Callable[..., Row]
) -> Table:
    """A table of rare events."""
    found = evidence.facts.extracts(*types)
    left = evidence.facts.left_out(*types)
    rows = [(each.at, each.ref.type, each.ref.outcome, *row(evidence, each), *_place(each)) for each in found]
    names = ("When", "Type", "Outcome", *columns, "Month", "Index", "Event")
    return table(table_id, title, names, rows, _left(evidence, *types), len(found) + left)


def _place(each: Extract) -> Row:
    return (each.ref.period, each.ref.index, each.ref.event_id)


def _days(evidence: Evidence) -> Table:
    """How many events there were by day: what completeness is tested against."""
    held = {day["day"]: day for day in evidence.facts.documents}
    rows: list[Row] = []
    for day in evidence.period.days:
        found = held.get(day)
        if found is None:
            rows.append((day, 0, None, None, 0, 0))
        else:
            signed = found.get("checkpoints", {}).get("n", 0)
            rows.append((day, found["events"], found["first"], found["last"], found["distinct_actors"], signed))
    columns = ("Day", "Events", "First index", "Last index", "Actors", "Checkpoints")
    return table("days", "Events by day", columns, rows)


def _counts(evidence: Evidence) -> Table:
    """Events by what they are counted by: whoever has the entries can count again."""
    rows: list[Row] = [(*row, n) for row, n in sorted(evidence.facts.rows.items(), key=lambda each: row_name(each[0]))]
    columns = ("Type", "Outcome", "Class", "Reason", "Events")
    note = "Types of the organization's own systems (custom.…) count as one."
    return table("counts", "Events by type, outcome, class and reason", columns, rows, note)


def _speaking(evidence: Evidence) -> Table:
    """Which events speak to each control, and how many there are: whoever has the entries can count these again."""
    facts = evidence.facts
    rows: list[Row] = [
        (each.oscal_id, each.evidence, facts.count(each.evidence)) for each in FRAMEWORKS[evidence.framework].controls
    ]
    note = "+ an outcome, : a class of data, = a reason, @ the status that an alert came to; .* all types of a family."
    return table("evidence", "Events that speak to each control", ("Control", "Which", "Events"), rows, note)


def _sources(evidence: Evidence) -> Table:
    rows: list[Row] = []
    for name, (n, last, (since, until)) in sorted(evidence.facts.heard.sources.items()):
        hours = shown((until - since) / 3600)
        rows.append((name, n, _at(evidence, last), hours, _at(evidence, since), _at(evidence, until)))
    columns = ("Source", "Events", "Last heard", "Longest silence (hours)", "Since", "Until")
    return table("sources", "Sources and their silences", columns, rows)


def _at(evidence: Evidence, seconds: float) -> str:
    hour = hour_off(evidence.period.start, int(seconds // 3600))
    rest = int(seconds % 3600)
    return f"{hour[:14]}{rest // 60:02}:{rest % 60:02}Z"


def _requests(evidence: Evidence) -> Table:
    rows: list[Row] = [
        (
            each.received_at,
            each.kind,
            person(evidence, each.subject),
            each.state,
            each.due_at,
            each.extended,
            each.answered_at,
            "late" if is_late(each, evidence.period.end) else "in time",
            each.id,
        )
        for each in evidence.requests or ()
    ]
    columns = ("Received", "Kind", "Person", "State", "Due", "Extended", "Answered", "In time", "Request")
    note = "" if evidence.requests is not None else "The register could not be read."
    return table("requests", "Requests of persons", columns, rows, note)


def _disclosures(evidence: Evidence, classes: tuple[str, ...], table_id: str, title: str) -> Table:
    """One row for each person that an export was about; those to the person are privacy.export."""
    rows: list[Row] = []
    for each in evidence.facts.extracts("data.export", "privacy.export"):
        if each.ref.outcome != "success" or (each.ref.type == "data.export" and each.data_class not in classes):
            continue
        persons = [name for name in each.subjects if name != each.actor[1]] or [each.target or ""]
        given = each.attributes
        own = each.ref.type == "privacy.export"
        told = [given.get(name) for name in ("recipient", "recipient_address", "description", "purpose")]
        if own:
            told = ["the person", None, "copy of the own data", "request of the person"]
        rows += [
            (person(evidence, name), each.at, *told, each.data_class, each.records, _who(evidence, each), *_place(each))
            for name in persons
        ]
    rows.sort(key=lambda row: (str(row[0]), str(row[1])))
    columns = (
        *("Person", "Date", "Recipient", "Address", "Description", "Purpose", "Class", "Records", "By"),
        *("Month", "Index", "Event"),
    )
    by_class = evidence.facts.summed("disclosures")
    total = sum(by_class.get(name, 0) for name in classes) + evidence.facts.count("privacy.export+success")
    left = total - min(len(rows), MOST_ROWS)
    note = f"{left} more are counted and not listed here; they are in the evidence bundle." if left > 0 else ""
    return table(table_id, title, columns, rows, note, total)


def _personal_disclosures(evidence: Evidence) -> Table:
    return _disclosures(evidence, ("personal", "phi"), "disclosures", "Disclosures of personal data")


def _phi_disclosures(evidence: Evidence) -> Table:
    return _disclosures(evidence, ("phi",), "accounting", "Accounting of disclosures, by patient")


def _changed(evidence: Evidence, each: Extract) -> Row:
    given = each.attributes
    what = given.get("key") or ", ".join(map(str, given.get("scopes", ())))
    fields = ", ".join(map(str, given.get("changed_fields", ())))
    return (_who(evidence, each), what, fields, given.get("approved_by"), given.get("ticket"))


def _changes(evidence: Evidence) -> Table:
    columns = ("Who", "What", "Fields", "Approved by", "Ticket")
    return _extracted(evidence, "changes", "Population: changes of settings and keys", _CHANGES, columns, _changed)


def _granted(evidence: Evidence, each: Extract) -> Row:
    given = each.attributes
    old = given.get("old_role") or given.get("old_status")
    new = given.get("new_role") or given.get("new_status") or given.get("role")
    whose = person(evidence, each.target)
    return (_who(evidence, each), whose, old, new, given.get("approved_by"), given.get("ticket"))


def _access(evidence: Evidence) -> Table:
    columns = ("Who", "Whose", "From", "To", "Approved by", "Ticket")
    return _extracted(evidence, "access", "Population: access given, changed, taken away", _ACCESS, columns, _granted)


def _uses(evidence: Evidence, data_class: str, table_id: str, title: str) -> Table:
    """Uses of a class of data: by day and person, all of them."""
    rows = [
        (day, person(evidence, who), kind, role, op, n, records)
        for (day, who, kind, role, op, of), (n, records) in sorted(evidence.facts.uses.items())
        if of == data_class
    ]
    left = sum(day["uses_left"] for day in evidence.facts.documents)
    note = f"On days of very many actors the rarest are left out: {left} rows." if left else ""
    columns = ("Day", "Who", "Kind", "Role", "Operation", "Events", "Records")
    return table(table_id, title, columns, rows, note, len(rows) + left)


def _listed(evidence: Evidence, data_class: str, table_id: str, title: str) -> Table:
    """Single uses of a class with all their fields: up to so many of each day, chosen by the hash of their entries."""
    total, found = evidence.facts.listed(data_class)
    rows = [
        (
            *(each.at, each.ref.type, each.ref.outcome, _who(evidence, each), each.actor[2], each.origin),
            *(f"{each.target_kind or ''} {each.target or ''}".strip(), each.records, *_place(each)),
        )
        for each in found
    ]
    note = f"{len(rows)} of {total}, chosen by the hash of their entries; all are in the evidence bundle."
    return table(table_id, title, _ALL_FIELDS, rows, note if total > len(rows) else "", total)


def _phi_uses(evidence: Evidence) -> Table:
    return _uses(evidence, "phi", "phi_access", "PHI access log, by day and person")


def _phi_listed(evidence: Evidence) -> Table:
    return _listed(evidence, "phi", "phi_events", "PHI access, single events")


def _card_uses(evidence: Evidence) -> Table:
    return _uses(evidence, "cardholder", "card_access", "Cardholder data access log, by day and person")


def _card_listed(evidence: Evidence) -> Table:
    return _listed(evidence, "cardholder", "card_events", "Cardholder data access, with the fields of 10.2.2")


def _daily_review(evidence: Evidence) -> Table:
    """What was looked at each day: by detection, by alerts, by people who read the trail."""
    held = {day["day"]: day for day in evidence.facts.documents}
    detection = evidence.operations.detection_days if evidence.operations is not None else None
    rows: list[Row] = []
    for day in evidence.period.days:
        found = held.get(day)
        raised = [each for each in evidence.raised if each.raised_at[:10] == day]
        seen = sum(first_seen_by_people(each) is not None for each in raised)
        ran = None if detection is None else day in detection
        counts = (found["events"], sum(found["log_views"].values())) if found else (0, 0)
        rows.append((day, counts[0], ran, len(raised), seen, counts[1]))
    columns = ("Day", "Events", "Detection ran", "Alerts raised", "Of these seen by people", "Readings of the trail")
    return table("daily_review", "Daily review of logs", columns, rows)


def _security_events(evidence: Evidence) -> Table:
    counts: dict[tuple[str, str, str, str], int] = {}
    for day in evidence.facts.documents:
        for kind, outcome, _, reason, n in day["counts"]:
            if kind.startswith(_SECURITY) and (outcome != "success" or kind.startswith(("alert.", "ledger."))):
                key = (day["day"], kind, outcome, reason or "")
                counts[key] = counts.get(key, 0) + n
    rows = [(*key, n) for key, n in sorted(counts.items())]
    return table("security_events", "Security events", ("Day", "Type", "Outcome", "Reason", "Events"), rows)


def _incidents(evidence: Evidence) -> Table:
    rows: list[Row] = [
        (
            *(each.raised_at, each.pattern, each.severity, each.acknowledged_at, each.closed_at),
            *((each.incident or {}).get(name) for name in ("aware_at", "decision", "authority_notified_at")),
            each.id,
        )
        for each in sorted(evidence.raised, key=lambda each: (each.raised_at, each.id))
    ]
    columns = (
        "Raised",
        "Pattern",
        "Severity",
        "Acknowledged",
        "Closed",
        "Aware",
        "Decision",
        "Authority told",
        "Alert",
    )
    note = "" if evidence.alerts is not None else "The alerts could not be read."
    return table("incidents", "Alerts and incidents", columns, rows, note)


def _rights(evidence: Evidence) -> Table:
    rows: list[Row] = [
        (each.id, each.role, each.status, each.mfa, each.created_at, each.last_login_at)
        for each in sorted(evidence.accounts or (), key=lambda each: each.id)
    ]
    columns = ("Account", "Role", "Status", "Second factor", "Opened", "Last login")
    note = "As they were when the report was made." if evidence.accounts is not None else "They could not be read."
    return table("access_rights", "Access rights", columns, rows, note)


_OWN: dict[str, tuple[Callable[[Evidence], Table], ...]] = {
    "gdpr": (_requests, _personal_disclosures),
    "soc2": (_access, _changes, _incidents),
    "hipaa": (_phi_uses, _phi_listed, _phi_disclosures),
    "pci_dss": (_daily_review, _card_uses, _card_listed),
    "iso_27001": (_security_events, _incidents, _rights),
}
