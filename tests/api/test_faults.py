"""A store that fails at any one call of a request: the client hears the truth, and after recovery every committed
change has exactly one event, and no event stands without its change."""

import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from devhost.errors import FeedStuck
from devhost.host import Host
from functions import ENDPOINTS, _http
from shared.core.settings import Settings
from shared.detection import all_patterns
from shared.detection.model import Wanted
from shared.identity.model import Role, attempts_key, session_key, user_key
from shared.storage.containers import ALERTS, DIRECTORY, IDENTITY, REPORTS
from shared.storage.documents import Eq, Query
from shared.storage.errors import NotFound, PreconditionFailed, Throttled, Unavailable
from shared.storage.sqlite import SqliteStore
from tests.api.broken import MODES, MOST_CALLS, Broken, walk
from tests.app import PASSWORD, UNLIMITED, Account, assert_problem, registration, running
from tests.fakes import ManualClock
from tests.faults import FaultyFeedStore, Mode

ADMINISTRATION = {
    *("list_users", "get_user", "update_user", "delete_user", "unlock_user"),
    *("invite_user", "revoke_invitation", "create_api_key", "revoke_api_key", "update_settings"),
}
"""Endpoints that are walked in test_admin_faults.py."""

WEBHOOK = {"get_webhook", "set_webhook", "delete_webhook", "test_webhook", "replay_webhook"}
LEDGER = {
    *("get_ledger_checkpoint", "get_ledger_key", "get_ledger_proof", "get_ledger_consistency", "get_ledger_tile"),
    "get_ledger_bundle",
}


@dataclass(frozen=True)
class Recorded:
    """A call that changes nothing and leaves one event: what it answers, and which event in whose trail."""

    path: str
    status: int
    event: str
    calls: int
    """Store calls that the call makes."""
    role: Role = Role.TENANT_ADMIN
    outcome: str = "success"
    method: str = "GET"


UNKNOWN = "01890a5d-ac96-774b-bcce-b302099a8057"
RECORDED = {
    "get_profile": Recorded("/v1/profile", 200, "profile.view", 4),
    "get_authorization_log": Recorded("/v1/admin/logs/authorization", 200, "audit.search", 7),
    "list_events": Recorded("/v1/events?email=ada@example.com", 200, "audit.search", 8),
    "get_event": Recorded("/v1/events/{event}", 200, "audit.search", 5),
    "export_events": Recorded("/v1/events/export", 200, "audit.export", 5),
    "get_report": Recorded("/v1/reports/{report}", 200, "report.read", 6),
    "get_alert": Recorded(f"/v1/alerts/{UNKNOWN}", 404, "access.denied", 6, outcome="denied"),
    "unknown id": Recorded(f"/v1/reports/{UNKNOWN}", 404, "access.denied", 7, outcome="denied"),
    "role": Recorded("/v1/admin/logs/authorization", 403, "access.denied", 4, Role.USER, outcome="denied"),
    "role, of a change": Recorded("/v1/admin/users/{ada}", 403, "access.denied", 5, Role.USER, "denied", "DELETE"),
}


@pytest.mark.parametrize("name", RECORDED)
async def test_what_is_only_recorded(broken: Broken, name: str) -> None:
    """No event, no answer."""
    app, ada, case = broken.app, broken.ada, RECORDED[name]
    app.clock.advance(days=1, hours=2)
    token = (await app.login(ada.email)).json()["access_token"]
    assert await app.host.run_timer("daily_reports")
    query = Query((Eq("kind", "report"),), order_by="from")
    reports = (await broken.store.query(REPORTS, (ada.tenant_id,), query)).items
    first = (await app.events(ada.tenant_id))[0]
    await app.give_role(ada, case.role)
    now = app.clock.now()
    answered: list[int] = []

    async def request(_: Broken) -> httpx.Response:
        path = case.path.format(report=reports[0]["id"], event=first["id"], ada=ada.id)
        return await app.client.request(case.method, path, headers={"Authorization": f"Bearer {token}"})

    async def check(_: Broken, status: int) -> None:
        assert status in (case.status, 503)
        answered.append(status)
        app.clock.set(now)

    calls = await walk(broken, request, check)
    events = [e for e in await app.events(ada.tenant_id, case.event) if e["outcome"] == case.outcome]
    assert answered.count(case.status) <= len(events) <= len(answered)
    assert calls == case.calls + 1  # and once more without a fault
    assert answered.count(case.status) >= len(MODES)  # more: a read that finds nothing has no answer to lose


async def test_a_rejected_token(broken: Broken) -> None:
    """Each rejection that was answered is in a count of the trail, and none is invented."""
    app = broken.app
    attempts = refused = 0

    async def request(_: Broken) -> httpx.Response:
        return await app.client.get("/v1/profile", headers={"Authorization": "Bearer nothing"})

    async def check(_: Broken, status: int) -> None:
        nonlocal attempts, refused
        assert status in (401, 503)
        attempts += 1
        refused += status == 401
        app.clock.advance(minutes=2)
        assert await app.host.run_timer("flush_rejections")
        counted = sum(e["attributes"]["count"] for e in await app.events(type_="auth.token_rejected"))
        assert refused <= counted <= attempts

    await walk(broken, request, check)


async def test_an_alert(broken: Broken) -> None:
    """Whatever fails while the feed is handled: one alert, and one event of its raising."""
    app = broken.app
    app.services.detection._wanted = Wanted([all_patterns()["brute_force"]])  # the walk is long enough
    raised = 0
    for mode, times in MODES:
        for k in range(1, MOST_CALLS):
            email = f"{mode}-{times}-{k}@example.com"
            account = await app.register(email)
            await app.host.drain_feed()
            for _ in range(5):
                assert (await app.login(email, "wrong")).status_code == 401
            broken.store.arm(k, mode, times=times)
            try:
                await app.host.drain_feed(attempts_limit=2)
            except (FeedStuck, Unavailable):
                assert len(broken.store.calls) >= k
            reached = len(broken.store.calls) >= k
            await broken.recover()
            alerts = await broken.store.query(ALERTS, (account.tenant_id,), Query((Eq("kind", "alert"),), limit=9))
            events = await app.events(account.tenant_id, "alert.raise")
            assert [each["count"] for each in alerts.items] == [5]
            assert [each["target"]["id"] for each in events] == [alerts.items[0]["id"]]
            assert await broken.items("outbox", account.tenant_id) == 0
            raised += 1
            if not reached:
                break
    assert raised > 4 * len(MODES)


async def test_every_endpoint_that_writes_is_walked(broken: Broken) -> None:
    """Of the others, a call makes no write at all."""
    app, ada = broken.app, broken.ada
    walked = {"register", "login", "logout", "write_events", *RECORDED, *ADMINISTRATION}
    walked |= {"update_alert", "record_incident"}
    walked |= {"refresh_token", "update_profile", "change_password", "revoke_session"}
    walked |= {"request_erasure", "request_user_erasure"}  # in test_privacy_faults.py
    walked |= {"withdraw_subject_request", "decide_subject_request", "export_subject", "update_consent"}
    walked |= {"login_mfa", "mfa_enroll", "mfa_confirm", "mfa_disable", "step_up"}  # in test_mfa_faults.py
    walked |= {"complete_access_review", "sign_off_report"}  # in test_evidence_faults.py
    walked |= {"create_report"}  # in tests/compliance/test_orders.py
    walked |= WEBHOOK  # in test_webhook_faults.py, but for the reading
    walked |= LEDGER  # in test_ledger_faults.py
    for endpoint in ENDPOINTS:
        if endpoint.name in walked:
            continue
        broken.store.arm(10**6)
        path = endpoint.route.replace("{id:guid}", UNKNOWN)
        answer = await app.client.request(endpoint.method, f"/{path}", headers=ada.auth)
        assert answer.status_code == 200, endpoint.name
        assert {call.operation for call in broken.store.calls} <= {"read", "query", "ping"}, endpoint.name


@pytest.mark.parametrize(
    ("method", "path", "body", "kind"),
    [
        ("PATCH", "", {"status": "acknowledged", "note": "A look at it."}, "alert.update"),
        (
            "PUT",
            "/incident",
            {"aware_at": "2026-03-15T12:00:00Z", "decision": "not notified", "facts": "A test."},
            "incident.record",
        ),
    ],
)
async def test_handling_an_alert(broken: Broken, method: str, path: str, body: dict[str, Any], kind: str) -> None:
    """Each change has its event, and no event is without one."""
    app = broken.app
    for _ in range(5):
        await app.login(broken.ada.email, "wrong")
    await app.host.drain_feed()
    (alert,) = (await app.client.get("/v1/alerts", headers=broken.ada.auth)).json()["items"]
    answered = 0

    async def request(_: Broken) -> httpx.Response:
        url = f"/v1/alerts/{alert['id']}{path}"
        return await app.client.request(method, url, json=body, headers=broken.ada.auth)

    async def check(_: Broken, status: int) -> None:
        nonlocal answered
        answered += status == 200
        held = await broken.store.read(ALERTS, (broken.ada.tenant_id,), alert["id"])
        events = await app.events(broken.ada.tenant_id, kind)
        if kind == "alert.update":
            assert len(held["history"]) - 1 == len(events)
        assert len(events) >= answered
        assert ("incident" in held) == (kind == "incident.record" and len(events) > 0)
        token = (await app.login(broken.ada.email)).json()["access_token"]  # the clock moves on in a walk
        broken.ada = Account(broken.ada.id, broken.ada.tenant_id, broken.ada.email, token)

    await walk(broken, request, check)


async def test_wrong_password(broken: Broken) -> None:
    app, ada = broken.app, broken.ada

    async def request(_: Broken) -> httpx.Response:
        return await app.login(ada.email, "wrong")

    async def check(_: Broken, status: int) -> None:
        assert status in (401, 503)
        try:
            count = (await broken.store.read(IDENTITY, (ada.tenant_id,), attempts_key(ada.id)))["count"]
        except NotFound:
            count = 0
        failures = await app.events(ada.tenant_id, "auth.login")
        assert sorted(e["attributes"]["attempt_count"] for e in failures) == list(range(1, count + 1))

    await walk(broken, request, check)


async def test_unknown_account(broken: Broken) -> None:
    """Never a 401 without its event."""
    app = broken.app
    refused = 0

    async def request(_: Broken) -> httpx.Response:
        return await app.login("nobody@example.com", "wrong")

    async def check(_: Broken, status: int) -> None:
        nonlocal refused
        assert status in (401, 503)
        refused += status == 401
        assert len(await app.events(type_="auth.login")) >= refused

    await walk(broken, request, check)


async def test_login(broken: Broken) -> None:
    app, ada = broken.app, broken.ada
    signed_in = 0

    async def request(_: Broken) -> httpx.Response:
        return await app.login(ada.email)

    async def check(_: Broken, status: int) -> None:
        nonlocal signed_in
        assert status in (200, 503)
        signed_in += status == 200
        sessions = await broken.items("session") - 1  # the one of the registration
        assert signed_in <= sessions
        assert len(await app.events(ada.tenant_id, "auth.login")) == sessions

    await walk(broken, request, check)


async def test_login_after_failures(broken: Broken) -> None:
    """The failures are forgotten with the session that was opened, or neither is done."""
    app, ada = broken.app, broken.ada
    sessions = 1

    for mode, times in MODES:
        for k in range(1, MOST_CALLS):
            assert (await app.login(ada.email, "a wrong password")).status_code == 401
            assert await broken.items("attempts") == 1
            broken.store.arm(k, mode, times=times)
            answer = await app.login(ada.email)
            reached = len(broken.store.calls) >= k
            assert answer.status_code in (200, 503)
            await broken.recover()
            opened = await broken.items("session") - sessions
            sessions += opened
            assert opened == (1 if answer.status_code == 200 else opened) <= 1
            assert await broken.items("attempts") == 1 - opened
            assert await broken.items("outbox") == 0
            if opened == 0:
                assert (await app.login(ada.email)).status_code == 200
                sessions += 1
            if not reached:
                break


async def test_a_profile_that_others_change_all_the_time_is_503(broken: Broken) -> None:
    """Nobody named a version, so none was wrong: to ask again is right, and nothing was done."""
    app, ada = broken.app, broken.ada
    broken.store._counts = lambda call: call.operation == "batch"
    broken.store.arm(1, error=PreconditionFailed("somebody was quicker"), times=None)
    answer = await app.client.put("/v1/profile", json={"bio": "text"}, headers=ada.auth)
    assert_problem(answer, 503, "store_unavailable")
    assert answer.headers["retry-after"] == "1"
    assert broken.store.failed > 5
    broken.store.mend()
    assert await app.events(ada.tenant_id, "profile.update") == []
    assert (await app.client.put("/v1/profile", json={"bio": "text"}, headers=ada.auth)).status_code == 200


async def test_refresh(broken: Broken) -> None:
    """Each exchange that was committed has its event; a token that was answered works, unless it was used up."""
    app, ada = broken.app, broken.ada
    for mode, times in MODES:
        for k in range(1, MOST_CALLS):
            before = len(await app.events(ada.tenant_id, "auth.token_refresh"))
            token = (await app.login(ada.email)).json()["refresh_token"]
            session = session_key(token.split(".")[1])
            held = (await broken.store.read(IDENTITY, (ada.tenant_id,), session))["refresh_hash"]
            broken.store.arm(k, mode, times=times)
            answer = await app.client.post("/v1/token/refresh", json={"refresh_token": token})
            reached = len(broken.store.calls) >= k
            assert answer.status_code in (200, 503)
            await broken.recover()
            changed = (await broken.store.read(IDENTITY, (ada.tenant_id,), session))["refresh_hash"] != held
            assert len(await app.events(ada.tenant_id, "auth.token_refresh")) == before + changed
            assert changed or answer.status_code == 503
            assert await broken.items("outbox") == 0
            if not reached:
                break


async def test_update_profile(broken: Broken) -> None:
    app, ada = broken.app, broken.ada
    names = itertools.count()

    async def request(_: Broken) -> httpx.Response:
        return await app.client.put("/v1/profile", json={"bio": f"text {next(names)}"}, headers=ada.auth)

    async def check(_: Broken, status: int) -> None:
        assert status in (200, 503)
        events = await app.events(ada.tenant_id, "profile.update")
        bio = (await broken.store.read(IDENTITY, (ada.tenant_id,), user_key(ada.id)))["bio"]
        written = [event["personal"][ada.id]["data"]["new_values"]["bio"] for event in events]
        assert len(set(written)) == len(written)
        assert bio is None or bio in written
        assert not {old for e in events if (old := e["personal"][ada.id]["data"]["old_values"]["bio"])} - set(written)
        app.clock.set(ManualClock().now())

    await walk(broken, request, check)


async def test_change_password(broken: Broken) -> None:
    """Either the old password or the new one works, and the trail says which."""
    app, ada = broken.app, broken.ada
    current, numbers = PASSWORD, itertools.count()
    for mode, times in MODES:
        for k in range(1, MOST_CALLS):
            new = f"orange is number {next(numbers)} of many"
            token = (await app.login(ada.email, current)).json()["access_token"]
            before = len(await app.events(ada.tenant_id, "auth.password_change"))
            broken.store.arm(k, mode, times=times)
            answer = await app.client.post(
                "/v1/password",
                json={"current_password": current, "new_password": new},
                headers={"Authorization": f"Bearer {token}"},
            )
            reached = len(broken.store.calls) >= k
            assert answer.status_code in (204, 503)
            await broken.recover()
            changed = (await app.login(ada.email, new)).status_code == 200
            assert changed or answer.status_code == 503
            assert changed != ((await app.login(ada.email, current)).status_code == 200)
            assert len(await app.events(ada.tenant_id, "auth.password_change")) == before + changed
            assert await broken.items("outbox") == 0
            current = new if changed else current
            if not reached:
                break


async def test_revoke_session(broken: Broken) -> None:
    app, ada = broken.app, broken.ada
    for mode, times in MODES:
        for k in range(1, MOST_CALLS):
            tokens = [(await app.login(ada.email)).json() for _ in range(2)]
            wanted = tokens[1]["refresh_token"].split(".")[1]
            before = len(await app.events(ada.tenant_id, "session.revoke"))
            broken.store.arm(k, mode, times=times)
            answer = await app.client.delete(
                f"/v1/sessions/{wanted}", headers={"Authorization": f"Bearer {tokens[0]['access_token']}"}
            )
            reached = len(broken.store.calls) >= k
            assert answer.status_code in (204, 503)
            await broken.recover()
            try:
                await broken.store.read(IDENTITY, (ada.tenant_id,), session_key(wanted))
                ended = False
            except NotFound:
                ended = True
            assert ended or answer.status_code == 503
            assert len(await app.events(ada.tenant_id, "session.revoke")) == before + ended
            assert await broken.items("outbox") == 0
            if not reached:
                break


async def test_logout(broken: Broken) -> None:
    app, ada = broken.app, broken.ada
    refused = 0
    for mode, times in MODES:
        for k in range(1, MOST_CALLS):
            token = (await app.login(ada.email)).json()["access_token"]
            broken.store.arm(k, mode, times=times)
            answer = await app.client.post("/v1/logout", headers={"Authorization": f"Bearer {token}"})
            reached = len(broken.store.calls) >= k
            assert answer.status_code in (204, 503)
            refused += answer.status_code == 503
            await broken.recover()
            assert await broken.items("outbox") == 0
            opened = 1 + len(await app.events(ada.tenant_id, "auth.login"))
            ended = len(await app.events(ada.tenant_id, "auth.logout"))
            assert await broken.items("session") == opened - ended
            assert ended >= opened - 1 - refused
            if not reached:
                break


async def test_register(broken: Broken) -> None:
    """Whatever fails: the account is whole with its events, or there is none and the e-mail is free a minute later."""
    app = broken.app
    for mode, times in MODES:
        for k in range(1, MOST_CALLS):
            email = f"{mode}-{times}-{k}@example.com"
            broken.store.arm(k, mode, times=times)
            answer = await app.client.post("/v1/register", json=registration(email))
            reached = len(broken.store.calls) >= k
            assert answer.status_code in (201, 503), answer.text
            await broken.recover()
            signed_in = await app.login(email)
            if answer.status_code == 201:
                assert signed_in.status_code == 200
            again = await app.client.post("/v1/register", json=registration(email))
            assert again.status_code == (409 if signed_in.status_code == 200 else 201)
            entry = await app.services.directory.find(email)
            assert entry is not None
            events = await app.events(entry.tenant_id)
            successes = [e for e in events if (e["type"], e["outcome"]) == ("auth.register", "success")]
            assert [e["target"]["id"] for e in successes] == [entry.user_id]
            assert len([e for e in events if e["type"] == "consent.grant"]) == 2
            assert await broken.items("outbox", entry.tenant_id) == 0
            if not reached:
                break


@pytest.fixture
async def hurried(host: Host, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Broken]:
    """The app with half a second for each request."""
    monkeypatch.setattr(_http, "_GRACE_SECONDS", 0.05)
    store = FaultyFeedStore(await SqliteStore.open(None, clock=clock))
    settings = Settings(kraftd_data=":memory:", **UNLIMITED).model_copy(update={"request_deadline_seconds": 0.5})
    monkeypatch.setattr(host.module.services, "settings", settings)
    async with running(host, clock, store, settings) as app:
        yield Broken(app, store, await app.register())


@pytest.mark.parametrize("mode", ["hang", "hang_after"])
async def test_a_store_that_hangs_is_given_up_and_nothing_is_half_done(hurried: Broken, mode: Mode) -> None:
    """The k-th call of a sign-in never answers: 503 within the deadline, and what was committed has its event."""
    app, ada = hurried.app, hurried.ada
    for k in range(1, MOST_CALLS):
        hurried.store.arm(k, mode)
        answer = await app.login(ada.email)
        reached = len(hurried.store.calls) >= k
        if hurried.store.hung:  # a read that finds nothing has no answer to hold back
            assert_problem(answer, 503, "store_unavailable")
            assert answer.headers["retry-after"] == "5"
        else:
            assert answer.status_code == 200
        await hurried.recover()
        assert await hurried.items("outbox") == 0
        sessions = await hurried.items("session") - 1  # the one of the registration
        assert len(await app.events(ada.tenant_id, "auth.login")) == sessions
        if not reached:
            break
    assert k > 5


@pytest.mark.parametrize("mode", ["hang", "hang_after"])
async def test_a_registration_that_hangs_is_whole_or_not_at_all(hurried: Broken, mode: Mode) -> None:
    app = hurried.app
    for k in range(1, MOST_CALLS):
        email = f"{mode}-{k}@example.com"
        hurried.store.arm(k, mode)
        answer = await app.client.post("/v1/register", json=registration(email))
        reached = len(hurried.store.calls) >= k
        assert answer.status_code == (503 if hurried.store.hung else 201)
        await hurried.recover()
        there = (await app.login(email)).status_code == 200
        again = await app.client.post("/v1/register", json=registration(email))
        assert again.status_code == (409 if there else 201)
        entry = await app.services.directory.find(email)
        assert entry is not None
        events = await app.events(entry.tenant_id, "auth.register")
        assert [e["target"]["id"] for e in events if e["outcome"] == "success"] == [entry.user_id]
        if not reached:
            break
    assert k > 8


async def test_nothing_serves_while_the_store_is_away(broken: Broken) -> None:
    broken.store.arm(1, times=None)
    for call in (
        broken.app.client.get("/v1/profile", headers=broken.ada.auth),
        broken.app.client.get("/v1/alerts", headers=broken.ada.auth),
        broken.app.client.post("/v1/logout", headers=broken.ada.auth),
        broken.app.login(broken.ada.email),
        broken.app.client.post("/v1/register", json=registration("new@example.com")),
        broken.app.client.get("/v1/profile", headers={"Authorization": "Bearer x"}),
    ):
        answer = await call
        assert_problem(answer, 503, "store_unavailable")
        assert answer.headers["retry-after"] == "5"
    ready = await broken.app.client.get("/v1/health/ready")
    assert (ready.status_code, ready.json()["status"]) == (503, "failed")
    assert (await broken.app.client.get("/v1/health/live")).status_code == 200


async def test_a_store_that_asks_to_slow_down_is_passed_on(broken: Broken) -> None:
    broken.store.arm(1, error=Throttled("busy", retry_after_seconds=7))
    answer = await broken.app.client.get("/v1/profile", headers=broken.ada.auth)
    assert_problem(answer, 503, "store_unavailable")
    assert answer.headers["retry-after"] == "7"


async def test_a_stuck_entry_does_not_hold_up_the_feed(broken: Broken) -> None:
    """An entry that no code can deliver stays where it is; those behind it are delivered, and the feed goes on."""
    app, ada = broken.app, broken.ada
    stuck = {
        "id": "outbox|1",
        "tenant_id": ada.tenant_id,
        "kind": "outbox",
        "created_at": "2026-03-15T11:00:00.000000Z",
        "events": [],
        "follow_ups": [{"kind": "of a version to come", "arguments": {}}],
    }
    await broken.store.create(IDENTITY, (ada.tenant_id,), stuck)
    broken.store._counts = lambda call: (call.operation, call.container) == ("create", "audit_events")
    broken.store.arm(1)  # the publishing: the change is committed, its event waits in the outbox
    assert (await app.login(ada.email)).status_code == 200
    broken.store.mend()
    assert await app.events(ada.tenant_id, "auth.login") == []
    await app.host.drain_feed()
    assert len(await app.events(ada.tenant_id, "auth.login")) == 1
    assert await broken.items("outbox") == 1
    others = [await app.register(f"{n}@example.net") for n in range(5)]
    for other in others:
        await broken.store.create(
            IDENTITY, (other.tenant_id,), {**stuck, "tenant_id": other.tenant_id, "follow_ups": []}
        )
    app.clock.advance(minutes=2)
    assert not await app.host.run_timer("sweep_outbox")  # the run shows as failed: someone has to look
    assert [await broken.items("outbox", each.tenant_id) for each in (ada, *others)] == [1, 0, 0, 0, 0, 0]


async def test_a_lost_email_is_told_even_when_the_store_fails_right_after(broken: Broken) -> None:
    """The account was taken back; that its outbox entry could not be deleted must not turn the 409 into a 201."""
    app = broken.app
    email = "late@example.com"
    key = await app.services.directory.key(email)
    inner = broken.store.inner
    create = inner.create

    async def steal(container: Any, partition: Any, item: Any) -> Any:
        done = await create(container, partition, item)
        if item["id"] == key:
            await inner.replace(container, partition, {**item, "user_id": "another", "tenant_id": "another"})
        return done

    inner.create = steal  # type: ignore[method-assign]
    broken.store.arm(MOST_CALLS)
    assert_problem(await app.client.post("/v1/register", json=registration(email)), 409, "email_taken")
    calls = broken.store.calls
    assert (calls[-1].operation, calls[-1].container) == ("delete", "identity")
    assert [call.operation for call in calls].count("batch") == 2  # the account made, and taken back

    await inner.delete(DIRECTORY, (key,), key)
    broken.store.arm(len(calls))
    assert_problem(await app.client.post("/v1/register", json=registration(email)), 409, "email_taken")
    assert broken.store.failed == 1
