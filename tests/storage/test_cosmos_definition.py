"""Containers as Cosmos DB is asked for them, and what counts as a difference from that."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from shared.storage._cosmos_definition import (
    EVERYTHING,
    Remedy,
    definition,
    drifts,
    included_paths,
)
from shared.storage._cosmos_throughput import Throughput, throughput_drifts
from shared.storage.containers import AUDIT_EVENTS, CONTAINERS, DIRECTORY, GUARDS, IDENTITY, TENANTS, Container

EVERY = pytest.mark.parametrize("container", CONTAINERS.values(), ids=lambda each: each.name)

type Reported = dict[str, Any]


def wanted(container: Container = IDENTITY) -> Reported:
    return definition(container, ttl_days=2555)


def reported(container: Container) -> Reported:
    """As an account tells of it: the store's own fields, defaults spelled out, lists in an order of its own."""
    found = copy.deepcopy(wanted(container))
    policy = found["indexingPolicy"]
    policy["indexingMode"] = "Consistent"
    policy["includedPaths"] = [
        {**path, "indexes": [{"kind": "Range", "dataType": "String", "precision": -1}]}
        for path in reversed(policy["includedPaths"])
    ]
    policy["excludedPaths"] = policy["excludedPaths"][::-1]
    policy["compositeIndexes"] = policy["compositeIndexes"][::-1]
    policy["spatialIndexes"] = []
    return {
        "_rid": "4PJCAMOPZpM=",
        "_self": "dbs/4PJCAA==/colls/4PJCAMOPZpM=/",
        "_etag": '"00000000-0000-0000-0000-000000000000"',
        "_ts": 1_800_000_000,
        "_docs": "docs/",
        "conflictResolutionPolicy": {"mode": "LastWriterWins", "conflictResolutionPath": "/_ts"},
        "geospatialConfig": {"type": "Geography"},
        **found,
    }


# What is asked for


def test_the_trails_definition() -> None:
    made = definition(AUDIT_EVENTS, ttl_days=30, name="trail")
    assert made["id"] == "trail"
    assert made["partitionKey"] == {"paths": ["/tenant_id", "/period"], "kind": "MultiHash", "version": 2}
    assert made["defaultTtl"] == 30 * 86_400
    policy = made["indexingPolicy"]
    assert (policy["indexingMode"], policy["automatic"]) == ("consistent", True)
    assert [each["path"] for each in policy["excludedPaths"]] == ["/*", '/"_etag"/?']
    assert {each["path"] for each in policy["includedPaths"]} == {
        "/tenant_id/?",
        "/period/?",
        "/recorded_at/?",
        "/occurred_at/?",
        "/type/?",
        "/outcome/?",
        "/severity/?",
        "/data_class/?",
        "/actor/id/?",
        "/target/id/?",
        "/actor_key/?",
        "/target_key/?",
        "/ip_key/?",
        "/subjects/[]/?",
    }
    composites = [[path["path"] for path in each] for each in policy["compositeIndexes"]]
    assert ["/type", "/target/id", "/occurred_at", "/id"] in composites
    assert ["/type", "/actor/id", "/occurred_at", "/id"] in composites
    assert len(composites) == 13


def test_the_trail_is_kept_for_seven_years_unless_the_settings_say_otherwise() -> None:
    assert wanted(AUDIT_EVENTS)["defaultTtl"] == AUDIT_EVENTS.default_ttl_seconds == 220_752_000


def test_the_other_ttls_are_as_declared() -> None:
    assert definition(GUARDS, ttl_days=1)["defaultTtl"] == -1
    assert "defaultTtl" not in definition(DIRECTORY, ttl_days=1)


def test_a_container_without_queries_indexes_nothing() -> None:
    """Its key is `id`, which is indexed in any case and cannot be listed."""
    assert wanted(DIRECTORY)["indexingPolicy"]["includedPaths"] == []
    assert [each["path"] for each in wanted(TENANTS)["indexingPolicy"]["includedPaths"]] == ["/shard/?"]


@EVERY
def test_nothing_else_is_indexed_but_the_key_is(container: Container) -> None:
    policy = wanted(container)["indexingPolicy"]
    included = [each["path"] for each in policy["includedPaths"]]
    assert {"path": EVERYTHING} in policy["excludedPaths"], "Cosmos wants to be told of everything else"
    assert len(set(included)) == len(included)
    assert {f"/{path}/?" for path in container.partition_key if path != "id"} <= set(included)
    for index in policy["compositeIndexes"]:
        assert {f"{path['path']}/?" for path in index} - {"/id/?"} <= set(included)


@EVERY
def test_the_limits_of_composite_indexes_hold(container: Container) -> None:
    composites = wanted(container)["indexingPolicy"]["compositeIndexes"]
    assert len(composites) <= 100
    assert all(2 <= len(each) <= 8 for each in composites)


def test_an_array_and_a_deep_path() -> None:
    container = Container(name="x", partition_key=("a.b",), also_indexed=("c.d[]", "a.b", "e"))
    assert included_paths(container) == ["/a/b/?", "/c/d/[]/?", "/e/?"]


# What differs


@EVERY
def test_what_an_account_reports_of_its_own_accord_is_no_drift(container: Container) -> None:
    assert drifts(reported(container), wanted(container)) == []


def test_an_account_may_leave_out_the_etag_and_the_defaults() -> None:
    found = reported(IDENTITY)
    policy = found["indexingPolicy"]
    policy["excludedPaths"] = [{"path": "/*"}]
    del policy["automatic"], policy["indexingMode"], policy["spatialIndexes"]
    for index in policy["compositeIndexes"]:
        for path in index:
            del path["order"]
    assert drifts(found, wanted()) == []


def _policy(**changes: Any) -> Callable[[Reported], None]:
    return lambda found: found["indexingPolicy"].update(changes)


def _key(**changes: Any) -> Callable[[Reported], None]:
    return lambda found: found["partitionKey"].update(changes)


def _turn(found: Reported) -> None:
    """An index over the same paths in another order serves other queries."""
    found["indexingPolicy"]["compositeIndexes"][0].reverse()


@pytest.mark.parametrize(
    ("tamper", "expected"),
    [
        (lambda f: f.pop("defaultTtl"), ["default TTL: is off, should be on, without a default"]),
        (lambda f: f.update(defaultTtl=60), ["default TTL: is 60 seconds, should be on, without a default"]),
        (
            lambda f: f["indexingPolicy"]["includedPaths"].pop(),
            ["included path /tenant_id/?: is absent, should be present"],
        ),
        (
            lambda f: f["indexingPolicy"]["includedPaths"].append({"path": "/x/?"}),
            ["included path /x/?: is present, should be absent"],
        ),
        (
            _policy(includedPaths=[{"path": "/*"}], excludedPaths=[], compositeIndexes=[]),
            [
                "included path /created_at/?: is absent, should be present",
                "included path /kind/?: is absent, should be present",
                "included path /next_at/?: is absent, should be present",
                "included path /role/?: is absent, should be present",
                "included path /search_email/?: is absent, should be present",
                "included path /search_last_name/?: is absent, should be present",
                "included path /search_name/?: is absent, should be present",
                "included path /status/?: is absent, should be present",
                "included path /subject/?: is absent, should be present",
                "included path /tenant_id/?: is absent, should be present",
                "included path /user_id/?: is absent, should be present",
                "included path /*: is present, should be absent",
                "excluded path /*: is absent, should be present",
                "composite index (/created_at, /id): is absent, should be present",
                "composite index (/kind, /created_at, /id): is absent, should be present",
                "composite index (/kind, /user_id, /created_at, /id): is absent, should be present",
            ],
        ),
        (
            _turn,
            [
                "composite index (/kind, /user_id, /created_at, /id): is absent, should be present",
                "composite index (/id, /created_at, /user_id, /kind): is present, should be absent",
            ],
        ),
        (
            _policy(indexingMode="none", automatic=False),
            ["indexing mode: is none, not automatic, should be consistent, automatic"],
        ),
        (
            _policy(spatialIndexes=[{"path": "/place/*", "types": ["Point"]}]),
            ["other index spatialIndexes: /place/*: is present, should be absent"],
        ),
    ],
)
def test_each_difference_is_a_line(tamper: Callable[[Reported], None], expected: list[str]) -> None:
    found = reported(IDENTITY)
    tamper(found)
    differing = drifts(found, wanted())
    assert [str(each) for each in differing] == [f"identity: {line}" for line in expected]
    assert {each.remedy for each in differing} == {Remedy.REPLACE}


@pytest.mark.parametrize(
    ("change", "spelled"),
    [
        (_key(paths=["/id"]), "/id (Hash, version 2)"),
        (_key(version=1), "/tenant_id (Hash, version 1)"),
        (_key(paths=["/tenant_id", "/kind"], kind="MultiHash"), "/tenant_id + /kind (MultiHash, version 2)"),
        (lambda f: f["partitionKey"].pop("version"), "/tenant_id (Hash, version 1)"),
        (lambda f: f.pop("partitionKey"), "none (Hash, version 1)"),
    ],
)
def test_a_partition_key_is_for_ever(change: Callable[[Reported], None], spelled: str) -> None:
    found = reported(IDENTITY)
    change(found)
    (drift,) = drifts(found, wanted())
    assert str(drift) == f"identity: partition key: is {spelled}, should be /tenant_id (Hash, version 2)"
    assert drift.remedy is Remedy.NONE


# Throughput


@pytest.mark.parametrize(
    ("setting", "expected", "spelled"),
    [
        ("serverless", Throughput("serverless"), "serverless"),
        ("400", Throughput("manual", 400), "400 RU/s"),
        ("1000000", Throughput("manual", 1_000_000), "1000000 RU/s"),
        ("autoscale:4000", Throughput("autoscale", 4000), "autoscale up to 4000 RU/s"),
    ],
)
def test_the_settings_throughput(setting: str, expected: Throughput, spelled: str) -> None:
    assert Throughput.of(setting) == expected
    assert str(expected) == spelled


@pytest.mark.parametrize("setting", ["100", "399", "450", "autoscale:400", "autoscale:4100"])
def test_amounts_that_are_not_sold(setting: str) -> None:
    with pytest.raises(ValueError, match="request units per second"):
        Throughput.of(setting)


MANUAL = {"content": {"offerThroughput": 400}}
AUTOSCALE = {"content": {"offerThroughput": 400, "offerAutopilotSettings": {"maxThroughput": 4000}}}


@pytest.mark.parametrize(
    ("setting", "serverless", "offer", "expected"),
    [
        ("serverless", True, None, None),
        ("400", False, MANUAL, None),
        ("autoscale:4000", False, AUTOSCALE, None),
        ("400", None, None, None),
        ("500", False, MANUAL, ("400 RU/s", "500 RU/s", Remedy.REPLACE)),
        (
            "autoscale:1000",
            False,
            AUTOSCALE,
            ("autoscale up to 4000 RU/s", "autoscale up to 1000 RU/s", Remedy.REPLACE),
        ),
        ("400", False, AUTOSCALE, ("autoscale up to 4000 RU/s", "400 RU/s", Remedy.BY_HAND)),
        ("autoscale:4000", False, MANUAL, ("400 RU/s", "autoscale up to 4000 RU/s", Remedy.BY_HAND)),
        ("400", False, None, ("none", "400 RU/s", Remedy.BY_HAND)),
        ("400", True, None, ("serverless", "provisioned, for 400 RU/s", Remedy.NONE)),
        ("serverless", False, MANUAL, ("provisioned", "serverless", Remedy.NONE)),
    ],
)
def test_throughput_that_is_not_as_wanted(
    setting: str, serverless: bool | None, offer: Any, expected: tuple[str, str, Remedy] | None
) -> None:
    found = throughput_drifts({"id": "d"}, Throughput.of(setting), offer, serverless=serverless)
    assert [(each.found, each.wanted, each.remedy) for each in found] == ([expected] if expected else [])


def test_a_database_to_be_made_lacks_no_throughput_yet() -> None:
    assert throughput_drifts(None, Throughput.of("400"), None, serverless=False) == []
    (drift,) = throughput_drifts(None, Throughput.of("400"), None, serverless=True)
    assert drift.remedy is Remedy.NONE
