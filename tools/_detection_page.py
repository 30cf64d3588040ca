"""The generated page docs/detection.md: what the pattern modules say of themselves."""

import inspect
import sys
from typing import Any

from shared.detection import Parameters, Pattern, all_patterns

_HEAD = """\
# Threat patterns

An alert is one episode of one pattern on one key. An episode is a run of crossing points (moments at which the
condition holds over the window before them) closer than the window, at most 24 hours long. Windows slide over event
time, both edges included; an event's time is its `occurred_at`, unless that is more than seven days before or five
minutes after `recorded_at`. The alerts follow from the set of events alone: repetition, disorder and the number of
instances change nothing. A late event can move or bridge episodes: then the alert that remains says so, and the
others are superseded by it.

`count` is how many events an alert stands on, `event_ids` names the first 500. Of the events of one key, type and
outcome in one minute the first 1,000 are looked at (100 failed sign-ins of one address); beyond that
`count_is_minimum` is true. At most 150 alerts of a pattern are shown for one hour, closed ones among them;
what is beyond them is one alert that counts them and is as severe as the worst of them. What comes beyond after that
one was closed is counted by another. See [ADR 35](adr/0035-closed-alerts-keep-their-places.md).

`PUT /admin/settings` sets thresholds within the bounds below, mutes a pattern until a time, and keeps allow-lists of
addresses and accounts; `ledger_integrity` and `webhook_paused` can be neither muted nor set. Mutes and entries hold
by event time, from when they are set; changing or lifting one later changes nothing of what it hid. What is counted
across organizations is counted in spite of them: they say what the organization's own alert tells, which names no
event of an exempt account. Alerts are handled with `PATCH /alerts/{id}`; what happens after one was resolved or
dismissed opens another. Its `history` holds at most 100 lines: beyond that the oldest that the system wrote after the
first are left out; the trail has them as `alert.update`.

`python -m tools.backtest` runs the same code over stored history with other thresholds, or over logs of other
systems: see [backtest.md](backtest.md). This page is generated from the patterns' modules: `make docs`.
"""


def detection_page() -> str:
    """Every pattern with its parameters, false positives and runbook."""
    rows = [
        f"| [`{each.id}`](#{each.id}) | {each.title} | {each.severity} | {', '.join(each.attack)} |\n"
        for each in all_patterns().values()
    ]
    table = "\n| pattern | what it finds | severity | ATT&CK |\n|---|---|---|---|\n" + "".join(rows)
    return _HEAD + table + "".join(_section(each) for each in all_patterns().values())


def _section(pattern: Pattern[Any]) -> str:
    module = sys.modules[pattern.parameters.__module__].__doc__ or ""
    how = " ".join(module.split())
    selectors = ", ".join(f"`{kind}` ({outcome})" for kind, outcome in pattern.selectors)
    false_positives = "".join(f"- {each}\n" for each in pattern.false_positives)
    runbook = "".join(f"{n}. {each.replace('<', chr(92) + '<')}\n" for n, each in enumerate(pattern.runbook, 1))
    return (
        f"\n## {pattern.id}\n\n{pattern.description}\n\n{how}\n\n"
        f"Looks at {selectors}, by `{pattern.key_path}`.\n\n"
        f"{' '.join((inspect.getdoc(pattern.parameters) or '').split())}\n\n{_parameters(pattern.parameters)}\n"
        f"False positives:\n\n{false_positives}\nRunbook:\n\n{runbook}"
    )


def _parameters(parameters: type[Parameters]) -> str:
    rows = ""
    for name, field in parameters.model_fields.items():
        bounds = {type(each).__name__: each for each in field.metadata}
        rows += f"| `{name}` | {field.default} | {bounds['Ge'].ge} to {bounds['Le'].le} |\n"
    return f"| parameter | default | bounds |\n|---|---|---|\n{rows}"
