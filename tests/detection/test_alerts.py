"""Reading alerts: newest first, filters, pages, and what is shown."""

import pytest

from shared.core.errors import NotFoundError
from shared.detection.alerts import MOST_ENTRIES, SERIES_KIND, Series, entry, lengthened, noted
from shared.storage.containers import ALERTS
from shared.storage.documents import Eq, Item, Query
from tests.detection.support import BRUTE_FORCE, START, TENANT, World, failures, seconds

HOUR = 3600


@pytest.fixture
async def three(world: World) -> list[Item]:
    """A superseded alert and its heir, then a critical one an hour later, then one that was resolved."""
    await world.deliver(failures(100, 101, 102, 103, 104))
    await world.deliver(failures(50, prefix="late"))
    await world.deliver(failures(*(HOUR + n for n in range(20)), prefix="c"))
    await world.deliver(failures(*(2 * HOUR + n for n in range(5)), prefix="r"))
    await world.close_alert((await world.current())[-1], START + seconds(3 * HOUR), "resolved")
    return await world.current()


async def test_newest_first_without_the_superseded(world: World, three: list[Item]) -> None:
    page = await world.alerts.list(TENANT)

    assert [item["id"] for item in page.items] == [item["id"] for item in reversed(three)]
    assert page.next is None
    assert len((await world.alerts.list(TENANT, superseded=True)).items) == 4


async def test_filters(world: World, three: list[Item]) -> None:
    async def ids(**wanted: object) -> list[str]:
        return [item["id"] for item in (await world.alerts.list(TENANT, **wanted)).items]  # type: ignore[arg-type]

    first, second, third = (item["id"] for item in three)
    assert await ids(severity="critical") == [second]
    assert await ids(status="resolved") == [third]
    assert await ids(status="open") == [second, first]
    assert await ids(pattern="brute_force", severity="high") == [third, first]
    assert await ids(pattern="mass_deletion") == []
    assert await ids(from_=START + seconds(HOUR)) == [third, second]
    assert await ids(from_=START + seconds(HOUR), to=START + seconds(2 * HOUR)) == [second]


async def test_pages(world: World, three: list[Item]) -> None:
    first = await world.alerts.list(TENANT, limit=2)
    rest = await world.alerts.list(TENANT, limit=2, after=first.next)

    assert [item["id"] for item in (*rest.items[::-1], *first.items[::-1])] == [item["id"] for item in three]
    assert rest.next is None


async def test_what_is_shown(world: World, three: list[Item]) -> None:
    shown = world.alerts.shown(three[0])

    assert shown.keys() == {
        *("id", "pattern", "severity", "status", "key", "title", "first_seen", "last_seen", "count", "event_ids"),
        *("attack", "runbook", "history", "created_at"),
    }
    superseded = next(item for item in await world.all_alerts() if item.get("superseded_by"))
    assert world.alerts.shown(superseded)["superseded_by"] == three[0]["id"]
    assert "closed_at" in world.alerts.shown(three[2])


async def test_one_alert(world: World, three: list[Item]) -> None:
    assert await world.alerts.get(TENANT, three[1]["id"]) == three[1]


async def test_no_such_alert(world: World, three: list[Item]) -> None:
    heads = (await world.store.query(ALERTS, (TENANT,), Query((Eq("kind", SERIES_KIND),)))).items
    for unknown in ("none", heads[0]["id"]):
        with pytest.raises(NotFoundError):
            await world.alerts.get(TENANT, unknown)
    with pytest.raises(NotFoundError):
        await world.alerts.get("another-tenant", three[0]["id"])


def test_a_long_history_keeps_its_beginning_and_what_people_did() -> None:
    written = [entry(f"at {n}", "open", "open", "severity high to critical") for n in range(MOST_ENTRIES * 3)]
    by_ada = {"at": "at 1.5", "by": "ada", "from": "open", "to": "acknowledged", "note": "I look at it."}
    history: list[Item] = []
    for line in (*written[:2], by_ada, *written[2:]):
        history = lengthened(history, line)

    assert history == [written[0], by_ada, *written[-MOST_ENTRIES + 2 :]]


def test_what_evaluation_adds_is_bounded() -> None:
    alert: Item = {"status": "open", "severity": "high", "history": [], "_etag": "1"}
    for n in range(MOST_ENTRIES * 2):
        alert = {**noted(Series(TENANT, BRUTE_FORCE, "x"), alert, alert, "a test", str(n)).item, "_etag": "1"}

    assert len(alert["history"]) == MOST_ENTRIES
