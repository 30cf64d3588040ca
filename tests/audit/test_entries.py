"""What a leaf hashes: the listed fields in canonical form, nothing personal."""

import json
from typing import Any

import pytest

from shared.audit.entries import ENTRY_FIELDS, MAX_ENTRY_BYTES, EntryError, entry_of
from tests.app import ROOT

GOLDEN = sorted((ROOT / "tests/audit/golden").glob("*.json"))
EVENT: dict[str, Any] = json.loads((ROOT / "tests/audit/golden/access.denied.json").read_text(encoding="utf-8"))
OUTSIDE = ("personal", "actor_key", "target_key", "ip_key", "ua_key")


def with_attribute(value: Any) -> dict[str, Any]:
    return EVENT | {"attributes": {"value": value}}


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_every_type_of_event_has_an_entry_of_the_listed_fields(path: Any) -> None:
    event = json.loads(path.read_text(encoding="utf-8"))
    entry = json.loads(entry_of(event))
    assert tuple(sorted(entry)) == tuple(sorted(ENTRY_FIELDS)) == tuple(entry)
    assert entry == {name: event[name] for name in ENTRY_FIELDS}


def test_what_can_be_erased_or_added_by_the_store_is_outside() -> None:
    stripped = {name: value for name, value in EVENT.items() if name not in OUTSIDE}
    marked = EVENT | {"personal": {}, "ttl": 7, "erased_at": "x", "_ts": 1, "_etag": "x", "ip_key": None, "more": 1}
    assert entry_of(EVENT) == entry_of(stripped) == entry_of(marked)


def test_the_order_of_fields_does_not_matter() -> None:
    assert entry_of(dict(reversed(EVENT.items()))) == entry_of(EVENT)


@pytest.mark.parametrize("field", ENTRY_FIELDS)
def test_every_field_matters_and_has_to_be_there(field: str) -> None:
    assert entry_of(EVENT | {field: "changed"}) != entry_of(EVENT)
    with pytest.raises(EntryError) as error:
        entry_of({name: value for name, value in EVENT.items() if name != field})
    assert (error.value.field, error.value.code) == (field, "missing")


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (2**53 - 1, "9007199254740991"),
        (-(2**53) + 1, "-9007199254740991"),
        (0.1, "0.1"),
        (-0.0, "0"),
        (1e21, "1e+21"),
        (1e-7, "1e-7"),
        (1e20, "100000000000000000000"),
        ("é\u2028\x7f\x1f", '"é\u2028\x7f\\u001f"'),
        ({"\ufb33": 1, "\U0001f600": 2}, '{"\U0001f600":2,"\ufb33":1}'),
    ],
)
def test_values_are_written_as_rfc_8785_says(value: Any, written: str) -> None:
    assert f'"attributes":{{"value":{written}}}'.encode() in entry_of(with_attribute(value))


def nested(depth: int) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value", [2**53, float("nan"), float("inf"), "\ud800", {"\udfff": 1}, {1: 2}, b"bytes", nested(5000)]
)
def test_what_has_no_canonical_form_is_named(value: Any) -> None:
    with pytest.raises(EntryError) as error:
        entry_of(with_attribute(value))
    assert (error.value.field, error.value.code) == ("attributes", "not_canonical")
    assert str(error.value) == "attributes: not_canonical"


def test_an_entry_is_as_large_as_a_bundle_can_say_and_no_larger() -> None:
    room = MAX_ENTRY_BYTES - len(entry_of(with_attribute("")))
    assert len(entry_of(with_attribute("x" * room))) == MAX_ENTRY_BYTES
    with pytest.raises(EntryError) as error:
        entry_of(with_attribute("x" * (room + 1)))
    assert (error.value.field, error.value.code) == ("attributes", "too_large")
