"""Which passwords may be set: long, not among the common ones, not made of what everybody knows of their owner.

As NIST SP 800-63B asks: any characters, no rules of composition, a blocklist, and the owner's context. The list and the
estimate are zxcvbn's (30,000 common passwords, words and names in several orders, keyboard runs, repeats, dates). Three
things it takes for stronger than they are, for people make passwords so: one word, also said again, with a year or
marks around it; two that many think of, with something between them; and words of the context in a row.
"""

import re
import unicodedata
from collections.abc import Sequence
from itertools import permutations

from shared.core.errors import FieldError, Invalid

MIN_LENGTH, MAX_LENGTH = 12, 128
FEWEST_GUESSES = 10**8
"""Below it a password is taken for common: an attacker who knows how people choose would be there in minutes."""
LEAST_OWN = 8
"""Characters that are left of a password without the words of its context; years count as one, and so does a run of
one character."""
_CHUNK, _MOST_CHUNKS = 24, 2
"""What is estimated, for the estimator's time grows with the square of it and more: the beginning, in two parts."""
_SHORTEST_WORD = 3
_ONE_WORD = 10**6
"""Guesses below which letters are a word, or a name, that many people think of."""
_SERVICE = "Kraftd Audit"
"""Context of everybody: people name a password after what it opens."""
_LETTERS = re.compile(r"[^\W\d_]+")
_YEAR, _RUN = re.compile(r"(?<!\d)(?:(?:19|20)\d\d)+(?!\d)"), re.compile(r"(.)\1+")
_LEET = str.maketrans("@4301!$57", "aaeoiisst")
_LEET_WITHIN = re.compile(r"(?<=[^\W\d_])[@4301!$57]+(?=[^\W\d_])")


def normal_password(password: str) -> str:
    """A password as it is hashed and compared: Unicode NFKC."""
    return unicodedata.normalize("NFKC", password)


def check_password(password: str, context: Sequence[str], *, field: str = "password") -> None:
    """Invalid (422), naming `field`, unless the password may be set by someone of whom `context` is known."""
    normal = normal_password(password)
    if not MIN_LENGTH <= len(normal) <= MAX_LENGTH:
        raise refused(field, "length", f"must have {MIN_LENGTH} to {MAX_LENGTH} characters in Unicode NFKC")
    words = context_words((*context, _SERVICE))
    if _is_personal(normal, words):
        raise refused(
            field,
            "contains_personal",
            "must not be made of the e-mail, name or organization, or of this service's name",
        )
    if _is_one_word(normal) or _is_joined(normal) or _guesses(normal, words) < FEWEST_GUESSES:
        raise refused(field, "too_common", "is one of the common passwords, or easy to guess")


def refused(field: str, code: str, message: str) -> Invalid:
    """The 422 for a password that may not be set."""
    detail = "This password cannot be used."
    return Invalid("invalid_request", detail, errors=(FieldError(field, code, message),))


def context_words(context: Sequence[str]) -> list[str]:
    """The texts, the local part and the domain of an e-mail, their words, and any two texts in a row, longest first;
    short ones say nothing."""
    found: set[str] = {f"{one}{two}" for one, two in permutations(map(_squeezed, context), 2)}
    for text in context:
        folded = normal_password(text).casefold()
        local, _, domain = folded.rpartition("@")
        parts = (folded, "".join(folded.split()), local, domain)
        found.update(word for part in parts for word in (part, *_split(part)))
    return sorted((word for word in found if len(word) >= _SHORTEST_WORD), key=lambda word: (-len(word), word))


def _split(text: str) -> list[str]:
    return "".join(char if char.isalnum() else " " for char in text).split()


def _squeezed(text: str) -> str:
    return "".join(normal_password(text).casefold().split())


def _is_personal(password: str, words: Sequence[str]) -> bool:
    """Whether too little is left of a password without the words of its context, also of one that is written l33t."""
    folded = password.casefold()
    for text in (folded, folded.translate(_LEET)):
        own = text
        for word in words:
            own = own.replace(word, "")
        if own != text and (_own_length(own) < LEAST_OWN or _guesses(own, ()) < _ONE_WORD):
            return True
    return False


def _own_length(text: str) -> int:
    return len(_RUN.sub(r"\1", _YEAR.sub("y", text)))


def _is_one_word(password: str) -> bool:
    """Whether a password is one word that many think of, once or again and again, with fewer digits and marks around it
    than would do alone."""
    words, around = _words(password)
    if len(words) != 1 or len(words[0]) > _CHUNK:
        return False
    return _own_length(around) < LEAST_OWN and _guesses(words[0], ()) < _ONE_WORD


def _is_joined(password: str) -> bool:
    """Whether its words, each of them once, are together no harder to guess than one is, with a mark beside it."""
    words, around = _words(password)
    return len(words) > 1 and _guesses("".join(words), ()) * 10.0 ** _own_length(around) < 10 * _ONE_WORD


def _words(password: str) -> tuple[list[str], str]:
    """The different runs of letters of a password, l33t undone within them, and all that is around them."""
    plain = _LEET_WITHIN.sub(lambda found: found[0].translate(_LEET), password)
    runs = {run.casefold(): run for run in reversed(_LETTERS.findall(plain))}
    return [*reversed(runs.values())], _LETTERS.sub("", plain)


def _guesses(password: str, words: Sequence[str]) -> float:
    from zxcvbn import zxcvbn

    guesses = 1.0
    for start in range(0, min(len(password), _CHUNK * _MOST_CHUNKS), _CHUNK):
        if guesses < FEWEST_GUESSES:
            guesses *= float(zxcvbn(password[start : start + _CHUNK], user_inputs=list(words))["guesses"])
    return guesses
