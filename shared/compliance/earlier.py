"""What had ended before a period began, and when people last signed in: from the trail, where facts do not reach."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from shared.compliance.evidence import Account, hours_between
from shared.compliance.facts.data_use import ERASED, given_for
from shared.compliance.facts.gone import Before
from shared.storage.containers import AUDIT_EVENTS
from shared.storage.documents import DocumentStore, Eq, Item, Query, Range

MOST_EARLIER = 5000
"""Events of a type that are looked through, the newest first."""
MOST_LOGINS_ASKED, MOST_LOGIN_PAGES = 100, 10
"""Accounts of which the last login is looked up one by one, and pages of a thousand logins that are looked through
before that, where there are more accounts."""
_A_PAGE, _AT_ONCE = 1000, 8
_TOLD = ("type", "recorded_at", "target", "reason", "subjects", "attributes")


class Earlier:
    """Reads the trail of an organization before a period, or up to its end."""

    def __init__(self, store: DocumentStore) -> None:
        self._store = store

    async def before(self, tenant_id: str, start: str, rules: Collection[str], *, consents: bool) -> Before:
        """What had ended at `start`, as far as rules ask for it. `consents`: whether any use relied on one. StoreError.

        Of accounts and consents the last word counts. Of which there are more events than are looked through is
        unknown.
        """
        ended, erased, withdrawn = set[str](), set[str](), set[str]()
        unknown = set[str]()
        if "ACC-01" in rules:
            changes, is_all = await self._newest(tenant_id, ("user.status_change", "user.delete"), start)
            unknown |= set() if is_all else {"ended"}
            states: dict[str, bool] = {}
            for each in changes:
                if each["target"] is not None:
                    is_ended = each["type"] == "user.delete" or each["attributes"].get("new_status") != "active"
                    states.setdefault(each["target"]["id"], is_ended)
            ended = {account for account, is_ended in states.items() if is_ended}
        if "DATA-02" in rules:
            erasures, is_all = await self._newest(tenant_id, ("privacy.erasure",), start)
            unknown |= set() if is_all else {"erased"}
            erased = {each["target"]["id"] for each in erasures if each["target"] and each["reason"] in ERASED}
        if "DATA-03" in rules and consents:
            given, is_all = await self._newest(tenant_id, ("consent.withdraw", "consent.grant"), start)
            unknown |= set() if is_all else {"withdrawn"}
            holds: dict[str, bool] = {}
            for each in given:
                for person in each["subjects"]:
                    for name in given_for(person, each["attributes"].get("purpose")):
                        holds.setdefault(name, each["type"] == "consent.grant")
            withdrawn = {name for name, is_given in holds.items() if not is_given}
        expiring = await self._expiring(tenant_id, start) if "INT-06" in rules else {}
        return Before(frozenset(ended), frozenset(erased), frozenset(withdrawn), frozenset(unknown), expiring)

    async def _expiring(self, tenant_id: str, start: str) -> dict[str, str]:
        """When API keys expire that were made before a moment, by id. One that is not looked at is taken for one that
        does not expire: its silence is told."""
        made, _ = await self._newest(tenant_id, ("apikey.create",), start)
        until = {each["target"]["id"]: each["attributes"].get("expires_at") for each in made if each["target"]}
        return {key: str(at) for key, at in until.items() if at is not None}

    async def _newest(self, tenant_id: str, types: Sequence[str], start: str) -> tuple[list[Item], bool]:
        """Events of some types before a moment, the newest first, and whether they are all."""
        found: list[Item] = []
        is_all = True
        for kind in types:
            own, whole = await self._pages(tenant_id, kind, start, _TOLD, MOST_EARLIER)
            found += own
            is_all = is_all and whole
        found.sort(key=lambda each: str(each["recorded_at"]), reverse=True)
        return found, is_all

    async def _pages(
        self, tenant_id: str, kind: str, end: str, fields: tuple[str, ...], most: int
    ) -> tuple[list[Item], bool]:
        where = (Eq("type", kind), Range("recorded_at", lt=end))
        query = Query(where, order_by="recorded_at", descending=True, limit=_A_PAGE, fields=fields)
        found: list[Item] = []
        while len(found) < most:
            page = await self._store.query(AUDIT_EVENTS, (tenant_id,), query)
            found += page.items
            if page.next is None:
                return found, True
            query = replace(query, after=page.next)
        return found, False

    async def with_logins(
        self, tenant_id: str, held: Sequence[Account], seen: Collection[str], end: str, days: int
    ) -> list[Account]:
        """Accounts with their last login before `end`. `seen`: those that acted in the period. StoreError.

        Asked for are active accounts that were opened more than so many days before; of which nobody can tell in time
        is unknown.
        """
        known = {each.id: end for each in held if each.id in seen}
        asked = [
            each.id
            for each in held
            if each.id not in known and each.status == "active" and hours_between(each.created_at, end) > days * 24
        ]
        if len(asked) > MOST_LOGINS_ASKED:
            known |= await self._recent(tenant_id, end, frozenset(asked))
        left = [name for name in asked if name not in known]
        known |= await self._each(tenant_id, left[:MOST_LOGINS_ASKED], end)
        unknown = frozenset(left[MOST_LOGINS_ASKED:])
        return [replace(e, last_login_at=known.get(e.id, e.last_login_at), is_unknown=e.id in unknown) for e in held]

    async def _recent(self, tenant_id: str, end: str, wanted: frozenset[str]) -> dict[str, str]:
        """The last logins of those of some accounts who are among the newest of all logins."""
        most = MOST_LOGIN_PAGES * _A_PAGE
        logins, _ = await self._pages(tenant_id, "auth.login", end, ("recorded_at", "outcome", "actor"), most)
        found: dict[str, str] = {}
        for each in logins:
            if each["outcome"] == "success" and each["actor"]["id"] in wanted:
                found.setdefault(each["actor"]["id"], str(each["recorded_at"]))
        return found

    async def _each(self, tenant_id: str, accounts: Iterable[str], end: str) -> dict[str, str]:
        free = asyncio.Semaphore(_AT_ONCE)

        async def last(account: str) -> tuple[str, str | None]:
            async with free:
                where = (Eq("type", "auth.login"), Eq("actor.id", account), Range("occurred_at", lt=end))
                query = Query(where, order_by="occurred_at", descending=True, limit=1, fields=("occurred_at",))
                items = (await self._store.query(AUDIT_EVENTS, (tenant_id,), query)).items
                return account, str(items[0]["occurred_at"]) if items else None

        found = dict(await asyncio.gather(*(last(each) for each in accounts)))
        return {account: at for account, at in found.items() if at is not None}
