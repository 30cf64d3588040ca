"""Registrations that fail: the e-mail is free again at once, unless the account is there after all."""

from collections.abc import AsyncIterator

import pytest

from devhost.host import Host
from shared.storage.sqlite import SqliteStore
from tests.app import App, assert_problem, registration, running
from tests.fakes import ManualClock
from tests.faults import Call, FaultyFeedStore

EMAIL = "ada@example.com"
STEPS = [("create", "tenants"), ("batch", "identity")]
"""What a registration writes between the reservation of its e-mail and the confirmation."""


@pytest.fixture
async def store(clock: ManualClock) -> FaultyFeedStore:
    return FaultyFeedStore(await SqliteStore.open(None, clock=clock))


@pytest.fixture
async def app(host: Host, clock: ManualClock, store: FaultyFeedStore) -> AsyncIterator[App]:
    async with running(host, clock, store) as started:
        yield started


def at(store: FaultyFeedStore, step: tuple[str, str]) -> None:
    """Only this step counts, and may fail."""

    def counts(call: Call) -> bool:
        return (call.operation, call.container) == step

    store._counts = counts


@pytest.mark.parametrize("step", STEPS, ids=" ".join)
async def test_a_registration_that_failed_frees_the_email_at_once(
    app: App, store: FaultyFeedStore, step: tuple[str, str]
) -> None:
    at(store, step)
    store.arm(1)
    answer = await app.client.post("/v1/register", json=registration(EMAIL))
    assert_problem(answer, 503, "store_unavailable")
    assert store.failed == 1
    assert await app.services.directory.find(EMAIL) is None
    again = await app.client.post("/v1/register", json=registration(EMAIL))
    assert again.status_code == 201, "without waiting for the reservation to be abandoned"
    assert (await app.login(EMAIL)).status_code == 200


async def test_an_account_whose_commit_was_only_not_answered_keeps_its_email(app: App, store: FaultyFeedStore) -> None:
    at(store, ("batch", "identity"))
    store.arm(1, "after")
    assert_problem(await app.client.post("/v1/register", json=registration(EMAIL)), 503, "store_unavailable")
    entry = await app.services.directory.find(EMAIL)
    assert_problem(await app.client.post("/v1/register", json=registration(EMAIL)), 409, "email_taken")
    assert await app.services.directory.find(EMAIL) == entry
    assert (await app.login(EMAIL)).status_code == 200
