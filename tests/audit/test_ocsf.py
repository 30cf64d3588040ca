"""Events in OCSF, held to the public schema of that version."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.audit.export_formats import ocsf_line
from shared.audit.ocsf import to_ocsf
from shared.audit.ocsf_map import EVENT_TYPES, UNKNOWN
from shared.audit.registry import all_types
from tests.audit.exported import NAMES, faults, sample
from tests.audit.support import ADA, BOB, EMAIL, IP

CLASSES = {
    "auth.login": 3002,
    "user.role_change": 3001,
    "apikey.create": 3004,
    "audit.search": 6003,
    "access.denied": 6003,
    "alert.raise": 2004,
}


def test_every_type_has_its_class() -> None:
    """A type that falls through to API Activity, Other, does so because somebody said so here."""
    assert {name for name in all_types() if not name.endswith(".*")} - set(EVENT_TYPES) == set()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("reader", ["sees all", "sees nobody", "is a program", "after erasure"])
def test_the_schema_finds_nothing_wrong(name: str, reader: str) -> None:
    event = sample(name)
    if reader == "sees nobody":
        event["personal"] = {}
    elif reader == "is a program":
        event["personal"] = {each: {"withheld": True} for each in event["personal"]}
    elif reader == "after erasure":
        event |= {"personal": {each: {"erased": True} for each in event["personal"]}, "erased_at": event["recorded_at"]}
        event |= dict.fromkeys(("actor_key", "target_key", "ip_key", "ua_key"))
    made = to_ocsf(event)
    assert faults(made) == []
    assert made["type_uid"] == made["class_uid"] * 100 + made["activity_id"]
    assert made["metadata"]["uid"] == event["id"]
    assert made["metadata"]["tenant_uid"] == event["tenant_id"]
    assert made["class_uid"] == CLASSES.get(name, made["class_uid"])
    if reader != "sees all":
        for secret in (EMAIL, IP, "Mozilla", "bob@example.com", "Augusta"):
            assert secret not in ocsf_line(event).decode()


def test_who_where_when_and_how_it_ended() -> None:
    made = to_ocsf(sample("auth.login"))
    assert (made["class_name"], made["activity_name"], made["status"]) == ("Authentication", "Logon", "Failure")
    assert made["status_code"] == "bad_credentials"
    assert made["time"] == 1773576000123
    assert made["user"]["uid"] == ADA
    assert made["user"]["email_addr"] == "ada@EXAMPLE.com"
    assert made["src_endpoint"] == {"ip": IP}
    assert {each["value"] for each in made["observables"]} >= {ADA, IP, "ada@EXAMPLE.com"}
    assert made["unmapped"]["attributes"] == {"attempt_count": 3}


def test_what_an_attribute_decides() -> None:
    suspended, resumed = sample("user.status_change"), sample("user.status_change")
    resumed["attributes"] = {"old_status": "suspended", "new_status": "active"}
    assert [to_ocsf(each)["activity_name"] for each in (suspended, resumed)] == ["Disable", "Enable"]
    assert to_ocsf(suspended)["user"]["uid"] == BOB
    alert = sample("alert.update")
    found = []
    for status in ("open", "acknowledged", "resolved", "dismissed", "superseded"):
        alert["attributes"]["new_status"] = status
        made = to_ocsf(alert)
        assert faults(made) == []
        found.append((made["activity_name"], made["status"]))
    assert found == [
        ("Update", "New"),
        ("Update", "In Progress"),
        ("Close", "Resolved"),
        ("Close", "Suppressed"),
        ("Close", "Archived"),
    ]
    refused = sample("access.denied")
    for method, name in (("GET", "Read"), ("POST", "Create"), ("PATCH", "Update"), ("DELETE", "Delete")):
        refused["context"]["route"] = f"{method} /v1/admin/users/{{id:guid}}"
        assert to_ocsf(refused)["activity_name"] == name
    refused["context"]["route"] = "timer/daily_reports"
    assert (to_ocsf(refused)["activity_id"], to_ocsf(refused)["activity_name"]) == (99, "Refused")


@pytest.mark.parametrize("name", ["custom.dose_changed", "later.than_this_table"])
def test_a_type_that_nobody_mapped(name: str) -> None:
    event = sample("profile.view") | {"type": name, "attributes": {"new_status": "x", "factor": ["y"], "purpose": {}}}
    made = to_ocsf(event)
    assert faults(made) == []
    assert (made["class_uid"], made["activity_id"], made["activity_name"]) == (UNKNOWN.ocsf.uid, 99, name)
    assert made["unmapped"]["attributes"] == event["attributes"]


def test_what_a_producer_calls_an_address_need_not_be_one() -> None:
    event = sample("profile.view")
    for value in ("anywhere", "fe80::1%eth0", "1.2.3", 7, None, {"x": 1}, ""):
        event["personal"][ADA] = {"ip": value, "email": value, "user_agent": value}
        made = to_ocsf(event)
        assert faults(made) == []
        assert "ip" not in made["src_endpoint"]
        assert made["unmapped"]["personal"][ADA]["ip"] == value


TEXT = st.text(max_size=20)
PERSONAL = st.dictionaries(
    st.sampled_from([ADA, BOB, "patient-7"]),
    st.dictionaries(
        st.sampled_from(["email", "ip", "user_agent", "old_values"]),
        TEXT | st.sampled_from([IP, "2001:db8::1", EMAIL, "zażółć@example.com"]) | st.none() | st.integers(),
    ),
)
VARIANTS = st.fixed_dictionaries(
    {},
    optional={
        "outcome": st.sampled_from(["success", "failure", "denied", "error"]),
        "severity": st.sampled_from(["info", "low", "medium", "high", "critical"]),
        "reason": st.none() | TEXT,
        "target": st.none() | st.fixed_dictionaries({"kind": TEXT, "id": st.sampled_from([ADA, BOB, "patient-7"])}),
        "actor": st.fixed_dictionaries(
            {
                "kind": st.sampled_from(["user", "service", "system", "anonymous"]),
                "id": st.none() | st.sampled_from([ADA, "svc:1"]),
                "role": st.none() | st.sampled_from(["viewer", "tenant_admin"]),
            }
        ),
        "attributes": st.dictionaries(TEXT, TEXT | st.integers() | st.lists(TEXT)),
        "personal": PERSONAL,
        "ip_key": st.none() | TEXT,
        "occurred_at": st.sampled_from(["2000-01-01T00:00:00.000000Z", "9998-12-31T23:59:59.999999Z"]),
    },
)


@given(name=st.sampled_from(NAMES), changes=VARIANTS)
def test_any_event_is_valid_and_loses_nothing(name: str, changes: dict[str, Any]) -> None:
    event = sample(name) | changes
    made = to_ocsf(event)
    assert faults(made) == []
    kept = made["unmapped"]
    for field in ("attributes", "personal", "actor", "subjects", "outcome"):
        assert kept[field] == event[field]
    line = ocsf_line(event)
    assert line.count(b"\n") == 1
    assert json.loads(line) == json.loads(json.dumps(made))
