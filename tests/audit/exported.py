"""Events as an export gets them: the golden samples with their boxes open, and OCSF's own schema to hold them to."""

import json
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

from shared.audit.ocsf_map import OCSF_VERSION
from tests.audit.test_golden import GOLDEN

NAMES = sorted(path.stem for path in GOLDEN.glob("*.json"))


def sample(name: str) -> dict[str, Any]:
    """The golden sample of a type, as the API shows it to an auditor."""
    event: dict[str, Any] = json.loads((GOLDEN / f"{name}.json").read_text())
    event["personal"] = {subject: box["data"] for subject, box in event["personal"].items()}
    return event


@cache
def _schema() -> OcsfJsonSchemaEmbedded:
    return OcsfJsonSchemaEmbedded(get_ocsf_schema(OCSF_VERSION))


@cache
def _validator(class_uid: int) -> Draft202012Validator:
    return Draft202012Validator(_schema().get_class_schema(_schema().lookup_class_name_from_uid(class_uid)))


def faults(event: dict[str, Any]) -> list[str]:
    """What the schema package has against an OCSF event."""
    return [f"{error.json_path}: {error.message[:200]}" for error in _validator(event["class_uid"]).iter_errors(event)]
