"""The webhook's endpoints under hostile hands. What is right is told in tests/acceptance/test_webhooks.py."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from shared.audit.outbox import Outbox
from shared.core.settings import Settings
from shared.identity.model import Role
from shared.storage.containers import IDENTITY
from shared.storage.documents import Query
from shared.streaming.service import TESTS_PER_MINUTE
from shared.streaming.signing import read_secret
from shared.wiring import build_services
from tests.app import Account, App, assert_problem
from tests.second_factors import require
from tests.streaming.support import OTHER_SECRET, SECRET, attached

URL = "https://receiver.example.com/in?sig=hidden"


async def put(app: App, who: Account, headers: dict[str, str] | None = None, **body: Any) -> httpx.Response:
    return await app.client.put("/v1/webhook", json={"url": URL, **body}, headers=who.auth | (headers or {}))


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"url": ""}, "url"),
    ({"url": 7}, "url"),
    ({"url": "http://receiver.example.com/"}, "url"),
    ({"url": "https://127.0.0.1/"}, "url"),
    ({"url": "https://[::1]/"}, "url"),
    ({"url": "https://169.254.169.254/latest"}, "url"),
    ({"url": "https://localhost/"}, "url"),
    ({"url": "https://user:secret@receiver.example.com/"}, "url"),
    ({"url": "https://réceiver.example.com/"}, "url"),
    ({"url": "https://receiver.example.com/" + "x" * 2000}, "url"),
    ({"url": "https://127.0.0.1%00/"}, "url"),
    ({"url": "https://a..example.com/"}, "url"),
    ({"types": ["*"]}, "types.0"),
    ({"types": ["auth.login", "auth.*x"]}, "types.1"),
    ({"types": ["AUTH.*"]}, "types.0"),
    ({"types": ["auth.login\n"]}, "types.0"),
    ({"types": ["auth.login", "auth.logn"]}, "types.1"),
    ({"types": ["custom.a", "alerts.*"]}, "types.1"),
    ({"types": "auth.*"}, "types"),
    ({"types": ["auth.login"] * 51}, "types"),
    ({"format": "cef"}, "format"),
    ({"personal": "all"}, "personal"),
    ({"gzip": "yes"}, "gzip"),
    ({"enabled": 1}, "enabled"),
    ({"secret": "hush"}, "secret"),
    ({"secret": "whsec_c2hvcnQ="}, "secret"),
    ({"secret": "whsec_" + "x" * 200}, "secret"),
    ({"secret": SECRET, "new_secret": True}, "new_secret"),
    ({"tenant_id": "x"}, "tenant_id"),
    ({"state": "active"}, "state"),
]


async def test_a_wrong_field_is_named(app: App, ada: Account) -> None:
    for body, field in WRONG:
        answer = await put(app, ada, **body)
        assert_problem(answer, 422, "invalid_request", field)
        assert "secret@" not in answer.text
    assert_problem(await app.client.get("/v1/webhook", headers=ada.auth), 404, "not_found")
    assert await app.events(ada.tenant_id, "config.change") == []


async def test_a_new_webhook_gets_a_secret_that_is_shown_once(app: App, ada: Account) -> None:
    made = (await put(app, ada)).json()
    assert len(read_secret(made["secret"])) == 32
    again = (await put(app, ada, format="ocsf")).json()
    assert "secret" not in again
    assert "secret" not in (await app.client.get("/v1/webhook", headers=ada.auth)).json()
    rotated = (await put(app, ada, new_secret=True)).json()
    assert rotated["secret"] != made["secret"]
    assert [each["until"] is None for each in rotated["secrets"]] == [True, False]


async def test_no_secret_and_no_query_is_anywhere_to_be_read(
    app: App, ada: Account, caplog: pytest.LogCaptureFixture
) -> None:
    await put(app, ada, secret=SECRET)
    app.clock.advance(seconds=1)
    made = (await put(app, ada, new_secret=True, types=["auth.*"])).json()
    app.clock.advance(seconds=1)
    await app.host.drain_feed()
    await app.client.post("/v1/webhook/test", headers=ada.auth)
    seen = (await app.client.get("/v1/webhook", headers=ada.auth)).text
    attempts = (await app.client.get("/v1/webhook/deliveries", headers=ada.auth)).text
    items = json.dumps((await app.store.query(IDENTITY, (ada.tenant_id,), Query(limit=1000))).items)
    for text in (seen, attempts, items, json.dumps(await app.events(ada.tenant_id)), caplog.text):
        for secret in (SECRET, made["secret"]):
            assert secret.removeprefix("whsec_") not in text
        assert "hidden" not in text
    assert json.loads(seen)["url"] == "https://receiver.example.com/in?…"
    (first, second) = (e["personal"][ada.id]["data"] for e in (await app.events(ada.tenant_id, "config.change"))[:2])
    assert first["new_values"]["url"] == "https://receiver.example.com/in?…"
    assert (second["old_values"], second["new_values"]) == ({"types": []}, {"types": ["auth.*"]})


async def test_a_refused_attempt_keeps_no_secret(app: App, ada: Account) -> None:
    viewer = await app.join(ada, "viewer@example.com")
    assert_problem(await put(app, viewer, secret=SECRET, types=["auth.*"]), 403, "forbidden")
    (event,) = await app.events(ada.tenant_id, "access.denied")
    kept = json.dumps(event["personal"][viewer.id]["data"])
    assert "auth.*" in kept
    assert SECRET not in kept
    assert "hidden" not in kept


async def test_nothing_changed_is_no_event(app: App, ada: Account) -> None:
    first = await put(app, ada, secret=SECRET)
    again = await put(app, ada, secret=SECRET)
    assert (again.status_code, again.headers["etag"]) == (200, first.headers["etag"])
    assert len(await app.events(ada.tenant_id, "config.change")) == 1


async def test_if_match(app: App, ada: Account) -> None:
    assert_problem(await put(app, ada, {"If-Match": '"old"'}), 412, "version_conflict")
    tag = (await put(app, ada)).headers["etag"]
    assert (await app.client.get("/v1/webhook", headers=ada.auth)).headers["etag"] == tag
    changed = await put(app, ada, {"If-Match": tag}, gzip=True)
    assert changed.status_code == 200
    assert_problem(await put(app, ada, {"If-Match": tag}), 412, "version_conflict")
    gone = await app.client.delete("/v1/webhook", headers=ada.auth | {"If-Match": tag})
    assert_problem(gone, 412, "version_conflict")
    await app.host.drain_feed()  # deliveries are no new version
    tag = (await app.client.get("/v1/webhook", headers=ada.auth)).headers["etag"]
    assert tag == changed.headers["etag"]
    assert (await app.client.delete("/v1/webhook", headers=ada.auth | {"If-Match": tag})).status_code == 204


async def test_tenants_do_not_see_each_others(app: App, ada: Account, grace: Account) -> None:
    await put(app, ada)
    await app.host.drain_feed()
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/test")):
        assert_problem(await app.client.request(method, f"/v1/webhook{path}", headers=grace.auth), 404, "not_found")
    mine, theirs = [
        (await app.client.get("/v1/webhook/deliveries", headers=who.auth)).json()["items"] for who in (ada, grace)
    ]
    assert (len(mine) > 0, theirs) == (True, [])


async def test_a_position_that_is_none(app: App, ada: Account) -> None:
    await put(app, ada)
    for position in (
        *("2026-03/1000", "2026-02/1", "2026-13/0", "2026-03/-1", "2026-03/01", "2026-03/1e3", "2026-03/٣"),
        *("0001-01/0", "2026-03/0\n", "2026-03", "x" * 31),
        *("2026-02/0", "2026-04/0", "2999-12/0"),  # months of which the ledger has nothing
    ):
        answer = await app.client.post("/v1/webhook/replay", json={"from_position": position}, headers=ada.auth)
        assert_problem(answer, 422, "invalid_request", "from_position")


async def test_without_a_webhook(app: App, ada: Account) -> None:
    body = {"from_position": "2026-03/0"}
    for method, path, given in (("POST", "/test", None), ("POST", "/replay", body), ("DELETE", "", None)):
        answer = await app.client.request(method, f"/v1/webhook{path}", json=given, headers=ada.auth)
        assert_problem(answer, 404, "not_found")


async def test_changes_need_a_fresh_factor_where_the_policy_says_so(app: App, ada: Account) -> None:
    await require(app, ada, "admins")
    answer = await put(app, ada)
    assert answer.status_code == 403
    assert answer.json()["code"] in ("step_up_required", "mfa_enrollment_required")


@pytest.mark.parametrize("reason", ["address_refused", "name_not_resolved"])
async def test_a_test_tells_what_went_wrong(app: App, ada: Account, reason: str) -> None:
    async def inside(_host: str, _port: int) -> list[str]:
        return ["10.0.0.1"]

    if reason == "address_refused":
        app.services.streaming.delivery.sender.resolve = inside
    await put(app, ada)
    answer = (await app.client.post("/v1/webhook/test", headers=ada.auth)).json()
    assert (answer["delivered"], answer["status"], answer["reason"]) == (False, None, reason)
    assert len(await app.events(ada.tenant_id, "config.change")) == 2


async def test_a_test_shows_no_answer_of_a_private_address(app: App, ada: Account) -> None:
    receiver = await attached(app, ada)
    try:
        receiver.inbox.secrets = [OTHER_SECRET]
        answer = (await app.client.post("/v1/webhook/test", headers=ada.auth)).json()
        assert (answer["status"], answer["reason"], answer["beginning"]) == (400, "status", "")
        assert receiver.refused == ["Refused: signature"]
    finally:
        await receiver.stop()


async def test_two_changes_at_once_are_two_events(app: App, ada: Account) -> None:
    await put(app, ada, secret=SECRET)
    answers = await asyncio.gather(*(put(app, ada, types=[f"custom.t{n}"]) for n in range(5)))
    assert {each.status_code for each in answers} == {200}
    assert len(await app.events(ada.tenant_id, "config.change")) == 6


async def test_a_change_while_events_are_delivered_does_not_disturb(app: App, ada: Account) -> None:
    """The stream's own item is not written by a change that it need not know of."""
    receiver = await attached(app, ada)
    try:
        await app.host.drain_feed()
        before = await app.services.streaming.webhooks._streams.progress(ada.tenant_id)
        body = {"url": f"http://127.0.0.1:{receiver._runner.addresses[0][1]}/", "gzip": True}  # type: ignore[union-attr]
        assert (await app.client.put("/v1/webhook", json=body, headers=ada.auth)).status_code == 200
        assert await app.services.streaming.webhooks._streams.progress(ada.tenant_id) == before
        await app.host.drain_feed()
        await app.services.streaming.runner.settle()
        assert len(receiver.inbox.events) == len(await app.events(ada.tenant_id))
    finally:
        await receiver.stop()


async def test_the_outbox_is_the_only_way_to_change_it(app: App, ada: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """No audit, no change."""

    async def refuses(*_: object, **__: object) -> None:
        raise RuntimeError("not audited")

    monkeypatch.setattr(Outbox, "commit", refuses)
    assert (await put(app, ada)).status_code == 500
    assert_problem(await app.client.get("/v1/webhook", headers=ada.auth), 404, "not_found")


async def test_a_sample_is_limited_by_the_minute_and_tenant(app: App, ada: Account, grace: Account) -> None:
    """Each sends a request out, and holds a resolver and a connection for as long as the receiver likes. Nothing is
    sent or recorded above the limit, however many call at once and from wherever."""
    receivers = [await attached(app, who, enabled=False) for who in (ada, grace)]
    try:
        bob = await app.join(ada, "bob@example.com", Role.TENANT_ADMIN)
        calls = [app.client.post("/v1/webhook/test", headers=who.auth) for who in (ada, bob) for _ in range(10)]
        answers = await asyncio.gather(*calls)
        assert sorted(each.status_code for each in answers) == [200] * TESTS_PER_MINUTE + [429] * 10
        refused = next(each for each in answers if each.status_code == 429)
        assert_problem(refused, 429, "rate_limited")
        assert receivers[0].inbox.tests == TESTS_PER_MINUTE
        kept = [each["attributes"]["key"] for each in await app.events(ada.tenant_id, "config.change")]
        assert kept.count("webhook.test") == TESTS_PER_MINUTE
        assert (await app.client.post("/v1/webhook/test", headers=grace.auth)).status_code == 200, "a limit of its own"
        app.clock.advance(seconds=int(refused.headers["retry-after"]))
        assert (await app.client.post("/v1/webhook/test", headers=ada.auth)).status_code == 200
    finally:
        for each in receivers:
            await each.stop()


@pytest.mark.parametrize(
    ("private", "site", "allowed"),
    [(False, None, (False, False)), (True, None, (True, True)), (True, "app", (True, False))],
)
async def test_where_the_app_sends_to_is_what_its_settings_say(
    private: bool, site: str | None, allowed: tuple[bool, bool]
) -> None:
    """Private addresses where they are allowed; plain HTTP not even then, in Azure. Pauses differ by chance."""
    settings = Settings(kraftd_data=":memory:", webhook_allow_private=private)
    services = await build_services(settings.model_copy(update={"website_site_name": site}))
    try:
        delivery = services.streaming.delivery
        assert (delivery.sender.allow_private, delivery.sender.allow_http) == allowed
        assert len({delivery._random() for _ in range(4)}) == 4
    finally:
        await services.close()
