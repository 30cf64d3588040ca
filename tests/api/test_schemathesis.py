"""Every route, called with what the OpenAPI document allows and with what it forbids: no 5xx, and every answer as the
document says. The real app, served by devhost over a socket; the draws are the same in each run."""

import asyncio
import itertools
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
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
from shared.core.settings import Settings
from shared.identity.model import Role
from shared.identity.operations import NewAdmin
from shared.identity.passwords import Passwords
from shared.wiring import build_services
from tests.app import PASSWORD, ROOT, TOY_COST, acceptance, registration

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


OF_PERSONS = [name for name in OPERATIONS if ENDPOINT[name].who is not None]
"""What anyone may do is asked by nobody."""


def callers(name: str) -> tuple[str, ...]:
    """Who calls: each role, an API key, and who shows nothing."""
    return ("nobody",) if name not in OF_PERSONS else (*Role, "API key", "nobody")


def examples(caller: str, name: str) -> int:
    """How many draws of a caller are worth the time: one shows that a door is shut."""
    endpoint = ENDPOINT[name]
    if endpoint.who is None:
        return 6
    if caller == "nobody" or (caller not in endpoint.who and (caller != "API key" or endpoint.scope is None)):
        return 1
    return 6 if caller == Role.TENANT_ADMIN else 2


@dataclass
class Tenant:
    """A tenant of its own for each operation: what one of them ends or forbids does not hold up the others."""

    base: str
    headers: dict[str, dict[str, str]] = field(default_factory=dict)
    ids: list[str] = field(default_factory=list)

    def open(self, client: httpx.Client, system_admin: str) -> None:
        """People of each role, a key with every scope, an open invitation. `system_admin`: the e-mail of one."""

        def post(path: str, body: dict[str, Any], headers: dict[str, str] | None = None) -> Any:
            answer = client.post(f"{self.base}/v1/{path}", json=body, headers=headers)
            assert answer.status_code == (200 if path == "login" else 201), answer.text
            return answer.json()

        def email() -> str:
            return f"{uuid.uuid4()}@example.com"  # noqa: TID251 - the server is real

        def bearer(answer: Any) -> dict[str, str]:
            return {"Authorization": f"Bearer {answer['access_token']}"}

        def invited(role: Role, to: str) -> Any:
            return post("admin/invitations", {"email": to, "role": role}, admin)

        made = post("register", registration(email()))
        admin = bearer(made)
        joined: dict[Role, Any] = {}
        for role in (Role.VIEWER, Role.USER, Role.AUDITOR):
            to = email()
            joined[role] = post("register", acceptance(invited(role, to)["invitation"], to))
        scopes = ["alerts:read", "events:read", "events:write", "ledger:read", "reports:read"]
        key = post("admin/api-keys", {"name": "every scope", "scopes": scopes}, admin)
        guest, session = invited(Role.USER, email()), made["refresh_token"].split(".")[1]
        root = post("login", {"email": system_admin, "password": PASSWORD})
        self.headers = {role: bearer(answer) for role, answer in joined.items()}
        self.headers |= {Role.TENANT_ADMIN: admin, Role.SYSTEM_ADMIN: bearer(root)}
        self.headers |= {"API key": {"Authorization": f"Bearer {key['key']}"}, "nobody": {}}
        self.ids = [made["user"]["id"], joined[Role.USER]["user"]["id"], key["id"], guest["id"], session]


def system_admin_of(name: str) -> str:
    """The e-mail of the system administrator who calls an operation: what it ends does not hold up the others."""
    return f"{name.replace('_', '.')}@example.com"


async def _make_system_admins(folder: Path) -> None:
    services = await build_services(Settings(kraftd_data=str(folder)), passwords=Passwords(TOY_COST))
    for name in OF_PERSONS:
        new = NewAdmin(system_admin_of(name), PASSWORD, "Some", "Operator")
        await services.operations.make_system_admin(new)
    await services.close()


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("data")
    asyncio.run(_make_system_admins(folder))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REFRESH_RATE_PER_MINUTE", "0")
        with devhost(ROOT, str(folder)) as server:
            yield f"{server.url}"


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_answer_is_as_the_document_says(base: str, name: str) -> None:
    tenant, operation = Tenant(base), OPERATIONS[name]
    with httpx.Client(timeout=30) as client:
        tenant.open(client, system_admin_of(name if name in OF_PERSONS else OF_PERSONS[0]))
    for caller, mode in itertools.product(callers(name), MODES if name not in NOTHING_TO_FORBID else MODES[:1]):
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


def test_every_route_is_called_and_by_every_role() -> None:
    assert OPERATIONS.keys() == ENDPOINT.keys()
    assert len(OF_PERSONS) > 50
    assert {name for name in OF_PERSONS if set(Role) - set(callers(name))} == set()
