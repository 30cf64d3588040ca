"""Keeping facts: a document for each day, folded when it is missing, not ours, or the ledger has more of the day."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from shared.audit.model import RequestContext
from shared.compliance.facts.midnight import Day
from shared.compliance.facts.parts import FACTS_VERSION
from shared.compliance.facts.sealing import Sealing
from shared.core.clock import Clock, parse_rfc3339, period_end
from shared.ledger.service import Ledger
from shared.ledger.shards import BrokenShard, Shards, checkpoint_id
from shared.ledger.tiles import WIDTH, width_of
from shared.privacy.secrets import SecretsPort
from shared.storage.containers import LEDGER, REPORTS
from shared.storage.documents import DocumentStore, Item, Query, Range, pages
from shared.telemetry import get_log

_log = get_log(__name__)

KIND = "facts"
_A_MONTH = 31
_LONG_MINUTES = 30
"""Times between checkpoints from which on they are kept."""
_MOST_GAPS = 50
_OF_ROLLUPS = ("events", "first", "last")
_COUNTED = ("version", *_OF_ROLLUPS)


def facts_id(day: str) -> str:
    """The id of the facts of a day (YYYY-MM-DD)."""
    return f"{KIND}|{day}"


class FactsStore:
    """Reads facts, and folds those that are not there."""

    def __init__(
        self,
        store: DocumentStore,
        ledger: Ledger,
        shards: Shards,
        clock: Clock,
        retention_days: int,
        secrets: SecretsPort,
    ) -> None:
        self._store = store
        self._sealing = Sealing(secrets, clock)
        self._ledger = ledger
        self._shards = shards
        self._clock = clock
        self._retention_days = retention_days

    async def gather(self, tenant_id: str, day: str, request: RequestContext) -> bool:
        """Fold a day, unless its facts are those of all that is sealed of it; whether it was folded. StoreError,
        SecretsError."""
        try:
            rollups = await self._shards.rollups(tenant_id, day[:7], [day])
        except BrokenShard as error:
            await self._ledger.broken(tenant_id, day[:7], error, request)
            return False
        held = await self._held(tenant_id, [day])
        found = await self._complete(tenant_id, rollups, held, request)
        return any(facts is not held.get(day) for day, facts in found.items())

    async def unfolded(self, tenant_id: str, days: Sequence[str]) -> int:
        """How many sealed events of days have no facts yet, as far as can be told without opening them. StoreError,
        SecretsError."""
        rollups: dict[str, Item] = {}
        for month in dict.fromkeys(day[:7] for day in days):
            rollups |= await self._shards.rollups(tenant_id, month, [day for day in days if day[:7] == month])
        key = (await self._sealing.version()).version
        held = {item["day"]: item for item in await self._items(tenant_id, days, ("day", "key", *_COUNTED))}
        return sum(
            rollup["events"]
            for day, rollup in rollups.items()
            if day not in held or held[day].get("key") != key or not _is_of(held[day], rollup)
        )

    async def gather_days(self, tenant_id: str, days: Sequence[str], request: RequestContext) -> int:
        """Fold the days of which not all that is sealed is in their facts, oldest first; how many. StoreError,
        SecretsError."""
        try:
            left = await self.unfolded(tenant_id, days) if days else 0
        except BrokenShard:  # each day is looked at then, and the broken one told of
            left = len(days)
        if not left:
            return 0
        return sum([await self.gather(tenant_id, day, request) for day in sorted(days)])

    async def days(
        self, tenant_id: str, days: Sequence[str], rollups: Mapping[str, Item], request: RequestContext
    ) -> dict[str, Day]:
        """The facts of days by day, as `rollups` count them; none of a day whose entries cannot be relied on.

        What is missing, stale or not as we left it is folded and kept. StoreError, SecretsError.
        """
        wanted = {day: rollups[day] for day in days if day in rollups}
        return await self._complete(tenant_id, wanted, await self._held(tenant_id, days), request)

    async def keep(self, tenant_id: str, facts: Mapping[str, Any]) -> Day:
        """Seal and keep the facts of a day. StoreError, SecretsError."""
        root, day = await self._sealing.version(), facts["day"]
        left = period_end(day[:7]) + self._retention_days * 86_400 - int(self._clock.now().timestamp())
        item = {"id": facts_id(day), "tenant_id": tenant_id, "kind": KIND, "ttl": max(1, left)}
        await self._store.upsert(REPORTS, (tenant_id,), item | self._sealing.seal(root, tenant_id, facts))
        return facts

    async def _items(self, tenant_id: str, days: Sequence[str], fields: tuple[str, ...] | None = None) -> list[Item]:
        within = Range("id", ge=facts_id(min(days)), le=facts_id(max(days)))
        query = Query((within,), limit=_A_MONTH, fields=fields)
        return [item async for page in pages(self._store, REPORTS, (tenant_id,), query) for item in page]

    async def _held(self, tenant_id: str, days: Sequence[str]) -> dict[str, Day]:
        """Those that are kept as we left them. The others are logged: a change of the secret, or somebody's."""
        root = await self._sealing.version()
        found: dict[str, Day] = {}
        for item in await self._items(tenant_id, days):
            opened = self._sealing.opened(root, tenant_id, item)
            if opened is None:
                day = item["id"].partition("|")[2]
                _log.warning("facts_not_ours", tenant_id=tenant_id, day=day, same_key=item.get("key") == root.version)
            else:
                found[opened["day"]] = opened
        return found

    async def _complete(
        self, tenant_id: str, rollups: Mapping[str, Item], held: Mapping[str, Day], request: RequestContext
    ) -> dict[str, Day]:
        found: dict[str, Day] = {}
        for day, rollup in sorted(rollups.items()):
            if is_current(held.get(day), rollup):
                found[day] = held[day]
                continue
            try:
                await self._check_not_less(tenant_id, held.get(day), rollup)
                folded = await self._fold(tenant_id, day, rollup)
            except BrokenShard as error:
                await self._ledger.broken(tenant_id, day[:7], error, request)
                continue
            found[day] = await self.keep(tenant_id, folded)
            _log.info("facts_folded", tenant_id=tenant_id, day=day, events=folded["events"])
        return found

    async def _fold(self, tenant_id: str, day: str, rollup: Item) -> dict[str, Any]:
        """Fold the entries between a day's first and last one, each bundle held against the hashes of its tile."""
        from shared.compliance.facts.fold import DayFold

        folded, first, last = DayFold(day), rollup["first"], rollup["last"]
        head = await self._shards.head(tenant_id, day[:7])
        if last >= head.size:
            raise BrokenShard("rollup", "a day is counted beyond the end of its ledger")
        beyond = False
        for number in range(max(0, first - 1) // WIDTH, min(last + WIDTH, head.size - 1) // WIDTH + 1):
            width = width_of(0, number, head.size)
            for entry in await self._ledger.entries(tenant_id, head, number, width):
                if first <= entry.index <= last:
                    folded.add(entry.index, entry.text)
                else:
                    beyond = folded.pass_by(entry.text) or beyond
        if beyond:
            await self._check_unchanged(tenant_id, rollup, "a day has entries beyond those that are counted of it")
        return folded.document() | {"checkpoints": await self._checkpoints(tenant_id, day, rollup)}

    async def _check_not_less(self, tenant_id: str, facts: Day | None, rollup: Item) -> None:
        """BrokenShard where a day has less than it had: nothing that was sealed goes away, whatever counts say now."""
        if facts is not None and (
            facts["events"] > rollup["events"] or facts["first"] < rollup["first"] or facts["last"] > rollup["last"]
        ):
            await self._check_unchanged(tenant_id, rollup, "a day is counted with less than was sealed of it")

    async def _check_unchanged(self, tenant_id: str, rollup: Item, wrong: str) -> None:
        """BrokenShard, unless the counts of the day went on since they were read."""
        day = rollup["day"]
        now = (await self._shards.rollups(tenant_id, day[:7], [day])).get(day)
        if now is None or all(now[name] == rollup[name] for name in _OF_ROLLUPS):
            raise BrokenShard("rollup", wrong)

    async def _checkpoints(self, tenant_id: str, day: str, rollup: Item) -> dict[str, Any]:
        """The checkpoints that were signed on a day while it grew: how many, first, last, and long times between."""
        within = Range("id", gt=checkpoint_id(rollup["first"]), le=checkpoint_id(rollup["last"] + 1))
        query = Query((within,), limit=1000, fields=("signed_at",))
        times = sorted(
            [
                str(item["signed_at"])
                async for page in pages(self._store, LEDGER, (tenant_id, day[:7]), query)
                for item in page
                if str(item.get("signed_at"))[:10] == day
            ]
        )
        gaps = [[since, until] for since, until in pairwise(times) if _minutes(since, until) >= _LONG_MINUTES]
        return {
            "n": len(times),
            "first": times[0] if times else None,
            "last": times[-1] if times else None,
            "gaps": gaps[:_MOST_GAPS],
        }


def _minutes(since: str, until: str) -> float:
    return (parse_rfc3339(until) - parse_rfc3339(since)).total_seconds() / 60


def is_current(facts: Day | None, rollup: Item) -> bool:
    """Whether facts are of this version, and of the very events that are counted."""
    return facts is not None and _is_of(facts, rollup) and facts["counts"] == rollup["counts"]


def _is_of(facts: Mapping[str, Any], rollup: Item) -> bool:
    return facts.get("version") == FACTS_VERSION and all(facts.get(name) == rollup[name] for name in _OF_ROLLUPS)
