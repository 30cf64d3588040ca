"""What POST /events takes of one event, and how it says no: by field, by code, without the value."""

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.audit.entries import ENTRY_FIELDS, MAX_ENTRY_BYTES, entry_of
from shared.audit.events.custom import Custom
from shared.audit.events.data import DataRead
from shared.audit.producer import LONGEST_PERSONAL, Produced, read_event
from shared.audit.values import HIGHEST_NUMBER
from shared.core.clock import rfc3339
from tests.audit.support import EXAMPLES, NOW, World

BASE = {"type": "custom.test", "actor": {"kind": "service", "id": "billing"}}
DATA = {**BASE, "type": "data.read", "data_class": "phi"}
CONSENT = {**BASE, "type": "consent.grant", "actor": {"kind": "user", "id": "u"}}
LONG_ID = "x" * 65


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"a": value}
    return value


def faults(value: Any, *, suspicious: bool = True) -> list[tuple[str, str]]:
    found = read_event(value, NOW, suspicious=suspicious)
    return [] if isinstance(found, Produced) else [(each.field, each.code) for each in found]


GOOD: list[dict[str, Any]] = [
    BASE,
    DATA,
    {**BASE, "type": "custom.a"},
    {**BASE, "type": "custom." + "a" * 64},
    {**BASE, "type": "custom.order.created-v2_x"},
    {**BASE, "outcome": "error"},
    {**BASE, "target": None, "occurred_at": None, "producer_id": None, "data_class": None, "record_count": None},
    {**BASE, "producer_id": "a.b_c:d-E9", "target": {"kind": "Patient", "id": "x" * 64}},
    {**BASE, "occurred_at": rfc3339(NOW + timedelta(minutes=5))},
    {**BASE, "occurred_at": rfc3339(NOW - timedelta(days=7))},
    {**BASE, "occurred_at": "2026-03-15T13:00:00+01:00"},
    {**BASE, "record_count": 1_000_000_000},
    {**BASE, "attributes": {f"k{n}": "x" * 500 for n in range(50)}},
    {**BASE, "attributes": {"x" * 40: HIGHEST_NUMBER, "y": -HIGHEST_NUMBER, "z": 0.1, "e": "é\U0001f600\n\t"}},
    {**BASE, "attributes": {"list": ["a", 1, None, True, 2.5], "none": None}},
    {**BASE, "personal": {"p": {"old": nested(2), "new": [1, {"a": "b"}]}, "q": {}}},
    {**BASE, "subjects": [f"s{n}" for n in range(20)]},
    {**CONSENT, "attributes": {"purpose": "research", "version": "1"}},
]
BAD: list[tuple[Any, str, str]] = [
    *[(value, "", "model_type") for value in (None, 1, "x", [], [BASE], True)],
    ({}, "type", "missing"),
    ({"type": "custom.test"}, "actor", "missing"),
    ({**BASE, "type": 7}, "type", "string_type"),
    ({**BASE, "type": "auth.login"}, "type", "type_not_allowed"),
    ({**BASE, "type": "user.delete"}, "type", "type_not_allowed"),
    ({**BASE, "type": "data.archive"}, "type", "type_not_allowed"),
    ({**BASE, "type": "custom"}, "type", "type_not_allowed"),
    ({**BASE, "type": "Custom.test"}, "type", "type_not_allowed"),
    ({**BASE, "type": "custom."}, "type", "custom_name"),
    ({**BASE, "type": "custom.*"}, "type", "custom_name"),
    ({**BASE, "type": "custom.Test"}, "type", "custom_name"),
    ({**BASE, "type": "custom.test\n"}, "type", "custom_name"),
    ({**BASE, "type": "custom.żółw"}, "type", "custom_name"),
    ({**BASE, "type": "custom." + "a" * 65}, "type", "string_too_long"),
    ({**BASE, "actor": {"kind": "system", "id": "x"}}, "actor.kind", "literal_error"),
    ({**BASE, "actor": {"kind": "user", "id": ""}}, "actor.id", "string_pattern_mismatch"),
    ({**BASE, "actor": {"kind": "user", "id": LONG_ID}}, "actor.id", "string_pattern_mismatch"),
    ({**BASE, "actor": {"kind": "user", "id": "a b"}}, "actor.id", "string_pattern_mismatch"),
    ({**BASE, "actor": {"kind": "user", "id": "a\n"}}, "actor.id", "string_pattern_mismatch"),
    ({**BASE, "actor": {"kind": "user", "id": "ä"}}, "actor.id", "string_pattern_mismatch"),
    ({**BASE, "actor": {"kind": "user", "id": "x", "role": "admin"}}, "actor.role", "extra_forbidden"),
    ({**BASE, "target": {"kind": "a b", "id": "x"}}, "target.kind", "string_pattern_mismatch"),
    ({**BASE, "target": {"kind": "x"}}, "target.id", "missing"),
    ({**BASE, "producer_id": "a/b"}, "producer_id", "string_pattern_mismatch"),
    ({**BASE, "outcome": "maybe"}, "outcome", "literal_error"),
    ({**DATA, "outcome": "error"}, "outcome", "outcome_not_allowed"),
    ({**BASE, "type": "data.read"}, "data_class", "missing"),
    ({**DATA, "data_class": "none"}, "data_class", "missing"),
    ({**DATA, "data_class": "public"}, "data_class", "literal_error"),
    ({**BASE, "occurred_at": "yesterday"}, "occurred_at", "moment"),
    ({**BASE, "occurred_at": "2026-03-15T12:00:00"}, "occurred_at", "moment"),
    ({**BASE, "occurred_at": 1773576000}, "occurred_at", "moment"),
    ({**BASE, "occurred_at": rfc3339(NOW + timedelta(minutes=5, microseconds=1))}, "occurred_at", "too_far_ahead"),
    ({**BASE, "occurred_at": rfc3339(NOW - timedelta(days=7, microseconds=1))}, "occurred_at", "too_far_behind"),
    ({**BASE, "record_count": -1}, "record_count", "greater_than_equal"),
    ({**BASE, "record_count": 1_000_000_001}, "record_count", "less_than_equal"),
    ({**BASE, "record_count": True}, "record_count", "int_type"),
    ({**BASE, "record_count": 1.0}, "record_count", "int_type"),
    ({**BASE, "tenant_id": "x"}, "tenant_id", "extra_forbidden"),
    ({**BASE, "source": {"kind": "session", "id": "x"}}, "source", "extra_forbidden"),
    ({**BASE, "severity": "info"}, "severity", "extra_forbidden"),
    ({**BASE, "id": "x"}, "id", "extra_forbidden"),
    ({**BASE, "attributes": []}, "attributes", "dict_type"),
    ({**BASE, "attributes": {f"k{n}": 1 for n in range(51)}}, "attributes", "too_many"),
    ({**BASE, "attributes": {"x" * 41: 1}}, "attributes." + "x" * 41, "key_length"),
    ({**BASE, "attributes": {"": 1}}, "attributes.", "key_length"),
    ({**BASE, "attributes": {"a\nb": 1}}, "attributes.a\ufffdb", "key_characters"),
    ({**BASE, "attributes": {"a\ud800": 1}}, "attributes.a\ufffd", "key_characters"),
    ({**BASE, "attributes": {"a": "x" * 501}}, "attributes.a", "string_too_long"),
    ({**BASE, "attributes": {"a": "x\0y"}}, "attributes.a", "unstorable_text"),
    ({**BASE, "attributes": {"a": "\ud800"}}, "attributes.a", "unstorable_text"),
    ({**BASE, "attributes": {"a": 2**53}}, "attributes.a", "number_out_of_range"),
    ({**BASE, "attributes": {"a": -(2**53)}}, "attributes.a", "number_out_of_range"),
    ({**BASE, "attributes": {"a": 1e300}}, "attributes.a", "number_out_of_range"),
    ({**BASE, "attributes": {"a": float("inf")}}, "attributes.a", "number_out_of_range"),
    ({**BASE, "attributes": {"a": float("nan")}}, "attributes.a", "number_out_of_range"),
    ({**BASE, "attributes": {"a": {"b": 1}}}, "attributes.a", "scalar"),
    ({**BASE, "attributes": {"a": [[1]]}}, "attributes.a[0]", "scalar"),
    ({**BASE, "attributes": {"a": [1] * 51}}, "attributes.a", "too_long"),
    ({**BASE, "attributes": {"a": ["x" * 300] * 2}}, "attributes.a", "too_long"),
    ({**BASE, "personal": {"a b": {}}}, "personal.a b", "string_pattern_mismatch"),
    ({**BASE, "personal": {"a": []}}, "personal.a", "dict_type"),
    ({**BASE, "personal": {f"s{n}": {} for n in range(21)}}, "personal", "too_long"),
    ({**BASE, "personal": {"a": {"b": nested(5)}}}, "personal.a.b.a.a.a.a", "too_deep"),
    ({**BASE, "personal": {"a": {"b": "x" * 4001}}}, "personal.a.b", "string_too_long"),
    ({**BASE, "personal": {"a": {f"k{n}": "x" * 4000 for n in range(5)}}}, "personal.a", "too_large"),
    ({**BASE, "personal": {"a": {"b": [2**60]}}}, "personal.a.b[0]", "number_out_of_range"),
    ({**BASE, "personal": {"billing": {"email": "nobody"}}}, "personal.billing.email", "email"),
    ({**BASE, "personal": {"billing": {"email": ["a@example.com"]}}}, "personal.billing.email", "email"),
    ({**BASE, "personal": {"billing": {"ip": "1.2.3"}}}, "personal.billing.ip", "ip_address"),
    ({**BASE, "personal": {"billing": {"user_agent": 7}}}, "personal.billing.user_agent", "string_too_long"),
    ({**BASE, "subjects": ["a b"]}, "subjects[0]", "string_pattern_mismatch"),
    ({**BASE, "subjects": "a"}, "subjects", "list_type"),
    ({**BASE, "subjects": [f"s{n}" for n in range(21)]}, "subjects", "too_long"),
    ({**CONSENT, "attributes": {"purpose": "x"}}, "attributes.version", "missing"),
    ({**CONSENT, "attributes": {"purpose": "x", "version": 1}}, "attributes.version", "string_type"),
    ({**CONSENT, "attributes": {"purpose": "x", "version": "1", "x": 1}}, "attributes.x", "extra_forbidden"),
    ({**CONSENT, "actor": BASE["actor"], "attributes": {"purpose": "x", "version": "1"}}, "subjects", "missing"),
    ({**BASE, "attributes": {"password": "x"}}, "attributes.password", "secret"),
    ({**BASE, "personal": {"a": {"b": {"Authorization": "x"}}}}, "personal.a.b.Authorization", "secret"),
    ({**BASE, "attributes": {"pan": 4111111111111111}}, "attributes.pan", "card_number"),
    ({**BASE, "producer_id": "4111111111111111"}, "producer_id", "card_number"),
    ({**BASE, "type": "custom.4111111111111111"}, "type", "card_number"),
    ({**BASE, "actor": {"kind": "user", "id": "4111-1111-1111-1111"}}, "actor.id", "card_number"),
    ({**BASE, "personal": {"4111111111111111": {"a": 1}}}, "personal", "card_number"),
    ({**BASE, "subjects": ["ok", "4111111111111111"]}, "subjects[1]", "card_number"),
    ({**BASE, "unknown": {"deep": ["4111 1111 1111 1111"]}}, "unknown.deep[0]", "card_number"),
]


@pytest.mark.parametrize("value", GOOD, ids=range(len(GOOD)))
def test_good_events(value: dict[str, Any]) -> None:
    assert faults(value) == faults(value, suspicious=False) == []


@pytest.mark.parametrize(("value", "field", "code"), BAD, ids=[f"{n}-{code}" for n, (_, _, code) in enumerate(BAD)])
def test_bad_events(value: Any, field: str, code: str) -> None:
    assert (field, code) in faults(value)
    for found in (read_event(value, NOW),):
        assert isinstance(found, list)
        assert len(found) <= 20
        shown = json.dumps([[each.field, each.code, each.message] for each in found])
        assert "4111" not in shown


@pytest.mark.parametrize("value", [v for v, _, code in BAD if code in ("card_number", "secret")][:3])
def test_numbers_and_names_are_looked_at_even_when_the_text_seemed_clean(value: Any) -> None:
    assert faults(value, suspicious=False)


def test_what_an_event_becomes() -> None:
    read = read_event({**DATA, "attributes": {"a": 1}}, NOW)
    assert isinstance(read, Produced)
    assert (read.event, read.record_count) == (DataRead(attributes={"a": 1}), 1)
    custom = read_event({**BASE, "type": "custom.a.b"}, NOW)
    assert isinstance(custom, Produced)
    assert (custom.event, custom.record_count) == (Custom(named="a.b"), 0)
    assert custom.event.type_name("custom.*") == "custom.a.b"
    failed = read_event({**DATA, "outcome": "denied"}, NOW)
    assert isinstance(failed, Produced)
    assert failed.record_count == 0


def test_faults_are_bounded() -> None:
    many = {**BASE, **{f"field{n}": 1 for n in range(1000)}}
    assert len(faults(many)) == 20
    assert len(faults({**BASE, "attributes": {f"k{n}": "x\0" for n in range(50)}})) == 20


def test_personal_data_within_its_bound() -> None:
    filler = "x" * (LONGEST_PERSONAL // 5 - 20)
    assert faults({**BASE, "personal": {"a": {f"k{n}": filler for n in range(5)}}}) == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from([*BASE, "attributes", "personal", "target", "subjects", "x"]), JSON) | JSON)
def test_any_json_is_an_event_or_has_faults(value: Any) -> None:
    for suspicious in (True, False):
        found = read_event(value, NOW, suspicious=suspicious)
        assert isinstance(found, Produced) or found


@given(st.dictionaries(st.text(min_size=1, max_size=6), JSON, max_size=4))
async def test_what_is_taken_can_be_stored_and_sealed(attributes: dict[str, Any]) -> None:
    """Canonical JSON is strict: whatever it would refuse has to be refused before."""
    found = read_event({**BASE, "attributes": attributes, "personal": {"billing": {"note": "x"}}}, NOW)
    if isinstance(found, Produced):
        event = {**dict.fromkeys(ENTRY_FIELDS), "attributes": attributes}
        assert json.loads(entry_of(event))["attributes"] == json.loads(json.dumps(attributes))


@pytest.mark.parametrize("name", sorted(EXAMPLES))
async def test_every_type_has_an_entry(name: str, world: World) -> None:
    event = await world.recorder.finish(EXAMPLES[name])
    sealed = json.loads(entry_of(event))
    assert set(sealed) == set(ENTRY_FIELDS)
    assert not set(sealed) & {"personal", "actor_key", "target_key", "ip_key", "ua_key"}
    assert len(entry_of(event)) <= MAX_ENTRY_BYTES


@pytest.mark.parametrize("whose", ["billing", "p1"])
@pytest.mark.parametrize(("field", "value"), [("email", "nobody"), ("ip", "10.0.0.256")])
def test_what_the_trail_is_searched_by_is_right_for_actor_and_target(whose: str, field: str, value: str) -> None:
    event = {**BASE, "target": {"kind": "patient", "id": "p1"}, "personal": {whose: {field: value}}}
    faults = read_event(event, NOW)
    assert isinstance(faults, list)
    assert [each.field for each in faults] == [f"personal.{whose}.{field}"]
