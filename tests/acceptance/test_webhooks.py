"""Streaming out: what a tenant's receiver gets, and what is told when it gets nothing any more."""

import json

from shared.streaming.delivery import LEAST_FAILURES
from shared.subject_rights.erasure import SETTLED
from tests.app import Account, App, assert_problem
from tests.streaming.support import SECRET, attached


async def test_events_and_alerts_reach_the_receiver_in_order(app: App, ada: Account) -> None:
    receiver = await attached(app, ada, types=["auth.*", "alert.*", "config.change"])
    try:
        for _ in range(6):
            await app.login(ada.email, "a guess")
        await app.host.drain_feed()
        await app.services.streaming.runner.settle()
        kinds = [event["type"] for event in receiver.inbox.events.values()]
        assert sorted(set(kinds)) == ["alert.raise", "auth.login", "auth.register", "config.change"]
        assert kinds.count("auth.login") == 6
        assert (receiver.inbox.wrong, receiver.refused, receiver.inbox.duplicates) == ([], [], 0)
        assert "ada@example.com" not in json.dumps([*receiver.inbox.events.values()])
        found = (await app.client.get("/v1/webhook", headers=ada.auth)).json()
        assert (found["state"], found["failures"]) == ("active", 0)
        attempts = (await app.client.get("/v1/webhook/deliveries", headers=ada.auth)).json()["items"]
        assert {each["outcome"] for each in attempts} == {"delivered"}
        sealed = [event for event in await app.events(ada.tenant_id) if event["type"] == "config.change"]
        assert receiver.inbox.events[ada.tenant_id, sealed[0]["id"]]["attributes"]["key"] == "webhook"
    finally:
        await receiver.stop()


async def test_a_receiver_that_is_away_for_a_day_is_an_alert_and_loses_nothing(app: App, ada: Account) -> None:
    receiver = await attached(app, ada)
    before = len(await app.events(ada.tenant_id)) - 1  # what was sealed when the webhook was set: nothing
    await receiver.stop()
    await app.host.drain_feed()
    for _ in range(LEAST_FAILURES):
        await app.services.streaming.runner.settle()
        app.clock.advance(hours=3)
        assert await app.host.run_timer("resume_streams")
    token = (await app.login(ada.email)).json()["access_token"]
    ada = Account(ada.id, ada.tenant_id, ada.email, token)
    found = (await app.client.get("/v1/webhook", headers=ada.auth)).json()
    assert (found["state"], found["paused_reason"]) == ("paused", "failing")
    (event,) = await app.events(ada.tenant_id, "webhook.pause")
    assert (event["type"], event["outcome"], event["actor"]["kind"]) == ("webhook.pause", "failure", "system")
    await app.host.drain_feed()
    (alert,) = (await app.client.get("/v1/alerts?pattern=webhook_paused", headers=ada.auth)).json()["items"]
    assert (alert["severity"], alert["event_ids"]) == ("high", [event["id"]])

    receiver = await attached(app, ada)
    try:
        (*_, change) = await app.events(ada.tenant_id, "config.change")
        assert change["attributes"]["changed_fields"] == ["state", "url"]
        await app.host.drain_feed()
        await app.services.streaming.runner.settle()
        events = await app.events(ada.tenant_id)
        assert {key[1] for key in receiver.inbox.events} == {each["id"] for each in events}
        assert len(receiver.inbox.events) > before
        assert receiver.inbox.wrong == []
    finally:
        await receiver.stop()


async def test_a_report_of_a_schedule_and_its_exceptions_are_told(app: App, ada: Account) -> None:
    receiver = await attached(app, ada, types=["report.generate"])
    wanted = {"schedules": [{"framework": "soc2", "every": "daily", "hour": 3}]}
    assert (await app.client.put("/v1/admin/settings", json=wanted, headers=ada.auth)).status_code == 200
    try:
        told = []
        for _ in range(2):
            await app.host.drain_feed()
            app.clock.advance(days=1)
            for timer in ("tell_of_life", "tell_of_life", "verify_ledger", "daily_reports", "order_reports"):
                assert await app.host.run_timer(timer)
                await app.host.drain_feed()
                app.clock.advance(hours=1)
            await app.services.streaming.runner.settle()
            events = [*receiver.inbox.events.values()]
            assert {event["type"] for event in events} == {"report.generate"}, "nothing else, and no order"
            told = [event for event in events if event["attributes"]["framework"] == "soc2"]
        first, second = told
        assert [each["attributes"]["period_from"] for each in told] == ["2026-03-15", "2026-03-16"]
        assert [each["attributes"]["gate_passed"] for each in told] == [True, True]
        assert first["attributes"]["exceptions"] > 0
        assert "new_exceptions" not in first["attributes"]
        assert second["attributes"]["new_exceptions"] <= second["attributes"]["exceptions"]
        for event in told:
            head = await app.services.compliance.head(ada.tenant_id, event["target"]["id"])
            assert head is not None
            assert (head["digest"], len(head["exceptions"])) == (
                event["attributes"]["digest"],
                event["attributes"]["exceptions"],
            )
        orders = await app.events(ada.tenant_id, "report.order")
        assert [(each["actor"]["kind"], each["source"]["id"]) for each in orders] == [("system", "order_reports")] * 2
        assert (receiver.inbox.wrong, receiver.inbox.duplicates) == ([], 0)
    finally:
        await receiver.stop()


async def test_nothing_of_an_erased_person_leaves_any_more(app: App, ada: Account) -> None:
    """From the first pass of the erasure on, also by a replay, to a webhook that personal data goes along to."""
    receiver = await attached(app, ada, personal="opened")
    replay = {"from_position": "2026-03/0"}
    try:
        bob = await app.join(ada, "bob@example.com", first_name="Bobby")
        await app.host.drain_feed()
        await app.services.streaming.runner.settle()
        before = json.dumps([*receiver.inbox.events.values()])
        assert "bob@example.com" in before
        assert "ada@example.com" in before
        asked = await app.client.post(
            f"/v1/admin/users/{bob.id}/erasure", json={"reason": "wants to be forgotten"}, headers=ada.auth
        )
        assert asked.status_code == 202
        app.clock.advance(seconds=1)
        assert await app.host.run_timer("run_erasures")
        for settled in (False, True):
            receiver.inbox.events.clear()
            receiver.inbox.order.clear()
            if settled:
                app.clock.advance(seconds=SETTLED.total_seconds() + 1)
                assert await app.host.run_timer("run_erasures")
                token = (await app.login(ada.email)).json()["access_token"]
                ada = Account(ada.id, ada.tenant_id, ada.email, token)
            answer = await app.client.post("/v1/webhook/replay", json=replay, headers=ada.auth)
            assert answer.status_code == 200
            await app.host.drain_feed()
            await app.services.streaming.runner.settle()
            of_bob = [each for each in receiver.inbox.events.values() if bob.id in each["personal"]]
            assert of_bob
            assert all(each["personal"][bob.id] == {"erased": True} for each in of_bob)
            assert not any(each[key] for each in of_bob for key in ("actor_key", "target_key", "ip_key", "ua_key"))
            sent = json.dumps([*receiver.inbox.events.values()])
            assert "bob@example.com" not in sent
            assert "Bobby" not in sent
            assert "ada@example.com" in sent
        assert receiver.inbox.wrong == []
    finally:
        await receiver.stop()


async def test_while_an_organization_is_suspended_its_stream_waits(app: App, ada: Account) -> None:
    receiver = await attached(app, ada)
    try:
        await app.services.operations.set_tenant_status(ada.tenant_id, "suspended")
        await app.host.drain_feed()
        await app.services.streaming.runner.settle()
        assert receiver.inbox.messages == 0
        await app.services.operations.set_tenant_status(ada.tenant_id, "active")
        await app.host.drain_feed()
        await app.services.streaming.runner.settle()
        assert {key[1] for key in receiver.inbox.events} == {each["id"] for each in await app.events(ada.tenant_id)}
    finally:
        await receiver.stop()


async def test_replay_and_test(app: App, ada: Account) -> None:
    receiver = await attached(app, ada)
    try:
        await app.host.drain_feed()
        await app.services.streaming.runner.settle()
        count = len(receiver.inbox.events)
        body = {"from_position": "2026-03/0"}
        assert (await app.client.post("/v1/webhook/replay", json=body, headers=ada.auth)).status_code == 200
        await app.services.streaming.runner.settle()
        assert receiver.inbox.duplicates == count > 0
        answer = (await app.client.post("/v1/webhook/test", headers=ada.auth)).json()
        assert (answer["delivered"], answer["status"], answer["reason"]) == (True, 204, None)
        assert receiver.inbox.tests == 1
        keys = [event["attributes"]["key"] for event in await app.events(ada.tenant_id, "config.change")]
        assert sorted(keys) == ["webhook", "webhook.replay", "webhook.test"]
    finally:
        await receiver.stop()


async def test_taken_away(app: App, ada: Account) -> None:
    receiver = await attached(app, ada)
    try:
        assert (await app.client.delete("/v1/webhook", headers=ada.auth)).status_code == 204
        assert_problem(await app.client.get("/v1/webhook", headers=ada.auth), 404, "not_found")
        await app.host.drain_feed()
        assert receiver.inbox.messages == 0
    finally:
        await receiver.stop()
    stored = json.dumps(await app.events(ada.tenant_id))
    assert SECRET not in stored
    assert SECRET.removeprefix("whsec_") not in stored
