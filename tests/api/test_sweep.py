"""The sweep is the backstop of every outbox there is: what neither request nor feed delivered, it does."""

import pytest

from functions.change_feed import CONSUMERS, detect, seal, stream
from shared.audit.events.profile import ProfileView
from shared.audit.model import Draft, RequestContext
from shared.core.clock import rfc3339
from shared.storage.containers import ALERTS, IDENTITY, REPORTS, Container
from shared.storage.documents import Eq, Item, Query
from tests.app import Account, App
from tests.storage.conftest import LOCAL

OUTBOXES = (IDENTITY, ALERTS, REPORTS)


@pytest.fixture(params=LOCAL)
def adapter(request: pytest.FixtureRequest) -> str:
    store: str = request.param
    return store


async def leave_entry(app: App, account: Account, container: Container) -> str:
    """An outbox entry as a crash right after the commit leaves it; the id of its event."""
    now = app.clock.now()
    request = RequestContext(app.services.ids.new(now), "GET /v1/profile", "get_profile", now)
    event = await app.services.recorder.finish(Draft(account.tenant_id, ProfileView(), request))
    entry: Item = {
        "id": f"outbox|{event['id']}",
        "tenant_id": account.tenant_id,
        "kind": "outbox",
        "created_at": rfc3339(now),
        "events": [event],
        "follow_ups": [],
    }
    await app.store.create(container, (account.tenant_id,), entry)
    return str(event["id"])


async def left(app: App, account: Account, container: Container) -> int:
    return len((await app.store.query(container, (account.tenant_id,), Query((Eq("kind", "outbox"),)))).items)


async def published(app: App, account: Account) -> set[str]:
    return {event["id"] for event in await app.events(account.tenant_id, "profile.view")}


@pytest.mark.parametrize("container", OUTBOXES, ids=lambda container: container.name)
async def test_the_sweep_delivers_what_is_left_in(app: App, ada: Account, grace: Account, container: Container) -> None:
    events = {account.id: await leave_entry(app, account, container) for account in (ada, grace)}
    app.clock.advance(minutes=2)
    assert await app.host.run_timer("sweep_outbox")
    for account in (ada, grace):
        assert await left(app, account, container) == 0
        assert await published(app, account) == {events[account.id]}


async def test_one_sweep_goes_through_every_container(app: App, ada: Account) -> None:
    events = {await leave_entry(app, ada, container) for container in OUTBOXES}
    app.clock.advance(minutes=2)
    assert await app.host.run_timer("sweep_outbox")
    assert await published(app, ada) == events


async def test_a_young_entry_is_left_to_its_request(app: App, ada: Account) -> None:
    await leave_entry(app, ada, IDENTITY)
    assert await app.host.run_timer("sweep_outbox")
    assert await left(app, ada, IDENTITY) == 1
    assert await published(app, ada) == set()


def test_every_container_that_the_feed_drains_is_swept_and_tested() -> None:
    drained = {container.name for container, consumer in CONSUMERS.values() if consumer not in (detect, seal, stream)}
    assert drained == {container.name for container in OUTBOXES}
