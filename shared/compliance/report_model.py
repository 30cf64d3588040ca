"""The model of a compliance report: what the builder makes and every renderer reads.

It holds what an auditor is shown and nothing that a renderer would have to look up. Times are RFC 3339 UTC texts, days
and periods are UTC days of `recorded_at` (`to` excluded), ids of people are opaque. Nothing in it is personal. The same
input gives an equal report, and an equal report gives the same JSON, byte for byte.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

type Status = Literal["satisfied", "exception", "not-evidenced", "not-applicable"]
type Reason = Literal["no-occurrence", "not-exercised", "no-source", "data-missing", "gate-failed", "manual-only"]
type Severity = Literal["low", "medium", "high", "critical"]
type Strength = Literal["direct", "partial", "contextual"]
type Cell = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Framework:
    """A framework: `id` as the API has it (gdpr, soc2, hipaa, pci_dss, iso_27001), its name and its version."""

    id: str
    name: str
    version: str


@dataclass(frozen=True, slots=True)
class Table:
    """A table. `total`: rows that there are; more than `rows` holds where it is cut. `note`: for the reader."""

    id: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    total: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class Series:
    """The values of one line or stack of a chart, one for each label."""

    name: str
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart. `kind`: stacked columns, lines, or horizontal bars. `unit`: of the values."""

    id: str
    title: str
    kind: Literal["stacked", "line", "bar"]
    labels: tuple[str, ...]
    series: tuple[Series, ...]
    unit: str


@dataclass(frozen=True, slots=True)
class GateCheck:
    """One condition under which the trail can be relied on, and whether it held."""

    id: str
    title: str
    passed: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Gate:
    """The integrity gate of the whole report."""

    passed: bool
    checks: tuple[GateCheck, ...]


@dataclass(frozen=True, slots=True)
class SilentSpan:
    """A time in which nothing of a source came: from, until; both RFC 3339."""

    source: str
    since: str
    until: str


@dataclass(frozen=True, slots=True)
class Shard:
    """What the report stands on: a month's ledger as the named checkpoint covers it.

    `period`: YYYY-MM. `root`: base64. `checkpoint`: the signed note. `events`: sealed events recorded in the report's
    period. `first`, `last`: their lowest and highest index.
    """

    period: str
    size: int
    root: str
    checkpoint: str
    events: int
    first: int | None
    last: int | None
    silent_spans: tuple[SilentSpan, ...] = ()


@dataclass(frozen=True, slots=True)
class EventRef:
    """A sealed event: its shard, its index there and its id. `recorded_at`, `type`, `outcome`: as sealed."""

    period: str
    index: int
    event_id: str
    recorded_at: str
    type: str
    outcome: str


@dataclass(frozen=True, slots=True)
class Metric:
    """A figure of a control. `value` None: it could not be had."""

    id: str
    title: str
    value: Cell
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Evidence:
    """How much there is of one type of event: events in the period by outcome, and by day for the trend."""

    type: str
    total: int
    by_outcome: tuple[tuple[str, int], ...]
    by_day: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule that was not kept. `count`: how often; `events`: the first of them. `remedy`: what was done, and when."""

    id: str
    rule: str
    severity: Severity
    text: str
    count: int
    first_seen: str
    last_seen: str
    events: tuple[EventRef, ...]
    owner: str | None = None
    response: str | None = None
    remedied_at: str | None = None
    accepted_by: str | None = None


@dataclass(frozen=True, slots=True)
class RuleRun:
    """A rule that was run for a control: its parameters as they were, and how many findings it gave."""

    rule: str
    text: str
    severity: Severity
    parameters: tuple[tuple[str, Cell], ...]
    findings: int


@dataclass(frozen=True, slots=True)
class Sample:
    """A repeatable sample: of how many, by which seed, and what was drawn."""

    population: int
    seed: str
    method: str
    events: tuple[EventRef, ...]


@dataclass(frozen=True, slots=True)
class ControlResult:
    """A control and what the trail says about it.

    `reason`: why it is not evidenced. `missing`: data that the control needs and the trail does not have.
    `confirmation`: whether its number and its content were confirmed in a source. `findings`: ids of them.
    `declared`: by whom, when and why not applicable.
    """

    id: str
    oscal_id: str
    title: str
    question: str
    status: Status
    reason: Reason | None
    explanation: str
    strength: Strength
    pattern: Literal["activity", "violation", "state", "external"]
    confirmation: str
    tested: str
    population: str
    evidence: tuple[Evidence, ...]
    metrics: tuple[Metric, ...]
    rules: tuple[RuleRun, ...]
    findings: tuple[str, ...]
    samples: Sample | None
    missing: tuple[str, ...]
    limits: str
    declared: str | None = None


@dataclass(frozen=True, slots=True)
class Summary:
    """The four counts; never one figure for all."""

    satisfied: int
    exception: int
    not_evidenced: int
    not_applicable: int


@dataclass(frozen=True, slots=True)
class Scope:
    """What the report is about and what it is not."""

    time_zone: str
    sources_expected: tuple[str, ...]
    sources_seen: tuple[str, ...]
    data_classes: tuple[str, ...]
    exclusions: tuple[str, ...]
    customer_duties: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SignOff:
    """Who signed a report in which role, when, what they stated, and whether they prepared, reviewed or approved it."""

    user_id: str
    role: str
    at: str
    statement: str
    signed_as: Literal["prepared", "reviewed", "approved"] = "reviewed"


@dataclass(frozen=True, slots=True)
class Method:
    """How statuses came about: the rules of status, thresholds (name, value, origin) and what stays a gap."""

    status_rules: tuple[str, ...]
    thresholds: tuple[tuple[str, Cell, str], ...]
    gaps: tuple[tuple[str, str], ...]
    parameters: tuple[tuple[str, Cell], ...]


@dataclass(frozen=True, slots=True)
class Report:
    """A compliance report of one tenant, framework and period. `replaces`: the id of one that was built before the
    trail had been checked, which stays."""

    id: str
    tenant_id: str
    organization: str
    framework: Framework
    from_day: str
    to_day: str
    generated_at: str
    generated_by: str
    product_version: str
    catalogue_version: str
    gate: Gate
    scope: Scope
    population: tuple[Shard, ...]
    completeness: tuple[Metric, ...]
    events_in_period: int
    summary: Summary
    previous: Summary | None
    controls: tuple[ControlResult, ...]
    exceptions: tuple[Finding, ...]
    tables: tuple[Table, ...]
    charts: tuple[Chart, ...]
    method: Method
    sign_offs: tuple[SignOff, ...] = ()
    replaces: str | None = None
