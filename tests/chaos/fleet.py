"""All clients together: organizations at work and people who attack them, each a loop of its own until told to stop."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import date
from functools import partial
from pathlib import Path
from random import Random
from typing import Self

from tests.chaos.client import Caller
from tests.chaos.company import Company, Evidence
from tests.chaos.journal import Journal

type Step = Callable[[], Awaitable[object]]


NETWORKS = ("203.0.113", "192.0.2")
"""Where the attackers are."""
GUESSES_PER_ADDRESS = 90
"""Of the failed sign-ins of one address in one minute detection looks at the first 100 (docs/detection.md), which the
oracle does not know; and clocks that step back can make any number of guesses those of one minute."""


class Attacker:
    """Somebody who tries passwords of others, and tokens of nobody, from one address after the other."""

    def __init__(self, caller: Caller, companies: Sequence[Company], network: str) -> None:
        self._caller = caller
        self._companies = companies
        self._network = network
        self._guesses = 0

    async def attack(self) -> None:
        """One burst."""
        random = self._caller.random
        company = random.choice(self._companies)
        known = [each.email for each in company.staff]  # nobody locks a founder out: all the others stand on them
        what = random.randrange(10) if known else 9
        if what < 5:
            email = random.choice(known)
            for _ in range(random.randint(1, 7)):
                await self._guess(email)
        elif what < 8:
            for email in random.sample(known, min(len(known), 3)):
                await self._guess(email)
            for number in range(3):
                await self._guess(f"nobody{number}@nowhere.example.com")
        else:
            await self._caller.attempt("rejected", "GET", "/profile", token="not.a.token")
        await asyncio.sleep(random.uniform(0.05, 0.5))

    async def _guess(self, email: str) -> None:
        self._caller.address = f"{self._network}.{1 + self._guesses // GUESSES_PER_ADDRESS % 254}"
        self._guesses += 1
        body = {"email": email, "password": "something that it is not"}
        await self._caller.attempt("login", "POST", "/login", body, told={"email": email})


class Fleet:
    """All clients. `run` until `stop`: every attempt that was begun is ended.

    `founded`: every organization is there.
    """

    def __init__(
        self, urls: Sequence[str], journal: Journal, seed: int, *, companies: int, today: Callable[[], date]
    ) -> None:
        self._journal = journal
        self._urls = urls
        self._seed = seed
        self._stopping = False
        self.founded = asyncio.Event()
        self._unfounded = companies
        self._callers: list[Caller] = []
        self._companies = [
            Company(f"c{seed}x{n}", self._caller(f"founder {n}", n + 1), today) for n in range(companies)
        ]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*(each.close() for each in self._callers))

    def stop(self) -> None:
        """End every loop behind what it is at."""
        self._stopping = True

    async def run(self) -> None:
        """Let all of them do what they do."""
        loops = []
        for n, company in enumerate(self._companies):
            company.others = [each for each in self._companies if each is not company]
            loops.append(self._founding(company))
            for role, step in (("staff", company.work), ("auditor", company.audit), ("service", company.produce)):
                loops.append(self._loop(partial(step, self._caller(f"{role} {n}", 50 + n))))
        for n in range(len(NETWORKS)):
            caller = self._caller(f"attacker {n}", 200 + n)
            loops.append(self._loop(Attacker(caller, self._companies, NETWORKS[n]).attack))
        await asyncio.gather(*loops)

    async def collect_evidence(self, folder: Path) -> list[Evidence | None]:
        """An evidence bundle of each organization that there is; None for one that cannot be had."""
        return [await company.collect_evidence(folder) for company in self._companies if company.founder.id]

    def _caller(self, name: str, address: int) -> Caller:
        random = Random(f"{self._seed} {name}")  # noqa: S311 - repeatable on purpose
        self._callers.append(Caller(self._urls, self._journal, random, f"198.51.100.{address}"))
        return self._callers[-1]

    async def _founding(self, company: Company) -> None:
        while not self._stopping and not await company.found():  # noqa: ASYNC110 - it asks again
            await asyncio.sleep(0.2)
        self._unfounded -= 1
        if self._unfounded == 0:
            self.founded.set()
        await self._loop(company.administer)

    async def _loop(self, step: Step) -> None:
        pause = Random(self._seed)  # noqa: S311 - see above
        while not self._stopping:
            await step()
            await asyncio.sleep(pause.uniform(0, 0.06))
