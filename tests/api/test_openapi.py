import re
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from functions import ENDPOINTS
from functions._api import Nothing
from functions._openapi import document
from tests.app import App


@pytest.fixture(scope="module")
def spec() -> dict[str, Any]:
    return document(ENDPOINTS)


async def test_it_is_served(app: App, spec: dict[str, Any]) -> None:
    answer = await app.client.get("/v1/openapi.json")
    assert answer.status_code == 200
    assert answer.json() == spec


def test_an_independent_reader_finds_it_valid(spec: dict[str, Any]) -> None:
    OpenAPIV31SpecValidator(spec).validate()


def test_every_http_function_is_in_it(spec: dict[str, Any]) -> None:
    documented = {op["operationId"] for path in spec["paths"].values() for op in path.values()}
    assert documented == {endpoint.name for endpoint in ENDPOINTS}


def test_every_operation_says_enough(spec: dict[str, Any]) -> None:
    for path, operations in spec["paths"].items():
        for method, operation in operations.items():
            where = f"{method} {path}"
            assert operation["summary"], where
            assert all("problem" in str(r["content"]) for s, r in operation["responses"].items() if s >= "400"), where
            assert {p["name"] for p in operation["parameters"] if p["in"] == "path"} == set(_names(path)), where
            if operation["security"]:
                assert {"401", "403"} <= operation["responses"].keys(), where


def test_an_export_is_documented_as_a_file_in_parts(spec: dict[str, Any]) -> None:
    done = spec["paths"]["/v1/events/export"]["get"]["responses"]["200"]
    assert set(done["content"]) == {"text/csv", "application/x-ndjson"}
    assert set(done["headers"]) == {"X-Request-Id", "Link", "Content-Disposition", "X-Record-Count"}


def test_unknown_fields_are_documented_as_refused(spec: dict[str, Any]) -> None:
    bodies = [e.body.__name__ for e in ENDPOINTS if e.body is not Nothing]
    assert bodies
    for name in bodies:
        assert spec["components"]["schemas"][name]["additionalProperties"] is False


def test_register_is_documented_as_it_validates(spec: dict[str, Any]) -> None:
    body = spec["components"]["schemas"]["RegisterBody"]
    assert set(body["required"]) == {
        "email",
        "password",
        "first_name",
        "last_name",
        "accept_terms",
        "accept_privacy",
    }
    schemas = spec["components"]["schemas"]
    assert body["oneOf"] == [{"required": ["organization"]}, {"required": ["invitation"]}]
    assert body["properties"]["password"] == {"$ref": "#/components/schemas/NewPassword"}
    assert (schemas["NewPassword"]["minLength"], schemas["NewPassword"]["maxLength"]) == (12, 128)
    assert schemas["Accepted"] == {"const": True}


def _names(path: str) -> list[str]:
    return [part[1:-1] for part in path.split("/") if part.startswith("{")]


def _reached(spec: dict[str, Any], schema: Any) -> set[str]:
    """The fields of a schema and of all that it refers to."""
    if isinstance(schema, list):
        return set[str]().union(*(_reached(spec, each) for each in schema))
    if not isinstance(schema, dict):
        return set()
    found = set(schema.get("properties", {}))
    if name := schema.get("$ref", "").rpartition("/")[2]:
        found |= _reached(spec, spec["components"]["schemas"][name])
    return found.union(*(_reached(spec, each) for key, each in schema.items() if key != "example"))


def test_tokens_are_answered_to_a_sign_in_alone(spec: dict[str, Any]) -> None:
    giving = {
        operation["operationId"]
        for path in spec["paths"].values()
        for operation in path.values()
        if {"access_token", "refresh_token"} & _reached(spec, operation["responses"])
    }
    assert giving == {"login", "login_mfa", "register", "refresh_token"}


def test_who_somebody_is_is_proved_by_nothing_else(spec: dict[str, Any]) -> None:
    """No hints, no questions: passwords, codes, and what the service itself gave out."""
    operations = {op["operationId"]: op for path in spec["paths"].values() for op in path.values()}
    proofs = {name: _reached(spec, operations[name]["requestBody"]) for name in ("login", "login_mfa", "refresh_token")}
    assert proofs == {
        "login": {"email", "password"},
        "login_mfa": {"challenge", "code", "recovery_code"},
        "refresh_token": {"refresh_token"},
    }
    sent = _reached(spec, [operation.get("requestBody", {}) for operation in operations.values()])
    assert {"first_name", "recovery_code"} <= sent
    assert not [name for name in sent if re.search(r"hint|question|remind|maiden|birth|pet_|memorable", name)]
