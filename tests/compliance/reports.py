"""A report for tests, hand-made: every field, every status, and text of the kind that breaks documents."""

from __future__ import annotations

from dataclasses import replace

from shared.compliance.report_model import (
    Cell,
    Chart,
    ControlResult,
    EventRef,
    Evidence,
    Finding,
    Framework,
    Gate,
    GateCheck,
    Method,
    Metric,
    Reason,
    Report,
    RuleRun,
    Sample,
    Scope,
    Series,
    Shard,
    SignOff,
    SilentSpan,
    Status,
    Summary,
    Table,
)

TENANT = "0195c000-0000-7000-8000-0000000000aa"
ORGANIZATION = "Organization Ω «Łódź» مثال 例の組織 उदाहरण 😀"
MARKUP = "<script>alert(1)</script> & \"quotes\" '</style><b>'"
TYPST = '#eval("1+1") $x^2$ *bold* _under_ `raw` \\ \\u{41} @ref <label> = Heading // gone /* gone */ #panic()'
FORMULAS = ("=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(A1)", "\t=1", "\r=2", "＝1+1", "'quoted", " =1+1")
TURNED = "user\u202egnp.exe\u202c \u2066x\u2069 bell\u0007 nul\u0000 zero\u200bwidth \ufeff \ud800 lone"
LONG = "0123456789abcdef" * 40
SCRIPTS = "العربية שלום 漢字 かな हिन्दी ไทย Ελληνικά Кириллица ქართული 👩‍👩‍👧 ❤️ e\u0301 क्षि"
HOSTILE = (ORGANIZATION, MARKUP, TYPST, *FORMULAS, TURNED, LONG, SCRIPTS)

_STATUSES: tuple[tuple[Status, Reason | None], ...] = (
    ("satisfied", None),
    ("exception", None),
    ("not-evidenced", "no-occurrence"),
    ("not-evidenced", "manual-only"),
    ("not-applicable", None),
)
_CATEGORIES = (
    "authentication",
    "accounts",
    "data",
    "administration",
    "alerts",
    "ledger",
    "privacy",
    "reports",
    "custom",
)
DAYS = 31


def reference(number: int) -> EventRef:
    """A sealed event."""
    at = f"2026-03-{number % DAYS + 1:02}T10:{number % 60:02}:00.000000Z"
    return EventRef("2026-03", number, f"0195c000-0000-7000-8000-{number:012x}", at, "auth.login", "failure")


def control(number: int, framework: str = "pci") -> ControlResult:
    """A control; every fifth has the same status."""
    status, reason = _STATUSES[number % 5]
    control_id = f"{number // 12 + 1}.{number % 12 + 1}.{number}"
    return ControlResult(
        id=control_id,
        oscal_id=f"{framework}-{control_id}",
        title=HOSTILE[number % len(HOSTILE)][:90] if number % 7 == 6 else f"Failed access is recorded, part {number}",
        question="Can you show every failed attempt to sign in, and who made it?",
        status=status,
        reason=reason,
        explanation=f"{1000 + number} attempts failed; each is in the trail with its time, its origin and its outcome.",
        strength="direct",
        pattern="violation",
        confirmation="number seen in a secondary source; content seen in a secondary source",
        tested="Every event of the type in the period, counted from the ledger's daily totals.",
        population=f"{12345 + number} events of sign-in",
        evidence=(
            Evidence(
                "auth.login", 12345, (("success", 11111), ("failure", 1234)), tuple(day % 9 for day in range(DAYS))
            ),
            Evidence("access.denied", 0, (), (0,) * DAYS),
        ),
        metrics=(Metric("failed", "Failed attempts", 1234, "events"), Metric("share", "Share", 9.99, "%"), _UNKNOWN),
        rules=(RuleRun("AUTH-01", "More failures than allowed", "high", (("lockout_max_attempts", 10),), number % 2),),
        findings=(f"F-{number % 4 + 1}",) if status == "exception" else (),
        samples=Sample(12345, f"{number:064x}", "Every n-th by keyed hash", tuple(map(reference, range(2))))
        if number % 3 == 0
        else None,
        missing=("The time at which an administrator became aware",) if status == "not-evidenced" else (),
        limits="Contextual only." if number % 2 else "",
        declared="user-1 on 2026-03-01: no cards are stored" if status == "not-applicable" else None,
    )


_UNKNOWN = Metric("delay", "Delay of ingest", None, "s")


def finding(number: int) -> Finding:
    """An exception, every second one remedied."""
    return Finding(
        id=f"F-{number}",
        rule=f"AUTH-{number:02}",
        severity=("low", "medium", "high", "critical")[number % 4],
        text=f"An account was not locked after ten failures. {HOSTILE[number % len(HOSTILE)]}",
        count=120,
        first_seen="2026-03-01T00:00:00.000000Z",
        last_seen="2026-03-30T23:59:59.999999Z",
        events=tuple(reference(number * 10 + each) for each in range(5)),
        owner="user-7" if number % 2 else None,
        response=HOSTILE[(number + 3) % len(HOSTILE)],
        remedied_at="2026-04-02T08:00:00.000000Z" if number % 2 else None,
        accepted_by=None,
    )


def table_of(rows: int) -> Table:
    """A table of ten columns, as populations have."""
    columns = ("Recorded at", "Type", "Outcome", "Actor", "Role", "Origin", "Resource", "Records", "Known", "Event id")
    return Table(
        "access_log", "Access to cardholder data", columns, tuple(map(_row, range(rows))), rows, "Every access."
    )


def _row(number: int) -> tuple[Cell, ...]:
    ref = reference(number)
    text = HOSTILE[number % len(HOSTILE)] if number % 9 == 0 else f"card-{number}"
    return (
        ref.recorded_at,
        ref.type,
        ref.outcome,
        f"user-{number % 7}",
        "admin",
        "api",
        text,
        number,
        True,
        ref.event_id,
    )


def charts() -> tuple[Chart, ...]:
    """One of each kind, and one with nothing in it."""
    days = tuple(f"2026-03-{day:02}" for day in range(1, DAYS + 1))
    stacks = tuple(
        Series(c, tuple(float((d * (n + 3)) % 40 + n) for d in range(DAYS))) for n, c in enumerate(_CATEGORIES)
    )
    two = (Series("logins", tuple(float(900 + d * 7 % 90) for d in range(DAYS))), Series("failures", (12.0,) * DAYS))
    statuses = ("satisfied", "exception", "not evidenced", "not applicable")
    bars = tuple(Series(name, (float(20 - 3 * n), 4.0 * n)) for n, name in enumerate(statuses))
    return (
        Chart("events_by_day", "Events a day by category", "stacked", days, stacks, "events"),
        Chart("logins", "Logins and failures", "line", days, two, "attempts"),
        Chart("status", "Controls by status", "bar", ("PCI DSS v4.0.1", f"{MARKUP} {SCRIPTS}"), bars, "controls"),
        Chart("none", f"Nothing {MARKUP}", "stacked", (), (), "events"),
    )


def report(controls: int = 10, rows: int = 30, **changes: object) -> Report:
    """A report of March 2026."""
    results = tuple(map(control, range(controls)))
    count = {status: sum(each.status == status for each in results) for status, _ in _STATUSES}
    made = Report(
        id="0195c000-0000-7000-8000-00000000f00d",
        tenant_id=TENANT,
        organization=ORGANIZATION,
        framework=Framework("pci_dss", "PCI DSS", "v4.0.1"),
        from_day="2026-03-01",
        to_day="2026-04-01",
        generated_at="2026-04-01T00:10:00.000000Z",
        generated_by="system",
        product_version="0.1.0",
        catalogue_version="1",
        gate=Gate(True, (GateCheck("roots", "Every root was computed again", True, "1 month, 0 mismatches"),)),
        scope=Scope(
            time_zone="Europe/Helsinki",
            sources_expected=("login", "payments", "records"),
            sources_seen=("login", "payments"),
            data_classes=("none", "personal", "cardholder"),
            exclusions=("Networks and hosts below the application", MARKUP),
            customer_duties=("Review the report within the time that your policy sets.", TYPST),
        ),
        population=(
            Shard(
                "2026-03",
                12345,
                "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=",
                f"ledger.example.com/{TENANT}/2026-03\n12345\nq83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=\n\n"
                f"— ledger.example.com/{TENANT}/2026-03 {'A' * 88}\n",
                12345,
                0,
                12344,
                (SilentSpan("payments", "2026-03-04T00:00:00.000000Z", "2026-03-05T12:00:00.000000Z"),),
            ),
        ),
        completeness=(Metric("missing", "Missing indexes", 0, ""), Metric("fields", "Complete fields", 100.0, "%")),
        events_in_period=12345,
        summary=Summary(count["satisfied"], count["exception"], count["not-evidenced"], count["not-applicable"]),
        previous=Summary(1, 2, 3, 4),
        controls=results,
        exceptions=tuple(map(finding, range(1, 5))),
        tables=(table_of(rows), Table("empty", "Incidents", ("At", "What"), (), 0, "None was declared.")),
        charts=charts(),
        method=Method(
            status_rules=("A failed gate leaves every control not evidenced.", "No data is never a pass."),
            thresholds=(("lockout_max_attempts", 10, "PCI DSS 8.3.4"), ("working_hours", "Mon-Fri", "product choice")),
            gaps=(("Physical access", "Nothing in the trail speaks about doors."),),
            parameters=(("sample_size", 25), ("seed", None)),
        ),
        sign_offs=(SignOff("user-1", "reviewer", "2026-04-01T09:00:00.000000Z", f"No incident. {SCRIPTS}"),),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def bare() -> Report:
    """A report of a period in which nothing happened, with as little as there can be."""
    return report(
        controls=0,
        population=(),
        completeness=(),
        events_in_period=0,
        previous=None,
        exceptions=(),
        tables=(),
        charts=(),
        method=Method((), (), (), ()),
        sign_offs=(),
        gate=Gate(False, (GateCheck("roots", "Every root was computed again", False, "no checkpoint"),)),
        scope=Scope("UTC", (), (), (), (), ()),
        organization="",
    )
