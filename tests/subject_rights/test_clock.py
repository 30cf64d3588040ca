"""An erasure while the clock jumps: it comes later or sooner, never half, and never twice."""

import pytest

from shared.subject_rights.erasure import LAST, SETTLED
from tests.app import Account, App
from tests.storage.conftest import LOCAL
from tests.subject_rights.support import ask, events_of, left, requests, run, with_a_past


@pytest.fixture(params=LOCAL)
def adapter(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def erased_once(app: App, tenant_id: str, person: Account) -> None:
    item = (await requests(app, tenant_id))[person.id]
    assert (item["state"], "next_at" in item) == ("executed", False)
    assert await left(app, person) == []
    events = (await events_of(app, tenant_id)).values()
    assert sorted(each["reason"] for each in events if each["type"] == "privacy.erasure") == ["executed", "requested"]


async def test_a_clock_that_is_set_back_delays(app: App, ada: Account) -> None:
    """By more than any pause, before each pass: what was done stays done, what is due comes when it is due again."""
    bob = await with_a_past(app, ada, "bob@example.com")
    await ask(app, bob)
    for pause in (0.0, SETTLED.total_seconds(), LAST.total_seconds()):
        app.clock.advance(seconds=pause)
        app.clock.advance(days=-40)
        before = (await requests(app, ada.tenant_id))[bob.id]["state"]
        await run(app)
        assert (await requests(app, ada.tenant_id))[bob.id]["state"] == before
        app.clock.advance(days=40)
        await run(app)
    await erased_once(app, ada.tenant_id, bob)


async def test_a_clock_that_is_set_ahead_skips_nothing(app: App, ada: Account) -> None:
    """By weeks, between any two passes: each runs, and the check before it is called executed."""
    bob = await with_a_past(app, ada, "bob@example.com")
    await ask(app, bob)
    for _ in range(3):
        app.clock.advance(days=25)
        await run(app)
    await erased_once(app, ada.tenant_id, bob)
