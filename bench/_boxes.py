"""What sealing costs, for `bench.privacy`: a box beside the bare cipher, ingest with boxes and without, and how often
a person's key is in memory when simulated companies are at work."""

import hashlib
import json
import os
import statistics
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from bench.ingest import event
from shared.audit.ingest import Batch, Ingest, Source
from shared.audit.model import RequestContext
from shared.audit.recorder import Recorder
from shared.core.canonical import canonical
from shared.core.clock import SystemClock, parse_rfc3339
from shared.core.ids import IdFactory
from shared.privacy.blind_index import BlindIndex
from shared.privacy.boxes import NONCE_BYTES, SALT_BYTES, BoxDamaged, Opened, Personal, PersonalBox, Sealed, SealedBoxes
from shared.privacy.guards import Guards
from shared.privacy.key_wrapping import LocalKeys
from shared.privacy.person_keys import PersonKeys
from shared.privacy.secrets import MemorySecrets
from shared.storage.documents import Item
from shared.storage.sqlite import SqliteStore

TENANT = "0195c000-0000-7000-8000-0000000000aa"
PERSON = "0195c000-0000-7000-8000-00000000beef"
EVENT = "0195c000-0000-7000-8000-00000000cafe"
_AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
CASES: dict[str, Personal] = {
    "sign-in": {"email": "someone@example.com", "ip": "203.0.113.9", "user_agent": _AGENT},
    "4 KB of text": {"old": {"bio": "words " * 340}, "new": {"bio": "other " * 340}},
}
_TIMES, _ROUNDS = 2_000, 9
BATCHES, BATCH, PAIRS = 20, 100, 9

type Figure = tuple[str, float, str, dict[str, str | int]]


def _fastest(work: Callable[[], object]) -> float:
    """Microseconds of one call: the fastest round, which is what others on the machine disturb least."""
    rounds = []
    for _ in range(_ROUNDS):
        start = time.process_time()
        for _ in range(_TIMES):
            work()
        rounds.append(time.process_time() - start)
    return min(rounds) / _TIMES * 1e6


async def _fastest_of(work: Callable[[], Awaitable[object]]) -> float:
    rounds = []
    for _ in range(_ROUNDS):
        start = time.process_time()
        for _ in range(_TIMES):
            await work()
        rounds.append(time.process_time() - start)
    return min(rounds) / _TIMES * 1e6


async def boxes() -> list[Figure]:
    """Sealing and opening, the key in memory, beside AES-256-GCM of the same bytes with the same associated data."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    clock = SystemClock()
    store = await SqliteStore.open(None, clock=clock)
    made = SealedBoxes(PersonKeys(store, LocalKeys(MemorySecrets(), clock), clock))
    found: list[Figure] = []
    for name, personal in CASES.items():
        sealed = await made.seal(TENANT, PERSON, EVENT, personal)
        if sealed is None:
            raise RuntimeError("nobody is erased here")
        cipher, nonce = AESGCM(os.urandom(32)), os.urandom(NONCE_BYTES)
        content, bound = os.urandom(SALT_BYTES) + canonical(personal), f"{TENANT}|{PERSON}|{EVENT}".encode()
        closed = cipher.encrypt(nonce, content, bound)
        labels: dict[str, str | int] = {"of": name, "bytes": len(content)}
        took = {
            "raw_encrypt": _fastest(partial(cipher.encrypt, nonce, content, bound)),
            "raw_decrypt": _fastest(partial(cipher.decrypt, nonce, closed, bound)),
            "seal": await _fastest_of(partial(made.seal, TENANT, PERSON, EVENT, personal)),
            "open": await _fastest_of(partial(made.open, TENANT, PERSON, EVENT, sealed.box, sealed.commitment)),
            "hash": _fastest(partial(hashlib.sha256, content)),
            "canonical_json": _fastest(partial(canonical, personal)),
            "read_json": _fastest(partial(json.loads, content[SALT_BYTES:])),
        }
        found += [(f"box_{what}", value, "us", labels) for what, value in took.items()]
        found.append(("box_seal_to_raw", took["seal"] / took["raw_encrypt"], "1", labels))
        found.append(("box_open_to_raw", took["open"] / took["raw_decrypt"], "1", labels))
    await store.close()
    return found


class Unsealed:
    """Boxes that hold what was put in, without key, cipher or commitment: what ingest is without sealing."""

    async def seal(self, tenant_id: str, subject: str, event_id: str, personal: Personal) -> Sealed:
        """As it is."""
        return Sealed({"data": personal}, "")

    async def check_erased(self, tenant_id: str, subject: str, event_id: str) -> None:
        """Nobody is."""
        raise BoxDamaged("a box is gone")

    async def prepare(self, tenant_id: str, subjects: Iterable[str], *, sealing: bool = False) -> None:
        """Nothing."""

    async def open(
        self, tenant_id: str, subject: str, event_id: str, box: dict[str, Any], commitment: str | None = None
    ) -> Opened:
        """As it was."""
        return Opened(box["data"], b"")


async def ingest(folder: Path) -> list[Figure]:
    """POST /events below HTTP: the same batches with boxes and without, in turn, each into a file of its own. By the
    CPU that it takes, the store's included, for others are at work on the machine."""
    clock, ways = SystemClock(), {}
    stores = []
    for name in ("sealed", "unsealed"):
        store = await SqliteStore.open(folder / f"{name}.sqlite", clock=clock)
        stores.append(store)
        secrets = MemorySecrets()
        index = BlindIndex(secrets, "v1")
        box: PersonalBox = Unsealed()
        if name == "sealed":
            box = SealedBoxes(PersonKeys(store, LocalKeys(secrets, clock), clock))
        recorder = Recorder(store, clock, IdFactory(clock), box, index)
        ways[name] = Ingest(recorder, Guards(store, index, clock), clock, lambda _status, _number: None)
    number, ratios = 0, []
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(PAIRS + 1):
        batches = [[event(number + n * BATCH + k, personal=True) for k in range(BATCH)] for n in range(BATCHES)]
        number += BATCHES * BATCH
        for name in sorted(ways, reverse=bool(turn % 2)):
            start = time.process_time()
            for batch in batches:
                request = RequestContext("r", "POST /v1/events", "write_events", clock.now(), api_key_id="k")
                sent = Batch(batch, suspicious=False, idempotency_key=None)
                done = await ways[name].accept(Source(TENANT, "k"), sent, request)
                if {each.status for each in done} != {"created"}:
                    raise RuntimeError("not all were created")
            rates[name].append(BATCHES * BATCH / (time.process_time() - start))
        ratios.append(rates["sealed"][-1] / rates["unsealed"][-1])
    for store in stores:
        await store.close()
    labels: dict[str, str | int] = {"batch": BATCH, "events": BATCHES * BATCH * PAIRS}
    found: list[Figure] = [
        (f"ingest_{name}", statistics.median(rates[name][1:]), "events/s of CPU", labels) for name in sorted(rates)
    ]
    return [*found, ("ingest_sealed_to_unsealed", statistics.median(ratios[1:]), "1", labels)]


class _Moved:
    """A clock that stands where it is put."""

    def __init__(self, moment: datetime) -> None:
        self.moment = moment

    def now(self) -> datetime:
        """The moment that was set."""
        return self.moment


async def hits(trail: Sequence[Item]) -> list[Figure]:
    """The persons of simulated events, each sealed for when it was recorded: how often the key is in memory, of one
    instance that serves all companies."""
    clock = _Moved(parse_rfc3339(trail[0]["recorded_at"]))
    store = await SqliteStore.open(None, clock=clock)
    keys = PersonKeys(store, LocalKeys(MemorySecrets(), clock), clock)
    for each in trail:
        clock.moment = parse_rfc3339(each["recorded_at"])
        for subject in each["personal"]:
            await keys.for_sealing(each["tenant_id"], subject)
    await store.close()
    asked = keys.hits + keys.misses
    return [("key_cache_hits", keys.hits / asked, "1", {"events": len(trail), "asked": asked})]
