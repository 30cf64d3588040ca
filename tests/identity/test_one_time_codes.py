"""Codes against the published vectors, at the edges of their time, and as people type them."""

import base64
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from pydantic import TypeAdapter, ValidationError

from shared.identity.one_time_codes import (
    OneTimeCode,
    RecoveryCode,
    matching_hash,
    matching_step,
    new_recovery_codes,
    new_secret,
    otpauth_uri,
    recovery_hash,
)

SECRET = base64.b32encode(b"12345678901234567890").decode()
VECTORS = [
    (59, "94287082"),
    (1111111109, "07081804"),
    (1111111111, "14050471"),
    (1234567890, "89005924"),
    (2000000000, "69279037"),
    (20000000000, "65353130"),
]
"""RFC 6238, appendix B, SHA-1: the last six digits are the code of six digits."""


def at(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


@pytest.mark.parametrize(("seconds", "code"), VECTORS)
def test_the_vectors_of_rfc_6238(seconds: int, code: str) -> None:
    assert matching_step(SECRET, code[-6:], at(seconds)) == seconds // 30


@pytest.mark.parametrize(
    ("late", "taken"),
    [(-31, False), (-30, True), (-1, True), (0, True), (29, True), (30, True), (59, True), (60, False)],
)
def test_a_code_counts_one_step_early_and_one_step_late(late: int, taken: bool) -> None:
    """Of the code of the step that begins at 1111111110, `late` seconds after its beginning."""
    step = matching_step(SECRET, "050471", at(1111111110 + late))
    assert step == (1111111110 // 30 if taken else None)


def test_a_code_that_fits_two_steps_is_of_the_later_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyotp.TOTP.generate_otp", lambda _, step: "111111" if step % 2 else "222222")
    assert matching_step(SECRET, "111111", at(30 * 4)) == 5
    assert matching_step(SECRET, "222222", at(30 * 4)) == 4


def test_secrets_are_160_random_bits() -> None:
    made = {new_secret() for _ in range(50)}
    assert len(made) == 50
    assert {len(base64.b32decode(each)) for each in made} == {20}


@pytest.mark.parametrize("email", ["ada@example.com", "a+x:y&z=%@example.com", "ädä łove@exämple.com"])
def test_what_the_authenticator_app_scans(email: str) -> None:
    uri = urlsplit(otpauth_uri(SECRET, email))
    assert (uri.scheme, uri.netloc) == ("otpauth", "totp")
    assert unquote(uri.path) == f"/Kraftd Audit:{email}"
    assert parse_qs(uri.query) == {"secret": [SECRET], "issuer": ["Kraftd Audit"]}


def test_recovery_codes_are_ten_of_140_bits_each() -> None:
    made = new_recovery_codes()
    assert len(set(made)) == 10
    assert not set(made) & set(new_recovery_codes())
    for code in made:
        assert [len(group) for group in code.split("-")] == [4] * 7
        assert set(code) <= set("abcdefghijklmnopqrstuvwxyz234567-")


def test_recovery_codes_that_were_given_out_before_are_good_on() -> None:
    code = "abcd-efgh-ijkl-mnop"
    assert matching_hash([recovery_hash(code)], TypeAdapter[str](RecoveryCode).validate_python(code)) is not None


def test_a_recovery_code_is_found_however_it_is_typed() -> None:
    made = new_recovery_codes()
    hashes = [recovery_hash(code) for code in made]
    assert not set(hashes) & set(made)
    for typed in (made[7], made[7].upper(), made[7].replace("-", ""), f"  {made[7].replace('-', ' ')} "):
        assert matching_hash(hashes, TypeAdapter[str](RecoveryCode).validate_python(typed)) == hashes[7]
    assert matching_hash(hashes, "aaaabbbbccccdddd") is None
    assert matching_hash([], made[7]) is None


@pytest.mark.parametrize("typed", ["123456", " 123 456 ", "12 34 56", "1\u00a02\u20093456", "\t123456\n"])
def test_spaces_in_a_code_do_not_matter(typed: str) -> None:
    assert TypeAdapter[str](OneTimeCode).validate_python(typed) == "123456"


@pytest.mark.parametrize(
    "typed",
    [
        "",
        " ",
        "12345",
        "1234567",
        "12345a",
        "-12345",
        "+12345",
        "1234.6",
        "１２３４５６",
        "١٢٣٤٥٦",
        " " * 20 + "123456",
    ],
)
def test_what_is_no_code(typed: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter[str](OneTimeCode).validate_python(typed)


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "abcd-efgh-ijkl",
        "abcd-efgh-ijkl-mnop-q",
        "abcd-efgh-ijkl-mnop-qrst-uvwx-yz2",
        "abcd-efgh-ijkl-mnop-qrst-uvwx-yz23-a",
        "abcd-efgh-ijkl-mno1",
        "abcd_efgh_ijkl_mnop",
        "ıbcd-efgh-ijkl-mnop",
    ],
)
def test_what_is_no_recovery_code(typed: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter[str](RecoveryCode).validate_python(typed)


def test_a_clock_between_two_seconds() -> None:
    moment = at(1111111140) - timedelta(microseconds=1)
    assert matching_step(SECRET, "050471", moment) == 1111111110 // 30
