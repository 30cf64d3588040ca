"""A store that fails at any one call of a request about the webhook: as in test_faults.py, the client hears the truth,
and each change has its event, and no event is without one."""

from typing import Any

import httpx

from shared.streaming.model import STREAM, WEBHOOK
from tests.api.broken import Admin

URL = "https://receiver.example.com/in"


async def changes(admin: Admin, key: str) -> int:
    found = await admin.events("config.change", admin.ada.tenant_id)
    return sum(event["attributes"]["key"] == key for event in found)


async def test_set(admin: Admin) -> None:
    seen = 0

    async def prepare(n: int) -> dict[str, Any]:
        nonlocal seen
        seen = await changes(admin, "webhook")
        return {"url": URL, "types": [f"custom.t{n}"]}

    async def act(body: dict[str, Any]) -> httpx.Response:
        return await admin.ask("PUT", "/v1/webhook", body)

    async def check(body: dict[str, Any], answer: httpx.Response) -> None:
        item = await admin.item(WEBHOOK)
        done = item is not None and item["types"] == body["types"]
        assert done or answer.status_code == 503
        assert await changes(admin, "webhook") == seen + done
        assert (await admin.item(STREAM) is not None) == (item is not None)

    await admin.walk(prepare, act, check, 200)


async def test_delete(admin: Admin) -> None:
    seen = 0

    async def prepare(_: int) -> None:
        nonlocal seen
        assert (await admin.ask("PUT", "/v1/webhook", {"url": URL})).status_code == 200
        seen = await changes(admin, "webhook")

    async def act(_: None) -> httpx.Response:
        return await admin.ask("DELETE", "/v1/webhook")

    async def check(_: None, answer: httpx.Response) -> None:
        gone = await admin.item(WEBHOOK) is None
        assert gone or answer.status_code == 503
        assert await changes(admin, "webhook") == seen + gone
        assert (await admin.item(STREAM) is None) == gone

    await admin.walk(prepare, act, check, 204)


async def test_replay(admin: Admin) -> None:
    await admin.ask("PUT", "/v1/webhook", {"url": URL})
    seen = generation = 0

    async def moved() -> int:
        item = await admin.item(STREAM)
        assert item is not None
        return int(item["generation"])

    async def prepare(_: int) -> None:
        nonlocal seen, generation
        seen, generation = await changes(admin, "webhook.replay"), await moved()

    async def act(_: None) -> httpx.Response:
        return await admin.ask("POST", "/v1/webhook/replay", {"from_position": "2026-03/0"})

    async def check(_: None, answer: httpx.Response) -> None:
        done = await moved() - generation
        assert done in ((1,) if answer.status_code == 200 else (0, 1))
        assert await changes(admin, "webhook.replay") == seen + done

    await admin.walk(prepare, act, check, 200)


async def test_test(admin: Admin) -> None:
    """Nothing is sent that is not in the trail."""
    await admin.ask("PUT", "/v1/webhook", {"url": URL, "enabled": False})  # the stream itself sends nothing
    asked: list[str] = []
    seen = 0

    async def nowhere(host: str, _port: int) -> list[str]:
        asked.append(host)
        raise OSError

    admin.app.services.streaming.delivery.sender.resolve = nowhere

    async def prepare(_: int) -> None:
        nonlocal seen
        asked.clear()
        admin.app.clock.advance(seconds=60)  # ten samples in a minute, and no more
        seen = await changes(admin, "webhook.test")

    async def act(_: None) -> httpx.Response:
        return await admin.ask("POST", "/v1/webhook/test")

    async def check(_: None, answer: httpx.Response) -> None:
        recorded = await changes(admin, "webhook.test") - seen
        assert recorded in ((1,) if answer.status_code == 200 else (0, 1))
        assert recorded or not asked

    await admin.walk(prepare, act, check, 200)
