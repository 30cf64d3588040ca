"""Query strings and numbers on every route that takes any, as the OpenAPI document lists them: each said once, from one
place, within bounds, decoded once."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import urlencode

import pytest

from devhost.host import Host
from functions import ENDPOINTS
from functions._api import Endpoint, Nothing
from functions._openapi import document
from shared.identity.model import user_key
from shared.storage.containers import IDENTITY
from tests.app import Account, App, assert_problem, running
from tests.calls import QUERIES, path_of
from tests.fakes import ManualClock

SPEC = document(ENDPOINTS)
SCHEMAS: dict[str, Any] = SPEC["components"]["schemas"]
OPERATIONS = {op["operationId"]: op for path in SPEC["paths"].values() for op in path.values()}
BY_NAME = {each.name: each for each in ENDPOINTS}
PARAMETERS = [
    (BY_NAME[name], each["name"], each["schema"])
    for name, operation in OPERATIONS.items()
    for each in operation["parameters"]
    if each["in"] == "query"
]
ONE_VALUE = [(endpoint, name) for endpoint, name, schema in PARAMETERS if schema.get("type") != "array"]
FAR = [1 << 31, 1 << 32, (1 << 53) + 1, 1 << 63, -(1 << 63) - 1, 1 << 64, 10**30]


def _numbers(schema: Any, seen: frozenset[str] = frozenset()) -> Iterator[dict[str, Any]]:
    """The schemas of all numbers below a schema."""
    if isinstance(schema, list):
        for each in schema:
            yield from _numbers(each, seen)
    elif isinstance(schema, dict):
        if schema.get("type") in ("integer", "number"):
            yield schema
        name = schema.get("$ref", "").rpartition("/")[2]
        if name and name not in seen:
            yield from _numbers(SCHEMAS[name], seen | {name})
        for each in schema.values():
            yield from _numbers(each, seen)


NUMBERS = [(endpoint, name, schema) for endpoint, name, schema in PARAMETERS if list(_numbers(schema))]


def _ids(each: object) -> str:
    return each.name if isinstance(each, Endpoint) else str(each)


@pytest.fixture(scope="module")
async def app(host: Host) -> AsyncIterator[App]:
    """The app that the calls of this module share: none of them is to change anything."""
    async with running(host, ManualClock()) as started:
        yield started


@pytest.fixture(scope="module")
async def ada(app: App) -> Account:
    return await app.register("ada@example.com")


def test_there_is_something_to_ask_for() -> None:
    assert len(ONE_VALUE) > 70
    assert {endpoint.name for endpoint, *_ in PARAMETERS} == {
        each.name for each in ENDPOINTS if each.query is not Nothing
    }


@pytest.mark.parametrize(("endpoint", "name"), ONE_VALUE, ids=_ids)
async def test_a_parameter_that_is_given_twice(app: App, ada: Account, endpoint: Endpoint, name: str) -> None:
    """Neither the first nor the last counts, nor both joined: equal or not, empty, or spelled in another way."""
    before = await app.types(ada.tenant_id)
    url = f"{path_of(endpoint)}?{urlencode(QUERIES.get(endpoint.name, {}) | {name: '1'})}"
    escaped = f"%{ord(name[0]):02x}{name[1:]}"
    for again in (f"{name}=1", f"{name}=2", f"{name}=", name, f"{escaped}=2"):
        answer = await app.client.request(endpoint.method, f"{url}&{again}", headers=ada.auth)
        assert_problem(answer, 422, "invalid_request", name)
        assert answer.json()["errors"][0]["code"] == "repeated", again
    for other in (f"{name.upper()}=1", f"{name}[]=1", f"{name}.x=1"):
        answer = await app.client.request(endpoint.method, f"{url}&{other}", headers=ada.auth)
        assert answer.status_code == 422
        assert other.partition("=")[0] in [each["field"] for each in answer.json()["errors"]]
    assert await app.types(ada.tenant_id) == before


def test_no_field_has_two_places_but_one() -> None:
    """A query that names a field of the body is refused as every unknown one is (`test_general_rules.py`)."""
    both = {
        (endpoint.name, name)
        for endpoint, name, _ in PARAMETERS
        if name in {info.alias or field for field, info in endpoint.body.model_fields.items()}
    }
    assert both == {("delete_user", "reason")}


@pytest.mark.parametrize("same", [True, False])
async def test_that_one_is_not_given_in_both(app: App, ada: Account, same: bool) -> None:
    bob = await app.join(ada, f"bob.{same}@example.com")
    path, body = (
        f"/v1/admin/users/{bob.id}?reason=left+the+company",
        {"reason": "left the company" if same else "other"},
    )
    answer = await app.client.request("DELETE", path, json=body, headers=ada.auth)
    assert_problem(answer, 422, "invalid_request", "reason")
    assert (await app.client.get("/v1/profile", headers=bob.auth)).status_code == 200


@pytest.mark.parametrize(("endpoint", "name", "schema"), NUMBERS, ids=_ids)
async def test_a_number_out_of_bounds(app: App, ada: Account, endpoint: Endpoint, name: str, schema: Any) -> None:
    (number,) = _numbers(schema)
    near = [number["minimum"] - 1, number["maximum"] + 1]
    spelled = ["-0", "+1", "1e1", "0x1", "1_0", "1.0", " 1", "1\0", "\uff11", "\u0661", "", "NaN", "-", "9" * 5000]
    for value in (*near, *FAR, *spelled):
        query = QUERIES.get(endpoint.name, {}) | {name: str(value)}
        answer = await app.client.request(endpoint.method, path_of(endpoint), params=query, headers=ada.auth)
        assert_problem(answer, 422, "invalid_request", name)


def test_every_number_that_can_be_sent_has_two_bounds() -> None:
    """But those of producers' attributes, which are looked at one by one."""
    sent = [operation.get("requestBody", {}) for operation in OPERATIONS.values()] + [each for *_, each in PARAMETERS]
    numbers = list(_numbers(sent))
    assert len(numbers) > 20
    for number in numbers:
        assert number["minimum"] >= 0, number
        assert number["maximum"] <= (1 << 53) - 1, number


@pytest.mark.parametrize("endpoint", [each for each in ENDPOINTS if each.body is not Nothing], ids=_ids)
async def test_a_number_where_none_is_and_one_that_is_too_large(app: App, ada: Account, endpoint: Endpoint) -> None:
    """As it stands in the text, for some have no double, and some no integer of any store."""
    headers = (ada.auth if endpoint.who else {}) | {"Content-Type": "application/json"}
    before = await app.types(ada.tenant_id)
    for name in (info.alias or field for field, info in endpoint.body.model_fields.items()):
        for value in (*map(str, FAR), "1e308", "1e400", "-1e400", "1e-400", "-0.0"):
            raw = f"{{{json.dumps(name)}: {value}}}".encode()
            answer = await app.client.request(endpoint.method, path_of(endpoint), content=raw, headers=headers)
            assert answer.status_code in (400, 422), (name, value)
            assert answer.json()["code"] in ("invalid_request", "malformed_json", "invalid_event"), (name, value)
    assert await app.types(ada.tenant_id) == before


@pytest.mark.parametrize("value", ["9007199254740992", "-9007199254740992", "1e400", "-1e400", "1e16", "1" + "0" * 400])
async def test_a_number_of_an_attribute_that_no_double_holds(app: App, ada: Account, value: str) -> None:
    actor = '{"kind": "service", "id": "billing"}'
    for attribute in (value, f"[1, {value}]"):
        raw = f'{{"type": "custom.test", "actor": {actor}, "attributes": {{"n": {attribute}}}}}'.encode()
        answer = await app.client.post("/v1/events", content=raw, headers=ada.auth)
        assert answer.status_code in (400, 422), answer.text
    assert await app.events(ada.tenant_id, "custom.test") == []


async def test_what_is_encoded_twice_is_decoded_once(app: App, ada: Account) -> None:
    """Decoded again it would be found, or be a name or a path that nobody typed."""
    found = (await app.client.get("/v1/admin/users?q=%41da", headers=ada.auth)).json()["items"]
    assert [each["email"] for each in found] == ["ada@example.com"]
    assert (await app.client.get("/v1/admin/users?q=%2541da", headers=ada.auth)).json()["items"] == []
    answer = await app.client.get(f"/v1/events?actor={ada.id.replace('-', '%252d')}", headers=ada.auth)
    assert_problem(answer, 422, "invalid_request", "actor")
    path = f"/v1/admin/users/{ada.id}"
    assert (await app.client.get(path.replace("-", "%2d"), headers=ada.auth)).status_code == 200
    assert_problem(await app.client.get(path.replace("-", "%252d"), headers=ada.auth), 404, "not_found")
    await app.host.drain_feed()  # so that there is a tile
    tiles = "/v1/ledger/2026-03/tile"
    for tile in ("0/000.p/1", "%30/000.p/1", "0%2F000.p/1"):
        assert (await app.client.get(f"{tiles}/{tile}", headers=ada.auth)).status_code == 200
    for tile in ("%2530/000.p/1", "0/%2530%2530%2530.p/1", "0%25252F000.p/1", "0/000%252ep/1", "%252e%252e/checkpoint"):
        assert_problem(await app.client.get(f"{tiles}/{tile}", headers=ada.auth), 404, "not_found")


@pytest.mark.parametrize(
    "name",
    [
        *(
            "%41da",
            "&#65;da &lt;b&gt;",
            "\\u0041da",
            "\\\\",
            '"},{"role":"tenant_admin',
            "</script>",
            "${7*7} {{7*7}} {0}",
        ),
        *("'; DROP TABLE users; --", "%s %n", "=cmd|' /C calc'!A0", "\u00c3\u00a4"),
    ],
)
async def test_what_looks_encoded_or_like_code_stays_as_it_was_typed(app: App, ada: Account, name: str) -> None:
    """In the store, too: what writes a form escapes for that form, and nobody before."""
    answer = await app.client.put("/v1/profile", json={"last_name": name}, headers=ada.auth)
    assert answer.status_code == 200, answer.text
    assert answer.json()["last_name"] == name
    assert (await app.store.read(IDENTITY, (ada.tenant_id,), user_key(ada.id)))["last_name"] == name
    again = await app.client.get("/v1/profile", headers=ada.auth)
    assert again.json() == answer.json()
