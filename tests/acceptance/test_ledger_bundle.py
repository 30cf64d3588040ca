"""GET /ledger/bundle: whole months, in parts that join, checked by the program that travels with them."""

import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from functions._cursors import LIFETIME_SECONDS
from shared.audit.export_runs import ABANDONED_AFTER
from shared.audit.model import RequestContext
from shared.core.clock import rfc3339
from shared.ledger.checkpoints import Issued
from shared.ledger.evidence import MOST_MONTHS, Limits
from shared.ledger.note import Cosigner, parse_note
from shared.ledger.witness import Witness, WitnessSilent
from shared.privacy.secrets import SecretVersion
from shared.storage.containers import AUDIT_EVENTS, LEDGER
from shared.storage.documents import Eq, Query
from tests.app import ROOT, Account, App, assert_problem
from tests.calls import PERIOD
from tests.exporting import fill, next_of
from tools.verify_evidence import OK, UNKNOWN, WRONG, Checks, verify

PATH = "/v1/ledger/bundle"
MARCH = {"from": "2026-03-01", "to": "2026-04-01"}


@pytest.fixture
async def sealed(app: App, ada: Account, grace: Account) -> App:
    """Some six hundred events of Ada's tenant, three entry bundles, and a few of Grace's."""
    await fill(app, ada, 600)
    await fill(app, grace, 5)
    await app.host.drain_feed()
    return app


@pytest.fixture
def small(app: App) -> None:
    """Parts of one entry bundle."""
    limit(app, Limits(entries=300))


def limit(app: App, limits: Limits) -> None:
    app.services.evidence._limits = limits


async def walk(app: App, who: Account, **params: str) -> list[httpx.Response]:
    """All parts of a bundle."""
    answers = [await app.client.get(PATH, params=params or MARCH, headers=who.auth)]
    while (following := next_of(answers[-1])) is not None:
        answers.append(await app.client.get(following, headers=who.auth))
    assert {answer.status_code for answer in answers} == {200}, answers[-1].text
    return answers


async def vkey(app: App, who: Account) -> str:
    return (await app.client.get("/v1/ledger/key", headers=who.auth)).text.strip()


async def checked(
    app: App,
    who: Account,
    parts: list[httpx.Response],
    tmp_path: Path,
    since: dict[str, str] | None = None,
    witnesses: Sequence[str] = (),
) -> Checks:
    """What the offline verifier says of parts."""
    paths = []
    for number, part in enumerate(parts):
        path = tmp_path / f"{number}.zip"
        path.write_bytes(part.content)
        paths.append(str(path))
    kept = []
    for name, note in (since or {}).items():
        (tmp_path / name).write_text(note, encoding="utf-8")
        kept.append(str(tmp_path / name))
    return verify(paths, [await vkey(app, who)], kept, witnesses)


def manifest(part: httpx.Response) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(unpacked(part)["manifest.json"])
    return found


def unpacked(part: httpx.Response) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(part.content)) as file:
        return {name: file.read(name) for name in file.namelist()}


async def signed_in(app: App, account: Account) -> Account:
    """The account with a session of its own, of now."""
    token = (await app.login(account.email)).json()["access_token"]
    return replace(account, token=token)


async def test_a_bundle_in_one_part(sealed: App, ada: Account, tmp_path: Path) -> None:
    stored = await sealed.events(ada.tenant_id)
    (part,) = await walk(sealed, ada, **{"from": "2026-03-15", "to": "2026-03-16"})
    assert part.headers["content-type"] == "application/zip"
    name = 'attachment; filename="evidence-2026-03-15-2026-03-16-00001.zip"'
    assert part.headers["content-disposition"] == name
    assert part.headers["x-record-count"] == str(len(stored))
    files = unpacked(part)
    assert files["verify_evidence.py"] == (ROOT / "tools/verify_evidence.py").read_bytes()
    found = manifest(part)
    assert (found["from"], found["to"], found["part"], found["last"]) == ("2026-03-15", "2026-03-16", 1, True)
    assert [(each["period"], each["size"]) for each in found["shards"]] == [(PERIOD, len(stored))]
    checks = await checked(sealed, ada, [part], tmp_path)
    assert checks.result == OK, checks.lines
    disclosed = next(line.detail for line in checks.lines if "disclosed" in line.subject)
    with_personal = sum(len(event["commitments"]) for event in stored)
    assert disclosed.startswith(f"{with_personal} of {with_personal} are shown")

    (event,) = await sealed.events(ada.tenant_id, "audit.export")
    assert (event["record_count"], event["outcome"], event["attributes"]["format"]) == (
        len(stored),
        "success",
        "bundle",
    )
    shown = await sealed.services.search.shown(event)
    assert shown["personal"][ada.id]["filters"] == {"from": "2026-03-15", "to": "2026-03-16"}


@pytest.mark.usefixtures("small")
async def test_parts_join_while_the_ledger_grows(sealed: App, ada: Account, tmp_path: Path) -> None:
    size = len(await sealed.events(ada.tenant_id))
    kept = (await sealed.client.get("/v1/ledger/checkpoint", headers=ada.auth)).text
    await fill(sealed, ada, 3)
    await sealed.host.drain_feed()
    parts = [await sealed.client.get(PATH, params=MARCH, headers=ada.auth)]
    while (following := next_of(parts[-1])) is not None:
        await fill(sealed, ada, 100)
        await sealed.host.drain_feed()
        sealed.clock.advance(seconds=20)
        await sealed.client.get("/v1/ledger/checkpoint", headers=ada.auth)
        parts.append(await sealed.client.get(following, headers=ada.auth))
    counts = [int(part.headers["x-record-count"]) for part in parts]
    assert counts == [256, 256, size + 3 - 512]
    names = [part.headers["content-disposition"] for part in parts]
    assert [name.rpartition("-")[2] for name in names] == ['00001.zip"', '00002.zip"', '00003.zip"']
    checks = await checked(sealed, ada, parts, tmp_path, {"kept": kept})
    assert checks.result == OK, checks.lines
    assert any("Checkpoint kept" in line.subject for line in checks.lines)
    (event,) = await sealed.events(ada.tenant_id, "audit.export")
    assert event["record_count"] == size + 3
    missing = await checked(sealed, ada, parts[:2], tmp_path)
    assert missing.result == UNKNOWN
    other = await walk(sealed, ada)
    mixed = await checked(sealed, ada, [*parts[:2], other[2]], tmp_path)
    assert mixed.result == WRONG


@pytest.mark.usefixtures("small")
async def test_a_part_can_be_asked_for_again(sealed: App, ada: Account, tmp_path: Path) -> None:
    parts = [await sealed.client.get(PATH, params=MARCH, headers=ada.auth)]
    at = []
    while (following := next_of(parts[-1])) is not None:
        at.append(following)
        parts.append(await sealed.client.get(following, headers=ada.auth))
    for where, part in ((at[1], parts[2]), (at[0], parts[1]), (at[1], parts[2])):
        sealed.clock.advance(minutes=3)
        again = await sealed.client.get(where, headers=ada.auth)
        assert again.content == part.content
    assert (await checked(sealed, ada, parts, tmp_path)).result == OK
    (event,) = await sealed.events(ada.tenant_id, "audit.export")
    assert event["record_count"] == sum(int(part.headers["x-record-count"]) for part in parts)


@pytest.mark.usefixtures("small")
async def test_one_that_is_left_is_in_the_trail(sealed: App, ada: Account) -> None:
    first = await sealed.client.get(PATH, params=MARCH, headers=ada.auth)
    sealed.clock.advance(seconds=LIFETIME_SECONDS + 1)
    renewed = await sealed.client.post("/v1/token/refresh", json={"refresh_token": ada.refresh_token})
    auth = {"Authorization": f"Bearer {renewed.json()['access_token']}"}
    answer = await sealed.client.get(next_of(first) or "", headers=auth)
    assert_problem(answer, 422, "invalid_request", "cursor")
    sealed.clock.advance(seconds=ABANDONED_AFTER.total_seconds())
    assert await sealed.host.run_timer("close_exports")
    (event,) = await sealed.events(ada.tenant_id, "audit.export")
    assert (event["record_count"], event["reason"], event["attributes"]["format"]) == (256, "abandoned", "bundle")


@pytest.mark.usefixtures("small")
async def test_a_cursor_is_of_one_bundle_of_one_caller(sealed: App, ada: Account, grace: Account) -> None:
    first = await sealed.client.get(PATH, params=MARCH, headers=ada.auth)
    cursor = first.links["next"]["url"].partition("cursor=")[2]
    for who, params in (
        (grace, MARCH),
        (await signed_in(sealed, ada), MARCH),
        (ada, MARCH | {"to": "2026-03-31"}),
        (ada, MARCH | {"personal": "false"}),
    ):
        answer = await sealed.client.get(PATH, params=params | {"cursor": cursor}, headers=who.auth)
        assert_problem(answer, 422, "invalid_request", "cursor")
    trail = await sealed.client.get("/v1/events/export", params={"cursor": cursor}, headers=ada.auth)
    assert_problem(trail, 422, "invalid_request", "cursor")
    assert (await sealed.client.get(PATH, params=MARCH | {"cursor": cursor}, headers=ada.auth)).is_success


async def test_another_key_begins_anew(sealed: App, ada: Account) -> None:
    """Parts of two keys would not join."""
    limit(sealed, Limits(entries=300))
    first = await sealed.client.get(PATH, params=MARCH, headers=ada.auth)

    class Rotated:
        async def versions(self, _: str) -> tuple[SecretVersion, ...]:
            return (SecretVersion("v2", b"2" * 32),)

    sealed.services.ledger_keys._secrets = Rotated()  # type: ignore[assignment]
    assert_problem(await sealed.client.get(next_of(first) or "", headers=ada.auth), 422, "invalid_request", "cursor")


async def test_several_months_and_one_without_events(app: App, ada: Account, tmp_path: Path) -> None:
    who = ada
    for days in (40, 40, 1):
        await fill(app, who, 3)
        await app.host.drain_feed()
        app.clock.advance(days=days)
        who = await signed_in(app, ada)
    await app.host.drain_feed()
    limit(app, Limits(entries=1))
    parts = await walk(app, who, **{"from": "2026-01-31", "to": "2026-06-05"})
    shards = manifest(parts[0])["shards"]
    sizes = {each["period"]: each["size"] for each in shards}
    assert list(sizes) == ["2026-01", "2026-02", "2026-03", "2026-04", "2026-05", "2026-06"]
    counted = dict.fromkeys(sizes, 0)
    for event in await app.events(ada.tenant_id):
        counted[event["period"]] += event["type"] != "audit.export"
    assert sizes == counted
    assert [sizes[period] for period in ("2026-01", "2026-02", "2026-05")] == [0, 0, 0]
    assert len(parts) == 3
    checks = await checked(app, who, parts, tmp_path)
    assert checks.result == OK, checks.lines


async def test_nothing_is_sealed_yet(app: App, ada: Account, tmp_path: Path) -> None:
    (part,) = await walk(app, ada)
    assert part.headers["x-record-count"] == "0"
    assert (await checked(app, ada, [part], tmp_path)).result == OK
    (event,) = await app.events(ada.tenant_id, "audit.export")
    assert event["record_count"] == 0


async def test_what_is_sealed_between_totals_and_checkpoint_is_counted(
    sealed: App, ada: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The totals are those at the checkpoint's size, whoever seals while the bundle begins."""
    ledger = sealed.services.ledger
    real = ledger.checkpoint

    async def late(tenant_id: str, period: str, request: RequestContext, *, newest: bool = False) -> Issued:
        sealed.clock.advance(hours=13)  # another day, too
        await fill(sealed, ada, 70)
        await sealed.host.drain_feed()
        return await real(tenant_id, period, request, newest=newest)

    monkeypatch.setattr(ledger, "checkpoint", late)
    (part,) = await walk(sealed, ada)
    monkeypatch.undo()
    token = await signed_in(sealed, ada)
    checks = await checked(sealed, token, [part], tmp_path)
    assert checks.result == OK, checks.lines
    totals = [json.loads(line) for line in unpacked(part)[f"shards/{PERIOD}/rollups.jsonl"].splitlines()]
    assert [each["day"] for each in totals] == ["2026-03-15", "2026-03-16"]
    assert totals[1]["events"] == 70


async def test_bytes_bound_a_part(sealed: App, ada: Account, tmp_path: Path) -> None:
    limit(sealed, Limits(bytes=700_000))
    parts = await walk(sealed, ada)
    assert 1 < len(parts) <= 3
    assert (await checked(sealed, ada, parts, tmp_path)).result == OK


async def test_without_personal_data_and_of_somebody_who_was_forgotten(
    sealed: App, ada: Account, tmp_path: Path
) -> None:
    (plain,) = await walk(sealed, ada, **MARCH, personal="false")
    assert not any("disclosed" in name for name in unpacked(plain))
    for content in unpacked(plain).values():
        assert ada.email.encode() not in content
    assert (await checked(sealed, ada, [plain], tmp_path)).result == OK
    (event,) = list(await sealed.events(ada.tenant_id, "auth.register"))
    gone = dict.fromkeys(("actor_key", "target_key", "ip_key", "ua_key"))
    erased = {**event, **gone, "personal": {}, "erased_at": rfc3339(sealed.clock.now())}
    await sealed.store.replace(AUDIT_EVENTS, (ada.tenant_id, event["period"]), erased)
    (part,) = await walk(sealed, ada)
    lines = unpacked(part)[f"shards/{PERIOD}/disclosed/000.jsonl"].decode().splitlines()
    assert event["id"] not in {json.loads(line)["event_id"] for line in lines}
    assert len(lines) > 200
    assert (await checked(sealed, ada, [part], tmp_path)).result == OK


async def test_personal_data_that_was_changed_is_shown_to_nobody(sealed: App, ada: Account, tmp_path: Path) -> None:
    """A box that was tampered with does not open: the bundle does without it, and the event says that it is damaged."""
    (event,) = (await sealed.store.query(AUDIT_EVENTS, (ada.tenant_id,), Query((Eq("type", "user.update"),)))).items[:1]
    box = event["personal"][ada.id]
    changed = {**event, "personal": {ada.id: box | {"nonce": "A" * 16}}}
    await sealed.store.replace(AUDIT_EVENTS, (ada.tenant_id, event["period"]), changed)
    (part,) = await walk(sealed, ada)
    checks = await checked(sealed, ada, [part], tmp_path)
    assert checks.result == OK
    shown = (await sealed.client.get(f"/v1/events/{event['id']}", headers=ada.auth)).json()
    assert shown["personal"][ada.id] == {"damaged": True}


async def test_a_month_whose_retention_is_over(sealed: App, ada: Account, tmp_path: Path) -> None:
    await walk(sealed, ada)
    sealed.clock.advance(days=2555 + 17)
    late = await signed_in(sealed, ada)
    await sealed.host.drain_feed()
    (part,) = await walk(sealed, late, **MARCH)
    (shard,) = manifest(part)["shards"]
    assert (shard["expired"], shard["size"] > 600) == (True, True)
    checks = await checked(sealed, late, [part], tmp_path)
    assert checks.result == UNKNOWN
    assert [line.detail for line in checks.lines if line.result == UNKNOWN] == [
        "its retention has ended: the checkpoint is left, no entries"
    ]


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"from": "2026-03-01"}, "to"),
        ({"to": "2026-03-01"}, "from"),
        ({"from": "2026-03-02", "to": "2026-03-02"}, "to"),
        ({"from": "2026-03-02", "to": "2026-03-01"}, "to"),
        ({"from": "2026-03-02", "to": "2026-04-02"}, "to"),
        ({"from": "2025-02-28", "to": "2026-03-02"}, "to"),
        ({"from": "2026-02-30", "to": "2026-03-02"}, "from"),
        ({"from": "2026-3-1", "to": "2026-04-01"}, "from"),
        ({"from": "20260301", "to": "2026-04-01"}, "from"),
        ({"from": "2026-W10-7", "to": "2026-04-01"}, "from"),
        ({"from": "2026-03-01T00:00:00Z", "to": "2026-04-01"}, "from"),
        ({"from": "1999-12-31", "to": "2026-04-01"}, "from"),
        (MARCH | {"personal": "maybe"}, "personal"),
        (MARCH | {"period": PERIOD}, "period"),
        (MARCH | {"cursor": ""}, "cursor"),
    ],
    ids=str,
)
async def test_a_period_that_cannot_be(app: App, ada: Account, params: dict[str, str], field: str) -> None:
    answer = await app.client.get(PATH, params=params, headers=ada.auth)
    assert_problem(answer, 422, "invalid_request", field)
    assert await app.events(ada.tenant_id, "audit.export") == []


async def test_the_longest_bundle(app: App, ada: Account, tmp_path: Path) -> None:
    (part,) = await walk(app, ada, **{"from": "2025-03-31", "to": "2026-04-01"})
    assert len(manifest(part)["shards"]) == MOST_MONTHS
    assert (await checked(app, ada, [part], tmp_path)).result == OK


async def test_a_broken_ledger_is_no_evidence(sealed: App, ada: Account) -> None:
    """Also where only a later part finds it out; what was handed out by then is in the trail."""
    limit(sealed, Limits(entries=300))
    first = await sealed.client.get(PATH, params=MARCH, headers=ada.auth)
    event = (await sealed.events(ada.tenant_id))[400]
    await sealed.store.delete(LEDGER, (ada.tenant_id, PERIOD), event["id"])
    answer = await sealed.client.get(next_of(first) or "", headers=ada.auth)
    assert_problem(answer, 409, "ledger_broken")
    (failed,) = await sealed.events(ada.tenant_id, "ledger.verify_failed")
    assert failed["attributes"]["what"] == "entries"
    sealed.clock.advance(seconds=ABANDONED_AFTER.total_seconds() + 1)
    assert await sealed.host.run_timer("close_exports")
    (export,) = await sealed.events(ada.tenant_id, "audit.export")
    assert (export["record_count"], export["reason"]) == (256, "abandoned")


async def test_a_witness_is_in_every_part(sealed: App, ada: Account, tmp_path: Path) -> None:
    """The same cosignatures, whatever the witness says meanwhile; and those of the last days can be asked for."""
    services, cosigner = sealed.services, Cosigner("witness.example.org/w1", b"w" * 32)
    answers: list[int] = []

    async def post(body: bytes) -> tuple[int, bytes]:
        answers.append(503 if answers else 200)
        if len(answers) > 1:
            raise WitnessSilent
        line = cosigner.cosign(parse_note(body.partition(b"\n\n")[2]).text, 1_770_000_000)
        return 200, line.encode().encode()

    witness = Witness(
        key=cosigner.verifier,
        post=post,
        ledger=services.ledger,
        shards=services.shards,
        keys=services.ledger_keys,
        store=sealed.store,
        counted=lambda _: None,
    )
    url = "/v1/ledger/checkpoint?witnessed=true"
    assert_problem(await sealed.client.get(url, headers=ada.auth), 404, "not_witnessed")
    services.evidence._witness = witness
    limit(sealed, Limits(entries=300))
    parts = await walk(sealed, ada)
    notes = {unpacked(part)[f"shards/{PERIOD}/checkpoint"] for part in parts}
    (note,) = notes
    assert (len(parts), b"witness.example.org/w1" in note) == (3, True)
    checks = await checked(sealed, ada, parts, tmp_path, witnesses=[cosigner.verifier.encode()])
    assert checks.result == OK, checks.lines

    await fill(sealed, ada, 3)
    await sealed.host.drain_feed()
    (*_, later) = await walk(sealed, ada)
    assert b"witness.example.org/w1" not in unpacked(later)[f"shards/{PERIOD}/checkpoint"], "it is silent"
    assert answers == [200, 503]
    assert (await sealed.client.get(url, headers=ada.auth)).content == note
    (shard,) = (await sealed.client.get("/v1/ledger/shards", headers=ada.auth)).json()["items"]
    assert shard["witnessed_size"] == manifest(parts[0])["shards"][0]["size"] < shard["signed_size"]
