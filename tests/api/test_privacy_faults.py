"""A store that fails at any one call of a request about erasure: as in test_faults.py, the client hears the truth, and
each change of the register has its event, and no event is without one."""

from typing import Any

import httpx
import pytest

from shared.identity.model import user_key
from shared.storage.containers import IDENTITY
from shared.storage.documents import Eq, Item, Query
from shared.subject_rights.export import Limits
from tests.api.broken import MODES, MOST_CALLS, Admin
from tests.app import PASSWORD, Account
from tests.exporting import next_of

WHY = {"reason": "wants to be forgotten"}


async def open_requests(admin: Admin, person: Account) -> list[Item]:
    where = (Eq("kind", "subject_request"), Eq("subject", person.id))
    page = await admin.broken.store.query(IDENTITY, (admin.ada.tenant_id,), Query(where, order_by="created_at"))
    return page.items


async def reasons(admin: Admin, person: Account) -> list[str]:
    return sorted(event["reason"] for event in await admin.events("privacy.erasure", person.id))


async def check_taken(admin: Admin, person: Account, answer: httpx.Response) -> None:
    """There is one request with its event, or none of either."""
    found = await open_requests(admin, person)
    assert len(found) in ((1,) if answer.status_code == 202 else (0, 1))
    assert await reasons(admin, person) == ["requested"] * len(found)
    events = await admin.events("privacy.erasure", person.id)
    assert [each["event_id"] for each in found] == [each["id"] for each in events]
    assert (await admin.item(f"erasure|{person.id}") is not None) == bool(found)


async def test_request_erasure(admin: Admin) -> None:
    async def prepare(n: int) -> Account:
        return await admin.app.join(admin.ada, f"m{n}@example.com")

    async def act(person: Account) -> httpx.Response:
        body = {**WHY, "password": PASSWORD}
        return await admin.app.client.post("/v1/privacy/erasure", json=body, headers=person.auth)

    async def check(person: Account, answer: httpx.Response) -> None:
        await check_taken(admin, person, answer)

    await admin.walk(prepare, act, check, 202)


async def test_request_user_erasure(admin: Admin) -> None:
    async def prepare(n: int) -> Account:
        return await admin.app.join(admin.ada, f"m{n}@example.com")

    async def act(person: Account) -> httpx.Response:
        return await admin.ask("POST", f"/v1/admin/users/{person.id}/erasure", WHY)

    async def check(person: Account, answer: httpx.Response) -> None:
        await check_taken(admin, person, answer)

    await admin.walk(prepare, act, check, 202)


async def asked(admin: Admin, n: int) -> tuple[Account, str]:
    person = await admin.app.join(admin.ada, f"m{n}@example.com")
    answer = await admin.ask("POST", f"/v1/admin/users/{person.id}/erasure", WHY)
    return person, answer.json()["request_id"]


async def test_withdraw_subject_request(admin: Admin) -> None:
    async def prepare(n: int) -> tuple[Account, str]:
        return await asked(admin, n)

    async def act(thing: tuple[Account, str]) -> httpx.Response:
        return await admin.ask("DELETE", f"/v1/privacy/requests/{thing[1]}")

    async def check(thing: tuple[Account, str], answer: httpx.Response) -> None:
        (found,) = await open_requests(admin, thing[0])
        gone = found["state"] == "withdrawn"
        assert gone or answer.status_code == 503
        assert await reasons(admin, thing[0]) == ["requested", *["withdrawn"] * gone]
        assert (await admin.item(f"erasure|{thing[0].id}") is None) == gone

    await admin.walk(prepare, act, check, 204)


@pytest.mark.parametrize(
    ("decision", "field", "value"), [("extended", "extended", True), ("refused", "state", "refused")]
)
async def test_decide_subject_request(admin: Admin, decision: str, field: str, value: Any) -> None:
    async def prepare(n: int) -> tuple[Account, str]:
        return await asked(admin, n)

    async def act(thing: tuple[Account, str]) -> httpx.Response:
        body = {"decision": decision, "reason": "a good one"}
        return await admin.ask("PATCH", f"/v1/privacy/requests/{thing[1]}", body)

    async def check(thing: tuple[Account, str], answer: httpx.Response) -> None:
        (found,) = await open_requests(admin, thing[0])
        done = found[field] == value
        assert done or answer.status_code == 503
        assert await reasons(admin, thing[0]) == sorted(["requested", *[decision] * done])

    await admin.walk(prepare, act, check, 200)


async def exports(admin: Admin, person: Account) -> list[Item]:
    return [each for each in await open_requests(admin, person) if each["about"] == "export"]


async def told_of(admin: Admin, person: Account) -> list[tuple[str, str]]:
    """What the trail says of a person's exports: request and reason."""
    events = await admin.events("privacy.export", person.id)
    return sorted((event["attributes"]["request_id"], event["reason"]) for event in events)


async def test_export_subject(admin: Admin) -> None:
    """What was answered is in the register and in the trail, and neither is there without the other."""
    person = await admin.app.join(admin.ada, "person@example.com")

    async def prepare(_: int) -> int:
        return len(await exports(admin, person))

    async def act(_: int) -> httpx.Response:
        return await admin.ask("GET", f"/v1/privacy/export?subject={person.id}")

    async def check(before: int, answer: httpx.Response) -> None:
        found = await exports(admin, person)
        assert len(found) - before in ((1,) if answer.status_code == 200 else (0, 1))
        assert {each["state"] for each in found} <= {"executed"}
        assert await told_of(admin, person) == [(each["request_id"], "executed") for each in found]

    await admin.walk(prepare, act, check, 200)


async def test_export_subject_the_last_part(admin: Admin) -> None:
    """Each write fails. A part that was not answered can be asked for again; the export is told of once."""
    app, store, told = admin.app, admin.broken.store, 0
    person = await app.join(admin.ada, "person@example.com")
    store._counts = lambda call: call.operation not in ("read", "query")
    for mode, times in MODES:
        for k in range(1, MOST_CALLS):
            await admin.signed_in()
            app.clock.advance(seconds=1)
            app.services.subject_exports._limits = Limits(records=4)
            following = next_of(await admin.ask("GET", f"/v1/privacy/export?subject={person.id}")) or ""
            app.services.subject_exports._limits = Limits()
            store.arm(k, mode, times=times)
            answer = await admin.ask("GET", following)
            reached = store.counted >= k
            await admin.broken.recover()
            found = (await exports(admin, person))[-1]
            assert answer.status_code == 503 if found["state"] == "running" else answer.status_code in (200, 503)
            again = await admin.ask("GET", following)
            assert (again.status_code, next_of(again)) == (200, None)
            told += 2
            events = await told_of(admin, person)
            assert len(events) == told
            assert events[-2:] == [(found["request_id"], "executed"), (found["request_id"], "requested")]
            if not reached:
                break
        else:
            pytest.fail("a request without end")


async def test_update_consent(admin: Admin) -> None:
    async def prepare(n: int) -> Account:
        return await admin.app.join(admin.ada, f"m{n}@example.com")

    async def act(person: Account) -> httpx.Response:
        body = {"consents": [{"purpose": "marketing", "granted": True, "version": "1"}]}
        body["consents"].append({"purpose": "privacy", "granted": False})
        return await admin.app.client.put("/v1/privacy/consent", json=body, headers=person.auth)

    async def check(person: Account, answer: httpx.Response) -> None:
        user = await admin.item(user_key(person.id))
        assert user is not None
        done = "marketing" in user["consents"]
        assert done or answer.status_code == 503
        assert user["consents"]["privacy"]["granted"] == (not done)
        granted = [event["attributes"]["purpose"] for event in await admin.events("consent.grant", person.id)]
        assert sorted(granted) == sorted(["terms", "privacy", *["marketing"] * done])
        assert len(await admin.events("consent.withdraw", person.id)) == done

    await admin.walk(prepare, act, check, 200)
