"""The comparison with Azure's types notices what is wrong, and lets pass what it cannot know."""

from typing import Any

import pytest

from tests.infra.arm import Types

TYPES = Types()
LOCK = "Microsoft.Authorization/locks@2020-05-01"
PLAN = "Microsoft.Web/serverfarms@2025-03-01"
ACCOUNT = "Microsoft.DocumentDB/databaseAccounts@2025-10-15"
GROUP = "Microsoft.Insights/actionGroups@2023-01-01"


def either(one: Any, other: Any) -> dict[str, Any]:
    """`condition ? one : other`, as a parser gives it."""
    return {"operator": {"type": "conditional", "operands": {"true_value": one, "false_value": other}}}


def plan(**properties: Any) -> dict[str, Any]:
    return {"name": "p", "location": "l", "properties": properties}


@pytest.mark.parametrize(
    ("resource", "body"),
    [
        (LOCK, {"name": "kept", "scope": "x", "properties": {"level": "CanNotDelete"}}),
        (PLAN, plan(reserved=True, zoneRedundant="isZoned")),
        (PLAN, plan(reserved=either(True, "isZoned"))),
        (PLAN, plan(reserved={"function": {"type": "bool"}})),
        (
            ACCOUNT,
            {
                "name": "a",
                "properties": {
                    "backupPolicy": {"type": "Continuous"},
                    "locations": [],
                    "databaseAccountOfferType": "Standard",
                },
            },
        ),
    ],
)
def test_what_is_right_or_not_known_passes(resource: str, body: Any) -> None:
    assert TYPES.problems(resource, body, frozenset({"isZoned"})) == []


@pytest.mark.parametrize(
    ("resource", "body", "problem"),
    [
        (LOCK, {"name": "kept", "properties": {}}, ".properties.level: is missing"),
        (LOCK, {"name": "kept"}, ".properties: is missing"),
        (PLAN, plan(reserved="yes"), ".properties.reserved: is a text, should be true or false"),
        (PLAN, plan(reserved=either(True, 1)), ".properties.reserved: is a number, should be true or false"),
        (PLAN, plan(reserve=True), ".properties.reserve: there is no such property"),
        (PLAN, plan(status="Ready"), ".properties.status: is read-only"),
        (
            GROUP,
            {
                "name": "g",
                "location": "global",
                "properties": {"enabled": True, "groupShortName": "g", "emailReceivers": {}},
            },
            ".properties.emailReceivers: is an object, should be an array",
        ),
        (
            GROUP,
            {"name": "g", "location": "global", "properties": {"enabled": True, "groupShortName": 5}},
            ".properties.groupShortName: is a number, should be a text",
        ),
        (
            ACCOUNT,
            {
                "name": "a",
                "properties": {
                    "backupPolicy": {"type": "Weekly"},
                    "locations": [],
                    "databaseAccountOfferType": "Standard",
                },
            },
            ".properties.backupPolicy.type: Weekly is none of Continuous, Periodic",
        ),
    ],
)
def test_what_is_wrong_is_told(resource: str, body: Any, problem: str) -> None:
    assert TYPES.problems(resource, body) == [problem]


def test_items_of_loops_are_looked_at() -> None:
    loop = {"loop_type": {}, "config": {"name": "n", "emailAddress": "a", "x": 1}}
    body = {
        "name": "g",
        "location": "global",
        "properties": {"enabled": True, "groupShortName": "g", "emailReceivers": loop},
    }
    assert TYPES.problems(GROUP, body) == [".properties.emailReceivers[0].x: there is no such property"]


def test_a_type_that_is_not_there_is_no_pass() -> None:
    assert "Microsoft.Web/serverfarms@1999-01-01" not in TYPES
    with pytest.raises(KeyError):
        TYPES.problems("Microsoft.Web/serverfarms@1999-01-01", {})
