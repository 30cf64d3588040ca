"""A report goes into an evidence bundle of the store, and the program that travels with it accepts both."""

from pathlib import Path

from tests.app import Account, App
from tests.exporting import fill
from tools.verify_evidence import OK, table, verify


async def test_a_report_of_the_store_in_its_evidence(app: App, ada: Account, tmp_path: Path) -> None:
    """Also of more than it stands on: the trail goes on behind it."""
    await fill(app, ada, 5)
    await app.host.drain_feed()
    app.clock.advance(days=1)
    for timer in ("tell_of_life", "verify_ledger"):
        assert await app.host.run_timer(timer)
        await app.host.drain_feed()
    ada.token = (await app.login(ada.email)).json()["access_token"]
    day = {"framework": "pci_dss", "from": "2026-03-15", "to": "2026-03-16"}
    made = await app.client.post("/v1/reports", json=day, headers=ada.auth)
    assert made.status_code == 201, made.text
    assert made.json()["gate_passed"]
    await fill(app, ada, 3)
    await app.host.drain_feed()

    url = f"/v1/reports/{made.json()['id']}?format=bundle"
    answer = await app.client.get(url, headers=ada.auth)
    assert (answer.status_code, "link" in answer.headers) == (200, False)
    path = tmp_path / "report.zip"
    path.write_bytes(answer.content)
    key = (await app.client.get("/v1/ledger/key", headers=ada.auth)).text.strip()
    checks = verify([str(path)], [key])
    assert checks.result == OK, table(checks)
    for told in ("pci_dss, report", "stands on the first", "counted again from the entries"):
        assert told in table(checks)
