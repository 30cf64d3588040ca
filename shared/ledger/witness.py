"""An outside witness of the ledger (c2sp.org/tlog-witness): it cosigns checkpoints that follow from what it saw before.

Cosignatures are verified, and kept and served beside our own signature (adr/0027). A witness that is silent or refuses
holds up nothing: what it has not cosigned yet is offered again by the next run.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from shared.audit.model import RequestContext
from shared.core.errors import Clash
from shared.ledger._text import decode_decimal, encode_base64
from shared.ledger.checkpoints import Issued
from shared.ledger.keys import LedgerKeys
from shared.ledger.merkle import consistency_proof, consistency_ranges
from shared.ledger.note import (
    KeyType,
    Note,
    NoteError,
    Signature,
    VerifierKey,
    parse_note,
    parse_signatures,
    verify_note,
    with_signatures,
)
from shared.ledger.service import Ledger
from shared.ledger.shards import BrokenShard, Head, Shards
from shared.storage.containers import LEDGER
from shared.storage.documents import BatchOperation, DocumentStore
from shared.storage.documents import replace as replaced
from shared.storage.errors import NotFound, PreconditionFailed, Unavailable
from shared.telemetry import get_log

_log = get_log(__name__)

ATTEMPTS = 3
"""With a size of its own in between: that of ours may be old, and another instance may be at work."""
_RACES = 10
_KNOWS_MORE = "knows_more"

type Post = Callable[[bytes], Awaitable[tuple[int, bytes]]]
"""Sends the body of add-checkpoint; status and body of the answer. WitnessSilent when there is none."""
type Counted = Callable[[str], None]
"""Told of each offer how it ended: cosigned, refused, silent."""


class WitnessSilent(Exception):
    """The witness cannot be reached, or does not answer in time."""


class Refused(Exception):
    """The witness does not cosign. `reason` is a code; `known`: the size that it says it cosigned, where it does."""

    def __init__(self, reason: str, known: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.known = known


class Witness:
    """Offers checkpoints to one witness and keeps its cosignatures."""

    def __init__(
        self,
        *,
        key: VerifierKey,
        post: Post,
        ledger: Ledger,
        shards: Shards,
        keys: LedgerKeys,
        store: DocumentStore,
        counted: Counted,
    ) -> None:
        if key.type is not KeyType.COSIGNATURE:
            raise NoteError("malformed_key", "the key of a witness is one that cosigns")
        self._key = key
        self._post = post
        self._ledger = ledger
        self._shards = shards
        self._keys = keys
        self._store = store
        self._counted = counted

    async def offer_all(self, tenant_id: str, request: RequestContext) -> None:
        """Offer what the witness has not cosigned of a tenant's shards.

        Unavailable: it is silent, and there is no use in going on now.
        """
        heads, broken = await self._shards.each_head(tenant_id)
        for period, error in broken.items():
            await self._ledger.broken(tenant_id, period, error, request)
        for head in heads:
            if head.size <= head.witnessed_size or self._ledger.is_over(head.period):
                continue
            try:
                issued = await self._ledger.checkpoint(tenant_id, head.period, request)
                if await self.cosigned(tenant_id, issued, request) is None:
                    raise Unavailable("the witness does not answer")
            except BrokenShard as error:
                await self._ledger.broken(tenant_id, head.period, error, request)
            except Clash:
                continue  # it is broken, and that is in the trail

    async def cosigned(self, tenant_id: str, issued: Issued, request: RequestContext) -> Issued | None:
        """The checkpoint with the witness's cosignature, or as it is where the witness refuses. None: it is silent, and
        there is no use in asking on. BrokenShard."""
        try:
            return await self._offer(tenant_id, issued)
        except Refused as refusal:
            await self._refused(tenant_id, issued, refusal, request)
            return issued
        except WitnessSilent:
            _log.info("witness_passed_over", tenant_id=tenant_id)
            return None

    async def _refused(self, tenant_id: str, issued: Issued, refusal: Refused, request: RequestContext) -> None:
        """Say why the witness refused; where it saw what ours is not a continuation of, that is a finding.

        Not where it is only ahead of what was offered: another instance was faster, or its answer was lost.
        """
        period, size = issued.head.period, issued.checkpoint.size
        _log.warning("witness_refused", tenant_id=tenant_id, period=period, why=refusal.reason)
        if refusal.reason == _KNOWS_MORE:
            known = refusal.known or 0
            if (await self._shards.head(tenant_id, period)).size >= known:
                return
            error = BrokenShard("head", f"the witness has cosigned {known} entries, which are not there")
        elif refusal.reason == "422" or (refusal.reason == "409" and refusal.known == size):
            error = BrokenShard("head", "the witness has cosigned another history")
        else:
            return
        await self._ledger.broken(tenant_id, period, error, request)

    async def _offer(self, tenant_id: str, issued: Issued) -> Issued:
        note = parse_note(issued.note.encode())
        if issued.checkpoint.size == 0 or any(self._is_own(each) for each in note.signatures):
            return issued
        try:
            line = await self._ask(tenant_id, issued, note)
        except WitnessSilent:
            self._counted("silent")
            raise
        except Refused:
            self._counted("refused")
            raise
        self._counted("cosigned")
        return await self._keep(tenant_id, issued, with_signatures(note, [line]))

    def _is_own(self, line: Signature) -> bool:
        return (line.name, line.key_id) == (self._key.name, self._key.key_id)

    async def _ask(self, tenant_id: str, issued: Issued, note: Note) -> Signature:
        """The witness's cosignature. Refused, WitnessSilent; BrokenShard."""
        size = issued.checkpoint.size
        old_size = issued.head.witnessed_size
        for _ in range(ATTEMPTS):
            if old_size > size:
                raise Refused(_KNOWS_MORE, old_size)
            status, answer = await self._post(await self._request(tenant_id, issued, old_size))
            if status == 200:
                return await self._verified(issued.checkpoint.origin, note, answer)
            known = _size(answer) if status == 409 else old_size
            if known == old_size:
                raise Refused(str(status), known)
            old_size = known
        raise Refused("409")

    async def _request(self, tenant_id: str, issued: Issued, old_size: int) -> bytes:
        """The body of add-checkpoint."""
        size, path = issued.checkpoint.size, []
        if old_size:
            ranges = consistency_ranges(old_size, size)
            path = consistency_proof(old_size, size, await self._shards.reader(tenant_id, issued.head, ranges, size))
        lines = [f"old {old_size}", *map(encode_base64, path), "", issued.note]
        return "\n".join(lines).encode()

    async def _verified(self, origin: str, note: Note, answer: bytes) -> Signature:
        """The line of the answer that the witness's key made over the note. Refused when there is none that holds."""
        try:
            lines = [each for each in parse_signatures(answer.decode()) if self._is_own(each)][:1]
            verified = verify_note(with_signatures(note, lines), [self._key, *await self._keys.verifiers(origin)])
        except (NoteError, UnicodeDecodeError):
            raise Refused("bad_cosignature") from None
        if verified.distinct_cosigners() != 1:
            raise Refused("bad_cosignature")
        return lines[0]

    async def _keep(self, tenant_id: str, issued: Issued, note: Note) -> Issued:
        """Keep a cosigned note in its document, and in the head where it is the last one."""
        partition, period, size = (tenant_id, issued.head.period), issued.head.period, issued.checkpoint.size
        text = note.encode()
        for _ in range(_RACES):
            head = await self._shards.head(tenant_id, period)
            document = await self._shards.checkpoint(tenant_id, period, size)
            kept = self._head(head, size, text)
            operations: list[BatchOperation] = [replaced(kept.item(tenant_id), head.etag)]
            if document is not None:
                operations.append(replaced(document | {"note": text}, document["_etag"]))
            try:
                await self._store.batch(LEDGER, partition, operations)
            except (PreconditionFailed, NotFound):
                continue
            return Issued(issued.checkpoint, text, issued.head)
        raise Unavailable("the head of a shard is contended")

    @staticmethod
    def _head(head: Head, size: int, text: str) -> Head:
        kept = replace(head, witnessed_size=max(head.witnessed_size, size))
        return replace(kept, note=text) if head.signed_size == size else kept


def _size(answer: bytes) -> int:
    """The size that a witness names with 409. Refused when it names none."""
    text = answer.decode("ascii", "replace")
    try:
        return decode_decimal(text.removesuffix("\n"))
    except ValueError:
        raise Refused("409") from None
