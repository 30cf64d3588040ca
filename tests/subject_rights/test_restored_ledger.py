"""The drill of docs/disaster-recovery.md on the embedded store: copy, disaster, restore, replay, and the check by an
outsider who kept checkpoints."""

import asyncio
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from devhost.host import Host
from tests.app import Account, App
from tests.subject_rights.support import ask, left, run, with_a_past
from tests.subject_rights.test_replay import Deployment, now_of, operator, stop
from tools.verify_evidence import main as verify


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KRAFTD_DATA", ":memory:")


async def keep(app: App, admin: Account, path: str, to: Path) -> Path:
    """What an auditor keeps of the ledger, with everything sealed that there is."""
    await app.host.drain_feed()
    app.clock.advance(seconds=11)
    answer = await app.client.get(path, headers=admin.auth)
    assert answer.status_code == 200, answer.text
    assert "link" not in answer.headers
    await asyncio.to_thread(to.write_bytes, answer.content)
    return to


async def test_the_drill(host: Host, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, backup, listed = tmp_path / "data", tmp_path / "backup", tmp_path / "erasures.jsonl"
    deployment = Deployment(host, data)
    app, context = await deployment.start()
    ada = await app.register("ada@example.com")
    bob = await with_a_past(app, ada, "bob@example.com")
    key = (await keep(app, ada, "/v1/ledger/key", tmp_path / "vkey.txt")).read_text(encoding="utf-8").strip()
    before = await keep(app, ada, "/v1/ledger/checkpoint", tmp_path / "before.txt")
    await stop(context)
    await asyncio.to_thread(shutil.copytree, data, backup)

    app, context = await deployment.start()
    for _ in range(20):
        await app.client.get("/v1/profile", headers=ada.auth)
    await ask(app, bob)
    await run(app)
    after = await keep(app, ada, "/v1/ledger/checkpoint", tmp_path / "after.txt")
    await stop(context)
    await operator(data, "erasures-list", str(listed))

    await asyncio.to_thread(shutil.rmtree, data)
    await asyncio.to_thread(shutil.copytree, backup, data)
    said = await operator(data, "replay-erasures", str(listed))
    assert said.startswith("1 of 1 erasures begun again")
    deployment.clock.set((await now_of(deployment)).now())
    app, context = await deployment.start()
    try:
        assert await left(app, bob) == []
        await app.host.drain_feed()
        assert await app.host.run_timer("verify_ledger")
        assert "ledger.verify_failed" not in await app.types(ada.tenant_id)
        again = (await app.login(ada.email)).json()["access_token"]  # by the clock of the operator's command, far ahead
        path = "/v1/ledger/bundle?from=2026-03-01&to=2026-04-01"
        bundle = await keep(app, replace(ada, token=again), path, tmp_path / "part-00001.zip")
    finally:
        await stop(context)

    capsys.readouterr()
    assert verify([str(bundle), "--vkey", key, "--since", str(before)]) == 0
    assert "the bundle begins with exactly those" in capsys.readouterr().out
    assert verify([str(bundle), "--vkey", key, "--since", str(after)]) == 1
    said = capsys.readouterr().out
    assert "entries then and has" in said
    assert "Do not rely on this bundle" in said
