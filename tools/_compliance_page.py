"""The generated page docs/compliance.md: each control, what evaluates it, and how much the trail can say about it."""

from shared.compliance.catalogue import FRAMEWORKS, GAPS, SOURCES, Listed
from shared.compliance.controls.model import Control
from shared.compliance.metrics import METRICS
from shared.compliance.occasions import told
from shared.compliance.rules import RULES
from shared.compliance.status import STATUS_RULES
from shared.compliance.thresholds import MOST_FOR_FRAMEWORK as LIMITS
from shared.compliance.thresholds import THRESHOLDS

_HEAD = """\
# Compliance reports

A report says of one organization, one framework and one period (whole UTC days of `recorded_at`, at most 366 of them,
all over) what the trail shows about each control. It supports an assessment and is no certification; nothing here is
legal advice. Titles and questions of controls are our own words. Numbers and contents that were not confirmed in a
source carry that mark.

`python -m shared.compliance.report --tenant … --framework soc2 --from 2026-03-01 --to 2026-04-01 -o report.json`
makes one. What it is made of is the model in `shared/compliance/report_model.py`; its JSON is canonical (RFC 8785),
and the event `report.generate` names its SHA-256. A report of a framework and period is made once; asked for again,
it is the same one.

## Where the figures come from

Each UTC day is folded once from its sealed entries into a bounded document, its facts ([ADR
41](adr/0041-reports-read-facts-not-events.md)), so that a report costs as much for a million events as for ten
thousand. Entries are read in bundles that are held against the tiles of the ledger; the counts of the facts must be
those of the ledger's own rollup, and never become less. What is capped (events that are named, persons, actors) is
counted all the same. A cap hides names, and nothing that matters: of events that a rule could find something in it is
known how many are not named, and where there are any, or could be, the rule counts as not run wholly (`data-missing`)
unless it found something anyway ([ADR 59](adr/0059-no-cap-blinds-a-rule.md)). Facts hold nothing personal: ids of
persons and what was in clear in the entries. They are kept under a code that only the app can make; those that do
not fit it are folded again. What began in the week before a period and went on in it (bursts, runs of failures, idle
sessions, silences) is as large as it is ([ADR 65](adr/0065-reports-look-a-week-back.md)). What had ended when a period
began (accounts, persons who were erased, consents) is read from the trail, up to 5,000 events of a kind.

**Samples** ([ADR 42](adr/0042-samples-follow-from-the-checkpoint.md)): the seed is SHA-256 of a root of the ledger
(base64), a line feed, and the control's `oscal_id`. The root is the one that the period's last month had when the last
entry of the period was in: nobody knows it before, and nothing that is recorded later changes it. The report names it
(`sampling_month`, `sampling_size`, `sampling_root`), and anybody can draw the sample again.

**The gate** is looked at first: per month a checkpoint is signed now and follows from the last one; the counts of the
days add up to its size; the facts are of as many events; the ledger keeps no finding about itself, and no check
failed in the period; the continuous check came by within a day and is not behind; the month before is closed as it
is; retention covers the period.

## How a status comes about

{status}

What a control is about is in its row below, after "occasions"; whatever else speaks to it is context ([ADR
58](adr/0058-a-control-needs-its-occasion.md)). Decisions on incidents are free text, of which reports read the
beginning: `reportable` or `not reportable`. The last one before the 72 hours ran out counts, and `reportable` at any
time after that: it can be taken back in time only. A notice counts if it was given when it was recorded.

Reasons of not-evidenced: `no-occurrence` (sources were alive, and nothing of the kind happened), `not-exercised` (a
mechanism that nothing triggered, or alerts that nobody followed up and that are not late), `no-source` (nothing was
recorded at all), `data-missing`, `gate-failed`, `manual-only`. Four counts are shown, and never one percentage.

What is known beside the trail comes as it is when the report is made: accounts, settings in force, alerts with who
saw them when, requests of persons. Where that cannot be had, the rules that need it are not run, and the control is
data-missing. Approvals are what whoever made a change said (`approved_by`, `ticket`). Addresses and devices are
sealed with their persons: sessions stand in for them.

Attributes by which producers' `data.*` events can say more: `purpose`, `recipient`, `recipient_address`,
`description`, `legal_basis` ([below](#legal-bases)), `reason`, `ticket`, `role` (of the actor, in the producer's
own system: a word of letters, digits and `._:-`, at most 64). A text without two letters or digits says nothing.

What an organization can say of itself ([settings](administration.md#settings)), and what is looked at then: `on_call`
(ACC-07), `data_roles` (ACC-08, for uses of its own systems' data), `expected_sources` (INT-06). Where a rule needs what
was not said, its controls are data-missing. `accepted_risks` name a rule and a framework: what the rule finds stays an
exception, and the register shows who accepted it, until when and why.

### Legal bases

DATA-03 looks at uses on a consent that was withdrawn, by person and purpose. A `legal_basis` is a consent when it
begins with `consent` or `explicit consent`, or has `6(1)(a)` in it. It is clearly another one when it is one of
these and nothing else, in any case, with blanks, `-` or `_` between words: `contract`, `performance of a contract`,
`legal obligation`, `compliance with a legal obligation`, `vital interest(s)`, `public task`, `public interest`,
`official authority`, `legitimate interest(s)`; or a letter of Article 6(1), as `Art. 6(1)(b)` to `(f)`, with or
without `GDPR`; or one with the other behind it, in brackets or after a comma or colon. Anything else (another
language, more words, nothing) may be a consent: after a withdrawal, a use for that person and purpose on it is a
gap (`basis`), and the control data-missing. Deleting what there is needs no basis.

How to get a report, by a call or by a schedule: [reports.md](reports.md).

## What an operator may see in the logs

| event | means |
|---|---|
| `facts_folded` | the facts of a day were made; as a report or the gatherer asked for them |
| `facts_not_ours` | the facts of a day are folded again: the secret `ledger` changed; with `same_key`, the store did |
| `report_built_elsewhere` | two builders made one report at once; the first one's is kept |
| `report_part_gone` | a part of a report that was not kept was removed by another builder |
| `report_order_taken` | an order was gone, or another builder's, when a builder wanted it |
| `report_waits` | an order waits for the check of the ledger or for detection, twelve hours at most |
| `report_order_left` | a builder could not put an order back; its time runs out after 15 minutes |
| `report_order_gone` | another builder had finished an order |
| `report_not_built` | a defect: the report is tried again, and failed after six attempts |
| `report_refused` | a report that was ordered cannot be, as its code says; it failed |
| `report_not_due` | a schedule passed over a period before the organization began |
| `reports_left_out` | a schedule was without its timer for so long that reports of these days are not made up for |
| `schedule_moved_elsewhere` | two runs ordered the same reports; nothing is there twice |
| `report_damaged` | what is stored of a report is not what was built: somebody changed the store |

This page is generated: `make docs`.
"""


def compliance_page() -> str:
    """The page: how statuses come about, thresholds, rules, gaps, and every control of every framework."""
    status = "\n".join(f"{number}. {rule}" for number, rule in enumerate(STATUS_RULES, 1))
    parts = [_HEAD.format(status=status), _thresholds(), _rules(), _gaps()]
    return "\n".join((*parts, *(_framework(listed) for listed in FRAMEWORKS.values())))


def _thresholds() -> str:
    rows = [
        f"| `{name}` | {each.value} | {each.origin} | {_settable(name)} |\n"
        for name, each in sorted(THRESHOLDS.items())
    ]
    return (
        "## Thresholds\n\n| name | value | origin | an organization may set it |\n|---|---|---|---|\n"
        + "".join(rows)
        + "\nWorking hours: Monday to Friday, 07:00 to 19:00, in the organization's time zone, unless it set others.\n"
    )


def _settable(name: str) -> str:
    """Whether an organization may set a threshold, and where a framework limits that."""
    limits = [f"{FRAMEWORKS[each].framework.name}: at most {of[name]}" for each, of in LIMITS.items() if name in of]
    return "; ".join(("yes", *limits)) if THRESHOLDS[name].settable else ""


def _rules() -> str:
    rows = [
        f"| {name} | {rule.severity} | {rule.text} | {', '.join(f'`{each}`' for each in rule.parameters)} |\n"
        for name, rule in sorted(RULES.items())
    ]
    return "## Rules\n\n| rule | severity | finds | thresholds |\n|---|---|---|---|\n" + "".join(rows)


def _gaps() -> str:
    gaps = "".join(f"| {name} | {text} |\n" for name, text in sorted(GAPS.items()))
    sources = "".join(f"| {name} | {text} |\n" for name, text in sorted(SOURCES.items()))
    return (
        "## Data that may be missing\n\n| gap | what |\n|---|---|\n"
        + gaps
        + "\n## Where numbers and contents were seen\n\n| source | what |\n|---|---|\n"
        + sources
    )


def _framework(listed: Listed) -> str:
    framework = listed.framework
    strengths = [control.strength for control in listed.controls]
    counts = ", ".join(f"{strengths.count(name)} {name}" for name in ("direct", "partial", "contextual"))
    rows = "".join(map(_control, listed.controls))
    head = f"| control | tests | honesty | evidence | rules and figures | confirmed | limits |\n{'|---' * 7}|\n"
    return f"## {framework.name}, {framework.version}\n\n{len(listed.controls)} controls: {counts}.\n\n{head}{rows}"


def _control(control: Control) -> str:
    evidence = " ".join(f"`{word}`" for word in control.evidence.split()) or "none"
    wanted = control.exposure or control.needs
    occasions = f"; occasions: {told(wanted)}" if wanted else ""
    rules = ", ".join(control.rules.split()) or "none"
    figures = ", ".join(METRICS[name].title.lower() for name in control.metrics.split()) or "none"
    limits = [control.note] if control.note else []
    if control.blocked_by:
        limits.append(f"Not evidenced for want of {control.blocked_by}.")
    if control.gaps:
        limits.append(f"Gaps: {', '.join(control.gaps.split())}.")
    return (
        f"| **{control.id}** {control.title} | {control.pattern} | {control.strength} | {evidence}{occasions} "
        f"| {rules}; {figures} | {control.confirmed} | {' '.join(limits)} |\n"
    )
