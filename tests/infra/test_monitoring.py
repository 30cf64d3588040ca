"""Alerts, queries and the workbook against the code that they are about, and against their runbooks."""

import ast
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from functions.change_feed import CONSUMERS
from functions.timers import TIMERS
from shared.audit.registry import all_types
from shared.telemetry import metrics
from tests.app import ROOT

MONITORING = ROOT / "infra/monitoring"
BICEP = (MONITORING / "monitoring.bicep").read_text(encoding="utf-8")
RUNBOOKS = (ROOT / "docs/monitoring.md").read_text(encoding="utf-8")
QUERIES = {path.stem: path.read_text(encoding="utf-8") for path in (MONITORING / "queries").glob("*.kql")}
_ALERT = (
    r"^  \{ name: '([\w-]+)', title: '.+?', severity: (\d), minutes: (\d+), "
    r"lookback: '(\w+)', above: (.+?), query: (.+) \}$"
)
ALERTS = re.findall(_ALERT, BICEP, re.MULTILINE)
METRICS = {value for name, value in vars(metrics).items() if name.isupper() and isinstance(value, str)}
WINDOWS_MINUTES = {"PT15M": 15, "PT30M": 30, "PT1H": 60, "PT2H": 120, "P1D": 1440}
LATE_MINUTES, CDB_LATE_MINUTES = 10, 30
"""So long after its time a row may come: metrics leave an instance each minute and take up to three more on average;
logs of resources take longer."""


def workbook_queries(node: Any) -> Iterator[tuple[str, str]]:
    """The title and the query of each item of a workbook."""
    if isinstance(node, dict):
        if node.get("version") == "KqlItem/1.0":
            yield node["title"], node["query"]
        for each in node.values():
            yield from workbook_queries(each)
    elif isinstance(node, list):
        for each in node:
            yield from workbook_queries(each)


WORKBOOK = json.loads((MONITORING / "workbook.json").read_text(encoding="utf-8"))
SHOWN = dict(workbook_queries(WORKBOOK))
EVERY = QUERIES | SHOWN


def texts(query: str) -> list[str]:
    """The quoted texts of a query."""
    return re.findall(r"'([^']*)'", query)


def test_every_alert_has_its_query_and_every_query_its_alert() -> None:
    assert len(ALERTS) == BICEP.count("{ name: '") == len(QUERIES)
    assert set(re.findall(r"queries/(\w+)\.kql", BICEP)) == set(QUERIES)
    assert {name.replace("-", "_") for name, *_ in ALERTS} == set(QUERIES)


ABOVE = {
    **dict.fromkeys(
        ("integrity-failure", "trail-rewritten", "audit-write-failures", "feed-silent", "dead-letters"), "0"
    ),
    **dict.fromkeys(("outbox-stuck", "timers-silent", "report-failures", "streams-paused", "critical-threats"), "0"),
    "not-ready": "3",
    "error-rate": "json('0.1')",
    "secrets-unreachable": "5",
    "sealing-lag": "300",
    "outbox-age": "600",
    "function-failures": "5",
    "throttling": "5",
    "latency": "1000",
    "refused-calls": "5",
    "login-failures": "5",
}
"""What each is told of above: per cent, seconds, milliseconds, times as many as usual, or a number of them."""


def test_every_alert_fires_above_what_it_says() -> None:
    assert {name: above for name, _, _, _, above, _ in ALERTS} == ABOVE
    for name, *_, query in ALERTS:
        assert "rewritten" in query or name.replace("-", "_") in query, name
    for line in ("enabled: true", "operator: 'GreaterThan'", "timeAggregation: 'Maximum'", "threshold: each.above"):
        assert BICEP.count(line) == 1, line
    assert not re.search(r"enabled: false|LessThan", BICEP)


def test_every_alert_has_a_severity_a_runbook_and_looks_often_enough() -> None:
    sections = dict(re.findall(r"^### ([\w-]+)\n(.*?)(?=^##)", RUNBOOKS, re.MULTILINE | re.DOTALL))
    assert set(sections) == {name for name, *_ in ALERTS}
    for name, severity, minutes, lookback, *_ in ALERTS:
        assert sections[name].startswith(f"Severity {severity}. "), name
        assert "\n1. " in sections[name], name
        late = CDB_LATE_MINUTES if "CDB" in QUERIES[name.replace("-", "_")] else LATE_MINUTES
        assert int(minutes) + late <= WINDOWS_MINUTES[lookback], f"{name}: what comes late is not seen"
    assert "actionGroups: [ actionGroupId ]" in BICEP
    assert "docs/monitoring.md#${each.name}" in BICEP


def test_every_query_says_what_its_value_is() -> None:
    for name, query in QUERIES.items():
        assert query.startswith("// "), name
        assert re.search(r"\bValue = ", query), name


@pytest.mark.parametrize("name", sorted(EVERY))
def test_metrics_in_queries_are_metrics_of_the_code(name: str) -> None:
    query = EVERY[name]
    compared = set(re.findall(r"\bName == '([^']*)'", query))
    compared |= {each for group in re.findall(r"\bName in \(([^)]*)\)", query) for each in texts(group)}
    assert compared <= METRICS
    assert ("AppMetrics" in query) == bool(compared) or name == "Logs and metrics taken in, megabytes"


def test_every_metric_is_explained_and_is_looked_at_by_somebody() -> None:
    explained = set(re.findall(r"^\| `([\w.]+)` \|", RUNBOOKS, re.MULTILINE))
    assert explained == METRICS
    assert {each for query in EVERY.values() for each in texts(query)} >= METRICS


def _attributes() -> set[str]:
    """The attributes that metrics are recorded with."""
    tree = ast.parse((ROOT / "shared/telemetry/metrics.py").read_text(encoding="utf-8"))
    found = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return {each for each in found if re.fullmatch(r"(kraftd|db|faas)(\.\w+)+", each)} - METRICS


def test_attributes_in_queries_are_attributes_of_the_code() -> None:
    used = {each for query in EVERY.values() for each in re.findall(r"Properties\['([^']*)'\]", query)}
    assert used
    assert used <= _attributes()


def test_functions_in_queries_are_functions() -> None:
    silent = set(re.findall(r"^    '(\w+)'", QUERIES["timers_silent"], re.MULTILINE))
    assert silent == {name for name, (schedule, _) in TIMERS.items() if "/5 * * * *" in schedule}
    named = {each for query in EVERY.values() for each in re.findall(r"\['faas\.name'\]\) == '(\w+)'", query)}
    assert named
    assert named <= {*TIMERS, *CONSUMERS}


def test_event_types_in_queries_are_event_types() -> None:
    known = set(all_types())
    for query in EVERY.values():
        named = set(re.findall(r"\['kraftd\.type'\]\) == '([^']*)'", query))
        named |= {e for g in re.findall(r"\['kraftd\.type'\]\) in \(([^)]*)\)", query) for e in texts(g)}
        assert named <= known
        for prefix in re.findall(r"\['kraftd\.type'\]\) startswith '([^']*)'", query):
            assert any(each.startswith(prefix) for each in known), prefix


def test_log_events_in_queries_and_runbooks_are_logged() -> None:
    source = "".join(
        path.read_text(encoding="utf-8") for folder in ("shared", "functions") for path in (ROOT / folder).rglob("*.py")
    )
    named = {each for query in EVERY.values() for each in re.findall(r"Message startswith '([^']*)'", query)}
    named |= set(re.findall(r'Message startswith "([^"]*)"', RUNBOOKS))
    assert len(named) > 5
    assert {each for each in named if f'"{each}"' not in source} == set()


def test_the_workbook_has_its_tabs_and_each_shows_something() -> None:
    tabs = next(item for item in WORKBOOK["items"] if item["type"] == 11)["content"]["links"]
    groups = {item["name"]: list(workbook_queries(item)) for item in WORKBOOK["items"] if item["type"] == 12}
    assert [each["subTarget"] for each in tabs] == list(groups)
    assert {"overview", "audit", "threats", "compliance", "cost"} == set(groups)
    assert all(len(queries) >= 5 for queries in groups.values())
    assert len(SHOWN) == sum(map(len, groups.values())), "two have the same title"
    for each in tabs:
        assert f"| {each['linkLabel']} |" in RUNBOOKS


def test_no_query_asks_for_what_could_name_a_person() -> None:
    for query in EVERY.values():
        assert not re.search(r"ClientIP|UserId|UserAuthenticatedId|\bUrl\b(?!\))", query)
