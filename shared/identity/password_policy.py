"""Which passwords may be set: long, not among the common ones, not made of what everybody knows of their owner.

As NIST SP 800-63B asks: any characters, no rules of composition, a blocklist, and the owner's context. The list and the
estimate are zxcvbn's (30,000 common passwords, words and names in several orders, keyboard runs, repeats, dates).
"""

import unicodedata
from collections.abc import Sequence

from shared.core.errors import FieldError, Invalid

MIN_LENGTH, MAX_LENGTH = 12, 128
FEWEST_GUESSES = 10**8
"""Below it a password is taken for common: an attacker who knows how people choose would be there in minutes."""
LEAST_OWN = 8
"""Characters that are left of a password without the words of its context."""
_CHUNK, _MOST_CHUNKS = 24, 2
"""What is estimated, for the estimator's time grows with the square of it and more: the beginning, in two parts."""
_SHORTEST_WORD = 3


def normal_password(password: str) -> str:
    """A password as it is hashed and compared: Unicode NFKC."""
    return unicodedata.normalize("NFKC", password)


def check_password(password: str, context: Sequence[str], *, field: str = "password") -> None:
    """Invalid (422), naming `field`, unless the password may be set by someone of whom `context` is known."""
    normal = normal_password(password)
    if not MIN_LENGTH <= len(normal) <= MAX_LENGTH:
        raise refused(field, "length", f"must have {MIN_LENGTH} to {MAX_LENGTH} characters in Unicode NFKC")
    words = context_words(context)
    if _own_part(normal, words) < LEAST_OWN:
        raise refused(field, "contains_personal", "must not be made of the e-mail, name or organization")
    if _guesses(normal, words) < FEWEST_GUESSES:
        raise refused(field, "too_common", "is one of the common passwords, or easy to guess")


def refused(field: str, code: str, message: str) -> Invalid:
    """The 422 for a password that may not be set."""
    detail = "This password cannot be used."
    return Invalid("invalid_request", detail, errors=(FieldError(field, code, message),))


def context_words(context: Sequence[str]) -> list[str]:
    """The texts, the local part and the domain of an e-mail, and their words, longest first; short ones say nothing."""
    found: set[str] = set()
    for text in context:
        folded = normal_password(text).casefold()
        local, _, domain = folded.rpartition("@")
        parts = (folded, "".join(folded.split()), local, domain)
        found.update(word for part in parts for word in (part, *_split(part)))
    return sorted((word for word in found if len(word) >= _SHORTEST_WORD), key=lambda word: (-len(word), word))


def _split(text: str) -> list[str]:
    return "".join(char if char.isalnum() else " " for char in text).split()


def _own_part(password: str, words: Sequence[str]) -> int:
    folded = password.casefold()
    for word in words:
        folded = folded.replace(word, "")
    return len(folded)


def _guesses(password: str, words: Sequence[str]) -> float:
    from zxcvbn import zxcvbn

    guesses = 1.0
    for start in range(0, min(len(password), _CHUNK * _MOST_CHUNKS), _CHUNK):
        if guesses < FEWEST_GUESSES:
            guesses *= float(zxcvbn(password[start : start + _CHUNK], user_inputs=list(words))["guesses"])
    return guesses
