"""What an adapter of the secrets port holds of one root secret, and when it asks again.

- Until ASK_AFTER an answer is simply used. After it the first caller starts a refresh, which runs beside the requests.
- After FRESH_FOR callers wait for the refresh, unless the last one failed: an outage holds nobody up.
- While refreshes fail, the last good answer is used for KEEP_FOR; from then on there is none (fail closed).
- There is one refresh at a time, bounded in time, and a pause after one that failed.
- A version that is not known (a token names it) is asked for at once, at most once in PAUSE, whoever asks how often.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from contextvars import Context
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.core.clock import Clock
from shared.core.deadline import remaining
from shared.privacy.secrets import SecretsError, SecretVersion
from shared.telemetry import get_log

ASK_AFTER = timedelta(seconds=60)
FRESH_FOR = timedelta(seconds=120)
KEEP_FOR = timedelta(hours=1)
PAUSE = timedelta(seconds=10)
LOAD_SECONDS = 10.0

_log = get_log(__name__)


@dataclass(frozen=True, slots=True)
class Loaded:
    """All versions of a root secret that count, newest first, those of the future included; none: there is none.

    `more`: names of older ones whose values were not fetched.
    """

    versions: tuple[SecretVersion, ...]
    more: frozenset[str] = frozenset()


type Load = Callable[[Mapping[str, SecretVersion] | None, str | None], Awaitable[Loaded]]
"""Asks for the versions. Given: what is held (None: the first time), by name, for values never change; and the name of
a version that is wanted however old. SecretsError when they cannot be had; then what is held stays."""


class HeldVersions:
    """The versions of one root secret, called `label` in messages; `form` is what a version's name looks like.

    `kind`: what it is, where it is no secret; `ask_after` and `fresh_for` in place of ASK_AFTER and FRESH_FOR.
    """

    def __init__(
        self,
        label: str,
        load: Load,
        form: re.Pattern[str],
        clock: Clock,
        load_seconds: float = LOAD_SECONDS,
        *,
        kind: str = "secret",
        ask_after: timedelta = ASK_AFTER,
        fresh_for: timedelta = FRESH_FOR,
    ) -> None:
        self._label = label
        self._what = f"{kind} {label}"
        self._ask_after = ask_after
        self._fresh_for = fresh_for
        self._load = load
        self._form = form
        self._clock = clock
        self._load_seconds = load_seconds
        self._held: Loaded | None = None
        self._asked_at = clock.now()
        self._ended_at = clock.now()
        self._failure: SecretsError | None = None
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    async def usable(self) -> tuple[SecretVersion, ...]:
        """The versions to use now. SecretsError when there is none, or it is not known any more."""
        now = self._clock.now()
        if self._held is None:
            await self._refresh()
        elif self._age(now) <= self._ask_after and self._held.versions:
            return self._answer(now)
        elif self._failure is None and self._age(now) > self._fresh_for:
            await self._refresh()
        elif self._pause_is_over():
            self._start(None)
        return self._answer(self._clock.now())

    async def find(self, version: str) -> SecretVersion | None:
        """The usable version of that name, asked for if need be. SecretsError when nobody can tell."""
        found = _named(await self.usable(), version)
        if found is not None or not self._form.fullmatch(version):
            return found
        answered = True
        if self._task is not None:
            answered = await self._wait(self._task)
            found = _named(self._answer(self._clock.now()), version)
        if found is None and answered and self._may_ask_for(version):
            answered = await self._refresh(version)
            found = _named(self._answer(self._clock.now()), version)
        if found is None and (self._failure is not None or self._closed or not answered):
            raise self._unknown()
        return found

    async def renew(self) -> None:
        """Ask now: this process added a version."""
        if self._task is not None:
            await self._wait(self._task)
        await self._refresh()

    async def close(self) -> None:
        """End a refresh that is under way, and start no other."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    def _answer(self, now: datetime) -> tuple[SecretVersion, ...]:
        if self._held is None or self._age(now) > KEEP_FOR:
            raise self._unknown()
        usable = tuple(each for each in self._held.versions if each.is_usable(now))
        if not usable:
            raise SecretsError(f"{self._what}: no version is usable (none is there, or disabled, or expired)")
        return usable

    def _unknown(self) -> SecretsError:
        return SecretsError(str(self._failure or f"{self._what}: it could not be read in time"))

    def _age(self, now: datetime) -> timedelta:
        """Of what is held. A clock that was set back makes it old, too."""
        return abs(now - self._asked_at)

    def _pause_is_over(self) -> bool:
        return abs(self._clock.now() - self._ended_at) >= PAUSE

    def _may_ask_for(self, version: str) -> bool:
        """Whether a version that is not held may be asked for now; if it is known to be there, that ends by itself."""
        there = self._held is not None and version in self._held.more
        return self._pause_is_over() or (there and self._failure is None)

    async def _refresh(self, wanted: str | None = None) -> bool:
        task = self._task or self._start(wanted)
        return task is not None and await self._wait(task)

    async def _wait(self, task: asyncio.Task[None]) -> bool:
        """Whether the refresh ended before our own time did; it goes on for the others."""
        seconds = remaining(self._load_seconds)
        if seconds > 0:
            await asyncio.wait({task}, timeout=seconds)
        return task.done()

    def _start(self, wanted: str | None) -> asyncio.Task[None] | None:
        """Begin a refresh outside of the request at hand, whose deadline is not its own."""
        if self._task is None and not self._closed:
            self._task = asyncio.get_running_loop().create_task(self._run(wanted), context=Context())
        return self._task

    async def _run(self, wanted: str | None) -> None:
        asked_at = self._clock.now()
        known = None if self._held is None else {each.version: each for each in self._held.versions}
        try:
            async with asyncio.timeout(self._load_seconds):
                loaded = await self._load(known, wanted)
        except SecretsError as error:
            self._failed(error)
        except TimeoutError:
            self._failed(SecretsError(f"{self._what}: no answer in time"))
        except Exception as error:  # noqa: BLE001 - whatever it is, its text may quote a value
            self._failed(SecretsError(f"{self._what}: {type(error).__name__}"))
        else:
            self._took(loaded, asked_at)
        finally:
            self._ended_at = self._clock.now()
            self._task = None

    def _failed(self, error: SecretsError) -> None:
        self._failure = error
        seconds = None if self._held is None else int(self._age(self._clock.now()).total_seconds())
        _log.warning("secrets_not_refreshed", root=self._label, why=str(error), held_seconds=seconds)

    def _took(self, loaded: Loaded, asked_at: datetime) -> None:
        before = self._held
        self._held, self._asked_at, self._failure = loaded, asked_at, None
        if before is not None and [v.version for v in before.versions] != [v.version for v in loaded.versions]:
            newest = loaded.versions[0].version if loaded.versions else None
            _log.info("secret_versions_changed", root=self._label, count=len(loaded.versions), newest=newest)


def _named(versions: tuple[SecretVersion, ...], version: str) -> SecretVersion | None:
    return next((each for each in versions if each.version == version), None)
