"""The app on a store that fails at any one call of a request, and walks over all of these calls."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from shared.identity.model import TENANT_ITEM, is_active_admin
from shared.storage.containers import IDENTITY
from shared.storage.documents import Eq, Item, Query
from shared.storage.errors import NotFound
from tests.app import Account, App
from tests.faults import FaultyFeedStore, Mode

MODES: tuple[tuple[Mode, int | None], ...] = (("before", 1), ("after", 1), ("before", None), ("gone_after", None))
"""Each call fails once before it is made, once after it took effect, and both with every call after it."""
MOST_CALLS = 40


@dataclass
class Broken:
    """The app on a store that fails on demand, with one account."""

    app: App
    store: FaultyFeedStore
    ada: Account

    async def recover(self) -> None:
        """Heal, then let the feed and the sweep do what a crash left undone."""
        self.store.mend()
        await self.app.host.drain_feed()
        self.app.clock.advance(minutes=2)
        assert await self.app.host.run_timer("sweep_outbox")

    async def items(self, kind: str, tenant_id: str | None = None) -> int:
        query = Query((Eq("kind", kind),), limit=1000)
        return len((await self.store.query(IDENTITY, (tenant_id or self.ada.tenant_id,), query)).items)


type Request = Callable[[Broken], Awaitable[httpx.Response]]
type Check = Callable[[Broken, int], Awaitable[None]]


async def walk(broken: Broken, request: Request, check: Check) -> int:
    """Fail at the k-th store call of a request for each k and mode; how many calls a request makes."""
    for mode, times in MODES:
        for k in range(1, MOST_CALLS):
            broken.store.arm(k, mode, times=times)
            answer = await request(broken)
            reached = len(broken.store.calls) >= k
            if answer.status_code == 503:
                assert answer.json()["code"] in {"store_unavailable", "audit_unavailable"}
                assert int(answer.headers["retry-after"]) >= 1
            await broken.recover()
            assert await broken.items("outbox") == 0
            await check(broken, answer.status_code)
            if not reached:
                break
        else:
            pytest.fail("a request without end")
    return k


type Prepare = Callable[[int], Awaitable[Any]]
type Act = Callable[[Any], Awaitable[httpx.Response]]
type Judge = Callable[[Any, httpx.Response], Awaitable[None]]


class Admin:
    """A tenant under faults, and what its administrator does, each time to something made while all was well."""

    def __init__(self, broken: Broken) -> None:
        self.broken = broken
        self.app = broken.app
        self.ada = broken.ada
        self.attempts = 0

    async def ask(self, method: str, path: str, body: Any = None) -> httpx.Response:
        return await self.app.client.request(method, path, json=body, headers=self.ada.auth)

    async def signed_in(self) -> None:
        """A fresh session: the clock moves on in a walk."""
        token = (await self.app.login(self.ada.email)).json()["access_token"]
        self.ada = Account(self.ada.id, self.ada.tenant_id, self.ada.email, token)

    async def item(self, key: str) -> Item | None:
        try:
            return await self.broken.store.read(IDENTITY, (self.ada.tenant_id,), key)
        except NotFound:
            return None

    async def events(self, type_: str, target: str) -> list[Item]:
        found = await self.app.events(self.ada.tenant_id, type_)
        return [e for e in found if e["target"] and e["target"]["id"] == target]

    async def count_is_right(self) -> None:
        users = await self.broken.store.query(IDENTITY, (self.ada.tenant_id,), Query((Eq("kind", "user"),), limit=1000))
        tenant = await self.item(TENANT_ITEM)
        assert tenant is not None
        assert tenant["admins"] == sum(is_active_admin(user) for user in users.items)

    async def walk(self, prepare: Prepare, act: Act, check: Judge, done: int) -> None:
        """Prepare, act under a fault, recover, check: for each call and each way to fail."""
        thing: Any = None
        answers: list[httpx.Response] = []

        async def ready() -> None:
            nonlocal thing
            await self.signed_in()
            thing = await prepare(self.attempts)

        async def request(_: Broken) -> httpx.Response:
            answers.append(await act(thing))
            return answers[-1]

        async def verify(_: Broken, status: int) -> None:
            assert status in (done, 503), answers[-1].text
            await check(thing, answers[-1])
            await self.count_is_right()
            self.attempts += 1
            await ready()

        await ready()
        await walk(self.broken, request, verify)
        assert {a.status_code for a in answers} == {done, 503}
        assert len(answers) > 4 * len(MODES)
