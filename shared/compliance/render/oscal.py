"""A report as OSCAL 1.2 assessment results, with a plan and a catalogue of its own words that they refer to.

An extra form for programs. OSCAL knows two states: what is not evidenced is `not-satisfied` with the reason `other`
and a property that says so; what was declared not applicable is left out of the reviewed controls, and named. UUIDs
are version 5, made from the report's id, so an equal report gives equal bytes. Texts are Markdown there: ours and
others' are escaped.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import Any, Final
from uuid import UUID, uuid5

from shared.compliance.render.blocks import STATUS, cell
from shared.compliance.render.content import period_of, title_of
from shared.compliance.render.json import report_json
from shared.compliance.render.text import visible, with_text
from shared.compliance.report_model import ControlResult, Evidence, Finding, Metric, Report, Shard

VERSION: Final = "1.2.3"
RESULTS: Final = "assessment-results.json"
PLAN: Final = "assessment-plan.json"
CATALOG: Final = "catalog.json"
_NS: Final = "urn:kraftd-audit:oscal"
_NAMESPACE: Final = UUID("6d6f2f0a-5c3b-5a57-9a53-0b8a8a5f7c21")
_MARKUP = re.compile(r"([\\`*_{}\[\]<>~^\"&|])|^(\s*)([#+=-]|[0-9]+[.)](?=\s|$))", re.MULTILINE)
"""What means something in Markdown: anywhere, or where a line begins."""
_STATES: Final = {
    "satisfied": {"state": "satisfied", "reason": "pass"},
    "exception": {"state": "not-satisfied", "reason": "fail"},
    "not-evidenced": {"state": "not-satisfied", "reason": "other"},
}

type Json = dict[str, Any]


def oscal_results(report: Report) -> bytes:
    """The assessment results, as JSON."""
    return _bytes({"assessment-results": _Maker(report).results()})


def oscal_files(report: Report) -> dict[str, bytes]:
    """The assessment results, and what they refer to by the names of files beside them."""
    maker = _Maker(report)
    return {
        RESULTS: _bytes({"assessment-results": maker.results()}),
        PLAN: _bytes({"assessment-plan": maker.plan()}),
        CATALOG: _bytes({"catalog": maker.catalog()}),
    }


def _bytes(value: Json) -> bytes:
    return json.dumps(value, ensure_ascii=False, indent=1).encode() + b"\n"


class _Maker:
    """Makes the documents of one report."""

    def __init__(self, report: Report) -> None:
        self.digest = hashlib.sha256(report_json(report)).hexdigest()
        self.report = with_text(report, visible)
        self.applicable = [each for each in self.report.controls if each.status != "not-applicable"]
        self.others = [each for each in self.report.controls if each.status == "not-applicable"]

    def uuid(self, *names: object) -> str:
        """The UUID of a thing of this report."""
        return str(uuid5(_NAMESPACE, "|".join(map(str, (self.report.id, *names)))))

    def results(self) -> Json:
        """The assessment results."""
        report = self.report
        found = {each.id: each for each in report.exceptions}
        return {
            "uuid": self.uuid("results"),
            "metadata": self._metadata(title_of(report), signed=True),
            "import-ap": {"href": PLAN},
            "results": [
                _filled(
                    {
                        "uuid": self.uuid("result"),
                        "title": _line(f"{report.framework.name} {report.framework.version}, {period_of(report)}"),
                        "description": _lines(_ABOUT),
                        "start": f"{report.from_day}T00:00:00Z",
                        "end": f"{report.to_day}T00:00:00Z",
                        "props": self._result_props(),
                        "reviewed-controls": self._reviewed(),
                        "observations": [self._observation(each) for each in self.applicable if _has_evidence(each)],
                        "risks": [self._risk(each) for each in report.exceptions],
                        "findings": [self._finding(each, found) for each in self.applicable],
                        "remarks": _lines(
                            "\n".join(f"{each.id} was declared not applicable: {each.declared}" for each in self.others)
                        ),
                    }
                )
            ],
            "back-matter": {"resources": [self._report_resource(), *map(self._checkpoint, report.population)]},
        }

    def plan(self) -> Json:
        """A plan that says no more than which controls were looked at."""
        system = self.uuid("system")
        return {
            "uuid": self.uuid("plan"),
            "metadata": self._metadata(f"Plan of the {title_of(self.report)}"),
            "import-ssp": {"href": f"#{system}", "remarks": "There is no system security plan; see the resource."},
            "reviewed-controls": self._reviewed(),
            "back-matter": {
                "resources": [
                    {
                        "uuid": system,
                        "title": "The system that was looked at",
                        "description": "No system security plan was written; the report says what its scope is.",
                        "rlinks": [{"href": "report.json", "media-type": "application/json"}],
                    },
                    {
                        "uuid": self.uuid("catalog resource"),
                        "title": "Catalogue of the controls, in words of our own",
                        "rlinks": [{"href": CATALOG, "media-type": "application/oscal+json"}],
                    },
                ]
            },
        }

    def catalog(self) -> Json:
        """The controls that the report speaks of, each with the question that was asked of it."""
        controls = [
            {
                "id": _token(each.oscal_id),
                "title": _line(each.title),
                "props": [{"name": "label", "value": _string(each.id)}],
                "parts": [{"id": _objective(each), "name": "assessment-objective", "prose": _lines(each.question)}],
            }
            for each in self.report.controls
        ]
        name = f"Controls of {self.report.framework.name} {self.report.framework.version} that an audit trail speaks to"
        return _filled({"uuid": self.uuid("catalog"), "metadata": self._metadata(name), "controls": controls})

    def _metadata(self, title: str, *, signed: bool = False) -> Json:
        report, organization = self.report, self.uuid("organization")
        party = {"uuid": organization, "type": "organization", "name": _string(report.organization)}
        parties: list[Json] = [party]
        roles: dict[str, Json] = {}
        responsible: dict[str, Json] = {}
        for at, each in enumerate(report.sign_offs if signed else ()):
            role, person = each.signed_as, self.uuid("signer", each.user_id)
            roles[role] = {"id": role, "title": _line(f"{each.signed_as.capitalize()} the report")}
            if all(one["uuid"] != person for one in parties):
                parties.append({"uuid": person, "type": "person", "name": _string(each.user_id)})
            held = responsible.setdefault(role, {"role-id": role, "party-uuids": [], "props": [], "remarks": ""})
            if person not in held["party-uuids"]:
                held["party-uuids"].append(person)
            held["props"].append(_prop("signed-at", each.at, group=f"signature-{at + 1}"))
            held["props"].append(_prop("signer-role", each.role, group=f"signature-{at + 1}"))
            held["remarks"] = f"{held['remarks']}\n\n{_lines(each.statement)}".strip()
        return _filled(
            {
                "title": _line(title),
                "last-modified": report.generated_at,
                "version": _string(report.catalogue_version),
                "oscal-version": VERSION,
                "props": [_prop("report-id", report.id), _prop("tenant-id", report.tenant_id)],
                "roles": list(roles.values()),
                "parties": parties,
                "responsible-parties": [_filled(each) for each in responsible.values()],
            }
        )

    def _result_props(self) -> list[Json]:
        report, summary = self.report, self.report.summary
        return [
            _prop("integrity-gate", "passed" if report.gate.passed else "failed"),
            _prop("events-in-period", report.events_in_period),
            _prop("satisfied", summary.satisfied),
            _prop("exception", summary.exception),
            _prop("not-evidenced", summary.not_evidenced),
            _prop("not-applicable", summary.not_applicable),
            _prop("product-version", report.product_version),
        ]

    def _reviewed(self) -> Json:
        chosen = [{"control-id": _token(each.oscal_id)} for each in self.applicable]
        left_out = [{"control-id": _token(each.oscal_id)} for each in self.others]
        if chosen:
            return {"control-selections": [{"include-controls": chosen}]}
        return {"control-selections": [_filled({"include-all": {}, "exclude-controls": left_out}, keep="include-all")]}

    def _observation(self, control: ControlResult) -> Json:
        return _filled(
            {
                "uuid": self.uuid("observation", control.id),
                "title": _line(f"What the trail holds for {control.id}"),
                "description": _lines(f"{control.tested}\n\n{control.explanation}".strip()),
                "props": [*map(_metric, control.metrics), _prop("strength", control.strength)],
                "methods": ["TEST" if control.rules else "EXAMINE"],
                "types": ["control-objective"],
                "relevant-evidence": [
                    {"href": f"#{self.uuid('report')}", "description": _lines(_said(each))} for each in control.evidence
                ],
                "collected": self.report.generated_at,
            }
        )

    def _finding(self, control: ControlResult, found: dict[str, Finding]) -> Json:
        reason = [_prop("reason", control.reason)] if control.reason else []
        observed = [{"observation-uuid": self.uuid("observation", control.id)}] if _has_evidence(control) else []
        return _filled(
            {
                "uuid": self.uuid("finding", control.id),
                "title": _line(f"{control.id}: {STATUS[control.status]}"),
                "description": _lines(control.explanation or STATUS[control.status]),
                "props": [_prop("evidence-status", control.status), *reason, _prop("label", control.id)],
                "target": {
                    "type": "objective-id",
                    "target-id": _objective(control),
                    "status": dict(_STATES[control.status]),
                },
                "related-observations": observed,
                "related-risks": [{"risk-uuid": self.uuid("risk", each)} for each in control.findings if each in found],
            }
        )

    def _risk(self, finding: Finding) -> Json:
        status = "closed" if finding.remedied_at else "deviation-approved" if finding.accepted_by else "open"
        given = {"owner": finding.owner, "remedied-at": finding.remedied_at, "accepted-by": finding.accepted_by}
        return {
            "uuid": self.uuid("risk", finding.id),
            "title": _line(f"{finding.id}: {finding.rule}"),
            "description": _lines(finding.text),
            "statement": _lines(finding.response or "No response is recorded."),
            "props": [
                _prop("severity", finding.severity),
                _prop("count", finding.count),
                _prop("first-seen", finding.first_seen),
                _prop("last-seen", finding.last_seen),
                *(_prop(name, value) for name, value in given.items() if value),
            ],
            "status": status,
        }

    def _report_resource(self) -> Json:
        link = {"href": "report.json", "media-type": "application/json"}
        hashes = [{"algorithm": "SHA-256", "value": self.digest}]
        return {"uuid": self.uuid("report"), "title": "The whole report", "rlinks": [link | {"hashes": hashes}]}

    def _checkpoint(self, shard: Shard) -> Json:
        value = base64.b64encode(shard.checkpoint.encode()).decode()
        return _filled(
            {
                "uuid": self.uuid("checkpoint", shard.period),
                "title": _line(f"Signed checkpoint of the ledger of {shard.period}"),
                "description": _lines(f"{shard.size} entries, of which {shard.events} are in the period."),
                "base64": {"filename": f"checkpoint-{shard.period}", "media-type": "text/plain", "value": value},
            }
        )


_ABOUT: Final = (
    "What the audit trail says about each control. Not a certification. A control that the trail cannot speak to is "
    "not satisfied, with the property evidence-status that says not-evidenced."
)


def _has_evidence(control: ControlResult) -> bool:
    return bool(control.evidence or control.metrics)


def _said(evidence: Evidence) -> str:
    outcomes = ", ".join(f"{name} {cell(count)}" for name, count in evidence.by_outcome)
    return f"{cell(evidence.total)} events of {evidence.type}{f' ({outcomes})' if outcomes else ''}"


def _metric(metric: Metric) -> Json:
    value = "unknown" if metric.value is None else f"{cell(metric.value)} {metric.unit}"
    return _prop(_token(metric.id), value, remarks=_lines(metric.title))


def _prop(name: str, value: object, **more: str) -> Json:
    return {"name": name, "ns": _NS, "value": _string(str(value)), **more}


def _objective(control: ControlResult) -> str:
    return f"{_token(control.oscal_id)}_obj"


def _filled(value: Json, keep: str = "") -> Json:
    """An object without its empty members: OSCAL has no empty arrays and texts."""
    return {name: each for name, each in value.items() if each or name == keep}


def _token(text: str) -> str:
    """A text as an OSCAL token."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "-", text)
    return plain if re.match(r"[A-Za-z_]", plain) else f"_{plain}"


def _string(text: str) -> str:
    """A text as an OSCAL string: one line, not empty, no space around it."""
    return " ".join(text.split()) or "–"


def _line(text: str) -> str:
    """A text as a line of markup that means that text."""
    return _lines(_string(text))


def _lines(text: str) -> str:
    """A text as markup of any number of lines that means that text."""
    return _MARKUP.sub(_escaped, text.strip())


def _escaped(found: re.Match[str]) -> str:
    if found[1]:
        return f"\\{found[1]}"
    return f"{found[2]}{found[3][:-1]}\\{found[3][-1]}"
