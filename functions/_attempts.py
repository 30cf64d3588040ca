"""Reading the change that a refused call would have made: leniently, for it may be wrong in every way, and bounded."""

import json
import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from functions._api import Endpoint
from functions._parsing import MAX_BODY_BYTES, once, refuse
from shared.audit.sensitive import kind_of
from shared.identity.attempted import Attempted, known_role
from shared.identity.model import USERS
from shared.identity.ranks import GRANTABLE

KINDS = {"users": "user", "sessions": "session", "invitations": "invitation", "api-keys": "api_key"}
"""What the id behind a part of a path names, where that is an item of the caller's tenant that access can look for."""
MOST_CHARACTERS = 500
MOST_ITEMS = 20
_MOST_INTEGER = 2**53 - 1
_ROLE = "role"


def attempted(endpoint: Endpoint, raw: bytes, url: str, path: Mapping[str, str]) -> Attempted | None:
    """What a call would have changed; None where it reads. A body that is no JSON object says nothing."""
    if endpoint.method == "GET":
        return None
    given = {**_query(url), **_body(raw)}
    known = {*endpoint.body.model_fields, *endpoint.query.model_fields, _ROLE}
    names = tuple(sorted(given.keys() & known))
    values = {name: kept for name in names if name in (*endpoint.told, _ROLE) for kept in _kept(given[name])}
    kind, target_id = _named(endpoint.route, path)
    oneself = target_id is None and endpoint.who == USERS
    return Attempted(kind, target_id, oneself, names, known_role(given.get(_ROLE)), values)


def asks_for_a_role(endpoint: Endpoint, attempt: Attempted) -> bool:
    """Whether a call names a role that no such call gives: there, or at all."""
    return attempt.role is not None and (_ROLE not in endpoint.body.model_fields or attempt.role not in GRANTABLE)


def _named(route: str, path: Mapping[str, str]) -> tuple[str | None, str | None]:
    parts = route.split("/")
    for before, part in pairwise(parts):
        if part.endswith(":guid}"):
            return KINDS.get(before), path.get(part[1:].partition(":")[0])
    return None, None


def _body(raw: bytes) -> dict[str, Any]:
    if len(raw) > MAX_BODY_BYTES:
        return {}
    try:
        found = json.loads(raw.decode("utf-8"), object_pairs_hook=once, parse_constant=refuse)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _query(url: str) -> dict[str, Any]:
    try:
        return dict(parse_qsl(urlsplit(url).query, errors="replace", max_num_fields=100))
    except ValueError:
        return {}


def _kept(value: object) -> list[Any]:
    """The value in a form that every store takes, in a list; an empty one for a value that is not kept."""
    if value is None or isinstance(value, bool):
        return [value]
    if isinstance(value, str):
        sensitive = kind_of(value) is not None  # a card number, a secret: in no box either
        return [] if sensitive else [value[:MOST_CHARACTERS].encode("utf-8", "replace").decode("utf-8")]
    if isinstance(value, int):
        return [value] if abs(value) <= _MOST_INTEGER else []
    if isinstance(value, float):
        return [value] if math.isfinite(value) else []
    if isinstance(value, list):
        return [[kept for each in value[:MOST_ITEMS] if not isinstance(each, list) for kept in _kept(each)]]
    return []
