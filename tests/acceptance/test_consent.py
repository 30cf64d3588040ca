"""What people agree to, from registration on; they change it, and are asked again when a text changes."""

from typing import Any

from shared.identity.model import Role
from tests.app import Account, App, assert_problem

URL = "/v1/privacy/consent"


async def read(app: App, who: Account, **params: str) -> dict[str, Any]:
    answer = await app.client.get(URL, params=params, headers=who.auth)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def put(app: App, who: Account, *consents: dict[str, Any], **headers: str) -> Any:
    return await app.client.put(URL, json={"consents": list(consents)}, headers=who.auth | headers)


def states(found: dict[str, Any]) -> dict[str, tuple[str, str | None, str | None]]:
    return {each["purpose"]: (each["state"], each["version"], each["answered_version"]) for each in found["consents"]}


async def told(app: App, who: Account, type_: str) -> list[tuple[str, str]]:
    events = [event for event in await app.events(who.tenant_id, type_) if event["actor"]["id"] == who.id]
    assert all(event["target"] == {"kind": "user", "id": who.id} for event in events)
    return sorted((event["attributes"]["purpose"], event["attributes"]["version"]) for event in events)


async def test_a_person_agrees_changes_their_mind_and_is_asked_again(app: App, ada: Account) -> None:
    purposes = [
        {"purpose": "newsletter", "version": "n-1"},
        {"purpose": "terms", "version": "2026-03"},
        {"purpose": "study", "version": "s-1", "required": True},
    ]
    answer = await app.client.put("/v1/admin/settings", json={"consents": purposes}, headers=ada.auth)
    assert [each["required"] for each in answer.json()["consents"]] == [False, False, True]
    found = await read(app, ada)
    assert found["needed"] == ["study", "terms"], "the text of the terms is another one now"
    assert states(found)["terms"] == ("outdated", "2026-03", "1")

    bob = await app.join(ada, "bob@example.com", Role.USER, marketing_opt_in=True)
    found = await read(app, bob)
    assert states(found) == {
        "marketing": ("granted", "1", "1"),
        "newsletter": ("not_given", "n-1", None),
        "privacy": ("granted", "1", "1"),
        "study": ("not_given", "s-1", None),
        "terms": ("granted", "2026-03", "2026-03"),
    }
    assert found["needed"] == ["study"]
    assert [each["purpose"] for each in found["consents"] if each["required"]] == ["privacy", "study", "terms"]
    registered = [("marketing", "1"), ("privacy", "1"), ("terms", "2026-03")]
    assert await told(app, bob, "consent.grant") == registered
    (event,) = [e for e in await app.events(ada.tenant_id, "auth.register") if e["actor"]["id"] == bob.id]
    assert event["attributes"]["terms_version"] == "2026-03"

    app.clock.advance(minutes=1)
    wanted = ({"purpose": "study", "granted": True, "version": "s-1"}, {"purpose": "marketing", "granted": False})
    answer = await put(app, bob, *wanted)
    assert answer.status_code == 200, answer.text
    assert states(answer.json())["study"] == ("granted", "s-1", "s-1")
    assert states(answer.json())["marketing"] == ("withdrawn", "1", "1")
    assert answer.json() == await read(app, bob) == await read(app, ada, subject=bob.id)
    again = await put(app, bob, *wanted)
    assert (again.json(), again.headers["etag"]) == (answer.json(), answer.headers["etag"])
    assert await told(app, bob, "consent.grant") == sorted([*registered, ("study", "s-1")]), (
        "the same again is no event"
    )
    assert await told(app, bob, "consent.withdraw") == [("marketing", "1")]
    assert len(await app.events(ada.tenant_id, "user.view")) == 1

    purposes[2] = {"purpose": "study", "version": "s-2", "required": True}
    await app.client.put("/v1/admin/settings", json={"consents": purposes}, headers=ada.auth)
    found = await read(app, bob)
    assert (states(found)["study"], found["needed"]) == (("outdated", "s-2", "s-1"), ["study"])
    stale = await put(app, bob, wanted[0])
    assert_problem(stale, 422, "invalid_request", "consents.0.version")
    answer = await put(app, bob, wanted[0] | {"version": "s-2"}, **{"If-Match": again.headers["etag"]})
    assert_problem(answer, 412, "version_conflict")
    answer = await put(app, bob, wanted[0] | {"version": "s-2"})
    assert (states(answer.json())["study"], answer.json()["needed"]) == (("granted", "s-2", "s-2"), [])
