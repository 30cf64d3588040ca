"""What must never enter the trail: card numbers and secrets. An audit log must not become cardholder data (PCI DSS
3.5), nor a place to steal keys from.

A card number is 13 to 19 digits, together or in groups, that no letter or digit touches, with the prefix and length of
a card brand and a valid check digit (ISO/IEC 7812-1), unless all its digits are equal; those inside a UUID are not.
What comes behind it in groups of its own (an expiry, a CVV) does not hide it, nor does the frame of a magnetic stripe.
A secret is a text of the form of a well-known key or token, or any value under a name such as `password`.
"""

import functools
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

type Kind = Literal["card_number", "secret"]

MESSAGES: dict[Kind, str] = {
    "card_number": "holds what looks like a card number",
    "secret": "holds what looks like a secret",
}
DEEPEST = 32
"""Levels of nesting that are looked into; what is deeper is no event."""
_NAME = 64

_MAYBE_CARD = re.compile(r"[0-9](?:[\s.,_/-]{0,3}[0-9]){12}")
_BLANK = re.compile(r"\s{1,3}")
_GROUP = re.compile(r"[ ._/-]")
_UUID = re.compile(r"(?<![0-9A-Za-z])[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}(?![0-9A-Za-z])")
_START, _END = r"(?<![0-9A-Za-z])", r"(?![0-9A-Za-z])"
_CARDS = re.compile(
    rf"(?={_START}(?:"
    rf"(?P<plain>[0-9]{{13,19}}){_END}"
    rf"|(?P<fours>[0-9]{{4}}(?P<s>[ ._/-])[0-9]{{4}}(?P=s)[0-9]{{4}}(?P=s)[0-9]{{1,4}}(?:(?P=s)[0-9]{{1,3}})?){_END}"
    rf"|(?:%[A-Za-z](?P<track>[0-9]{{13,19}})\^)"
    rf"|(?P<uneven>[0-9]{{4}}(?P<t>[ ._/-])[0-9]{{6}}(?P=t)[0-9]{{4,5}}){_END}"
    rf"))"
)
_SPACED = re.compile(r"(?<![0-9A-Za-z+])(?<![0-9][ -])[0-9](?:[ -]?[0-9]){12,18}(?![ -]?[0-9])(?![A-Za-z])")
_OTHER = re.compile(r"[^\x00-\x7f]")

# Prefix ranges and lengths of the brands, by their first digits.
_BRANDS: tuple[tuple[int, int, int, frozenset[int]], ...] = (
    (1, 4, 4, frozenset({13, 16, 19})),  # Visa
    (2, 51, 55, frozenset({16})),  # Mastercard
    (4, 2221, 2720, frozenset({16})),
    (2, 34, 34, frozenset({15})),  # American Express
    (2, 37, 37, frozenset({15})),
    (3, 300, 305, frozenset({14, 16, 17, 18, 19})),  # Diners Club
    (3, 309, 309, frozenset({14, 16, 17, 18, 19})),
    (2, 36, 36, frozenset({14, 16, 17, 18, 19})),
    (2, 38, 39, frozenset({14, 16, 17, 18, 19})),
    (4, 6011, 6011, frozenset({16, 17, 18, 19})),  # Discover
    (3, 644, 649, frozenset({16, 17, 18, 19})),
    (2, 65, 65, frozenset({16, 17, 18, 19})),
    (4, 3528, 3589, frozenset({16, 17, 18, 19})),  # JCB
    (2, 62, 62, frozenset({16, 17, 18, 19})),  # UnionPay
    (2, 81, 81, frozenset({16, 17, 18, 19})),
    (4, 5018, 5018, frozenset(range(13, 20))),  # Maestro
    (4, 5020, 5020, frozenset(range(13, 20))),
    (4, 5038, 5038, frozenset(range(13, 20))),
    (4, 5893, 5893, frozenset(range(13, 20))),
    (4, 6304, 6304, frozenset(range(13, 20))),
    (4, 6759, 6763, frozenset(range(13, 20))),
    (4, 2200, 2204, frozenset({16, 17, 18, 19})),  # Mir
    (4, 9792, 9792, frozenset({16})),  # Troy
    (2, 60, 60, frozenset({16})),  # RuPay
    (3, 508, 508, frozenset({16})),
)

# A text with none of these is passed over quickly: each secret below has one.
_MARKS = (
    *("kak_", "ki_", "kr_", "kc_", "eyJ", "AKIA", "ASIA", "AIza", "GOCSPX-", "AccountKey=", "SharedAccessKey="),
    *("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "xox", "k_live_", "k_test_", "sk-", "whsec_"),
    *("SG.", "npm_", "pypi-", "earer", "asic", "PRIVATE KEY", "://"),
)
_SECRETS = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"k(?:ak|i)_(?:platform|[0-9a-f]{8}-[0-9a-f-]{27})\.[0-9a-f-]{36}\.[A-Za-z0-9_-]{43}"  # ours
    r"|k[rc]_[A-Za-z0-9-]{8,36}\.[A-Za-z0-9_.-]{40,}"
    r"|eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"  # JSON Web Tokens
    r"|A(?:KIA|SIA)[0-9A-Z]{16}(?![0-9A-Za-z])"  # Amazon Web Services
    r"|AIza[0-9A-Za-z_-]{35}"  # Google
    r"|GOCSPX-[0-9A-Za-z_-]{20,}"
    r"|AccountKey=[A-Za-z0-9+/]{40,}={0,2}"  # Azure
    r"|SharedAccessKey=[A-Za-z0-9+/]{40,}={0,2}"
    r"|gh[pousr]_[A-Za-z0-9]{36,}"  # GitHub
    r"|github_pat_[A-Za-z0-9_]{40,}"
    r"|glpat-[A-Za-z0-9_-]{20,}"  # GitLab
    r"|xox[abeoprs]-[A-Za-z0-9-]{10,}"  # Slack
    r"|(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{16,}"  # Stripe
    r"|sk-[A-Za-z0-9_-]{20,}"
    r"|whsec_[A-Za-z0-9+/=]{24,}"
    r"|SG\.[A-Za-z0-9_-]{20,}\.[A-Za-z0-9_-]{20,}"  # SendGrid
    r"|npm_[A-Za-z0-9]{36}"
    r"|pypi-[A-Za-z0-9_-]{40,}"
    r"|[Bb]earer[ \t]+[A-Za-z0-9._~+/-]{16,}=*"
    r"|[Bb]asic[ \t]+(?=[A-Za-z0-9+/]*[0-9A-Z])[A-Za-z0-9+/]{16,}={0,2}"
    r")"
    r"|-----BEGIN[ A-Z0-9]{0,40}PRIVATE KEY(?: BLOCK)?-----"
    r"|://[^\s/:@]{0,100}:[^\s/@]{1,100}@"
)
_SECRET_NAMES = frozenset(
    (
        *("password", "passwd", "pwd", "passphrase", "oldpassword", "newpassword", "currentpassword", "passwordhash"),
        *("secret", "clientsecret", "secretkey", "secretaccesskey", "sharedsecret", "webhooksecret", "totpsecret"),
        *("apikey", "xapikey", "privatekey", "signingkey", "encryptionkey", "accountkey", "connectionstring"),
        *("token", "accesstoken", "refreshtoken", "idtoken", "authtoken", "bearertoken", "sessiontoken", "csrftoken"),
        *("authorization", "proxyauthorization", "cookie", "setcookie", "credentials"),
        *("cvv", "cvc", "cvv2", "cvc2", "pin", "pinblock", "trackdata", "track1", "track2"),
    )
)
_SECRET_ENDS = (
    *("password", "passwd", "passphrase", "clientsecret", "secretkey", "accesskey", "apikey", "privatekey"),
    *("apitoken", "accesstoken", "refreshtoken"),
)
_SEPARATORS = str.maketrans("", "", "_-.: ")


@dataclass(frozen=True, slots=True)
class Found:
    """What was found, and the field that holds it: the value is in neither."""

    field: str
    kind: Kind


def find_sensitive(value: Any) -> list[Found]:
    """Where a JSON value holds card numbers or secrets, in the names of its fields too; at most one per field.

    Values below `DEEPEST` levels are not looked into. A name that is itself sensitive is not shown: the field is then
    its parent.
    """
    texts: list[str] = []
    named = _collect(value, texts, 0)
    return list(dict.fromkeys(_locate(value, "", 0))) if named or kind_of("\n".join(texts)) is not None else []


def may_hold_sensitive(text: str) -> bool:
    """Whether a JSON text may hold a card number or a secret, in any of its values: then `find_sensitive` has to look
    at each. One pass over the whole text costs far less. It does not see names that say secret (`says_secret`), nor
    numbers with an exponent."""
    return "\\" in text or kind_of(text) is not None


def kind_of(text: str) -> Kind | None:
    """What a text holds, if it is something sensitive."""
    if not text.isascii():
        text = _OTHER.sub(_folded, text)
    if any(mark in text for mark in _MARKS) and _SECRETS.search(text):
        return "secret"
    return "card_number" if _holds_card(text) else None


def _folded(found: re.Match[str]) -> str:
    """A digit, dash, dot or space of another script as that of ASCII, nothing for what cannot be seen; any other
    character as it is."""
    char = found.group()
    digit = unicodedata.decimal(char, None)
    if digit is not None:
        return str(digit)
    if char in "·•‧∙⋅":
        return "."
    return {"Pd": "-", "Zs": " ", "Cf": ""}.get(unicodedata.category(char), char)


def _collect(value: Any, texts: list[str], depth: int) -> bool:
    """Gather every text and number; whether a field has a name that says secret."""
    kind = type(value)
    if kind is str:
        texts.append(value)
    elif kind is int or kind is float:
        if value >= 1e12:
            texts.append(_digits(value))
    elif depth >= DEEPEST:
        return False
    elif kind is dict:
        named = False
        for key, each in value.items():
            texts.append(key)
            named = _collect(each, texts, depth + 1) or named or says_secret(key, each)
        return named
    elif kind is list:
        return sum([_collect(each, texts, depth + 1) for each in value]) > 0
    return False


def _digits(value: float) -> str:
    """A number as a card number would be read from it."""
    return str(int(value)) if 1e12 <= value < 1e20 else ""


def _locate(value: Any, path: str, depth: int) -> Iterator[Found]:
    if isinstance(value, str) or (isinstance(value, int | float) and not isinstance(value, bool)):
        kind = kind_of(value if isinstance(value, str) else _digits(value))
        if kind is not None:
            yield Found(path, kind)
    elif depth < DEEPEST and isinstance(value, list):
        for number, each in enumerate(value):
            yield from _locate(each, f"{path}[{number}]", depth + 1)
    elif depth < DEEPEST and isinstance(value, dict):
        for key, each in value.items():
            kind = kind_of(key)
            if kind is not None:
                yield Found(path, kind)
                continue
            inner = f"{path}.{_shown(key)}" if path else _shown(key)
            if says_secret(key, each) and path != "personal":  # whose names are ids of people
                yield Found(inner, "secret")
            else:
                yield from _locate(each, inner, depth + 1)


def says_secret(key: str, value: Any) -> bool:
    """Whether something is held under a name that says that it is a secret: `true` and `null` are none."""
    return _is_secret_name(key) and value not in (None, "") and not isinstance(value, bool)


@functools.lru_cache(maxsize=4096)
def _is_secret_name(key: str) -> bool:
    name = unicodedata.normalize("NFKC", key[:_NAME]).lower().translate(_SEPARATORS)
    return name in _SECRET_NAMES or name.endswith(_SECRET_ENDS)


def _shown(key: str) -> str:
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in key[:_NAME])


def _holds_card(text: str) -> bool:
    if _MAYBE_CARD.search(text) is None:
        return False
    text = _BLANK.sub(" ", _UUID.sub("x", text)).replace(",", ".")
    if _MAYBE_CARD.search(text) is None:
        return False
    groups = (each[each.lastgroup or 0] for each in _CARDS.finditer(text) if each.lastgroup not in ("s", "t"))
    spaced = (each.group() for each in _SPACED.finditer(text))
    return any(_begins_with_card(_GROUP.split(each)) for each in (*groups, *spaced))


def _begins_with_card(groups: list[str]) -> bool:
    """Whether the first of some groups of digits, or all, are a card number."""
    return any(_is_card("".join(groups[:number])) for number in range(1, len(groups) + 1))


def _is_card(digits: str) -> bool:
    """Whether digits are a card number: brand, length, check digit."""
    if not 13 <= len(digits) <= 19 or digits == digits[0] * len(digits):
        return False
    if not any(low <= int(digits[:size]) <= high and len(digits) in lengths for size, low, high, lengths in _BRANDS):
        return False
    total = 0
    for number, char in enumerate(reversed(digits)):
        digit = int(char) * (1 + number % 2)
        total += digit - 9 if digit > 9 else digit
    return total % 10 == 0
