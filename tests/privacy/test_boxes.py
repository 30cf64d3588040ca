"""Boxes and commitments: what was recorded can be proven, byte by byte, with software that is not ours."""

import base64
import hashlib
import json
import math
import secrets

import pytest

from shared.privacy.boxes import SALT_BYTES, ClearBox, Personal, commitment_of

TENANT, PERSON, EVENT = "tenant", "person", "event"
SIMPLE: Personal = {"ip": "203.0.113.9", "email": "ada@example.com", "filters": {"b": [1, True, None], "a": 'ü\n"'}}


def by_hand(salt: bytes, personal: Personal) -> str:
    """For plain values Python's own JSON, sorted and without spaces, is the canonical form of RFC 8785."""
    text = json.dumps(personal, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return base64.b64encode(hashlib.sha256(salt + text.encode()).digest()).decode()


async def test_the_commitment_by_hand() -> None:
    sealed = await ClearBox().seal(TENANT, PERSON, EVENT, SIMPLE)
    salt = base64.b64decode(sealed.box["salt"], validate=True)
    assert len(salt) == SALT_BYTES == 32
    assert sealed.commitment == by_hand(salt, sealed.box["data"])
    assert len(base64.b64decode(sealed.commitment, validate=True)) == 32


def test_a_commitment_known_beforehand() -> None:
    wanted = base64.b64encode(hashlib.sha256(b"\x00" * 32 + b'{"a":1,"b":"x"}').digest()).decode()
    assert commitment_of(b"\x00" * 32, {"b": "x", "a": 1}) == wanted


def test_names_are_ordered_by_utf_16_as_rfc_8785_says() -> None:
    """Section 3.2.3: an emoji (a surrogate pair) comes before U+FB33, the other way round than by code point."""
    personal: Personal = {"\ufb33": 1, "😀": 2}
    text = '{"😀":2,"\ufb33":1}'.encode()
    assert commitment_of(b"", personal) == base64.b64encode(hashlib.sha256(text).digest()).decode()


async def test_what_was_put_in_comes_out() -> None:
    box = ClearBox()
    sealed = await box.seal(TENANT, PERSON, EVENT, SIMPLE)
    through_the_store = json.loads(json.dumps(sealed.box))
    assert await box.open(TENANT, PERSON, EVENT, through_the_store) == SIMPLE


async def test_equal_data_has_different_salts_and_commitments() -> None:
    box = ClearBox()
    sealed = [await box.seal(TENANT, PERSON, EVENT, SIMPLE) for _ in range(20)]
    assert len({each.box["salt"] for each in sealed}) == 20
    assert len({each.commitment for each in sealed}) == 20


def test_any_change_changes_the_commitment() -> None:
    salt = secrets.token_bytes(32)
    changed: list[Personal] = [
        SIMPLE | {"ip": "203.0.113.8"},
        SIMPLE | {"more": None},
        {name: value for name, value in SIMPLE.items() if name != "ip"},
        {},
    ]
    found = {commitment_of(salt, each) for each in (SIMPLE, *changed)}
    assert len(found) == 1 + len(changed)
    assert commitment_of(salt, SIMPLE) == commitment_of(salt, dict(reversed(SIMPLE.items())))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "\ud800", 2**53, b"bytes", object, {1: 2}], ids=repr)
async def test_what_has_no_canonical_form_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r".+"):
        await ClearBox().seal(TENANT, PERSON, EVENT, {"value": value})
