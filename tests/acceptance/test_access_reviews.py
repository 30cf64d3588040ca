"""POST /admin/access-reviews: what an administrator decides about everybody's access, and what of it is kept."""

import asyncio
import hashlib
import json
from typing import Any

from shared.identity.access_reviews import access_review_key
from shared.privacy.boxes import SealedBoxes
from shared.storage.containers import IDENTITY
from shared.storage.documents import Item
from tests.app import Account, App, assert_problem
from tests.calls import NOWHERE

URL = "/v1/admin/access-reviews"
NOTE = "moved to another team, übersetzt ✓"


async def review(app: App, by: Account, population: list[str], *decisions: Any, **headers: str) -> Any:
    body = {"population": population, "decisions": list(decisions)}
    return await app.client.post(URL, json=body, headers=by.auth | headers)


def decided(user_id: str, decision: str = "keep", **note: str) -> dict[str, str]:
    return {"user_id": user_id, "decision": decision, **note}


async def kept(app: App, by: Account) -> list[Item]:
    stored = [each["target"]["id"] for each in await app.events(by.tenant_id, "review.complete")]
    return [await app.store.read(IDENTITY, (by.tenant_id,), access_review_key(each)) for each in stored]


async def test_a_review_is_recorded_and_changes_nobody(app: App, ada: Account) -> None:
    bob, eve = await app.join(ada, "bob@example.com"), await app.join(ada, "eve@example.com")
    people = [ada.id, bob.id, eve.id]
    wanted = [decided(eve.id, "remove", note=NOTE), decided(bob.id, "change"), decided(ada.id)]
    answer = await review(app, ada, people, *wanted)
    assert answer.status_code == 201, answer.text
    (event,) = await app.events(ada.tenant_id, "review.complete")
    told = sorted(
        ({"decision": each["decision"], "user_id": each["user_id"]} for each in wanted), key=lambda e: e["user_id"]
    )
    text = json.dumps(told, separators=(",", ":"))
    counts = {"population": 3, "keep": 1, "change": 1, "remove": 1, "digest": hashlib.sha256(text.encode()).hexdigest()}
    assert event["attributes"] == counts
    assert (event["actor"]["id"], event["target"]["kind"], event["record_count"]) == (ada.id, "access_review", 3)
    assert answer.json() == {
        "id": event["target"]["id"],
        "completed_at": "2026-03-15T12:00:00.000000Z",
        "completed_by": ada.id,
        **counts,
    }
    (item,) = await kept(app, ada)
    assert item["decisions"] == [{"user_id": e["user_id"], "decision": e["decision"]} for e in wanted]
    assert NOTE not in json.dumps(item, ensure_ascii=False)
    opened = await SealedBoxes(app.services.person_keys).open(
        ada.tenant_id, eve.id, item["review_id"], item["notes"][eve.id]
    )
    assert opened is not None
    assert opened.personal == {"note": NOTE}
    for person in (bob, eve):
        user = (await app.client.get(f"/v1/admin/users/{person.id}", headers=ada.auth)).json()
        assert (user["role"], user["status"]) == ("viewer", "active")


async def test_who_is_nobody_here_is_named_by_place(app: App, ada: Account, grace: Account) -> None:
    """Users of others and nobody's ids answer the same, whichever comes first."""
    bob = await app.join(ada, "bob@example.com")
    problems = []
    for stranger in (grace.id, NOWHERE, f"{ada.id}x", "tenant"):
        answer = await review(app, ada, [bob.id, stranger], decided(bob.id), decided(stranger))
        problem = assert_problem(answer, 422, "invalid_request", "population.1")
        problems.append([problem["errors"], problem["detail"]])
    assert all(each == problems[0] for each in problems)
    assert (await app.client.delete(f"/v1/admin/users/{bob.id}?reason=left", headers=ada.auth)).status_code == 204
    answer = await review(app, ada, [bob.id], decided(bob.id))
    assert_problem(answer, 422, "invalid_request", "population.0")
    assert await app.events(ada.tenant_id, "review.complete") == []


async def test_decisions_are_one_for_each(app: App, ada: Account) -> None:
    bob = await app.join(ada, "bob@example.com")
    both, one = [ada.id, bob.id], decided(ada.id)
    for population, decisions, fields in (
        ([ada.id, ada.id], [one], ["population.1"]),
        (both, [one], ["population.1"]),
        ([ada.id], [one, decided(bob.id)], ["decisions.1.user_id"]),
        (both, [one, decided(bob.id), decided(ada.id, "remove")], ["decisions.2.user_id"]),
        (both, [one, decided(NOWHERE)], ["decisions.1.user_id", "population.1"]),
        ([], [one], ["population"]),
        (both, [], ["decisions"]),
        ([f"u{n}" for n in range(1001)], [one], ["population"]),
        ([f"u{n}" for n in range(1000)], [one], ["decisions.0.user_id", *(f"population.{n}" for n in range(19))]),
        ([ada.id], [decided(ada.id, "forget")], ["decisions.0.decision"]),
        ([ada.id], [decided(ada.id, note="no")], ["decisions.0.note"]),
        ([ada.id], [decided(ada.id, note="x" * 301)], ["decisions.0.note"]),
        ([ada.id], [decided(ada.id, note="line\nbreak")], ["decisions.0.note"]),
        (["a/b"], [decided("a/b")], ["population.0", "decisions.0.user_id"]),
    ):
        assert_problem(await review(app, ada, population, *decisions), 422, "invalid_request", *fields)
    assert await app.events(ada.tenant_id, "review.complete") == []


async def test_one_key_is_one_review(app: App, ada: Account, grace: Account) -> None:
    key, one = {"Idempotency-Key": "review-2026-q1"}, decided(ada.id, note="looked at it")
    answers = await asyncio.gather(*(review(app, ada, [ada.id], one, **key) for _ in range(4)))
    assert [each.status_code for each in answers] == [201] * 4
    assert len({each.text for each in answers}) == 1
    other = await review(app, ada, [ada.id], decided(ada.id, note="looked again"), **key)
    assert_problem(other, 422, "idempotency_key_reused")
    assert_problem(
        await review(app, ada, [ada.id], one, **{"Idempotency-Key": "a key"}), 422, "invalid_request", "Idempotency-Key"
    )
    assert (await review(app, grace, [grace.id], decided(grace.id), **key)).status_code == 201, (
        "keys are a caller's own"
    )
    assert len(await kept(app, ada)) == len(await kept(app, grace)) == 1
    app.clock.advance(hours=25)
    again = (await app.login(ada.email)).json()["access_token"]
    later = await review(app, Account(ada.id, ada.tenant_id, ada.email, again), [ada.id], one, **key)
    assert later.json()["id"] != answers[0].json()["id"], "after a day a key is new"


async def test_a_thousand_users_with_a_note_each(app: App, ada: Account) -> None:
    """As large as the bounds allow: every hundred is looked up, and the first faults are named."""
    people = [f"{n:04}" + "y" * 60 for n in range(1000)]
    wanted = [decided(each, "keep", note="n" * 300) for each in people]
    answer = await review(app, ada, people, *wanted)
    assert_problem(answer, 422, "invalid_request", *(f"population.{n}" for n in range(20)))
