"""What is so of few tenants only: one document of each such tenant says it, and nobody looks for it in the others.

A trait is noted before it becomes true, and stays. So whoever handles an event, reads the document and does not find a
trait there knows that whatever is read under it from then on holds the event (docs/adr/0025).
"""

from dataclasses import replace as replaced
from typing import Any

from shared.detection.alerts import Series
from shared.detection.model import Pattern
from shared.detection.rules import ODD_TIMES, Rules, RulesSource
from shared.storage.containers import ALERTS
from shared.storage.documents import DocumentStore, Item, find_item
from shared.storage.errors import Conflict, PreconditionFailed

TRAITS_KIND = "detection_traits"


def has_hot(pattern: Pattern[Any]) -> str:
    """A series of the pattern is hot."""
    return f"hot:{pattern.id}"


def has_alerts(pattern: Pattern[Any]) -> str:
    """The pattern has raised an alert. Noted of patterns only that ask what is new: theirs may have to be withdrawn."""
    return f"alerts:{pattern.id}"


class Traits:
    """The traits of tenants, in the store."""

    def __init__(self, store: DocumentStore) -> None:
        self._store = store

    async def of(self, tenant_id: str) -> frozenset[str]:
        """What is so of a tenant. StoreError."""
        stored = await self._read(tenant_id)
        return frozenset(stored["traits"]) if stored else frozenset()

    async def note(self, tenant_id: str, trait: str) -> None:
        """Have it said of a tenant from now on. StoreError."""
        while True:
            stored = await self._read(tenant_id)
            traits = stored["traits"] if stored else []
            if trait in traits:
                return
            item: Item = {"id": TRAITS_KIND, "tenant_id": tenant_id, "kind": TRAITS_KIND}
            item["traits"] = sorted([*traits, trait])
            try:
                if stored is None:
                    await self._store.create(ALERTS, (tenant_id,), item)
                else:
                    await self._store.replace(ALERTS, (tenant_id,), item, if_match=stored["_etag"])
            except (Conflict, PreconditionFailed):  # somebody else noted something: what, the next reading tells
                continue
            return

    async def _read(self, tenant_id: str) -> Item | None:
        return await find_item(self._store, ALERTS, (tenant_id,), TRAITS_KIND)


class KnownRules:
    """The rules and traits of tenants as one delivery uses them, each read once, after its events were stored."""

    def __init__(self, source: RulesSource, traits: Traits) -> None:
        self._source = source
        self._traits = traits
        self._known: dict[str, Rules] = {}
        self._shared: dict[str, Rules] = {}

    async def of(self, tenant_id: str) -> Rules:
        """The rules of a tenant. StoreError."""
        if tenant_id not in self._known:
            found = await self._source.rules_of(tenant_id)
            self._known[tenant_id] = replaced(found, traits=await self._traits.of(tenant_id))
        return self._known[tenant_id]

    async def of_series(self, series: Series) -> Rules:
        """The rules that a series is evaluated under: of one across tenants no tenant's. StoreError."""
        if not series.pattern.across_tenants:
            return await self.of(series.tenant_id)
        if series.tenant_id not in self._shared:
            self._shared[series.tenant_id] = Rules(traits=await self._traits.of(series.tenant_id))
        return self._shared[series.tenant_id]

    async def note_odd_times(self, tenant_id: str) -> None:
        """Have events of implausible times looked for from now on. Whoever evaluated a neighbor before did not see this
        one; but this one's own evaluation sees the neighbor. StoreError."""
        rules = await self.of(tenant_id)
        if not rules.has_odd_times:
            await self._traits.note(tenant_id, ODD_TIMES)
            self._known[tenant_id] = replaced(rules, traits=rules.traits | {ODD_TIMES})
