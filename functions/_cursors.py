"""Cursors of lists: opaque, authenticated, bound to tenant, session and filter, and good for 15 minutes."""

import base64
import hashlib
import hmac
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from functions._api import Call
from shared.core.errors import FieldError, Invalid

if TYPE_CHECKING:  # cold start
    from shared.privacy.secrets import SecretVersion
    from shared.storage.documents import Cursor

LIFETIME_SECONDS = 900
_MAC_BYTES = 32


async def read_cursor(call: Call[Any, Any]) -> "Cursor | None":
    """The position that the request's cursor names; None without one. Invalid (422) unless it was made for this."""
    place = await read_place(call)
    if place is None:
        return None
    from shared.storage.documents import Cursor

    return Cursor(*place)


async def write_cursor(call: Call[Any, Any], cursor: "Cursor | None") -> str | None:
    """A cursor for the page after `cursor`, for this caller and these filters only."""
    return None if cursor is None else await write_place(call, [cursor.value, cursor.id])


async def read_place(call: Call[Any, Any]) -> list[Any] | None:
    """What `write_place` put into the request's cursor; None without one. Invalid (422) unless it was made for this."""
    text: str | None = call.query.cursor
    if text is None:
        return None
    try:
        raw = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), b"-_", validate=True)
    except ValueError:
        raise refused() from None
    if _spelled(raw) != text:
        raise refused()
    mac, written = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
    for root in await call.services.secrets.versions("tokens"):
        if hmac.compare_digest(mac, _mac(root, written, call)):
            place: list[Any]
            *place, expires = json.loads(written)
            if expires <= call.services.clock.now().timestamp():
                raise refused()
            return place
    raise refused()


async def write_place(call: Call[Any, Any], place: list[Any]) -> str:
    """A cursor that leads back to `place` (JSON), for this caller and these filters only."""
    now = call.services.clock.now()
    expires = int(now.timestamp()) + LIFETIME_SECONDS
    text = json.dumps([*place, expires], separators=(",", ":")).encode()
    from shared.privacy.secrets import signing_version

    versions = await call.services.secrets.versions("tokens")
    root = signing_version(versions, now, timedelta(seconds=LIFETIME_SECONDS))
    return _spelled(_mac(root, text, call) + text)


def _spelled(raw: bytes) -> str:
    """The one text that stands for a cursor's bytes."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _mac(root: "SecretVersion", text: bytes, call: Call[Any, Any]) -> bytes:
    from shared.privacy.secrets import derive

    filters = call.query.model_dump(mode="json", exclude={"cursor", "limit"})
    bound = [call.known.tenant_id, call.known.source_id, call.request.route, filters]
    context = json.dumps(bound, sort_keys=True).encode()
    message = hashlib.sha256(context).digest() + text
    return hmac.new(derive(root.value, "cursor"), message, hashlib.sha256).digest()


def refused() -> Invalid:
    """The answer to a cursor that leads nowhere."""
    error = FieldError("cursor", "invalid_cursor", "not a cursor of this list, or older than 15 minutes")
    return Invalid("invalid_request", "Some fields are not as they must be.", errors=(error,))
