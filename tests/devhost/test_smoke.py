"""The smoke run: it passes on the real app, and on nothing else; what it makes it removes, and it tells no secret."""

import base64
import contextlib
import http.server
import io
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import httpx
import pytest

from devhost.launch import served
from devhost.smoke.__main__ import main
from devhost.smoke.deployment import Deadline, base_url
from devhost.smoke.steps import STEPS
from shared.core.clock import SystemClock, rfc3339
from tests.app import ROOT, registration
from tests.cosmos_emulator.emulator import make_certificate
from tests.devhost.smoke_recording import Clock, Exchange, Recorder, Replay, tokens, with_json
from tests.ledger.support import flip

KEPT = {"SMOKE_EMAIL": "kept@example.com", "SMOKE_PASSWORD": "kept for the smoke runs 7"}
URL = "http://127.0.0.1:9"
STEP_NAMES = [name for name, _ in STEPS]


@dataclass(frozen=True)
class Ran:
    """What came of a run."""

    code: int
    out: str
    err: str

    @property
    def told(self) -> Any:
        return json.loads(self.out)

    @property
    def failed(self) -> list[str]:
        return [row["step"] for row in self.told["steps"] if row["result"] == "FAILED"]


def smoke(
    *arguments: str, url: str = URL, environment: dict[str, str] | None = None, clock: Clock | None = None, **parts: Any
) -> Ran:
    """Run it in this process; with a clock, nobody waits."""
    if clock is not None:
        parts["deadline"] = Deadline(180, clock.sleep, clock.now)
    out, err = io.StringIO(), io.StringIO()
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SMOKE_")}
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        mock.patch.dict(os.environ, clean | (environment or {}), clear=True),
    ):
        try:
            code = main(["--url", url, *arguments], **parts)
        except SystemExit as error:  # of argparse
            code = error.code if isinstance(error.code, int) else 1
    return Ran(code, out.getvalue(), err.getvalue())


@dataclass(frozen=True)
class Recorded:
    """A run on the real app. `seed`, `environment` and `url` make the same one again."""

    ran: Ran
    recorder: Recorder
    seed: str
    environment: dict[str, str]
    url: str

    def again(self, *arguments: str, at: int = -1, spoil: Any = Exchange.answer) -> tuple[Ran, Replay]:
        replay = Replay(self.recorder.exchanges, at, spoil)
        command = arguments or ("--json",)
        ran = smoke(
            *command,
            url=self.url,
            environment=self.environment,
            clock=Clock(),
            transport=replay,
            token=tokens(self.seed),
        )
        return ran, replay

    def find(self, method: str, part: str) -> int:
        """The number of the first such request."""
        return next(
            number
            for number, each in enumerate(self.recorder.exchanges)
            if each.method == method and part in each.url.partition("/v1/")[2]
        )


def owners(recorded: Recorded) -> list[str]:
    """Which step makes which request, told by counting requests at the end of each."""
    counted: list[tuple[str, int]] = []
    replay = Replay(recorded.recorder.exchanges)
    steps = [(name, _counting(name, step, replay, counted)) for name, step in STEPS]
    with mock.patch("devhost.smoke.run.STEPS", steps):
        smoke(
            "--json",
            url=recorded.url,
            environment=recorded.environment,
            clock=Clock(),
            transport=replay,
            token=tokens(recorded.seed),
        )
    return [name for name, count in counted for _ in range(count)]


def _counting(
    name: str, step: Callable[[Any], str], replay: Replay, counted: list[tuple[str, int]]
) -> Callable[[Any], str]:
    def run(walk: Any) -> str:
        before = len(replay.asked)
        try:
            return step(walk)
        finally:
            counted.append((name, len(replay.asked) - before))

    return run


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Recorded]:
    """Two runs on the real app, served by a process of its own: in an organization of three days ago that is kept for
    it, and in one of the run's own."""
    data = str(tmp_path_factory.mktemp("smoke"))
    past = rfc3339(SystemClock().now() - timedelta(days=3))
    with served(ROOT, data, "--simulated-clock", past) as url:
        body = registration(KEPT["SMOKE_EMAIL"], password=KEPT["SMOKE_PASSWORD"])
        assert httpx.post(f"{url}/v1/register", json=body).status_code == 201
    found = {}
    with served(ROOT, data) as url:
        for name, environment in (("kept", KEPT), ("new", {})):
            recorder = Recorder()
            ran = smoke("--json", url=url, environment=environment, transport=recorder, token=tokens(name))
            found[name] = Recorded(ran, recorder, name, environment, url)
    return found


@pytest.fixture
def kept(recordings: dict[str, Recorded]) -> Recorded:
    return recordings["kept"]


@pytest.fixture
def new(recordings: dict[str, Recorded]) -> Recorded:
    return recordings["new"]


def test_it_passes_on_the_real_app_and_walks_every_monitored_endpoint(kept: Recorded, new: Recorded) -> None:
    for recorded in (kept, new):
        told = recorded.ran.told
        assert (recorded.ran.code, told["exit_code"]) == (0, 0), recorded.ran.out
        assert [row["step"] for row in told["steps"]] == STEP_NAMES
        assert told["cleanup"] == [], "the steps removed all of it"
        asked = {
            (each.method, "/".join("{id}" if len(part) == 36 else part for part in path_of(each.url).split("/")))
            for each in recorded.recorder.exchanges
        }
        assert {
            ("POST", "register"),
            ("POST", "login"),
            ("POST", "logout"),
            ("GET", "profile"),
            ("PUT", "profile"),
            ("POST", "password"),
            ("GET", "admin/users"),
            ("GET", "admin/users/{id}"),
            ("PUT", "admin/users/{id}"),
            ("DELETE", "admin/users/{id}"),
            ("GET", "admin/logs/authorization"),
            ("GET", "alerts"),
            ("GET", "ledger/proof"),
            ("POST", "reports"),
        } <= asked


def path_of(url: str) -> str:
    return url.partition("/v1/")[2].partition("?")[0]


def test_the_report_of_an_organization_that_is_kept_is_read(kept: Recorded, new: Recorded) -> None:
    def report(recorded: Recorded) -> Any:
        return next(row for row in recorded.ran.told["steps"] if row["step"] == "POST /reports")

    assert report(kept)["result"] == "ok"
    assert "30 controls, digest as told" in report(kept)["seen"]
    assert report(new)["result"] == "partly", "no day of it is over"
    assert all(row["result"] == "ok" for row in kept.ran.told["steps"])


def test_it_says_what_stays(kept: Recorded, new: Recorded) -> None:
    (stays,) = new.ran.told["remains"]
    assert "tools.operator suspend-tenant" in stays
    (stays,) = kept.ran.told["remains"]
    assert "kept for the next run" in stays


def test_a_replay_is_the_same_run(kept: Recorded, new: Recorded) -> None:
    """What the tests below stand on."""
    for recorded in (kept, new):
        ran, replay = recorded.again()
        assert ran.code == 0, ran.out
        assert replay.asked == [each.name for each in recorded.recorder.exchanges]


def test_an_error_at_any_call_fails_that_step(kept: Recorded, new: Recorded) -> None:
    """500 where a success belongs, and a success where a refusal does. It ends with 1 and names the step; what was
    made is removed."""
    for recorded in (kept, new):
        steps = owners(recorded)
        for number, exchange in enumerate(recorded.recorder.exchanges):
            ran, replay = recorded.again(at=number, spoil=_other_status)
            where = f"{recorded.seed} {number} {exchange.method} {exchange.url} {exchange.status}"
            assert ran.code == 1, f"{where}\n{ran.out}"
            assert ran.failed == [steps[number]], where
            _assert_removed(recorded, replay, where)


def _other_status(exchange: Exchange, request: httpx.Request) -> httpx.Response:
    wrong = 500 if exchange.status < 400 else 200
    return httpx.Response(wrong, json={"code": "internal_error", "status": wrong}, request=request)


def _assert_removed(recorded: Recorded, replay: Replay, where: str) -> None:
    """Everything that was made, as the answers said, has been deleted, or that was at least tried."""
    asked = [(method, path_of(url)) for method, url in replay.asked]
    told = {each.name: each for each in recorded.recorder.exchanges}
    made = [name for name, status in zip(replay.asked, replay.answered, strict=True) if status == 201]
    paths = [path_of(url) for _, url in made]
    for name in made:
        path, body = path_of(name[1]), json.loads(told[name].content)
        if path == "admin/api-keys":
            assert ("DELETE", f"admin/api-keys/{body['id']}") in asked, where
        if path == "admin/invitations" and "register" not in paths[paths.index(path) :]:
            assert ("DELETE", f"admin/invitations/{body['id']}") in asked, where
        if path == "admin/invitations" and "register" in paths[paths.index(path) :]:
            assert ("DELETE", f"admin/users/{member_of(recorded)}") in asked, where
    if any(path == "login" and status == 200 for (_, path), status in zip(asked, replay.answered, strict=True)):
        assert ("POST", "logout") in asked, where


def member_of(recorded: Recorded) -> str:
    """The id of the second account."""
    users = [
        json.loads(each.content)["user"] for each in recorded.recorder.exchanges if path_of(each.url) == "register"
    ]
    found: str = users[-1]["id"]
    return found


SHAPES: tuple[bytes, ...] = (
    b"",
    b"null",
    b"[]",
    b"{}",
    b'{"items": [1]}',
    b'{"items": null}',
    b"\xff\xfe",
    b'"x"',
    b"7",
)


def test_no_shape_of_an_answer_breaks_it(kept: Recorded) -> None:
    """Whatever comes with the right status: it fails at the step, or does not need the body. It never falls over."""
    steps, unread = owners(kept), set()
    for number, exchange in enumerate(kept.recorder.exchanges):
        if exchange.status == 204:
            continue
        for shape in SHAPES:
            ran, _ = kept.again(at=number, spoil=_body(exchange.status, shape))
            assert ran.code in (0, 1), f"{number} {exchange.method} {exchange.url} {shape!r}\n{ran.out}"
            if ran.code == 0:
                unread.add((exchange.method, path_of(exchange.url), exchange.status))
            else:
                same = {steps[at] for at, each in enumerate(kept.recorder.exchanges) if each.name == exchange.name}
                assert len(ran.failed) == 1, ran.out
                assert ran.failed[0] in same, f"{number} {exchange.url} {shape!r}"
    assert {(method, status) for method, _, status in unread} <= {
        ("PUT", 200),
        ("POST", 401),
        ("GET", 401),
        ("GET", 404),
    }


def _body(status: int, content: bytes) -> Callable[[Exchange, httpx.Request], httpx.Response]:
    """Another body in every answer of that status."""

    def change(exchange: Exchange, request: httpx.Request) -> httpx.Response:
        if exchange.status != status:
            return exchange.answer(request)
        return httpx.Response(status, headers=exchange.headers, content=content, request=request)

    return change


def _items(change: Callable[[dict[str, Any]], Any]) -> Callable[[Any], Any]:
    def changed(body: Any) -> Any:
        for each in body["items"]:
            change(each)
        return body

    return changed


def _flipped(name: str) -> Callable[[Any], Any]:
    def change(body: Any) -> Any:
        return body | {name: base64.b64encode(flip(base64.b64decode(body[name]), 5)).decode()}

    return change


def _note(change: Callable[[str], str]) -> Callable[[Any], Any]:
    return lambda body: body | {"checkpoint": change(body["checkpoint"])}


def _but(number: int) -> Callable[[Any], Any]:
    return lambda body: body | {"items": body["items"][number:]}


LIES: tuple[tuple[str, str, str, Callable[[Any], Any]], ...] = (
    ("GET", "health/ready", "GET /health/ready", lambda body: body | {"status": "failed"}),
    ("GET", "health/ready", "GET /health/ready", lambda body: body | {"checks": {}}),
    ("POST", "token/refresh", "POST /token/refresh", lambda body: body | {"mfa_required": True}),
    ("GET", "admin/users", "GET /admin/users", _but(1)),
    ("GET", "admin/users?q=", "GET /admin/users", lambda body: body | {"items": body["items"] * 2}),
    ("PUT", "admin/users/", "PUT /admin/users/{id}", lambda body: body | {"role": "viewer"}),
    ("GET", "profile", "POST /register", lambda body: body | {"role": "viewer"}),
    ("POST", "events", "POST /events", lambda body: {"items": [body["items"][0] | {"status": "rejected"}]}),
    ("GET", "events/", "GET /events/{id}", lambda body: body | {"tenant_id": "platform"}),
    ("GET", "admin/logs/authorization", "GET /admin/logs/authorization", _but(2)),
    ("GET", "alerts", "GET /alerts", _items(lambda each: each.update(key="somebody else"))),
    ("GET", "alerts", "GET /alerts", _items(lambda each: each.update(pattern="mass_deletion"))),
    ("GET", "alerts", "GET /alerts", _items(lambda each: each.update(count=5))),
    ("GET", "ledger/proof", "GET /ledger/proof", lambda body: body | {"index": body["index"] ^ 1}),
    ("GET", "ledger/proof", "GET /ledger/proof", lambda body: body | {"path": body["path"][:-1]}),
    ("GET", "ledger/proof", "GET /ledger/proof", lambda body: body | {"path": body["path"][::-1]}),
    ("GET", "ledger/proof", "GET /ledger/proof", _flipped("entry")),
    ("GET", "ledger/proof", "GET /ledger/proof", _note(lambda note: note.replace("a", "b", 1))),
    ("GET", "ledger/proof", "GET /ledger/proof", _note(lambda note: note.partition("\n\n")[0])),
    ("GET", "reports/", "POST /reports", lambda body: body | {"status": "failed"}),
    ("GET", "reports/", "POST /reports", lambda body: body | {"digest": "0" * 64}),
    ("GET", "?format=json", "POST /reports", lambda body: body | {"controls": body["controls"][1:]}),
    ("PATCH", "alerts/", "PATCH /alerts/{id}", lambda body: body | {"status": "open"}),
)  # fmt: skip


@pytest.mark.parametrize("number", range(len(LIES)))
def test_a_deployment_that_lies_is_found_out(kept: Recorded, number: int) -> None:
    method, part, step, change = LIES[number]
    at = kept.find(method, part)
    ran, _ = kept.again(at=at, spoil=lambda exchange, request: _lie(exchange, request, change))
    assert (ran.code, ran.failed) == (1, [step]), ran.out


def _lie(exchange: Exchange, request: httpx.Request, change: Callable[[Any], Any]) -> httpx.Response:
    if exchange.status >= 400:  # an event that is not sealed yet
        return exchange.answer(request)
    return with_json(exchange, request, change)


def test_an_event_that_is_not_what_was_sealed_is_found_out(kept: Recorded) -> None:
    """The proof holds; the event that is shown is another one."""
    reads = [number for number, each in enumerate(kept.recorder.exchanges) if "/v1/events/" in each.url]
    changed = lambda exchange, request: with_json(exchange, request, lambda body: body | {"record_count": 7})  # noqa: E731
    ran, _ = kept.again(at=reads[1], spoil=changed)
    assert (ran.code, ran.failed) == (1, ["GET /ledger/proof"])
    assert "the event is not what was sealed: record_count" in ran.out


@pytest.mark.parametrize("part", ["ledger/key", "ledger/checkpoint"])
def test_the_key_of_somebody_else_is_found_out(kept: Recorded, new: Recorded, part: str) -> None:
    other = new.recorder.exchanges[new.find("GET", part)]
    ran, _ = kept.again(at=kept.find("GET", part), spoil=lambda _, request: other.answer(request))
    assert (ran.code, ran.failed) == (1, ["GET /ledger/proof"]), ran.out


def test_what_never_comes_is_waited_for_until_the_time_is_over(kept: Recorded) -> None:
    nothing = lambda exchange, request: with_json(exchange, request, lambda _: {"items": [], "next_cursor": None})  # noqa: E731
    ran, replay = kept.again(at=kept.find("GET", "alerts"), spoil=nothing)
    assert (ran.code, ran.failed) == (1, ["GET /alerts"])
    assert "did not come in time" in ran.out
    assert 20 < len(replay.asked) < 200


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_deployment_is_asked_again_as_it_wishes(kept: Recorded, status: int) -> None:
    left = [2]

    def busy(exchange: Exchange, request: httpx.Request) -> httpx.Response:
        left[0] -= 1
        return httpx.Response(status, headers={"Retry-After": "7"}) if left[0] >= 0 else exchange.answer(request)

    replay, clock = Replay(kept.recorder.exchanges, kept.find("POST", "password"), busy), Clock()
    ran = smoke(url=kept.url, environment=KEPT, clock=clock, transport=replay, token=tokens(kept.seed))
    assert ran.code == 0, ran.out
    assert clock.slept[:2] == [7.0, 7.0]


def test_it_does_not_wait_for_longer_than_it_has(kept: Recorded) -> None:
    full = lambda _, request: httpx.Response(429, headers={"Retry-After": "3600"}, request=request)  # noqa: E731
    ran, _ = kept.again(at=kept.find("POST", "admin/invitations"), spoil=full)
    assert (ran.code, ran.failed) == (1, ["POST /admin/invitations"])
    assert "429 (it asks to wait 3600 s)" in ran.out


def test_a_write_whose_answer_is_lost_is_not_sent_twice(kept: Recorded) -> None:
    def lost(_: Exchange, request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("secret text", request=request)

    at = kept.find("POST", "admin/invitations")
    ran, replay = kept.again(at=at, spoil=lost)
    assert (ran.code, ran.failed) == (1, ["POST /admin/invitations"])
    assert replay.asked.count(kept.recorder.exchanges[at].name) == 1
    assert "ReadTimeout" in ran.out
    assert "secret text" not in ran.out


def test_an_interrupted_run_removes_what_it_made(kept: Recorded, new: Recorded) -> None:
    for recorded, error, code in ((kept, KeyboardInterrupt, 130), (new, SystemExit, 143)):
        steps = owners(recorded)
        for number in range(len(recorded.recorder.exchanges)):
            left = [True]

            def end(exchange: Exchange, request: httpx.Request) -> httpx.Response:
                if left:  # noqa: B023 - called before the next one
                    left.pop()  # noqa: B023
                    raise error  # noqa: B023
                return exchange.answer(request)

            ran, replay = recorded.again(at=number, spoil=end)
            assert ran.code == code, ran.out
            assert ran.failed == [steps[number]]
            _assert_removed(recorded, replay, f"{recorded.seed} {number}")


def test_what_cannot_be_removed_is_named_and_fails_the_run(kept: Recorded) -> None:
    def broken(_: Exchange, request: httpx.Request) -> httpx.Response:
        return httpx.Response(500, json={"code": "internal_error"}, request=request)

    ran, _ = kept.again(at=kept.find("DELETE", "admin/api-keys"), spoil=broken)
    assert (ran.code, ran.failed) == (1, ["DELETE /admin/api-keys/{id}"])
    assert [row["step"] for row in ran.told["cleanup"] if row["result"] == "FAILED"] == ["the API key"]
    assert any(each.startswith("the API key: ") for each in ran.told["remains"])


def test_no_secret_is_ever_printed(kept: Recorded, new: Recorded) -> None:
    """Not in a table, not in JSON, not when everything goes wrong and answers hold them."""
    for recorded in (kept, new):
        secrets = recorded.recorder.secrets
        assert len(secrets) > 12
        texts = [recorded.ran.out, recorded.ran.err]
        for arguments in ((), ("--timeout", "60")):
            for number in range(-1, len(recorded.recorder.exchanges)):
                ran, _ = recorded.again(*(arguments or ("--json",)), at=number, spoil=_telling(secrets))
                texts += [ran.out, ran.err]
        for text in texts:
            assert not [each for each in secrets if each in text]


def _telling(secrets: set[str]) -> Callable[[Exchange, httpx.Request], httpx.Response]:
    """Errors that hold every secret there is."""
    body = {"code": " ".join(sorted(secrets)), "detail": sorted(secrets), "title": sorted(secrets)}
    return lambda _, request: httpx.Response(
        418, json=body, headers={"Retry-After": sorted(secrets)[0]}, request=request
    )


# ---- nobody there, and bad arguments ------------------------------------------------------------------------------


@pytest.fixture
def closed_port() -> Iterator[str]:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # and never listens
        yield f"http://127.0.0.1:{held.getsockname()[1]}"


def test_nobody_there_is_2(closed_port: str) -> None:
    ran = smoke("--json", url=closed_port, clock=Clock())
    assert (ran.code, ran.failed) == (2, ["GET /health/ready"])
    assert "ConnectError" in ran.out
    assert ran.told["remains"] == []


def test_somebody_else_there_is_1() -> None:
    other = httpx.MockTransport(lambda _: httpx.Response(200, text="Your app is up and running"))
    ran = smoke("--json", url="https://example.com", clock=Clock(), transport=other)
    assert (ran.code, ran.failed) == (1, ["GET /health/ready"])


def test_a_cold_start_is_waited_for(kept: Recorded) -> None:
    """An app without functions yet, a gateway without app, an app whose store is not there yet."""
    before = [httpx.Response(404), httpx.Response(502), httpx.Response(503, json={"status": "failed"})]

    def cold(exchange: Exchange, request: httpx.Request) -> httpx.Response:
        return before.pop(0) if before else exchange.answer(request)

    ran, replay = kept.again(at=0, spoil=cold)
    assert ran.code == 0, ran.out
    assert len(replay.asked) == len(kept.recorder.exchanges) + 3
    assert "waiting for the deployment to be ready: 404" in ran.err


class _Quiet(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self.send_response(503)
        self.send_header("Content-Length", "0")
        self.end_headers()


def test_a_certificate_that_nobody_vouches_for_is_2_at_once(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Quiet)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    with _running(server):
        ran = smoke("--json", url=f"https://localhost:{server.server_address[1]}", clock=(clock := Clock()))
    assert (ran.code, ran.failed) == (2, ["GET /health/ready"])
    assert "certificate" in ran.out
    assert clock.slept == []


@contextlib.contextmanager
def _running(server: http.server.ThreadingHTTPServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_the_command_is_ended_by_a_signal() -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Quiet)
    command = [sys.executable, "-m", "devhost.smoke", "--url", f"http://127.0.0.1:{server.server_address[1]}"]
    with (
        _running(server),
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process,  # noqa: S603
    ):
        assert process.stderr is not None
        assert "503" in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=30)
    assert process.returncode == 143
    assert "interrupted" in out
    assert "failed at GET /health/ready" in out


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com",
        "http://10.0.0.1/api",
        "ftp://example.com",
        "https://",
        "example.com",
        "https://somebody:secret@example.com",
        "https://example.com/?code=secret",
        "https://example.com/#x",
        "http://localhost.example.com",
        "https://exa mple.com",
        "",
    ],
)
def test_an_address_that_is_none_or_not_safe_is_2(url: str) -> None:
    ran = smoke(url=url)
    assert ran.code == 2
    assert "--url" in ran.err
    assert "secret" not in ran.err.partition("error:")[2]


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("https://example.com", "https://example.com/api/"),
        ("https://example.com/", "https://example.com/api/"),
        ("https://example.com/api", "https://example.com/api/"),
        ("https://example.com/audit/", "https://example.com/audit/"),
        ("http://localhost:7071", "http://localhost:7071/api/"),
        ("http://[::1]:7071/api", "http://[::1]:7071/api/"),
        ("http://127.8.9.1", "http://127.8.9.1/api/"),
    ],
)
def test_where_the_api_begins(url: str, base: str) -> None:
    assert base_url(url) == base


@pytest.mark.parametrize("seconds", ["0", "601", "nan", "inf", "-3", "soon"])
def test_a_timeout_that_cannot_be_is_2(seconds: str) -> None:
    ran = smoke("--timeout", seconds)
    assert ran.code == 2
    assert "--timeout" in ran.err


@pytest.mark.parametrize("name", ["SMOKE_EMAIL", "SMOKE_PASSWORD"])
def test_half_an_account_is_2(name: str) -> None:
    ran = smoke(environment={name: "half of it"})
    assert ran.code == 2
    assert "SMOKE_EMAIL goes with SMOKE_PASSWORD" in ran.err
    assert "half of it" not in ran.err


def test_without_a_url_it_is_2() -> None:
    with contextlib.redirect_stderr(io.StringIO()), pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 2
