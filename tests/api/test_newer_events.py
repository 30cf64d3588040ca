"""What a newer version recorded, and this one, after going back to it, does not know (docs/rollback.md)."""

from devhost.host import Host
from shared.storage.containers import AUDIT_EVENTS
from tests.app import App

TYPE = "newer.thing"


async def test_an_event_of_a_type_that_is_not_known_is_shown_sealed_and_exported(host: Host, app: App) -> None:
    ada = await app.register("ada@example.com")
    await app.client.get("/v1/profile", headers=ada.auth)
    event = (await app.events(ada.tenant_id, "profile.view"))[-1]
    newer = {name: value for name, value in event.items() if not name.startswith("_")}
    newer |= {"id": app.services.ids.new(), "type": TYPE, "attributes": {"of_its_own": 1}}
    newer |= {"personal": {}, "commitments": {}, "subjects": []}
    await app.store.create(AUDIT_EVENTS, (ada.tenant_id, event["period"]), newer)
    await host.drain_feed()
    app.clock.advance(minutes=1)

    found = (await app.client.get("/v1/events", params={"type": TYPE}, headers=ada.auth)).json()["items"]
    assert [(each["type"], each["attributes"]) for each in found] == [(TYPE, {"of_its_own": 1})]
    for form in ("jsonl", "csv", "ocsf"):
        answer = await app.client.get("/v1/events/export", params={"format": form}, headers=ada.auth)
        assert answer.status_code == 200, form
        assert TYPE in answer.text, form
    proof = await app.client.get("/v1/ledger/proof", params={"event_id": newer["id"]}, headers=ada.auth)
    assert proof.status_code == 200
    assert await host.run_timer("verify_ledger")
    assert "ledger.verify_failed" not in await app.types(ada.tenant_id)
