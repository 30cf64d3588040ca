"""Text that people type: what a field may hold, wherever it comes in."""

import functools
import ipaddress
import unicodedata
from datetime import date, datetime
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, StringConstraints
from pydantic_core import PydanticCustomError

from shared.core.clock import parse_rfc3339

# Bidirectional controls can make a name read as another one.
_BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def printable(text: str) -> str:
    """The text itself. Refuses controls (NUL too), line separators, lone surrogates and bidirectional overrides."""
    for char in text:
        if unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"} or char in _BIDI:
            raise PydanticCustomError("control_character", "must not hold control characters")
    return text


def not_blank(text: str) -> str:
    """The text itself, unless it is only spaces and characters of no width."""
    if all(char.isspace() or unicodedata.category(char) == "Cf" for char in text):
        raise PydanticCustomError("blank", "must not be blank")
    return text


type Line = Annotated[
    str, StringConstraints(min_length=1, max_length=100), AfterValidator(printable), AfterValidator(not_blank)
]
"""One line of at most 100 characters: names, titles."""

type Opaque = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:-]{1,64}$")]
"""An opaque id, ours or a producer's."""


def folded(text: str) -> str:
    """A text as prefixes of it are searched for, in ASCII: NFKC, case folded, runs of spaces as one.

    What is not ASCII is escaped character by character, each escape a whole that begins no other: the folded form of a
    text begins with that of another exactly when the texts do.
    """
    normal = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(normal.split()).encode("unicode_escape").decode("ascii")


def accepted(given: bool) -> bool:
    """True; anything else is refused. For consents that a request cannot do without."""
    if not given:
        raise PydanticCustomError("not_accepted", "must be true")
    return given


def digits(text: object) -> object:
    """What a query string gives for a number: digits and nothing else, at most nine of them."""
    if isinstance(text, str) and not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise PydanticCustomError("int_parsing", "must be a whole number")
    return text


def moment(text: object) -> datetime:
    """An RFC 3339 time with its offset, from the year 2000 to 9998."""
    try:
        parsed = parse_rfc3339(text) if isinstance(text, str) else None
    except (ValueError, OverflowError):
        parsed = None
    if parsed is None or not 2000 <= parsed.year <= 9998:
        raise PydanticCustomError("moment", "must be an RFC 3339 time such as 2026-01-31T00:00:00Z")
    return parsed


type Moment = Annotated[datetime, BeforeValidator(moment)]
"""A point in time, as text."""


def day(text: object) -> date:
    """A day, YYYY-MM-DD, from the year 2000 to 9998."""
    try:
        parsed = date.fromisoformat(text) if isinstance(text, str) and len(text) == len("YYYY-MM-DD") else None
    except ValueError:
        parsed = None
    if parsed is None or not 2000 <= parsed.year <= 9998 or parsed.isoformat() != text:
        raise PydanticCustomError("day", "must be a day such as 2026-01-31")
    return parsed


type Day = Annotated[date, BeforeValidator(day)]
"""A day of the calendar, as text."""

MONTH = r"^[2-9][0-9]{3}-(0[1-9]|1[0-2])$"
type Month = Annotated[str, StringConstraints(pattern=MONTH)]
"""A month, YYYY-MM."""


@functools.lru_cache(maxsize=4096)
def address(text: str) -> str:
    """An IP address in its canonical spelling, an IPv4 address also where it came mapped into IPv6.

    Zones (`fe80::1%eth0`) are refused: they are free text.
    """
    try:
        found = None if "%" in text else ipaddress.ip_address(text)
    except ValueError:
        found = None
    if found is None:
        raise PydanticCustomError("ip_address", "must be an IPv4 or IPv6 address")
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return str(mapped or found)


def _web_address(text: str) -> str:
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.username is None
    except ValueError:
        usable = False
    if not usable or not text.isascii() or any(char.isspace() or char in "<>\"'" for char in text):
        raise PydanticCustomError("web_address", "must be an http or https address")
    return text


def _lines(text: str) -> str:
    for line in text.replace("\r\n", "\n").split("\n"):
        printable(line)
    return text


type Phone = Annotated[str, StringConstraints(pattern=r"^\+?[0-9 ()./-]{3,40}$")]
"""A telephone number as people write it."""

type Website = Annotated[str, StringConstraints(max_length=300), AfterValidator(_web_address)]
"""An http or https address without user or markup."""

type Paragraphs = Annotated[
    str, StringConstraints(min_length=1, max_length=1000), AfterValidator(_lines), AfterValidator(not_blank)
]
"""A text of at most 1,000 characters, in lines."""
