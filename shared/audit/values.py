"""What producers may put into an event: JSON that every store keeps and every reader reads as the same, within bounds.

Numbers are those that a double holds exactly and that read back as written from any store: integers within ±(2^53−1)
(RFC 8785 knows no others), other numbers within the same range. Text has no NUL (SQLite ends there) and no half of a
surrogate pair (which has no UTF-8).
"""

import re
from collections.abc import Iterator
from typing import Any

from shared.core.errors import FieldError

MOST_ATTRIBUTES = 50
LONGEST_KEY = 40
LONGEST_TEXT = 500
LONGEST_LIST = 50
HIGHEST_NUMBER = (1 << 53) - 1
LONGEST_PERSONAL_TEXT = 4000
DEEPEST_PERSONAL = 5
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_NAME = 64


def attribute_faults(attributes: dict[str, Any], at: str = "attributes") -> Iterator[FieldError]:
    """What is wrong with free attributes: values are text, numbers, true, false, null, or lists of these."""
    if len(attributes) > MOST_ATTRIBUTES:
        yield FieldError(at, "too_many", f"has at most {MOST_ATTRIBUTES} attributes")
        return
    for key, value in attributes.items():
        path = f"{at}.{key[:_NAME]}"
        fault = _key_fault(key)
        if fault is not None:
            yield FieldError(_shown(path), *fault)
        elif type(value) is list:
            yield from _list_faults(value, path)
        else:
            fault = scalar_fault(value, LONGEST_TEXT)
            if fault is not None:
                yield FieldError(path, *fault)


def _list_faults(values: list[Any], path: str) -> Iterator[FieldError]:
    if len(values) > LONGEST_LIST:
        yield FieldError(path, "too_long", f"has at most {LONGEST_LIST} values")
        return
    for number, each in enumerate(values):
        fault = scalar_fault(each, LONGEST_TEXT)
        if fault is not None:
            yield FieldError(f"{path}[{number}]", *fault)
            return
    if sum(len(each) for each in values if type(each) is str) > LONGEST_TEXT:
        yield FieldError(path, "too_long", f"its texts have at most {LONGEST_TEXT} characters together")


def personal_faults(value: dict[str, Any], at: str, depth: int = 1) -> Iterator[FieldError]:
    """What is wrong with the personal data of one person: any JSON, a few levels deep."""
    for key, each in value.items():
        path = f"{at}.{key[:_NAME]}"
        fault = _key_fault(key)
        if fault is not None:
            yield FieldError(_shown(path), *fault)
        else:
            yield from _personal_faults(each, path, depth)


def _personal_faults(value: Any, path: str, depth: int) -> Iterator[FieldError]:
    if type(value) is dict or type(value) is list:
        if depth >= DEEPEST_PERSONAL:
            yield FieldError(path, "too_deep", f"is at most {DEEPEST_PERSONAL} levels deep")
        elif type(value) is dict:
            yield from personal_faults(value, path, depth + 1)
        else:
            for number, each in enumerate(value):
                yield from _personal_faults(each, f"{path}[{number}]", depth + 1)
        return
    fault = scalar_fault(value, LONGEST_PERSONAL_TEXT)
    if fault is not None:
        yield FieldError(path, *fault)


def scalar_fault(value: Any, longest: int) -> tuple[str, str] | None:
    """Code and message of what is wrong with one value; None: nothing."""
    kind = type(value)
    if kind is str:
        if len(value) > longest:
            return "string_too_long", f"has at most {longest} characters"
        return text_fault(value)
    if kind is int or kind is float:
        if -HIGHEST_NUMBER <= value <= HIGHEST_NUMBER:  # not for NaN either
            return None
        return "number_out_of_range", f"is a number within ±{HIGHEST_NUMBER}"
    if kind is bool or value is None:
        return None
    return "scalar", "is text, a number, true, false or null, or a list of these"


def text_fault(text: str) -> tuple[str, str] | None:
    """Code and message of why a text cannot be stored; None: it can."""
    if text.isascii():
        return ("unstorable_text", "must not hold NUL") if "\0" in text else None
    if _UNSTORABLE.search(text):
        return "unstorable_text", "must not hold NUL or half of a surrogate pair"
    return None


def _key_fault(key: str) -> tuple[str, str] | None:
    if not 1 <= len(key) <= LONGEST_KEY:
        return "key_length", f"a name has 1 to {LONGEST_KEY} characters"
    return None if key.isprintable() else ("key_characters", "a name has printable characters")


def _shown(path: str) -> str:
    """A path that can be answered: what cannot be printed is replaced."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in path)
