"""Which of its forms an answer takes: what `Accept` (RFC 9110) asks for."""

import re

_QUALITY = re.compile(r"q=([01](?:\.[0-9]{0,3})?)")


def wants_json(accept: str) -> bool:
    """Whether JSON is asked for by its name, and plain text not rather. Without a word about it: text."""
    asked = {name: _quality(options) for name, *options in map(_cut, accept.lower().split(",")[:20])}
    json = asked.get("application/json", 0.0)
    return json > 0 and json >= asked.get("text/plain", 0.0)


def _cut(media_range: str) -> list[str]:
    return [part.strip() for part in media_range.split(";")]


def _quality(options: list[str]) -> float:
    found = [float(match[1]) for match in map(_QUALITY.fullmatch, options) if match]
    return found[0] if found else 1.0
