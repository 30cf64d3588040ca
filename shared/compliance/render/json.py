"""A report as JSON: the model's fields under their names, canonical (RFC 8785), so that equal reports are equal bytes.

The first field, `format`, names this form. Its JSON Schema (2020-12) is docs/compliance-report.schema.json, made from
the model. Fields may be added to the form; none is renamed or gets another meaning under the same `format`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields, is_dataclass, replace
from typing import Any, Final

from shared.compliance.render.text import whole
from shared.compliance.report_model import Report
from shared.core.canonical import canonical

FORMAT: Final = "kraftd-audit-report/1"


def report_json(report: Report) -> bytes:
    """The canonical JSON of a report. ValueError for a number that JSON cannot hold (NaN, 2^53)."""
    return canonical({"format": FORMAT, **_value(report)})


def digest_of(report: Report) -> str:
    """SHA-256, hex, of a report's JSON without its sign-offs: what `report.generate` names, and who signs states."""
    return hashlib.sha256(report_json(replace(report, sign_offs=()))).hexdigest()


def _value(value: Any) -> Any:
    """A value of the model as JSON has it: classes are objects, tuples are arrays."""
    if isinstance(value, str):
        return whole(value)
    if isinstance(value, tuple):
        return [_value(each) for each in value]
    if is_dataclass(value):
        return {each.name: _value(getattr(value, each.name)) for each in fields(value)}
    return value


def schema() -> dict[str, Any]:
    """The JSON Schema of the form."""
    from pydantic import TypeAdapter

    made = TypeAdapter(Report).json_schema(mode="serialization")
    report = {name: made.pop(name) for name in ("title", "description", "type", "properties", "required")}
    properties = {"format": {"const": FORMAT, "title": "Format", "type": "string"}, **report["properties"]}
    whole_schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **report,
        "properties": properties,
        "required": list(properties),
        "$defs": made["$defs"],
    }
    for each in (whole_schema, *whole_schema["$defs"].values()):
        if each.get("type") == "object":
            each["required"] = list(each["properties"])
    return whole_schema


def schema_text() -> str:
    """The JSON Schema as it is published."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"
