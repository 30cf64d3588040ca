"""The ledger from outside: signed checkpoints, keys, proofs, and the tree itself, in the formats of C2SP."""

import hashlib
import re
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BeforeValidator, Field

from functions._accept import wants_json
from functions._api import Answer, Api, Body, Call, ListQuery, Nothing, Shape
from functions._cursors import read_cursor, write_cursor
from functions._event_search import record_search
from functions._proofs import proof_of
from functions._shapes import ListShape, ProofShape, page
from shared.core.errors import FieldError, Invalid, NotFoundError
from shared.core.text import MONTH, Month, digits
from shared.identity.model import READERS

api = Api("ledger")
_SCOPE = "ledger:read"
_OCTETS = "application/octet-stream"
_FOREVER = "private, max-age=31536000, immutable"
_SLASH = re.compile("%2f", re.IGNORECASE)
"""All that a host leaves encoded of a path."""

type Size = Annotated[int, Field(ge=1, le=999_999_999), BeforeValidator(digits)]


class PeriodQuery(Body):
    """Which month's ledger."""

    period: Month | None = Field(default=None, description="A month, YYYY-MM; the present one, if not given.")


class CheckpointQuery(PeriodQuery):
    """Which checkpoint."""

    witnessed: Literal["true", "false"] = Field(
        default="false", description="The newest one that the witness cosigned, instead of the newest."
    )


@api.endpoint(
    "GET",
    "v1/ledger/checkpoint",
    who=READERS,
    scope=_SCOPE,
    query=CheckpointQuery,
    errors=(404, 409),
    produces={"text/plain": "A signed note: origin, number of entries, root; then signatures."},
)
async def get_ledger_checkpoint(call: Call[Nothing, CheckpointQuery]) -> Answer:
    """A signed checkpoint of a month's ledger (C2SP tlog-checkpoint), some seconds old at most. Keep it: what is
    changed in the entries that it covers can be proven with it. A month without events has the checkpoint of an empty
    tree, one whose retention is over its last one."""
    tenant_id, period, ledger = call.known.tenant_id, _period(call), call.services.ledger
    if call.query.witnessed == "true":
        return _text(await ledger.witnessed(tenant_id, period, call.request))
    return _text((await ledger.checkpoint(tenant_id, period, call.request)).note)


class KeyShape(Shape):
    """A key that signs checkpoints, or did."""

    vkey: str
    since: str
    until: str | None


class KeysShape(Shape):
    """Every key of the service under the name of a month's ledger; the first one signs now."""

    period: str
    keys: list[KeyShape]


@api.endpoint(
    "GET",
    "v1/ledger/key",
    who=READERS,
    scope=_SCOPE,
    query=PeriodQuery,
    response=KeysShape,
    produces={"text/plain": "The verifier key (vkey of signed-note) of the key that signs now."},
)
async def get_ledger_key(call: Call[Nothing, PeriodQuery]) -> Answer:
    """The key that signs checkpoints now, under the name of a month's ledger; as JSON every key that ever signed, with
    the time from and up to which it did. Whoever wants to check the service compares it with what is published
    elsewhere: a key that comes from the service alone proves nothing against the service."""
    from shared.core.clock import rfc3339

    period = _period(call)
    keys = await call.services.ledger.vkeys(call.known.tenant_id, period, call.request)
    if not wants_json(call.accept):
        return _text(f"{keys[0].vkey}\n")
    shown = [{"vkey": key.vkey, "since": rfc3339(key.since), "until": key.until and rfc3339(key.until)} for key in keys]
    return Answer({"period": period, "keys": shown})


class LedgerShape(Shape):
    """One month's ledger. `signed_size`: entries under the last checkpoint; `witnessed_size`: under the last one that
    the witness cosigned. `expired`: the retention is over, only the checkpoint is left."""

    period: str
    size: int
    signed_size: int | None
    signed_at: str | None
    witnessed_size: int | None
    expired: bool


class LedgerList(ListShape):
    """One page of ledgers."""

    items: list[LedgerShape]


@api.endpoint("GET", "v1/ledger/shards", who=READERS, scope=_SCOPE, query=ListQuery, response=LedgerList)
async def list_ledger_shards(call: Call[Nothing, ListQuery]) -> Answer:
    """The tenant's ledgers, one a month in which something was sealed, the newest first."""
    after = await read_cursor(call)
    found = await call.services.ledger.shards(call.known.tenant_id, call.query.limit, after, call.request)
    items, following = found
    return Answer(page(items, await write_cursor(call, following)))


class ProofQuery(Body):
    """Which event."""

    event_id: UUID = Field(description="Id of an event.")


@api.endpoint(
    "GET",
    "v1/ledger/proof",
    who=READERS,
    scope=_SCOPE,
    query=ProofQuery,
    response=ProofShape,
    errors=(404, 409),
    produces={"text/plain": "A proof file (C2SP tlog-proof)."},
)
async def get_ledger_proof(call: Call[Nothing, ProofQuery]) -> Answer:
    """The proof that an event is sealed: a tlog-proof file, or JSON with the entry that it is about. An event is sealed
    some seconds after it is recorded; until then: 409 `not_sealed` with `Retry-After`. Asking is an event of its
    own."""
    proven = await proof_of(call, str(call.query.event_id))
    await record_search(call, "ledger", {"event_id": proven.entry.event_id}, 1)
    return Answer(proven.body()) if wants_json(call.accept) else _text(proven.proof.text())


class ConsistencyQuery(PeriodQuery):
    """Between which sizes."""

    from_: Size = Field(alias="from", description="Entries under the older checkpoint.")
    to: Size | None = Field(default=None, description="Entries under the newer one; the last, if not given.")


class ConsistencyShape(Shape):
    """The hashes, base64, that lead from the root at `from` to the root at `to` (RFC 9162, 2.1.4)."""

    period: str
    from_: int = Field(alias="from")
    to: int
    path: list[str]


@api.endpoint(
    "GET",
    "v1/ledger/consistency",
    who=READERS,
    scope=_SCOPE,
    query=ConsistencyQuery,
    response=ConsistencyShape,
    errors=(404, 409),
)
async def get_ledger_consistency(call: Call[Nothing, ConsistencyQuery]) -> Answer:
    """The proof that a month's ledger of `to` entries begins with the one of `from`: that nothing under the older
    checkpoint was changed, removed or moved since."""
    from shared.ledger._text import encode_base64

    query = call.query
    found = await call.services.ledger.consistency(
        call.known.tenant_id, _period(call), query.from_, query.to, call.request
    )
    path = [encode_base64(each) for each in found.path]
    return Answer({"period": found.period, "from": found.old_size, "to": found.size, "path": path})


@api.endpoint(
    "GET",
    "v1/ledger/{period}/tile/{*path}",
    who=READERS,
    scope=_SCOPE,
    errors=(404, 409),
    produces={_OCTETS: "A tile of hashes, or an entry bundle (C2SP tlog-tiles)."},
)
async def get_ledger_tile(call: Call[Nothing, Nothing]) -> Answer:
    """A piece of a month's ledger: `<level>/<index>` is 256 hashes, `entries/<index>` 256 entries, `.p/<width>` behind
    it the first so many of them. No piece ever changes: it can be cached for good. Reading entries is an event of its
    own."""
    from shared.ledger.tiles import ENTRIES

    period, path, ledger = call.path["period"], _SLASH.sub("/", call.path.get("path", "")), call.services.ledger
    if re.fullmatch(MONTH, period) is None or period > ledger.present:
        raise NotFoundError("not_found", "There is nothing at this path.")
    tile, content = await ledger.tile(call.known.tenant_id, period, path, call.request)
    if tile.level == ENTRIES:
        await record_search(call, "ledger", {"period": period, "tile": tile.path}, tile.width)
    tag = f'"{hashlib.sha256(content).hexdigest()}"'
    headers = {"ETag": tag, "Cache-Control": _FOREVER, "Vary": "Authorization"}  # the path is the same for every tenant
    if tag in call.if_none_match:
        return Answer(None, 304, headers, media_type=_OCTETS)
    return Answer(content, headers=headers, media_type=_OCTETS)


def _period(call: Call[Any, PeriodQuery]) -> str:
    """The month that is asked for. Invalid (422) for one that is still to come."""
    present: str = call.services.ledger.present
    period = call.query.period or present
    if period > present:
        error = FieldError("period", "range", "must not be behind the present month")
        raise Invalid("invalid_request", "Some fields are not as they must be.", errors=(error,))
    return period


def _text(text: str) -> Answer:
    return Answer(text.encode(), media_type="text/plain")
