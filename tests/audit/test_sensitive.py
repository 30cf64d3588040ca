"""Card numbers and secrets: what is found, wherever it stands, and what is not taken for one."""

import json
import random
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.audit.sensitive import DEEPEST, Found, find_sensitive, kind_of, may_hold_sensitive
from shared.core.clock import rfc3339
from shared.core.ids import IdFactory
from shared.identity.secret_links import API_KEY, INVITATION, new_secret
from tests.fakes import ManualClock

CARDS = {
    "4111111111111111": "Visa",
    "4012888888881881": "Visa",
    "4222222222222": "Visa, 13 digits",
    "5555555555554444": "Mastercard",
    "2223003122003222": "Mastercard, 2-series",
    "378282246310005": "American Express",
    "30569309025904": "Diners Club",
    "6011111111111117": "Discover",
    "3530111333300000": "JCB",
    "6200000000000005": "UnionPay",
    "6759649826438453": "Maestro",
}
"""Numbers that the brands publish for tests."""
KAK, _ = new_secret(API_KEY, str(uuid.UUID(int=7)), str(uuid.UUID(int=8)))
INVITED, _ = new_secret(INVITATION, "platform", str(uuid.UUID(int=8)))
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0" + ".c2lnbmF0dXJl"
SECRETS = [
    KAK,
    INVITED,
    JWT,
    f"Bearer {'a1' * 12}",
    "Basic " + "dXNlcjpwYXNzd29yZA==",
    "-----BEGIN RSA " + "PRIVATE KEY-----\nMIIE",
    "-----BEGIN " + "PRIVATE KEY-----",
    "AKIA" + "IOSFODNN7EXAMPLE",
    "ghp" + "_" + "a1B2" * 9,
    "xoxb" + "-1234567890-abcdef",
    "AIza" + "SyA1234567890abcdefghijklmnopqrstuv",
    "sk_live" + "_" + "a1B2" * 6,
    "DefaultEndpointsProtocol=https;AccountKey=" + "a1B2" * 21 + "==",
    "postgres://app:hunter2@db.example.com/x",
]
INNOCENT = [
    "4111111111111112",  # check digit
    "0000000000000000",
    "4444444444444444",
    "1111111111111111",
    "1234567812345670",  # check digit, but nobody's prefix
    "41111111111111111111",  # 20 digits
    "a4111111111111111",
    "4111111111111111b",
    "2026-03-15T12:00:00.123456Z",
    "2026-03-15 12:00:00 1773576000000",
    "+49 30 1234567890123",
    "+441111111111111",
    "10.0.0.1 192.168.100.200 2001:db8::4111:1111:1111:1111",
    "the bearer of bad news came in by a basic misunderstanding",
    "sk-8 and ghp_ and AKIA are prefixes",
    "https://example.com:8443/path?at=12@13",
    "mailto:someone@example.com",
    "d41d8cd98f00b204e9800998ecf8427e",
    "9007199254740991",
    "",
]
SHAPES = ("{}", "card {} used", "({})", "pan={}", "{}\n", "{} 12/27", "17 {}", "№{}", '"{}",', "x/{}/y")


def grouped(digits: str) -> list[str]:
    sizes = [4, 6, 5] if len(digits) == 15 else [4, 6, 4] if len(digits) == 14 else [4, 4, 4, 7]
    parts, rest = [], digits
    for size in sizes:
        parts.append(rest[:size])
        rest = rest[size:]
    parts = [part for part in parts if part]
    return [sign.join(parts) for sign in " -./_"]


@pytest.mark.parametrize("digits", CARDS)
def test_cards_are_found_however_they_are_written(digits: str) -> None:
    for written in (digits, *grouped(digits), " ".join(digits), "-".join(digits)):
        assert kind_of(written) == "card_number", written
    for shape in SHAPES:
        assert kind_of(shape.format(digits)) == "card_number", shape
    wide = digits.translate({ord("0") + n: chr(0xFF10 + n) for n in range(10)})
    assert kind_of(wide) == "card_number"
    assert kind_of(grouped(digits)[1].replace("-", "\u2013")) == "card_number"
    assert [found.kind for found in find_sensitive({"n": int(digits)})] == ["card_number"]
    assert [found.kind for found in find_sensitive({"n": float(digits)})] == ["card_number"]


@pytest.mark.parametrize(
    "text",
    [
        *("4111 1111 1111 1111 123", "4111 1111 1111 1111 12/27", "paid with 4111 1111 1111 1111 737 ok"),
        *("4111-1111-1111-1111-123", "5555 5555 5555 4444 12 27", "4111111111111111 123", "3782 822463 10005 1234"),
        *("4111\t1111\t1111\t1111", "4111  1111  1111  1111", "4111\n1111 1111 1111", "4111,1111,1111,1111"),
        *("4111\u00b71111\u00b71111\u00b71111", "4111\u200b1111\u200b1111\u200b1111"),
        "%B4111111111111111^DOE/JOHN^2712",
    ],
)
def test_what_stands_behind_a_card_number_or_between_its_digits_does_not_hide_it(text: str) -> None:
    assert kind_of(text) == "card_number"
    assert may_hold_sensitive(json.dumps({"a": text}))
    assert may_hold_sensitive(json.dumps({"a": text}, ensure_ascii=False))


def test_an_escaped_card_number_is_looked_at() -> None:
    assert may_hold_sensitive('{"a":"\\u0034111111111111111"}')


@pytest.mark.parametrize(
    "name", ["user_password", "db.password", "aws_secret_access_key", "api_token", "password:", "\uff50\uff49\uff4e"]
)
def test_a_name_says_secret_by_its_end_and_in_any_script(name: str) -> None:
    assert [each.kind for each in find_sensitive({"attributes": {name: "x"}})] == ["secret"]
    assert find_sensitive({"attributes": {name: True}}) == []


def test_the_ids_of_people_are_no_names_of_secrets() -> None:
    assert find_sensitive({"personal": {"token": {"name": "x"}}}) == []
    assert [each.field for each in find_sensitive({"personal": {"u1": {"pin": "1234"}}})] == ["personal.u1.pin"]


@pytest.mark.parametrize("secret", SECRETS, ids=range(len(SECRETS)))
def test_secrets_are_found_in_any_text(secret: str) -> None:
    assert kind_of(secret) == "secret"
    assert kind_of(f"key: {secret} (new)") == "secret"
    assert find_sensitive({"a": {"b": [1, secret]}}) == [Found("a.b[1]", "secret")]


@pytest.mark.parametrize("text", INNOCENT)
def test_what_only_looks_alike_passes(text: str) -> None:
    assert kind_of(text) is None


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("password", "x", True),
        ("New_Password", "x", True),
        ("client-secret", "x", True),
        ("Authorization", "anything", True),
        ("cvv", 123, True),
        ("api.key", ["x"], True),
        ("password", None, False),
        ("password", "", False),
        ("password", True, False),
        ("password_changed", "x", False),
        ("tokens_used", 7, False),
        ("secretary", "x", False),
        ("pinned", "x", False),
    ],
)
def test_names_that_say_secret(name: str, value: Any, found: bool) -> None:
    assert find_sensitive({"a": {name: value}}) == ([Found(f"a.{name}", "secret")] if found else [])


def test_a_sensitive_name_is_not_shown() -> None:
    for name in ("4111111111111111", KAK):
        (found,) = find_sensitive({"personal": {name: {"note": "x"}}})
        assert found.field == "personal"


def test_every_field_is_named_once() -> None:
    card = "4111 1111 1111 1111"
    value = {"a": card, "b": [{"c": card}, "x", card], "d": "x", "e": {"f": KAK}}
    assert find_sensitive(value) == [
        Found("a", "card_number"),
        Found("b[0].c", "card_number"),
        Found("b[2]", "card_number"),
        Found("e.f", "secret"),
    ]


def test_neighbors_do_not_make_a_card_together() -> None:
    assert find_sensitive({"a": "4111 1111", "b": "1111 1111", "c": ["Bearer", "a1" * 12]}) == []


def test_depth_is_bounded() -> None:
    value: Any = "4111111111111111"
    for _ in range(DEEPEST + 1):
        value = [value]
    assert find_sensitive(value) == []
    assert find_sensitive(value[0]) != []


def test_ids_and_times_are_never_taken_for_cards() -> None:
    chance = random.Random(17)  # noqa: S311 - the same ids in every run
    ids = IdFactory(ManualClock(), chance.getrandbits)
    start = datetime(2020, 1, 1, tzinfo=UTC)
    texts = [str(uuid.UUID(int=chance.getrandbits(128), version=4)) for _ in range(100_000)]
    texts += [str(uuid.UUID(int=chance.getrandbits(128))) for _ in range(50_000)]
    moments = [start + timedelta(microseconds=chance.getrandbits(48)) for _ in range(50_000)]
    texts += [ids.new(moment) for moment in moments] + [rfc3339(moment) for moment in moments]
    assert [text for text in texts if kind_of(text)] == []


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda v: st.lists(v) | st.dictionaries(st.text(), v),
    )
)
def test_any_json_is_looked_through(value: Any) -> None:
    for found in find_sensitive(value):
        assert found.kind in ("card_number", "secret")


@given(st.sampled_from(sorted(CARDS)), st.text("abc ,;:\n(", max_size=10), st.text(" ,;:\n)", max_size=10))
def test_a_card_in_prose(digits: str, before: str, after: str) -> None:
    text = f"{before} {digits}{after}"
    assert find_sensitive({"k": {"l": text}}) == [Found("k.l", "card_number")]
