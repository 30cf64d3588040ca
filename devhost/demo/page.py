"""What the demo saw, laid out for a terminal of 100 columns."""

import textwrap
from collections.abc import Callable, Iterator, Sequence

from devhost.demo.seen import Json, Seen

_WIDTH = 100
_DETAIL = "account_takeover"
"""The attack whose trail is shown."""


def page_of(seen: Seen, style: Callable[[str], str]) -> str:
    """Attacks and their alerts, who has none, one attack's trail, one report, and those on disk. `style` marks a
    heading."""
    sections = (_attacks, _clean, _trail, _report, _made)
    return "\n".join([line for section in sections for line in section(seen, style)])


def _attacks(seen: Seen, style: Callable[[str], str]) -> Iterator[str]:
    yield style("Attacks, and the alerts that they raised")
    form = "     {:<26}  {:<8}  {:<19}  {:>6}  {:<12}  {:<12}".format
    yield form("pattern", "severity", "ATT&CK", "events", "first (UTC)", "last (UTC)").rstrip()
    for number, case in enumerate(seen.attacks, 1):
        yield from textwrap.wrap(case["told"], _WIDTH, initial_indent=f"{number:>3}. ", subsequent_indent=" " * 5)
        found = list(seen.explained_by(case))
        for tenant_id, alert in found:
            times = (alert["first_seen"][11:23], alert["last_seen"][11:23])
            yield form(alert["pattern"], alert["severity"], ", ".join(alert["attack"]), alert["count"], *times)
            yield f"       in {seen.tenants[tenant_id]}, about {seen.who(alert['key'])}"
        if found:
            step = f"first step: {found[0][1]['runbook'][0]}"
            yield from textwrap.wrap(step, _WIDTH, initial_indent=" " * 7, subsequent_indent=" " * 9)
        else:
            yield "     no alert"
    yield ""


def _clean(seen: Seen, style: Callable[[str], str]) -> Iterator[str]:
    for tenant in seen.truth["tenants"]:
        if tenant["clean"]:
            alerts = len(seen.alerts.get(tenant["id"], ()))
            number = f"{alerts or 'no'} alert{'s' * (alerts > 1)}"
            yield style(f"{tenant['name']}, which nobody attacked: {number}")
            events = len(seen.trails.get(tenant["id"], ()))
            yield f"  {len(tenant['users'])} people at work, {events} events; among them, just below the thresholds:"
            rows = [(case["pattern"], str(case["events"]), case["told"]) for case in seen.near_misses]
            yield from _columns([("pattern", "events", "what there was"), *rows])
            yield ""


def _trail(seen: Seen, style: Callable[[str], str]) -> Iterator[str]:
    for case in seen.attacks:
        if case["pattern"] == _DETAIL:
            yield style(f"The trail of an attack: {_DETAIL}")
            yield from _columns([("time (UTC)", "type", "outcome", "reason", "who"), *map(_row, seen.events_of(case))])
            yield ""


def _row(event: Json) -> tuple[str, ...]:
    actor = event["actor"]
    emails = [held["email"] for held in event["personal"].values() if "email" in held]
    who = emails[0] if emails else actor["id"] or actor["kind"]
    if actor["kind"] == "anonymous" and emails:
        who = f"someone, as {emails[0]}"
    return event["recorded_at"][11:23], event["type"], event["outcome"], event["reason"] or "-", who


def _report(seen: Seen, style: Callable[[str], str]) -> Iterator[str]:
    tenant = seen.truth["tenants"][0]
    for report in seen.reports.get(tenant["id"], ())[:1]:
        counts = (
            f"{kind} {' + '.join(f'{number} {outcome}' for outcome, number in sorted(outcomes.items()))}"
            for kind, outcomes in sorted(report["by_type"].items())
        )
        raised = ", ".join(f"{number} {pattern}" for pattern, number in report["alerts_raised"]["by_pattern"].items())
        yield style(f"The report of {tenant['name']}, which the timer built")
        for name, text in (
            ("period", f"{report['from']} to {report['to']}, {report['status']} at {report['generated_at']}"),
            ("events", f"{report['events_in_period']}: {', '.join(counts)}"),
            ("alerts", raised or "none"),
            ("denied", str(report["access_denied"]["total"])),
        ):
            yield from textwrap.wrap(f"{name}  {text}", _WIDTH, initial_indent="  ", subsequent_indent=" " * 10)


def _made(seen: Seen, style: Callable[[str], str]) -> Iterator[str]:
    yield ""
    yield style("Reports on frameworks, as of the next morning: HTML, PDF, JSON and a bundle that verifies")
    rows = [("framework", "satisfied", "exception", "not evidenced", "not applicable", "where")]
    for each in seen.made:
        counts = [str(each.counts[name]) for name in ("satisfied", "exception", "not_evidenced", "not_applicable")]
        rows.append((each.framework, counts[0], counts[1], counts[2], counts[3], f"{each.folder}/"))
    yield from _columns(rows)
    for each in seen.made[:1]:
        yield ""
        yield "To check one, as anybody can who has the key (docs/report-forms.md goes on by hand from there):"
        yield from (f"  {line}" for line in each.check)


def _columns(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Rows of cells; the last one goes on below where it is long."""
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]) - 1)]
    for row in rows:
        before = "".join(f"  {cell:<{width}}" for cell, width in zip(row[:-1], widths, strict=True))
        yield from textwrap.wrap(
            row[-1], _WIDTH, initial_indent=f"{before}  ", subsequent_indent=" " * (len(before) + 2)
        )
