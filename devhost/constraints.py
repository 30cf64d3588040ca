"""Route constraints (`{id:guid}`, `{n:int:min(1)}`): the ones of ASP.NET Core that a function app commonly uses.

A constraint only admits or refuses a value; what the function receives is always the text of the path.
"""

import re
from collections.abc import Callable

type Constraint = Callable[[str], bool]

_INTEGER = re.compile(r"\s*[+-]?[0-9]+\s*", re.ASCII)
_NUMBER = re.compile(r"\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?\s*", re.ASCII | re.IGNORECASE)
_GUID = re.compile(
    r"\{[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\}"
    r"|\([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\)"
    r"|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    r"|[0-9a-f]{32}",
    re.IGNORECASE,
)
_ALPHA = re.compile(r"[a-zA-Z]*")
_BOOL = re.compile(r"\s*(true|false)\s*", re.IGNORECASE)


def _integer(value: str, bits: int) -> int | None:
    """The number in `value` when it fits a signed integer of `bits`, else None."""
    if len(value) > 64 or not _INTEGER.fullmatch(value):
        return None
    number = int(value)
    return number if -(1 << bits - 1) <= number < 1 << bits - 1 else None


def _within(low: int | None, high: int | None) -> Constraint:
    def check(value: str) -> bool:
        number = _integer(value, 64)
        return number is not None and (low is None or number >= low) and (high is None or number <= high)

    return check


def _long_enough(low: int, high: int | None) -> Constraint:
    return lambda value: len(value) >= low and (high is None or len(value) <= high)


def _length(arguments: list[int]) -> Constraint:
    return _long_enough(arguments[0], arguments[-1])


_PLAIN: dict[str, Constraint] = {
    "int": lambda value: _integer(value, 32) is not None,
    "long": lambda value: _integer(value, 64) is not None,
    "float": lambda value: _NUMBER.fullmatch(value) is not None,
    "double": lambda value: _NUMBER.fullmatch(value) is not None,
    "decimal": lambda value: _NUMBER.fullmatch(value) is not None and "e" not in value.lower(),
    "bool": lambda value: _BOOL.fullmatch(value) is not None,
    "guid": lambda value: _GUID.fullmatch(value) is not None,
    "alpha": lambda value: _ALPHA.fullmatch(value) is not None,
    "required": lambda value: value != "",
}
# name -> (how many integers it takes, how to build it)
_WITH_INTEGERS: dict[str, tuple[tuple[int, ...], Callable[[list[int]], Constraint]]] = {
    "min": ((1,), lambda given: _within(given[0], None)),
    "max": ((1,), lambda given: _within(None, given[0])),
    "range": ((2,), lambda given: _within(given[0], given[1])),
    "minlength": ((1,), lambda given: _long_enough(given[0], None)),
    "maxlength": ((1,), lambda given: _long_enough(0, given[0])),
    "length": ((1, 2), _length),
}


def build_constraint(name: str, arguments: str | None) -> Constraint:
    """The constraint `name(arguments)`. ValueError for one that devhost does not know, or wrong arguments."""
    key = name.lower()
    if key == "regex" and arguments is not None:
        try:
            pattern = re.compile(arguments, re.IGNORECASE)
        except re.error as error:
            raise ValueError(f"regex({arguments}): {error}") from error
        return lambda value: pattern.search(value) is not None
    if key in _PLAIN and arguments is None:
        return _PLAIN[key]
    if key in _WITH_INTEGERS and arguments is not None:
        counts, build = _WITH_INTEGERS[key]
        given = [int(part) for part in arguments.split(",")]
        if len(given) in counts:
            return build(given)
    shown = name if arguments is None else f"{name}({arguments})"
    raise ValueError(f"the constraint reference '{shown}' could not be resolved")
