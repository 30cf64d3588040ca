"""How far the check of a shard is: a document beside it, one for each shard.

There are two walks. The first follows the sealer and sees each entry and each event once, soon. The second, the lap,
goes over all of them again and again. A document that somebody else wrote to and left without sense is begun anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from shared.ledger._text import decode_base64, encode_base64
from shared.ledger.marks import Marked, Marks
from shared.ledger.merkle import Frontier, ProofError
from shared.ledger.rollups import DayRollup
from shared.ledger.shards import BrokenShard
from shared.ledger.walk import Walk
from shared.storage.documents import DocumentStore, Item, Partition

LAG = timedelta(minutes=10)
"""After that time an event that the feed delivered is sealed, unless the feed itself is behind."""
CLOCKS_DIFFER = timedelta(minutes=5)
"""So far the clock of another instance, which wrote the place of a check, may be ahead."""
PROGRESS = "check"
RECOUNT = "recount"


def progress_id(period: str) -> str:
    """The id of the document of a shard."""
    return f"{PROGRESS}|{period}"


def recount_id(day: str) -> str:
    """The id of what a lap has counted of a day so far."""
    return f"{RECOUNT}|{day}"


@dataclass(slots=True)
class Lap:
    """The walk over everything, from the first entry and the first event on.

    `number`: from 0. `started_at`: Unix time. `covered`: every event that was stored before this time (Unix) was sealed
    when the last lap was over. `after`: the id of the event where it is.
    """

    number: int = 0
    started_at: int = 0
    covered: int = 0
    walk: Walk = field(default_factory=Walk)
    after: str = ""
    entries_done: bool = False
    events_done: bool = False

    def next(self, now: int, lag_seconds: int) -> Lap:
        """The lap that follows one that is over."""
        return Lap(self.number + 1, now, self.started_at - lag_seconds)


@dataclass(slots=True)
class Progress:
    """Where both walks of a shard are. `new`: over entries that nobody looked at yet; `after`: the same of events.

    `marked`: the largest size that was seen in the mark of what was signed (`marks`).
    """

    period: str
    new: Walk = field(default_factory=Walk)
    after: str = ""
    lap: Lap = field(default_factory=Lap)
    looked_at: int = 0
    marked: int = 0
    etag: str | None = None

    @classmethod
    def anew(cls, period: str, now: datetime, marked: Marked, etag: str | None = None) -> Progress:
        """Where a check begins whose place is not there, or no place: with what is known elsewhere of what it covered.

        The number of its lap is one that no lap before had, lest what they counted be counted again.
        """
        return cls(period, lap=Lap(int(now.timestamp()), covered=kept_of(marked, period, now)), etag=etag)

    @property
    def covered(self) -> int:
        """The time (Unix) before which all that was stored was sealed; 0: unknown."""
        return self.lap.covered if self.new.is_whole and self.lap.walk.is_whole else 0

    def take_back(self, now: datetime) -> bool:
        """Undo times that are still to come, which no check has written; whether there was one."""
        latest = int((now + CLOCKS_DIFFER).timestamp())
        lap = self.lap
        is_odd = max(self.looked_at, lap.started_at, lap.covered) > latest
        self.looked_at = self.looked_at if self.looked_at <= latest else 0
        lap.started_at = lap.started_at if lap.started_at <= latest else 0
        lap.covered = lap.covered if lap.covered <= latest else 0
        return is_odd

    def item(self, tenant_id: str) -> Item:
        """What is stored. Counts are not: they are documents of their own."""
        lap = self.lap
        return {
            "id": progress_id(self.period),
            "tenant_id": tenant_id,
            "period": self.period,
            "kind": PROGRESS,
            "new": _stored(self.new),
            "after": self.after,
            "looked_at": self.looked_at,
            "marked": self.marked,
            "lap": {
                "number": lap.number,
                "started_at": lap.started_at,
                "covered": lap.covered,
                "walk": _stored(lap.walk),
                "after": lap.after,
                "entries_done": lap.entries_done,
                "events_done": lap.events_done,
            },
        }

    @classmethod
    def of(cls, item: Item) -> Progress:
        """The inverse of `item`, counts missing. ValueError when it is not as we write it."""
        try:
            lap = item["lap"]
            return cls(
                period=str(item["period"]),
                new=_read(item["new"]),
                after=str(item["after"]),
                looked_at=int(item["looked_at"]),
                marked=int(item.get("marked", 0)),
                etag=item["_etag"],
                lap=Lap(
                    number=int(lap["number"]),
                    started_at=int(lap["started_at"]),
                    covered=int(lap["covered"]),
                    walk=_read(lap["walk"]),
                    after=str(lap["after"]),
                    entries_done=bool(lap["entries_done"]),
                    events_done=bool(lap["events_done"]),
                ),
            )
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, ProofError) as error:
            raise ValueError("the place of a check is not as we write it") from error


async def covered_of(
    store: DocumentStore, partition: Partition, item: Item | None, earliest: int, now: datetime
) -> int:
    """The time (Unix) before which all that was stored of a shard was sealed, as its check says in `item`; 0: unknown.

    Where `item` is no place of a check, what was kept of it elsewhere counts; that is read only if something was stored
    as long ago as all is sealed, `earliest` (Unix time) being the first of what is asked for. StoreError.
    """
    progress = None if item is None else _usable(item)
    if progress is not None:
        return _come_to(progress.covered, now)
    if earliest >= (now - LAG).timestamp():
        return 0
    tenant_id, period = partition
    try:
        return kept_of(await Marks(store).of(tenant_id), period, now)
    except BrokenShard:
        return 0  # whoever signs says so


def _usable(item: Item) -> Progress | None:
    try:
        return Progress.of(item)
    except ValueError:
        return None  # the check begins it anew, and says so


def kept_of(marked: Marked, period: str, now: datetime) -> int:
    """The same, as it is kept beside the marks of a tenant."""
    return _come_to(marked.covered.get(period, 0), now)


def _come_to(covered: int, now: datetime) -> int:
    """A time that no check can have come to yet is somebody else's, and says nothing."""
    return covered if covered <= (now - LAG).timestamp() else 0


def recount_item(tenant_id: str, period: str, lap: int, rollup: DayRollup) -> Item:
    """What a lap has counted of a day so far, as it is stored."""
    own = {"id": recount_id(rollup.day), "tenant_id": tenant_id, "period": period, "kind": RECOUNT, "lap": lap}
    return own | rollup.to_item()


def _stored(walk: Walk) -> dict[str, Any]:
    nodes = [encode_base64(each) for each in walk.frontier.nodes]
    return {"size": walk.frontier.size, "nodes": nodes, "is_sound": walk.is_sound, "is_whole": walk.is_whole}


def _read(item: Mapping[str, Any]) -> Walk:
    frontier = Frontier(int(item["size"]), [decode_base64(each) for each in item["nodes"]])
    return Walk(frontier, bool(item["is_sound"]), bool(item["is_whole"]))
