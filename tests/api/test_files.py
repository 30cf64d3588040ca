"""Every answer that is a file: its name is ours and safe in its header, its type is said with its charset, no browser
shows it in the app's name or keeps it."""

import re
from collections.abc import AsyncIterator

import httpx
import pytest

from devhost.host import Host
from functions import ENDPOINTS
from functions._http import SECURITY_HEADERS
from shared.audit.entries import ENTRY_FIELDS
from tests.app import Account, App, assert_problem, running
from tests.calls import PERIOD
from tests.exporting import fill
from tests.fakes import ManualClock

EVIL = '../../x"; filename="evil.exe'
"""What names become that are put into a header, or a path, as they are."""
NAME = re.compile(
    r'attachment; filename="([a-z0-9][A-Za-z0-9_-]{0,80}(?:\.ocsf|\.oscal)?\.(?:csv|jsonl|json|html|pdf|zip))"'
)
FORMS = ("json", "html", "pdf", "csv", "oscal", "bundle")
TEXTS = {"text/csv", "text/html", "text/plain"}


@pytest.fixture(scope="module")
async def app(host: Host) -> AsyncIterator[App]:
    """The app that the calls of this module share."""
    async with running(host, ManualClock()) as started:
        yield started


@pytest.fixture(scope="module")
async def ada(app: App) -> Account:
    """Who named everything so that a name could do harm: herself, her organization, what is in the trail."""
    ada = await app.register("ada@example.com", first_name=EVIL, last_name=EVIL, organization=EVIL)
    await fill(app, ada, 3, EVIL)
    await app.host.drain_feed()
    app.clock.advance(hours=18)
    await app.host.run_timer("verify_ledger")
    answer = (await app.login(ada.email)).json()
    return Account(ada.id, ada.tenant_id, ada.email, answer["access_token"], answer["refresh_token"])


@pytest.fixture(scope="module")
async def files(app: App, ada: Account) -> dict[str, httpx.Response]:
    """One file of each kind that an endpoint gives, by endpoint and form."""
    wanted = {"framework": "soc2", "from": "2026-03-15", "to": "2026-03-16"}
    asked = await app.client.post("/v1/reports", json=wanted, headers=ada.auth)
    assert asked.status_code == 201, asked.text
    report, month = f"/v1/reports/{asked.json()['id']}", "from=2026-03-01&to=2026-04-01"
    (event, *_) = await app.events(ada.tenant_id)
    paths = {
        **{f"export_events {form}": f"/v1/events/export?format={form}" for form in ("jsonl", "csv", "ocsf")},
        **{f"export_subject {form}": f"/v1/privacy/export?format={form}" for form in ("json", "html")},
        **{f"get_report {form}": f"{report}?format={form}" for form in FORMS},
        "get_ledger_bundle": f"/v1/ledger/bundle?{month}&personal=true",
        "get_ledger_checkpoint": "/v1/ledger/checkpoint",
        "get_ledger_key": "/v1/ledger/key",
        "get_ledger_proof": f"/v1/ledger/proof?event_id={event['id']}",
        "get_ledger_tile hashes": f"/v1/ledger/{PERIOD}/tile/0/000.p/1",
        "get_ledger_tile entries": f"/v1/ledger/{PERIOD}/tile/entries/000.p/1",
    }
    answers = {name: await app.client.get(path, headers=ada.auth) for name, path in paths.items()}
    assert {name: answer.status_code for name, answer in answers.items()} == dict.fromkeys(answers, 200)
    return answers


def _is_attached(name: str) -> bool:
    """But what programs alone read of the ledger: text and bytes."""
    return not name.startswith("get_ledger_") or name == "get_ledger_bundle"


def test_every_endpoint_that_gives_a_file_is_asked(files: dict[str, httpx.Response]) -> None:
    giving = {endpoint.name for endpoint in ENDPOINTS if endpoint.produces}
    assert {name.partition(" ")[0] for name in files} == giving
    for endpoint in ENDPOINTS:
        if endpoint.produces:
            given = [files[name].headers["content-type"] for name in files if name.partition(" ")[0] == endpoint.name]
            assert {each.partition(";")[0] for each in given} - {"application/json"} == set(endpoint.produces)


def test_a_name_is_ours_and_cannot_leave_its_header(files: dict[str, httpx.Response]) -> None:
    """Names are made of words of ours, days and numbers; nothing of what people typed is in a header at all."""
    names = []
    for kind, answer in files.items():
        if _is_attached(kind):
            found = NAME.fullmatch(answer.headers["content-disposition"])
            assert found, answer.headers["content-disposition"]
            names.append(found[1])
        else:
            assert "content-disposition" not in answer.headers
            assert answer.headers["content-type"] in ("text/plain; charset=utf-8", "application/octet-stream"), kind
        assert "evil" not in str(answer.headers)
    assert len(names) == len(set(names)) == 12


@pytest.mark.parametrize("name", ["filename", "file", "name", "path", "download", "disposition"])
async def test_nobody_else_chooses_a_name(app: App, ada: Account, name: str) -> None:
    for path in ("/v1/events/export", "/v1/privacy/export"):
        answer = await app.client.get(path, params={name: "../evil.exe"}, headers=ada.auth)
        assert_problem(answer, 422, "invalid_request", name)
    answer = await app.client.get(
        "/v1/events/export", headers=ada.auth | {"Content-Disposition": "evil", "Slug": "evil"}
    )
    assert NAME.fullmatch(answer.headers["content-disposition"])


def test_text_says_its_charset(files: dict[str, httpx.Response]) -> None:
    for kind, answer in files.items():
        media, _, parameters = answer.headers["content-type"].partition("; ")
        assert parameters == ("charset=utf-8" if media in TEXTS else ""), kind
        if media in TEXTS or "json" in media:
            answer.content.decode("utf-8")


def test_a_file_runs_nothing_and_is_taken_for_nothing_else(files: dict[str, httpx.Response]) -> None:
    for kind, answer in files.items():
        policy = answer.headers["content-security-policy"].split("; ")
        assert {"default-src 'none'", "object-src 'none'", "base-uri 'none'", "frame-ancestors 'none'"} <= set(
            policy
        ), kind
        assert not re.search(r"unsafe|script-src|https?:|\*", str(policy)), kind
        for name in SECURITY_HEADERS.keys() - {"Content-Security-Policy", "Cache-Control"}:
            assert answer.headers[name] == SECURITY_HEADERS[name], kind


def test_nothing_personal_is_kept_by_a_browser(files: dict[str, httpx.Response]) -> None:
    """Pieces of the ledger alone may be, by who fetched them: what is personal is in none."""
    for kind, answer in files.items():
        if kind.startswith("get_ledger_tile"):
            assert answer.headers["cache-control"] == "private, max-age=31536000, immutable"
            assert answer.headers["vary"] == "Authorization"
            assert EVIL.encode() not in answer.content
            assert b"ada@example.com" not in answer.content
        else:
            assert answer.headers["cache-control"] == "no-store", kind
    assert not {"personal", "actor_key", "target_key", "ip_key", "ua_key"} & set(ENTRY_FIELDS)
