"""Strict readings of base64 and decimal numbers, the one text for each value that C2SP's formats allow."""

import base64
import binascii
import re

_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}")


def encode_base64(data: bytes) -> str:
    """Base64 of RFC 4648 §4, padded."""
    return base64.b64encode(data).decode("ascii")


def decode_base64(text: str) -> bytes:
    """The inverse. ValueError for any other text, also for another spelling of the same bytes."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("not base64") from None
    if encode_base64(data) != text:
        raise ValueError("base64 in an unusual spelling")
    return data


def decode_decimal(text: str) -> int:
    """A number from 0 to 2^63 - 1 in ASCII digits without leading zeros. ValueError for any other text."""
    if not _DECIMAL.fullmatch(text) or (value := int(text)) > 2**63 - 1:
        raise ValueError("not a decimal number below 2^63")
    return value
