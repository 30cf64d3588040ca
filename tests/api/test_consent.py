"""Consents under hostile hands. What is right is told in tests/acceptance/test_consent.py."""

import asyncio
from typing import Any

import pytest

from shared.identity.model import Role, user_key
from shared.storage.containers import IDENTITY
from shared.storage.documents import PatchRemove
from tests.acceptance.test_consent import URL, put, read, states
from tests.app import Account, App, assert_problem

GRANT = {"purpose": "marketing", "granted": True, "version": "1"}


@pytest.mark.parametrize(
    ("consents", "fields"),
    [
        ([GRANT | {"purpose": "nothing"}], ["consents.0.purpose"]),
        ([GRANT, {"purpose": "nothing", "granted": False}], ["consents.1.purpose"]),
        ([GRANT, GRANT], ["consents.1.purpose"]),
        ([GRANT | {"version": "2"}], ["consents.0.version"]),
        ([GRANT | {"version": None}], ["consents.0.version"]),
        ([GRANT | {"purpose": "märketing"}], ["consents.0.purpose"]),
        ([GRANT | {"purpose": "x" * 65}], ["consents.0.purpose"]),
        ([GRANT | {"purpose": "a\u0000"}], ["consents.0.purpose"]),
        ([GRANT | {"version": "1 "}], ["consents.0.version"]),
        ([GRANT | {"granted": "true"}], ["consents.0.granted"]),
        ([GRANT | {"granted": 1}], ["consents.0.granted"]),
        ([GRANT | {"surprise": 1}], ["consents.0.surprise"]),
        ([], ["consents"]),
        ([{"purpose": "x", "granted": False}] * 101, ["consents"]),
        (None, ["consents"]),
        ({"marketing": True}, ["consents"]),
    ],
)
async def test_what_is_wrong_is_named_and_nothing_is_done(
    app: App, ada: Account, consents: Any, fields: list[str]
) -> None:
    before = await app.types(ada.tenant_id)
    answer = await app.client.put(URL, json={"consents": consents}, headers=ada.auth)
    assert_problem(answer, 422, "invalid_request", *fields)
    assert await app.types(ada.tenant_id) == before
    assert states(await read(app, ada))["marketing"][0] == "not_given"


@pytest.mark.parametrize(
    ("purposes", "field"),
    [
        ([{"purpose": "a", "version": "1"}, {"purpose": "a", "version": "2"}], "consents.purpose"),
        ([{"purpose": "a b", "version": "1"}], "consents.0.purpose"),
        ([{"purpose": "a", "version": ""}], "consents.0.version"),
        ([{"purpose": "a", "version": "1", "required": "yes"}], "consents.0.required"),
        ([{"purpose": f"p{n}", "version": "1"} for n in range(101)], "consents"),
    ],
)
async def test_purposes_that_cannot_be(app: App, ada: Account, purposes: Any, field: str) -> None:
    answer = await app.client.put("/v1/admin/settings", json={"consents": purposes}, headers=ada.auth)
    assert_problem(answer, 422, "invalid_request", field)


async def test_many_at_once_lose_nothing_of_each_other(app: App, ada: Account) -> None:
    """Answers to different purposes, and the profile, which stands on the same item."""
    purposes = [{"purpose": f"p{number}", "version": "1"} for number in range(5)]
    await app.client.put("/v1/admin/settings", json={"consents": purposes}, headers=ada.auth)
    answers = await asyncio.gather(
        *(put(app, ada, {"purpose": each["purpose"], "granted": True, "version": "1"}) for each in purposes),
        app.client.put("/v1/profile", json={"bio": "busy"}, headers=ada.auth),
    )
    assert {answer.status_code for answer in answers} == {200}
    found = states(await read(app, ada))
    assert {found[each["purpose"]][0] for each in purposes} == {"granted"}
    assert (await app.client.get("/v1/profile", headers=ada.auth)).json()["bio"] == "busy"
    assert len(await app.events(ada.tenant_id, "consent.grant")) == 2 + len(purposes)


async def test_of_two_with_the_same_version_one_wins(app: App, ada: Account) -> None:
    tag = (await app.client.get(URL, headers=ada.auth)).headers["etag"]
    change = (GRANT, {"purpose": "terms", "granted": False})
    answers = await asyncio.gather(*(put(app, ada, each, **{"If-Match": tag}) for each in change))
    assert sorted(answer.status_code for answer in answers) == [200, 412]
    found = states(await read(app, ada))
    assert (found["marketing"][0] == "granted") != (found["terms"][0] == "withdrawn")


async def test_a_purpose_that_is_no_more_can_be_withdrawn_and_not_granted(app: App, ada: Account) -> None:
    settings = "/v1/admin/settings"
    await app.client.put(settings, json={"consents": [{"purpose": "old", "version": "1"}]}, headers=ada.auth)
    grant = {"purpose": "old", "granted": True, "version": "1"}
    assert (await put(app, ada, grant)).status_code == 200
    await app.client.put(settings, json={"consents": []}, headers=ada.auth)
    assert states(await read(app, ada))["old"] == ("granted", None, "1")
    assert_problem(await put(app, ada, grant), 422, "invalid_request", "consents.0.purpose")
    answer = await put(app, ada, {"purpose": "old", "granted": False})
    assert states(answer.json())["old"] == ("withdrawn", None, "1")


async def test_an_account_of_before_answers_were_kept_is_asked_again(app: App, ada: Account) -> None:
    await app.store.patch(IDENTITY, (ada.tenant_id,), user_key(ada.id), [PatchRemove("consents")])
    found = await read(app, ada)
    assert ({each["state"] for each in found["consents"]}, found["needed"]) == ({"not_given"}, ["privacy", "terms"])
    answer = await put(app, ada, {"purpose": "terms", "granted": True, "version": "1"})
    assert states(answer.json())["terms"] == ("granted", "1", "1")
    answer = await put(app, ada, {"purpose": "privacy", "granted": False})
    assert states(answer.json())["privacy"][0] == "not_given", "what was not given is not withdrawn"


async def test_whose_consents_one_may_see(app: App, ada: Account, grace: Account) -> None:
    bob = await app.join(ada, "bob@example.com", Role.AUDITOR)
    assert (await app.client.get(URL, params={"subject": bob.id}, headers=bob.auth)).status_code == 200
    assert_problem(await app.client.get(URL, params={"subject": ada.id}, headers=bob.auth), 403, "forbidden")
    assert_problem(await app.client.get(URL, params={"subject": bob.id}, headers=grace.auth), 404, "not_found")
    body = {"consents": [GRANT]}
    answer = await app.client.put(URL, params={"subject": bob.id}, json=body, headers=ada.auth)
    assert_problem(answer, 422, "invalid_request", "subject")
