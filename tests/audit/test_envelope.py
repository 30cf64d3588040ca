"""Who, what, when and where: each type of event, as its golden file has it stored."""

import json
import re
from typing import Any

import pytest

from shared.audit.registry import all_types
from shared.core.clock import parse_rfc3339
from shared.core.ids import time_of
from tests.audit.support import AGENT, EXAMPLES, IP
from tests.audit.test_golden import golden_file

UTC_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
NOBODY = {"anonymous", "system"}
"""Kinds of actors that have no id; of all others it is asked for."""


def stored(name: str) -> dict[str, Any]:
    event: dict[str, Any] = json.loads(golden_file(name).read_text(encoding="utf-8"))
    return event


@pytest.mark.parametrize("name", sorted(all_types()))
def test_who(name: str) -> None:
    """An anonymous call has an address at least, in the box of whom it was about, or its keyed hash."""
    event = stored(name)
    actor = event["actor"]
    assert actor.keys() == {"kind", "id", "role"}
    assert actor["kind"] in {"user", "service", "system", "anonymous", "operator"}
    assert (actor["id"] is None) == (actor["kind"] in NOBODY)
    assert event["tenant_id"]
    if actor["kind"] == "anonymous":
        assert event["ip_key"]


@pytest.mark.parametrize("name", sorted(all_types()))
def test_what(name: str) -> None:
    event, kind = stored(name), all_types()[name]
    assert event["type"] == name or kind.name.endswith("*")
    assert event["outcome"] in {"success", "failure", "denied", "error"}
    assert event["outcome"] == "success" or event["reason"] or event["attributes"]
    assert event["severity"] in {"info", "low", "medium", "high", "critical"}
    assert event["target"] is None or (event["target"]["kind"] and event["target"]["id"])
    assert event["data_class"]
    assert event["schema"] >= 1


@pytest.mark.parametrize("name", sorted(all_types()))
def test_when(name: str) -> None:
    """In UTC, to the microsecond; the id says it again, and so does the partition."""
    event = stored(name)
    for field in ("recorded_at", "occurred_at"):
        assert UTC_TIME.fullmatch(event[field]), field
    assert event["period"] == event["recorded_at"][:7]
    assert abs((time_of(event["id"]) - parse_rfc3339(event["recorded_at"])).total_seconds()) < 0.001


@pytest.mark.parametrize("name", sorted(all_types()))
def test_where(name: str) -> None:
    """By which call, of which session or key, or by which timer; and from which address a person called."""
    event = stored(name)
    context, source = event["context"], event["source"]
    assert context["request_id"]
    assert re.fullmatch(r"(GET|POST|PUT|PATCH|DELETE) /v1/\S+|(timer|feed|operator|app)/\S+", context["route"])
    assert source["kind"] in {"session", "function", "api_key"}
    assert source["id"]
    draft = EXAMPLES[name]
    if draft.person is not None:
        data = event["personal"][draft.person]["data"]
        assert (data["ip"], data["user_agent"]) == (IP, AGENT)
        assert event["ip_key"]
        assert event["ua_key"]


def test_there_is_something_of_each_kind() -> None:
    """The examples are not all of one kind, so that what is asked above is asked of something."""
    events = [stored(name) for name in all_types()]
    assert len(events) > 50
    assert len({event["actor"]["kind"] for event in events}) >= 4
    assert {event["source"]["kind"] for event in events} == {"session", "function", "api_key"}
    assert {event["outcome"] for event in events} >= {"success", "failure", "denied"}
    assert sum(draft.person is not None for draft in EXAMPLES.values()) > 20
