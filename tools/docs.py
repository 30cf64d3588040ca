"""`python -m tools.docs`: write the generated pages of docs/ again. A test says when one is out of date."""

import ast
import inspect
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeAliasType, Union, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from bench._page import benchmarks_page, scale_curve
from functions.privacy_export import SubjectExportShape
from shared.audit.export_formats import COLUMNS
from shared.audit.model import FreeEvent
from shared.audit.ocsf_map import EVENT_TYPES, OCSF_VERSION, Mapped
from shared.audit.registry import EventType, all_types
from shared.compliance.render.json import schema_text
from shared.core.settings import Settings
from tools._compliance_page import compliance_page
from tools._detection_page import detection_page
from tools._inventory_page import inventory_page
from tools._scaling_page import scaling_page

DOCS = Path(__file__).resolve().parents[1] / "docs"
_HEAD = """\
# Settings

Environment variables, or the app settings of the function app; `make serve` also reads `local.settings.json` (copy
`local.settings.example.json`), where what the environment says wins. An empty value counts as unset. A wrong one stops
the start with a message that names the variable and does not show the value; so does a Key Vault reference that was
not resolved (`@Microsoft.KeyVault(…)`). This page is generated: `make docs`.

| variable | default | values | meaning |
|---|---|---|---|
"""

_EVENTS_HEAD = """\
# Event types

Every type of the trail. Names are public: never renamed, never reused. Around its attributes every event has the same
envelope: id, times, actor, target, subjects, source, request, data class and record count. What is marked *personal* is
sealed under the person whose it is, and is never an attribute in clear; so are e-mail, address and user agent of
whoever acts, in every event of a person. A denial is never below the severity `low`. Other services write `data.*`,
`consent.*` and `custom.*`, see [ingest.md](ingest.md). This page is generated: `make docs`.
"""


def settings_page() -> str:
    """Every setting with its default, its bounds and its docstring, in the order of their declaration."""
    meanings = _docstrings(Settings)
    rows = [_row(name.upper(), field, meanings[name]) for name, field in Settings.model_fields.items()]
    return _HEAD + "".join(rows)


def _row(name: str, field: FieldInfo, meaning: str) -> str:
    default = (
        ""
        if field.default is None
        else f"`{str(field.default).lower() if field.annotation is bool else field.default}`"
    )
    return f"| `{name}` | {default} | {_values(field)} | {meaning} |\n"


def _values(field: FieldInfo) -> str:
    """What a setting takes, as far as its declaration says it."""
    if field.annotation is bool:
        return "`true`, `false`"
    if field.annotation == SecretStr | None:
        return "secret"
    bounds = {type(each).__name__: each for each in field.metadata}
    if "Ge" in bounds and "Le" in bounds:
        return f"{bounds['Ge'].ge} to {bounds['Le'].le}"
    patterns = [pattern for each in field.metadata if (pattern := getattr(each, "pattern", None))]
    return "".join(f"`{pattern.replace('|', chr(92) + '|')}`" for pattern in patterns)


def _docstrings(model: type) -> dict[str, str]:
    """The text below each field of a class, on one line."""
    (body,) = ast.parse(inspect.getsource(model)).body
    assert isinstance(body, ast.ClassDef)  # noqa: S101 - what the source of a class is
    found = {}
    for statement, after in zip(body.body, body.body[1:], strict=False):
        match statement, after:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                found[name] = " ".join(text.split())
    return found


def events_page() -> str:
    """Every event type with its outcomes, severity, data class, attributes and docstring, by family."""
    text, family = _EVENTS_HEAD, ""
    for name, kind in all_types().items():
        if name.partition(".")[0] != family:
            family = name.partition(".")[0]
            module = sys.modules[kind.model.__module__].__doc__ or ""
            text += f"\n## {family}\n\n{module.strip().partition(': ')[2].capitalize()}\n"
        text += _event_section(name, kind)
    return text


def _event_section(name: str, kind: EventType) -> str:
    facts = [
        f"outcomes {', '.join(sorted(kind.outcomes))}",
        f"severity {kind.severity}",
        *([f"data class {kind.data_class}"] if kind.data_class != "none" else []),
    ]
    description = " ".join((inspect.getdoc(kind.model) or "").split())
    return f"\n### `{name}`\n\n{description}\n\n*{'; '.join(facts)}*\n\n{_attributes(kind)}"


def _attributes(kind: EventType) -> str:
    """What an event of the type carries beside its envelope, one line for each field."""
    if issubclass(kind.model, FreeEvent):
        return "- attributes of the writer's own\n"
    lines = []
    for name, field in kind.model.model_fields.items():
        optional = "" if field.is_required() else ", optional"
        personal = f"; personal, of the {kind.personal[name]}" if name in kind.personal else ""
        lines.append(f"- `{name}`: {_type(field.annotation)}{optional}{personal}\n")
    return "".join(lines) or "No attributes.\n"


def _type(annotation: Any) -> str:
    """A field's type in words that are not Python's."""
    if isinstance(annotation, TypeAliasType):
        return _type(annotation.__value__)
    kind, parts = get_origin(annotation), get_args(annotation)
    if kind is Annotated:
        return _type(parts[0])
    if kind is Literal:
        return " or ".join(f"`{part}`" for part in parts)
    if kind in (Union, UnionType):
        return " or ".join(_type(part) for part in parts if part is not NoneType)
    if kind in (list, tuple, dict):
        inner = [part for part in parts if part is not Ellipsis][-1]
        of = "" if inner is Any else f" of {_type(inner)}"
        return f"{'object' if kind is dict else 'list'}{of}"
    return {str: "text", int: "whole number", bool: "true or false"}[annotation]


_FORMATS_HEAD = f"""\
# Formats of an export

This page is generated: `make docs`. How an export is asked for: [export.md](export.md).

## JSON lines
One event per line, as `GET /events` shows it, names sorted. UTF-8; no character in a line ends one to any reader
(U+0085, U+2028 and U+2029 are escaped).

## CSV
RFC 4180, UTF-8, no byte order mark, lines end with CR LF. Cells that could be formulas stand behind an apostrophe.
Empty: there is no value. `subjects` are ids with spaces between them. New columns will go to the end.

{", ".join(f"`{column}`" for column in COLUMNS)}

## OCSF
JSON lines of events of the Open Cybersecurity Schema Framework {OCSF_VERSION}. `metadata.uid` is the event's id,
`metadata.event_code` its type, `metadata.logged_time` when it was recorded, `time` when it happened (milliseconds).
What OCSF has no place for stands in `unmapped`, under our names, so nothing is lost. Without personal data
`src_endpoint` holds the address's keyed hash. A type that is not listed is API Activity: Other.

| event type | class | activity |
|---|---|---|
"""


def formats_page() -> str:
    """The columns of CSV, and the OCSF class and activity of every event type."""
    rows = [
        f"| `{name}` | {mapped.ocsf.name} ({mapped.ocsf.uid}) | {_activity(mapped)} |\n"
        for name, mapped in sorted(EVENT_TYPES.items())
    ]
    return _FORMATS_HEAD + "".join(rows)


def _activity(mapped: Mapped) -> str:
    usual = mapped.ocsf.activities.get(mapped.activity, f"Other: {mapped.named}")
    special = ", ".join(f"{mapped.ocsf.activities[number]} ({value})" for value, number in mapped.values.items())
    return f"{usual}; by `{mapped.by}`: {special}" if special else usual


def subject_export_schema() -> str:
    """The JSON Schema of a part of a person's export."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **SubjectExportShape.model().model_json_schema(),
    }
    return json.dumps(schema, indent=1, sort_keys=True) + "\n"


PAGES: Mapping[str, Callable[[], str]] = {
    "settings.md": settings_page,
    "events.md": events_page,
    "export-formats.md": formats_page,
    "detection.md": detection_page,
    "data-inventory.md": inventory_page,
    "compliance-report.schema.json": schema_text,
    "subject-export.schema.json": subject_export_schema,
    "compliance.md": compliance_page,
    "scaling.md": scaling_page,
    "benchmarks.md": benchmarks_page,
    "images/scale.svg": scale_curve,
}
"""Every generated page: its name below docs/ and what makes its text."""


def main() -> int:
    """Write the pages; the names of those that changed."""
    for name, make in PAGES.items():
        path, text = DOCS / name, make()
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            sys.stdout.write(f"written: docs/{name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
