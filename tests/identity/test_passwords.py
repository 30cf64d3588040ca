"""Passwords: the work for an account that does not exist, and the threads that do it."""

import asyncio
import threading
from collections.abc import Iterator

import pytest
from argon2 import PasswordHasher

from shared.core.settings import Settings
from shared.identity.passwords import Passwords
from shared.wiring import build_services
from tests.app import Account, App, assert_problem


class ObservedHasher(PasswordHasher):
    """The real thing with the cheapest parameters, which notes the thread of every call."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.hashed: list[threading.Thread] = []
        self.verified: list[threading.Thread] = []

    def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
        self.hashed.append(threading.current_thread())
        return super().hash(password, salt=salt)

    def verify(self, hash: str | bytes, password: str | bytes) -> bool:  # type: ignore[override] # noqa: A002
        self.verified.append(threading.current_thread())
        return super().verify(hash, password)


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    made = Passwords()
    yield made
    made.close()


def observe(passwords: Passwords) -> ObservedHasher:
    passwords._hasher = hasher = ObservedHasher()
    return hasher


async def test_an_account_that_does_not_exist_costs_one_verification_as_any_other(passwords: Passwords) -> None:
    hasher = observe(passwords)
    held = await passwords.hash("the password of somebody")
    assert not await passwords.verify(held, "a guess")
    assert len(hasher.verified) == 1
    assert not await passwords.verify(None, "a guess")
    assert len(hasher.verified) == 2
    assert len(hasher.hashed) == 2, "the account's and the decoy, which is made once"
    assert not await passwords.verify(None, "another guess")
    assert (len(hasher.hashed), len(hasher.verified)) == (2, 3)


async def test_many_guesses_at_once_share_one_decoy(passwords: Passwords) -> None:
    hasher = observe(passwords)
    found = await asyncio.gather(*(passwords.verify(None, "a guess") for _ in range(8)))
    assert found == [False] * 8
    assert (len(hasher.hashed), len(hasher.verified)) == (1, 8)


async def test_no_password_is_right_for_an_account_that_does_not_exist(
    passwords: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even the one that the decoy was made of."""
    hasher = observe(passwords)
    of_decoy: list[str | bytes] = []
    make = hasher.hash

    def keep(password: str | bytes, *, salt: bytes | None = None) -> str:
        of_decoy.append(password)
        return make(password, salt=salt)

    monkeypatch.setattr(hasher, "hash", keep)
    assert not await passwords.verify(None, "a guess")
    (decoy,) = of_decoy
    assert not await passwords.verify(None, str(decoy))
    assert len(hasher.verified) == 2


async def test_the_decoy_costs_what_an_account_costs(passwords: Passwords) -> None:
    """Argon2's cost stands in the hash: everything before salt and digest is the same."""
    decoy, held = await passwords._decoy_hash(), await passwords.hash("the password of somebody")
    assert decoy.split("$")[:4] == held.split("$")[:4]


async def test_the_app_hashes_at_the_cost_that_owasp_names() -> None:
    services = await build_services(Settings(kraftd_data=":memory:"))
    held = await services.passwords.hash("the password of somebody")
    await services.close()
    assert held.startswith("$argon2id$v=19$m=19456,t=2,p=1$")


async def test_the_event_loop_never_hashes(passwords: Passwords) -> None:
    hasher = observe(passwords)
    held = await passwords.hash("the password of somebody")
    assert await passwords.verify(held, "the password of somebody")
    await passwords.verify(held, "a guess")
    await passwords.verify(None, "a guess")
    threads = [*hasher.hashed, *hasher.verified]
    assert len(threads) == 5
    assert threading.current_thread() not in threads
    assert {thread.name.rpartition("_")[0] for thread in threads} == {"argon2"}


async def test_a_login_costs_one_verification_whoever_it_is_for(app: App, ada: Account) -> None:
    hasher = observe(app.services.passwords)
    assert_problem(await app.login("nobody@example.com", "a guess"), 401, "invalid_credentials")
    assert len(hasher.verified) == 1
    assert_problem(await app.login(ada.email, "a guess"), 401, "invalid_credentials")
    assert len(hasher.verified) == 2
    assert_problem(await app.login("nobody@example.com", "a guess"), 401, "invalid_credentials")
    assert len(hasher.verified) == 3
