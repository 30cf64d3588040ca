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
from shared.ledger.merkle import Frontier, ProofError
from shared.ledger.rollups import DayRollup
from shared.ledger.walk import Walk
from shared.storage.documents import Item

LAG = timedelta(minutes=10)
"""After that time an event that the feed delivered is sealed, unless the feed itself is behind."""
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
        except (KeyError, TypeError, ValueError, AttributeError, ProofError) as error:
            raise ValueError("the place of a check is not as we write it") from error


def covered_by(item: Item | None, now: datetime) -> int:
    """The time (Unix) before which all that was stored of a shard was sealed, as its check says in `item`; 0: unknown.

    A time that no check can have come to yet is somebody else's, and says nothing.
    """
    try:
        progress = None if item is None else Progress.of(item)
    except ValueError:
        return 0  # the check begins it anew, and says so
    if progress is None or not (progress.new.is_whole and progress.lap.walk.is_whole):
        return 0
    return progress.lap.covered if progress.lap.covered <= (now - LAG).timestamp() else 0


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
