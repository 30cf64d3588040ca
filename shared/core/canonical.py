"""Canonical JSON (RFC 8785): one text for each value, so that hashes of it agree wherever they are made."""

import json
from typing import Any

_MOST = 2**53 - 1
_PLAIN = frozenset((str, bool, type(None)))
_encode = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode


def canonical(value: Any) -> bytes:
    """The canonical JSON of a value. ValueError, RecursionError when it has none (NaN, a lone surrogate, 2^53).

    Whole numbers, and fractions of usual size, under ASCII names, need no care: there Python's own encoder writes the
    same, several times as fast. (Both write the shortest digits that read back; they differ in whole floats, and where
    either takes an exponent.)
    """
    if _is_plain(value):
        return _encode(value).encode()
    import rfc8785

    return rfc8785.dumps(value)


def _is_plain(value: Any) -> bool:
    kind = type(value)
    if kind in _PLAIN:
        return True
    if kind is dict:
        for name, each in value.items():
            if type(name) is not str or not name.isascii() or (type(each) is not str and not _is_plain(each)):
                return False
        return True
    if kind is list:
        return all(map(_is_plain, value))
    if kind is float:
        return bool(1e-4 <= abs(value) < 1e15 and value != int(value))
    return kind is int and -_MOST <= value <= _MOST
