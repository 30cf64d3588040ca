"""Passwords: argon2id with OWASP's parameters (19 MiB, 2 passes, 1 lane), hashed off the event loop.

argon2 releases the GIL, so a pool of as many threads as cores keeps the loop answering. Passwords are compared in
Unicode NFKC, as NIST SP 800-63B asks.
"""

import asyncio
import os
import sys
import threading
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated

from pydantic import AfterValidator, StringConstraints
from pydantic_core import PydanticCustomError

from shared.identity.password_policy import check_password, normal_password


def _step_back() -> None:
    """Let the other threads go first: a sign-in may take longer, everybody else should not notice it."""
    if sys.platform == "linux":  # where a thread has a priority of its own
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)


@dataclass(frozen=True, slots=True)
class Cost:
    """What argon2id spends on one hash, on one lane."""

    memory_kib: int
    passes: int


OWASP = Cost(memory_kib=19_456, passes=2)


class Passwords:
    """Hashes and verifies, each in 20 ms or so of one core at the cost that OWASP names."""

    def __init__(self, cost: Cost = OWASP) -> None:
        from concurrent.futures import ThreadPoolExecutor

        from argon2 import PasswordHasher

        self._hasher = PasswordHasher(time_cost=cost.passes, memory_cost=cost.memory_kib, parallelism=1)
        self._pool = ThreadPoolExecutor(
            max_workers=os.cpu_count() or 1, thread_name_prefix="argon2", initializer=_step_back
        )
        self._decoy: asyncio.Task[str] | None = None

    async def hash(self, password: str) -> str:
        """The encoded argon2id hash of a password, salt and parameters included."""
        return await asyncio.get_running_loop().run_in_executor(
            self._pool, self._hasher.hash, normal_password(password)
        )

    async def verify(self, encoded: str | None, password: str) -> bool:
        """Whether the password is the one of this hash. None (no such account) costs the same and is False."""
        held = encoded if encoded is not None else await self._decoy_hash()
        matches = await asyncio.get_running_loop().run_in_executor(
            self._pool, self._matches, held, normal_password(password)
        )
        return matches and encoded is not None

    async def screen(self, password: str, context: Sequence[str], *, field: str = "password") -> None:
        """Invalid (422), naming `field`, for a password that may not be set; off the loop, for it can take a while."""
        check = partial(check_password, password, context, field=field)
        await asyncio.get_running_loop().run_in_executor(self._pool, check)

    def is_outdated(self, encoded: str) -> bool:
        """Whether a hash was made with other parameters than those of today."""
        return self._hasher.check_needs_rehash(encoded)

    def close(self) -> None:
        """Let go of the threads."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    async def _decoy_hash(self) -> str:
        if self._decoy is None:
            self._decoy = asyncio.create_task(self.hash("an account that does not exist"))
        return await asyncio.shield(self._decoy)

    def _matches(self, encoded: str, password: str) -> bool:
        from argon2.exceptions import InvalidHashError, VerificationError

        try:
            return self._hasher.verify(encoded, password)
        except (VerificationError, InvalidHashError):
            return False


def _check(password: str) -> str:
    if any(unicodedata.category(char) in {"Cc", "Cs"} for char in password):
        raise PydanticCustomError("control_character", "must not hold control characters")
    return password


type NewPassword = Annotated[str, StringConstraints(min_length=12, max_length=128), AfterValidator(_check)]
"""A password to be set: 12 to 128 characters, any Unicode but control characters."""

type TypedPassword = Annotated[str, StringConstraints(min_length=1, max_length=128), AfterValidator(_check)]
"""A password typed to sign in."""
