"""The command line of the export against the real app: whatever is cut off where, the file in the end is the trail."""

import asyncio
import csv
import io
import json
import os
import stat
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from functions.events_export import ExportQuery
from shared.audit import exports
from tests.app import Account, App
from tests.exporting import HOSTILE, expected, fill, ids_in
from tests.faults import Crash
from tools.export import files
from tools.export.__main__ import FILTERS, PATH, TOKEN, _parser, checked_url, main
from tools.export.errors import Refused
from tools.export.progress import Progress
from tools.export.records import id_of, is_heading, last_of, records

URL = "http://localhost"
type Spoil = Callable[[int, httpx.Request], httpx.Response | None]


class Wire(httpx.BaseTransport):
    """The app, as the command's own thread reaches it. `spoil` may answer or fail in its place; it is told how many
    requests there were before."""

    def __init__(self, app: App, spoil: Spoil = lambda *_: None) -> None:
        self._app = app
        self._loop = asyncio.get_running_loop()
        self._spoil = spoil
        self.requests: list[httpx.Request] = []
        self.waits: list[float] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        spoiled = self._spoil(len(self.requests) - 1, request)
        if spoiled is not None:
            return spoiled
        return asyncio.run_coroutine_threadsafe(self._ask(request), self._loop).result(30)

    async def _ask(self, request: httpx.Request) -> httpx.Response:
        headers = {"Authorization": request.headers["authorization"]}
        answer = await self._app.client.get(str(request.url), headers=headers)
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    async def run(self, *arguments: str) -> int:
        command = ("--url", URL, *arguments)
        return await asyncio.to_thread(main, command, transport=self, sleep=self.waits.append)


def no_connection(after: int) -> Spoil:
    def spoil(number: int, request: httpx.Request) -> None:
        if number >= after:
            raise httpx.ConnectError("made to fail", request=request)

    return spoil


@pytest.fixture
async def trail(app: App, ada: Account, monkeypatch: pytest.MonkeyPatch) -> Account:
    """Some dozen events with whatever text, in parts of four; the token is in the environment."""
    monkeypatch.setattr(exports, "MOST_ROWS", 4)
    monkeypatch.setenv(TOKEN, ada.token)
    await fill(app, ada, 10, HOSTILE)
    app.clock.advance(seconds=1)
    return ada


@pytest.mark.parametrize("name", ["csv", "jsonl", "ocsf"])
async def test_the_file_is_the_trail(
    app: App, trail: Account, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "trail"
    file = await expected(app, trail.tenant_id, name)
    assert await Wire(app).run("--format", name, "-o", str(target)) == 0
    assert target.read_bytes() == file
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["trail"]
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"export: {len(ids_in(name, file))} events, ")
    assert await Wire(app).run("--format", name, "-o", str(target)) == 1, "a file that is there stays"
    assert await Wire(app).run("--format", name, "-o", str(target), "--overwrite", "--type", "user.delete") == 0
    assert ids_in(name, target.read_bytes()) == []


async def test_standard_output(app: App, trail: Account, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    file = await expected(app, trail.tenant_id, "csv")
    assert await Wire(app).run("--format", "csv", "-o", "-") == 0
    assert capfdbinary.readouterr().out == file


@pytest.mark.parametrize("name", ["csv", "jsonl", "ocsf"])
async def test_a_run_that_was_cut_off_goes_on(app: App, trail: Account, name: str, tmp_path: Path) -> None:
    target = tmp_path / "trail"
    file = await expected(app, trail.tenant_id, name)
    for after in (2, 1):  # two parts, then none: its first request is the second part again
        wire = Wire(app, no_connection(after))
        assert await wire.run("--format", name, "-o", str(target), "--retries", "3") == 3
        assert len(wire.requests) == after + 3
        assert not target.exists()
        with (tmp_path / "trail.part").open("ab") as part:
            part.write(b"half of a par")  # what a crash leaves that nobody vouched for
    wire = Wire(app)
    assert await wire.run("--format", name, "-o", str(target)) == 0
    assert target.read_bytes() == file
    assert len(wire.requests) == -(-len(ids_in(name, file)) // 4) - 3
    (event,) = await app.events(trail.tenant_id, "audit.export")
    assert event["record_count"] == len(ids_in(name, file))


async def test_whatever_call_of_the_disk_a_crash_comes_at(
    app: App, trail: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = await expected(app, trail.tenant_id, "jsonl", type="user.update")
    for name, real in (("fsync", os.fsync), ("replace", os.replace)):
        for k in range(1, 40):
            target, calls = tmp_path / f"{name}-{k}", 0

            def crashing(*args: Any, real: Any = real, k: int = k) -> None:
                nonlocal calls
                calls += 1
                if calls == k:
                    raise Crash
                real(*args)

            monkeypatch.setattr(os, name, crashing)
            try:
                done = await Wire(app).run("--type", "user.update", "-o", str(target))
            except Crash:
                done = None
            monkeypatch.setattr(os, name, real)
            if done == 0:
                break
            assert await Wire(app).run("--type", "user.update", "-o", str(target), "--overwrite") == 0
            assert target.read_bytes() == file
        assert done == 0
        assert k > 3


@pytest.mark.parametrize("name", ["csv", "jsonl", "ocsf"])
async def test_a_place_that_is_forgotten_is_found_again_by_time(
    app: App, trail: Account, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"name": "siem", "scopes": ["events:read"]}
    key = (await app.client.post("/v1/admin/api-keys", json=body, headers=trail.auth)).json()["key"]
    monkeypatch.setenv(TOKEN, key)
    target = tmp_path / "trail"
    assert await Wire(app, no_connection(2)).run("--format", name, "-o", str(target), "--retries", "1") == 3
    app.clock.advance(hours=1)
    assert await app.host.run_timer("close_exports")
    await fill(app, trail, 2)
    app.clock.advance(seconds=1)
    stored = [event["id"] for event in await app.events(trail.tenant_id)]
    assert await Wire(app).run("--format", name, "-o", str(target)) == 0
    assert ids_in(name, target.read_bytes()) == stored
    found = await app.events(trail.tenant_id, "audit.export")
    assert [event["reason"] for event in found] == ["abandoned", None]


async def test_a_busy_service_is_given_the_time_that_it_asks_for(app: App, trail: Account, tmp_path: Path) -> None:
    answers = {
        0: httpx.Response(503, headers={"Retry-After": "7"}),
        1: httpx.Response(429, headers={"Retry-After": "86400"}),
        2: httpx.Response(502, content=b"<html>"),
        4: httpx.Response(503, headers={"Retry-After": "soon"}),
    }
    wire = Wire(app, lambda number, _: answers.get(number))
    assert await wire.run("-o", str(tmp_path / "trail")) == 0
    assert wire.waits == [7.0, 300.0, 8.0, 2.0]
    wire = Wire(app, lambda *_: httpx.Response(503))
    assert await wire.run("-o", str(tmp_path / "other"), "--retries", "4") == 3
    assert len(wire.requests) == 4


ELSEWHERE = {"x-record-count": "0", "link": '<https://example.net/api/v1/events/export?cursor=x>; rel="next"'}


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (httpx.Response(302, headers={"Location": "https://example.net/"}), "answered 302"),
        (httpx.Response(200, headers=ELSEWHERE), "somewhere else"),
        (httpx.Response(200, content=b"<html>"), "is the address right?"),
        (httpx.Response(404, content=b"\xff"), "is the address right?"),
    ],
)
async def test_the_token_goes_nowhere_else(
    app: App, trail: Account, tmp_path: Path, answer: httpx.Response, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    wire = Wire(app, lambda *_: answer)
    assert await wire.run("-o", str(tmp_path / "trail")) == 1
    assert len(wire.requests) == 1
    said = capsys.readouterr().err
    assert says in said
    assert trail.token not in said
    assert not (tmp_path / "trail").exists()


async def test_what_the_service_says_of_a_wrong_question(
    app: App, trail: Account, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for arguments, says in ((("--ip", "nowhere"), "422: ip: "), (("--type", "auth.*", "--from", "x"), "422: from: ")):
        assert await Wire(app).run("-o", str(tmp_path / "trail"), *arguments, "--restart") == 1
        assert says in capsys.readouterr().err
    assert await Wire(app).run("-o", str(tmp_path / "trail"), "--to", "now", "--restart") == 1
    assert "--to: an RFC 3339 time" in capsys.readouterr().err
    secret = "a-token-that-does-not-hold"
    (tmp_path / "token").write_text(f"{secret}\n")
    for more in (("--token-file", str(tmp_path / "token")), ("--token-file", str(tmp_path / "nothing"))):
        assert await Wire(app).run("-o", str(tmp_path / "trail"), *more) == 1
        said = capsys.readouterr().err
        assert ("401" in said) == ("nothing" not in more[1])
        assert secret not in said
    monkeypatch.delenv(TOKEN)
    assert await Wire(app).run("-o", str(tmp_path / "trail")) == 1
    assert TOKEN in capsys.readouterr().err


async def test_the_part_of_another_export_is_not_gone_on_with(app: App, trail: Account, tmp_path: Path) -> None:
    target = tmp_path / "trail"
    assert await Wire(app, no_connection(1)).run("-o", str(target), "--retries", "1") == 3
    for other in (("--format", "csv"), ("--type", "auth.*")):
        assert await Wire(app).run("-o", str(target), *other) == 1
    state = tmp_path / "trail.part.json"
    held = state.read_bytes()
    state.write_bytes(held[:-9])
    assert await Wire(app).run("-o", str(target)) == 1
    assert await Wire(app).run("-o", str(target), "--restart") == 0
    assert target.read_bytes() == await expected_until_now(app, trail)


async def expected_until_now(app: App, account: Account) -> bytes:
    """What the first export found, less what it left itself."""
    lines = (await expected(app, account.tenant_id, "jsonl")).split(b"\n")
    return b"".join(line + b"\n" for line in lines[:-1] if json.loads(line)["type"] != "audit.export")


async def test_two_runs_do_not_write_one_file(app: App, trail: Account, tmp_path: Path) -> None:
    identity = {"url": URL + PATH, "format": "jsonl"}
    with files.PartFile.open(tmp_path / "trail", identity, overwrite=False, restart=False):
        assert await Wire(app).run("-o", str(tmp_path / "trail")) == 1
    assert await Wire(app).run("-o", str(tmp_path / "trail")) == 0


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com",
        "ftp://example.com",
        "https://user:secret@example.com",
        "https://example.com/?x=1",
        "example.com",
        "https://",
        "http://localhost.example.com",
    ],
)
def test_an_address_that_a_token_is_not_sent_to(url: str) -> None:
    with pytest.raises(Refused) as refused:
        checked_url(url)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("base", ["https://example.com", "https://example.com/", "https://example.com/api/"])
def test_the_address_of_the_export(base: str) -> None:
    assert str(checked_url(base)) == "https://example.com/api/v1/events/export"


def test_every_filter_has_an_option() -> None:
    fields = {field.alias or name for name, field in ExportQuery.model_fields.items()}
    assert set(FILTERS) == fields - {"format", "cursor"}
    options = {each.dest for each in _parser()._actions}
    assert options >= set(FILTERS)
    assert not any("token" in option and "file" not in option for option in options)


def test_records_end_where_csv_says_so() -> None:
    rows = [["id", "x"], ["1", 'a\r\n"b",\n'], ["2", ""], ["3", '"'], ["4", "\n"]]
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    data = text.getvalue().encode()
    found = list(records(data, "csv"))
    assert b"".join(found) == data
    assert [id_of(each, "csv") for each in found] == ["id", "1", "2", "3", "4"]
    assert [is_heading(each, "csv") for each in found] == [True, False, False, False, False]
    assert id_of(last_of(data, "csv"), "csv") == "4"
    assert last_of(b'{"id":"1"}\n{"id":"2"}\n', "jsonl") == b'{"id":"2"}\n'
    assert last_of(b'{"id":"1"}\n', "jsonl") == b'{"id":"1"}\n'
    with pytest.raises(ValueError, match="no end"):
        list(records(data[:-1], "csv"))


def test_a_bar_is_drawn_where_somebody_looks() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    moments = iter(range(100))
    screen = Terminal()
    until = datetime(2026, 3, 15, 12, 0, 10, tzinfo=UTC)
    progress = Progress(screen, until, lambda: float(next(moments)))
    for number, second in enumerate((0, 5, 10)):
        micros = int(datetime(2026, 3, 15, 12, 0, second, tzinfo=UTC).timestamp() * 1000)
        text = f"{micros:012x}7000{0b10 << 62:016x}"
        progress.show(1000 * number, 10**6 * number, f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}")
    progress.done(2000, 2 * 10**6)
    shown = screen.getvalue()
    assert "[" + "." * 30 + "]   0%" in shown
    assert "[" + "#" * 15 + "." * 15 + "]  50% 1,000 events, 1.0 MB" in shown
    assert "[" + "#" * 30 + "] 100%" in shown
    assert "export: 2,000 events, 2.0 MB" in shown
