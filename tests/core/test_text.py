"""Text that people type. Hostile first: what must not come in; then what must, for names are not ASCII."""

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from shared.core.text import Line, Opaque, Website, accepted, address, day, folded, moment

LINE: TypeAdapter[str] = TypeAdapter(Line)
OPAQUE: TypeAdapter[str] = TypeAdapter(Opaque)


def refusal(adapter: TypeAdapter[str], text: object) -> str:
    with pytest.raises(ValidationError) as caught:
        adapter.validate_python(text)
    return caught.value.errors()[0]["type"]


@pytest.mark.parametrize(
    "char",
    ["\x00", "\x07", "\t", "\n", "\r", "\x1b", "\x7f", "\x85", "\x9b", "\u2028", "\u2029"]
    + [chr(code) for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))],
    ids=ascii,
)
def test_controls_line_ends_and_bidirectional_overrides_are_refused(char: str) -> None:
    for text in (char, f"Ada{char}", f"{char}Ada", f"A{char}da"):
        assert refusal(LINE, text) == "control_character"


@pytest.mark.parametrize("char", ["\ud800", "\udfff"], ids=ascii)  # noqa: PT014 - ruff reads both as U+FFFD
def test_lone_surrogates_are_refused(char: str) -> None:
    assert refusal(LINE, f"Ada{char}") in {"string_unicode", "control_character"}


@pytest.mark.parametrize(
    "text", [" ", "   ", "\u00a0", "\u3000", "\u200b", "\ufeff", "\u2060 \u200d", "\u00ad"], ids=ascii
)
def test_what_cannot_be_seen_is_blank(text: str) -> None:
    assert refusal(LINE, text) == "blank"


def test_length_counts_characters_not_bytes() -> None:
    assert refusal(LINE, "") == "string_too_short"
    assert LINE.validate_python("a" * 100) == "a" * 100
    assert LINE.validate_python("𝕬" * 100) == "𝕬" * 100
    assert refusal(LINE, "a" * 101) == "string_too_long"


@pytest.mark.parametrize("value", [None, 7, True, b"Ada", ["Ada"]])
def test_only_text_is_text(value: object) -> None:
    with pytest.raises(ValidationError):
        LINE.validate_python(value, strict=True)


@pytest.mark.parametrize(
    "name",
    [
        "O’Brien-Śmith",
        "José\u0301",
        "李小龍",
        "محمد",
        "נועה",
        "क्\u200dष",  # a joiner inside a word
        "👩\u200d🚀",
        "<script>alert(1)</script>",
        "'; DROP TABLE users; --",
        "=HYPERLINK(1)",
        "{{7*7}} ${7*7} %s",
        " Ada ",
        "a\u200fb",
    ],
)
def test_what_people_type_is_kept_as_typed(name: str) -> None:
    assert LINE.validate_python(name) == name


@given(text=st.text(max_size=120))
def test_what_a_line_takes_is_one_line(text: str) -> None:
    try:
        kept = LINE.validate_python(text)
    except ValidationError:
        return
    assert kept == text
    assert len(text.splitlines()) == 1
    assert text.encode("utf-8").decode("utf-8") == text
    assert "\x00" not in text


@pytest.mark.parametrize("text", ["a", "0195c000-0000-7000-8000-0000000000aa", "a.b:c_d-E9", "x" * 64])
def test_opaque_ids(text: str) -> None:
    assert OPAQUE.validate_python(text) == text


@pytest.mark.parametrize("text", ["", "x" * 65, "a b", "a\n", "a\x00", "é", "a/b", "a|b", "a%2f", "١", "ａ"], ids=ascii)
def test_what_is_no_opaque_id(text: str) -> None:
    assert refusal(OPAQUE, text) == "string_pattern_mismatch"


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("2001:DB8:0:0:0:0:0:1", "2001:db8::1"),
        ("2001:0db8::0001", "2001:db8::1"),
        ("::1", "::1"),
        ("::FFFF:203.0.113.9", "203.0.113.9"),
    ],
)
def test_addresses_in_their_canonical_spelling(text: str, canonical: str) -> None:
    assert address(text) == canonical
    assert address(canonical) == canonical


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1.2.3",
        "1.2.3.4.5",
        "256.1.1.1",
        "01.2.3.4",
        "1.2.3.4/8",
        "1.2.3.4:80",
        "1.2.3.4\n",
        "[::1]",
        ":::",
        "example.com",
        "١.2.3.4",
        "0x7f000001",
        "2130706433",
        " ",
        "fe80::1%eth0",
        "fe80::1%\x00<b>",
    ],
    ids=ascii,
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(PydanticCustomError) as caught:
        address(text)
    assert caught.value.type == "ip_address"


def test_a_consent_is_true_or_refused() -> None:
    assert accepted(True) is True
    with pytest.raises(PydanticCustomError, match="must be true"):
        accepted(False)


@pytest.mark.parametrize(
    "text", ["1999-12-31T23:59:59Z", "9999-01-01T00:00:00Z", "2026-01-01", "", "now", None, 0, 1.5]
)
def test_what_is_no_moment(text: object) -> None:
    with pytest.raises(PydanticCustomError):
        moment(text)


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2000-01-01T00:00:00Z", datetime(2000, 1, 1, tzinfo=UTC)),
        ("2026-01-31T01:00:00+02:00", datetime(2026, 1, 30, 23, 0, tzinfo=UTC)),
        ("9998-12-31T23:59:59.999999Z", datetime(9998, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)),
    ],
)
def test_a_moment_with_its_offset(text: str, utc: datetime) -> None:
    assert moment(text) == utc


@given(st.text(max_size=40), st.text(max_size=40))
def test_folded_texts_begin_with_each_other_exactly_when_the_folded_characters_do(text: str, other: str) -> None:
    """So that a prefix of what is stored is a prefix of what was meant, whatever it is escaped to."""
    assert folded(text).isascii()
    assert folded(text).isprintable()
    meant, typed = (folded(each).encode("ascii").decode("unicode_escape") for each in (text, other))
    assert folded(text).startswith(folded(other)) == meant.startswith(typed)
    assert folded(meant) == folded(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  Ada   Body ", "ada body"),
        ("Straße", "strasse"),
        ("ＡＤＡ", "ada"),
        ("É", "\\xe9"),
        ("e\u0301", "\\xe9"),
        ("\\xe9", "\\\\xe9"),
        ("例", "\\u4f8b"),
        ("🏢", "\\U0001f3e2"),
    ],
)
def test_the_folded_form(text: str, expected: str) -> None:
    assert folded(text) == expected


@pytest.mark.parametrize(
    "text", ["1999-12-31", "9999-01-01", "2026-02-30", "2026-1-1", "2026-W10-1", "20260101", "", None, 7], ids=ascii
)
def test_what_is_no_day(text: object) -> None:
    with pytest.raises(PydanticCustomError, match="must be a day"):
        day(text)


def test_a_day() -> None:
    assert day("2024-02-29") == date(2024, 2, 29)


WEBSITE: TypeAdapter[str] = TypeAdapter(Website)


@pytest.mark.parametrize("text", ["https://example.com/", "http://localhost:8080/a?b=c#d", "https://[2001:db8::1]/"])
def test_a_website(text: str) -> None:
    assert WEBSITE.validate_python(text) == text


@pytest.mark.parametrize(
    "text",
    [
        *("", "example.com", "ftp://example.com/", "javascript:alert(1)", "https:///path", "https://[example/"),
        *("https://who@example.com/", "https://example.com/ x", "https://example.com/<", "https://ex\u00e4mple.com/"),
    ],
    ids=ascii,
)
def test_what_is_no_website(text: str) -> None:
    with pytest.raises(ValidationError, match="http or https address"):
        WEBSITE.validate_python(text)
