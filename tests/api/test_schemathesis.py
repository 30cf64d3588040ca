"""Every route, called with what the OpenAPI document allows and with what it forbids: no 5xx, and every answer as the
document says. The real app, served by devhost over a socket; the draws are the same in each run."""

import itertools
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, assume, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    allow_header_conformance,
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from bench._servers import devhost
from functions import ENDPOINTS
from functions._openapi import document
from tests.app import ROOT, acceptance, registration

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
    unsupported_method,
    allow_header_conformance,
]
LONGEST_TARGET = 4000
"""Characters of a path with its query: what is much longer never gets past a front end."""


def _without_security(described: dict[str, Any]) -> dict[str, Any]:
    """The document without what would draw credentials: each caller brings the own."""
    described["components"].pop("securitySchemes")
    for path in described["paths"].values():
        for operation in path.values():
            operation.pop("security")
    return described


SCHEMA = schemathesis.openapi.from_dict(_without_security(document(ENDPOINTS)))
ENDPOINT = {each.name: each for each in ENDPOINTS}
OPERATIONS = {
    str(each.ok().definition.raw["operationId"]): each.ok()
    for each in SCHEMA.get_all_operations()
    if isinstance(each, Ok)
}
MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
NOTHING_TO_FORBID = {
    str(operation.definition.raw["operationId"])
    for operation in OPERATIONS.values()
    if not operation.definition.raw["parameters"] and "requestBody" not in operation.definition.raw
}


def examples(caller: str, name: str) -> int:
    """How many draws of a caller are worth the time: one shows that a door is shut."""
    endpoint = ENDPOINT[name]
    may = {"tenant_admin": True, "API key": endpoint.scope is not None, "nobody": endpoint.who is None}[caller]
    return 1 if not may else 3 if caller == "API key" else 6


@dataclass
class Tenant:
    """A tenant of its own for each operation: what one of them ends or forbids does not hold up the others."""

    base: str
    headers: dict[str, dict[str, str]] = field(default_factory=dict)
    ids: list[str] = field(default_factory=list)

    def open(self, client: httpx.Client) -> None:
        """An administrator, another user, a key with every scope, an open invitation."""

        def post(path: str, body: dict[str, Any], headers: dict[str, str] | None = None) -> Any:
            answer = client.post(f"{self.base}/v1/{path}", json=body, headers=headers)
            assert answer.status_code == 201, answer.text
            return answer.json()

        mine, other, guest = (f"{uuid.uuid4()}@example.com" for _ in range(3))  # noqa: TID251 - the server is real
        made = post("register", registration(mine))
        admin = {"Authorization": f"Bearer {made['access_token']}"}
        scopes = ["alerts:read", "events:read", "events:write", "ledger:read", "reports:read"]
        key = post("admin/api-keys", {"name": "every scope", "scopes": scopes}, admin)
        invited = [post("admin/invitations", {"email": each, "role": "user"}, admin) for each in (other, guest)]
        joined = post("register", acceptance(invited[0]["invitation"], other))
        session = made["refresh_token"].split(".")[1]
        self.headers = {"tenant_admin": admin, "API key": {"Authorization": f"Bearer {key['key']}"}, "nobody": {}}
        self.ids = [made["user"]["id"], joined["user"]["id"], key["id"], invited[1]["id"], session]


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REFRESH_RATE_PER_MINUTE", "0")
        with devhost(ROOT, ":memory:") as server:
            yield f"{server.url}"


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_answer_is_as_the_document_says(base: str, name: str) -> None:
    tenant, operation = Tenant(base), OPERATIONS[name]
    with httpx.Client(timeout=30) as client:
        tenant.open(client)
    callers = ("nobody",) if ENDPOINT[name].who is None else tuple(tenant.headers)
    for caller, mode in itertools.product(callers, MODES if name not in NOTHING_TO_FORBID else MODES[:1]):
        ids = itertools.cycle([None, *tenant.ids])

        @settings(
            max_examples=examples(caller, name),
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def call(case: Any) -> None:
            known = next(ids)  # noqa: B023 - called within this round
            if known is not None and "id" in case.path_parameters:
                case.path_parameters["id"] = known
            target = requests.Request(**case.as_transport_kwargs(base_url=base)).prepare().url or ""
            assume(len(target) <= LONGEST_TARGET)
            case.call_and_validate(base_url=base, headers=tenant.headers[caller], checks=CHECKS)  # noqa: B023

        call()


def test_every_route_is_called() -> None:
    assert OPERATIONS.keys() == ENDPOINT.keys()
