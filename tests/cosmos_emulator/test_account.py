"""The emulator's account behaves as Microsoft documents where provisioning relies on it. Plain REST, no SDK."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cosmos_emulator.emulator import Emulator

NAME = "shared"
SERVERLESS = "is not supported for serverless accounts."


@pytest.fixture
def account(emulator: Emulator) -> Iterator[Emulator]:
    yield emulator
    emulator.control("account", {"consistency": "Strong", "serverless": False, "refused": None, "endpoint": None})
    emulator.delete_database(NAME)


def create(account: Emulator, **headers: str) -> tuple[int, Any]:
    sent = {f"x-ms-{name.replace('_', '-')}": value for name, value in headers.items()}
    status, _, body = account.request("POST", "/dbs", {"id": NAME}, sent)
    return status, body


def autoscale(most: int) -> str:
    return json.dumps({"maxThroughput": most})


def offers(account: Emulator) -> list[Any]:
    _, _, database = account.request("GET", f"/dbs/{NAME}")
    query = {
        "query": "SELECT * FROM root r WHERE r.resource=@link",
        "parameters": [{"name": "@link", "value": database["_self"]}],
    }
    status, _, asked = account.request("POST", "/offers", query)
    assert status == 200
    _, _, listed = account.request("GET", "/offers")
    assert asked["Offers"] == [each for each in listed["Offers"] if each["resource"] == database["_self"]]
    found: list[Any] = asked["Offers"]
    return found


def test_a_database_shares_what_was_bought_with_it(account: Emulator) -> None:
    assert create(account, offer_throughput="500")[0] == 201
    (offer,) = offers(account)
    assert offer["content"]["offerThroughput"] == 500
    assert "offerAutopilotSettings" not in offer["content"]
    account.delete_database(NAME)
    assert offer["id"] not in [each["id"] for each in account.request("GET", "/offers")[2]["Offers"]]


def test_autoscale_begins_at_a_tenth(account: Emulator) -> None:
    assert create(account, cosmos_offer_autopilot_settings=autoscale(4000))[0] == 201
    (offer,) = offers(account)
    assert offer["content"]["offerThroughput"] == 400
    assert offer["content"]["offerAutopilotSettings"]["maxThroughput"] == 4000


def test_a_database_need_not_share_anything(account: Emulator) -> None:
    assert create(account)[0] == 201
    assert offers(account) == []


@pytest.mark.parametrize(
    "headers",
    [
        {"offer_throughput": "300"},
        {"offer_throughput": "450"},
        {"offer_throughput": "much"},
        {"cosmos_offer_autopilot_settings": autoscale(400)},
        {"cosmos_offer_autopilot_settings": autoscale(1500)},
    ],
)
def test_amounts_that_are_not_sold(account: Emulator, headers: dict[str, str]) -> None:
    assert create(account, **headers)[0] == 400
    assert account.request("GET", f"/dbs/{NAME}")[0] == 404


def test_an_offer_changes_its_amount_but_not_its_kind(account: Emulator) -> None:
    create(account, offer_throughput="400")
    (offer,) = offers(account)
    path = f"/{offer['_self']}"
    changed = {**offer, "content": {**offer["content"], "offerThroughput": 600}}
    assert account.request("PUT", path, changed)[0] == 200
    assert offers(account)[0]["content"]["offerThroughput"] == 600
    for content in ({"offerThroughput": 100}, {"offerAutopilotSettings": {"maxThroughput": 4000}}):
        assert account.request("PUT", path, {**offer, "content": content})[0] == 400
    assert offers(account)[0]["content"]["offerThroughput"] == 600
    assert account.request("PUT", "/offers/none", changed)[0] == 404


def test_a_serverless_account_sells_nothing(account: Emulator) -> None:
    account.control("account", {"serverless": True})
    for method, body in (("GET", None), ("POST", {"query": "SELECT * FROM root r", "parameters": []})):
        status, _, answer = account.request(method, "/offers", body)
        assert status == 400
        assert answer["message"].endswith(SERVERLESS)
    for headers in ({"offer_throughput": "400"}, {"cosmos_offer_autopilot_settings": autoscale(1000)}):
        status, answer = create(account, **headers)
        assert status == 400
        assert answer["message"].endswith(SERVERLESS)
    assert create(account)[0] == 201


def test_a_replaced_container_keeps_its_items_and_works_by_its_new_policy(account: Emulator) -> None:
    key = {"paths": ["/t"], "kind": "Hash", "version": 2}
    account.create_database(NAME, [{"id": "c", "partitionKey": key}])
    headers = {"x-ms-documentdb-partitionkey": '["t1"]', "x-ms-documentdb-isquery": "true"}
    create_headers = {"x-ms-documentdb-partitionkey": '["t1"]'}
    assert account.request("POST", f"/dbs/{NAME}/colls/c/docs", {"id": "a", "t": "t1"}, create_headers)[0] == 201
    ordered = {"query": "SELECT * FROM c ORDER BY c.t ASC, c.id ASC", "parameters": []}
    assert account.request("POST", f"/dbs/{NAME}/colls/c/docs", ordered, headers)[0] == 400
    composite = [[{"path": "/t", "order": "ascending"}, {"path": "/id", "order": "ascending"}]]
    new = {"id": "c", "partitionKey": key, "defaultTtl": 60, "indexingPolicy": {"compositeIndexes": composite}}
    assert account.request("PUT", f"/dbs/{NAME}/colls/c", new)[0] == 200
    status, _, body = account.request("POST", f"/dbs/{NAME}/colls/c/docs", ordered, headers)
    assert status == 200
    assert [each["id"] for each in body["Documents"]] == ["a"]
    assert account.request("GET", f"/dbs/{NAME}/colls/c")[2]["defaultTtl"] == 60
    other = {**new, "partitionKey": {**key, "paths": ["/x"]}}
    assert account.request("PUT", f"/dbs/{NAME}/colls/c", other)[0] == 400


def test_an_account_that_refuses_some_path(account: Emulator) -> None:
    account.control("account", {"refused": {"path": "/offers", "status": 403}})
    assert account.request("GET", "/offers")[0] == 403
    assert account.request("GET", "/")[0] == 200
    account.control("account", {"consistency": "Session"})
    assert account.request("GET", "/offers")[0] == 403, "what is not named stays"
    assert account.request("GET", "/")[2]["userConsistencyPolicy"]["defaultConsistencyLevel"] == "Session"


def test_an_account_says_where_its_regions_are(account: Emulator) -> None:
    def told() -> set[str]:
        _, _, answer = account.request("GET", "/")
        regions = [*answer["writableLocations"], *answer["readableLocations"]]
        return {each["databaseAccountEndpoint"] for each in regions}

    assert told() == {account.endpoint}
    account.control("account", {"endpoint": "https://region.example.com/"})
    assert told() == {"https://region.example.com/"}
    account.control("account", {"consistency": "Session"})
    assert told() == {"https://region.example.com/"}, "what is not named stays"
    account.control("account", {"endpoint": None})
    assert told() == {account.endpoint}
