"""The command itself, in a process of its own: what it prints, how it stops, how it fails."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from devhost.__main__ import START_TIMERS
from functions.timers import TIMERS
from tests.devhost.fakes import APPS

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 30


async def launch(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "devhost",
        *arguments,
        cwd=ROOT,
        env={**os.environ, "PYTHONWARNINGS": "error", "DETECT_PREFIX": "detect"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


@asynccontextmanager
async def serving(
    app: str, *, data: str = ":memory:"
) -> AsyncIterator[tuple[asyncio.subprocess.Process, str, list[str]]]:
    """A running devhost: the process, its base URL and the lines of its table."""
    process = await launch("--app", str(APPS / app), "--port", "0", "--data", data)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            first = (await process.stdout.readline()).decode().split()
            assert first[:1] == ["Serving"], (await process.communicate())[1].decode()
            functions = (APPS / app / "function_app.py").read_text(encoding="utf-8").count("@app.route")
            functions += (APPS / app / "function_app.py").read_text(encoding="utf-8").count("_trigger(")
            lines = [" ".join((await process.stdout.readline()).decode().split()) for _ in range(functions)]
        yield process, first[1], lines
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def ended(process: asyncio.subprocess.Process) -> int:
    async with asyncio.timeout(PATIENCE_SECONDS):
        return await process.wait()


async def appears(path: Path) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not path.exists():  # noqa: ASYNC110, ASYNC240 - another process makes it
            await asyncio.sleep(0.01)


async def test_it_prints_what_it_serves_and_answers() -> None:
    async with serving("web") as (process, url, lines), httpx.AsyncClient() as client:
        assert f"echo DELETE,GET,PATCH,POST,PUT {url}/echo" in lines
        assert f"any_method * {url}/any" in lines
        assert "nightly timer 0 0 3 * * *" in lines
        response = await client.post(f"{url}/bytes", content=bytes(range(256)))
        assert response.content == bytes(range(256))
        assert "date" in response.headers
        assert "server" not in response.headers
        assert (await client.head(f"{url}/head")).headers["content-length"] == "4"
        seen = (await client.get(f"{url}/echo?a=%2F")).json()
        assert seen["url"] == f"{url}/echo?a=%2F"
        assert seen["headers"]["x-forwarded-for"].startswith("127.0.0.1:")
        nightly = url.replace("kraftd/api", "admin/functions/nightly")
        assert (await client.post(nightly, json={"input": ""})).status_code == 202
        process.send_signal(signal.SIGINT)
        assert await ended(process) == 0


async def test_a_stop_lets_a_request_finish(tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    async with serving("web") as (process, url, _), httpx.AsyncClient(timeout=PATIENCE_SECONDS) as client:
        request = asyncio.create_task(client.get(f"{url}/slow", params={"flag": str(flag)}))
        await appears(flag.with_suffix(".started"))
        process.send_signal(signal.SIGTERM)
        while await accepts(url):  # noqa: ASYNC110 - another process closes it
            await asyncio.sleep(0.01)
        assert process.returncode is None
        flag.touch()
        response = await request
        assert (response.status_code, response.text) == (200, "slow")
        assert await ended(process) == 0


async def test_a_second_signal_does_not_wait(tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    async with serving("web") as (process, url, _), httpx.AsyncClient(timeout=PATIENCE_SECONDS) as client:
        request = asyncio.create_task(client.get(f"{url}/slow", params={"flag": str(flag)}))
        await appears(flag.with_suffix(".started"))
        process.send_signal(signal.SIGTERM)
        while await accepts(url):  # noqa: ASYNC110 - another process closes it
            await asyncio.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        assert await ended(process) == 0
        (outcome,) = await asyncio.gather(request, return_exceptions=True)
        assert isinstance(outcome, httpx.HTTPError) or getattr(outcome, "status_code", 0) == 500
        assert not flag.with_suffix(".finished").exists()


async def accepts(url: str) -> bool:
    try:
        _, writer = await asyncio.open_connection(httpx.URL(url).host, httpx.URL(url).port)
    except OSError:
        return False
    writer.close()
    return True


async def test_a_client_that_leaves_does_not_cancel_its_function(tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    async with serving("web") as (process, url, _):
        base = httpx.URL(url)
        _, writer = await asyncio.open_connection(base.host, base.port)
        writer.write(f"GET {base.path}/slow?flag={flag} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await appears(flag.with_suffix(".started"))
        writer.close()
        await writer.wait_closed()
        flag.touch()
        await appears(flag.with_suffix(".finished"))
        process.send_signal(signal.SIGTERM)
        assert await ended(process) == 0


async def test_the_feed_continues_in_the_next_process(tmp_path: Path) -> None:
    data = tmp_path / "kraftd.db"
    for name in ("ada", "grace"):
        async with serving("stored", data=str(data)) as (process, url, lines), httpx.AsyncClient() as client:
            assert "follow change feed of identity, lease prefix 'follow'" in lines
            assert (await client.put(f"{url}/users/{name}")).status_code == 201
            async with asyncio.timeout(PATIENCE_SECONDS):
                while (followed := (await client.get(f"{url}/followed")).json()) == []:  # noqa: ASYNC110 - as above
                    await asyncio.sleep(0.01)
            assert followed == [name]
            process.send_signal(signal.SIGTERM)
            assert await ended(process) == 0


async def failure(*arguments: str) -> tuple[int, str]:
    process = await launch(*arguments)
    async with asyncio.timeout(PATIENCE_SECONDS):
        _, errors = await process.communicate()
    assert process.returncode is not None
    return process.returncode, errors.decode()


async def test_a_port_in_use_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert await failure("--app", str(APPS / "bare"), "--port", str(port)) == (
            1,
            f"devhost: cannot listen on 127.0.0.1:{port}: Address already in use\n",
        )


@pytest.mark.parametrize("port", ["99999", "-1"])
async def test_a_port_out_of_bounds_is_one_clear_line(port: str) -> None:
    assert await failure("--app", str(APPS / "bare"), "--port", port) == (
        1,
        f"devhost: cannot listen on 127.0.0.1:{port}: bind(): port must be 0-65535.\n",
    )


async def test_a_name_that_is_none_is_one_clear_line() -> None:
    code, errors = await failure("--app", str(APPS / "bare"), "--host", "ü..", "--port", "0")
    assert (code, errors.count("\n")) == (1, 1)
    assert errors.startswith("devhost: cannot listen on ü..:0: ")


async def test_a_client_that_leaves_the_admin_path_leaves_no_traceback() -> None:
    async with serving("web") as (process, url, _):
        base = httpx.URL(url)
        _, writer = await asyncio.open_connection(base.host, base.port)
        writer.write(
            b"POST /admin/functions/nightly HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b'Content-Length: 100\r\n\r\n{"input'
        )
        await writer.drain()
        async with httpx.AsyncClient() as client:
            assert (await client.get(f"{url}/text")).status_code == 200
        writer.close()
        await writer.wait_closed()
        process.send_signal(signal.SIGTERM)
        assert await ended(process) == 0
        assert process.stderr is not None
        assert await process.stderr.read() == b""


SWEEPER = """
import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.timer_trigger(arg_name="timer", schedule="0 0 0 29 2 *")
async def sweep_outbox(timer: func.TimerRequest) -> None:
    print("swept")


@app.timer_trigger(arg_name="timer", schedule="0 0 0 29 2 *")
async def other(timer: func.TimerRequest) -> None:
    print("other")
"""


async def test_every_start_sweeps_the_outbox_once(tmp_path: Path) -> None:
    (tmp_path / "host.json").write_text("{}", encoding="utf-8")
    (tmp_path / "function_app.py").write_text(SWEEPER, encoding="utf-8")
    for _ in range(2):
        process = await launch("--app", str(tmp_path), "--port", "0", "--data", ":memory:")
        assert process.stdout is not None
        async with asyncio.timeout(PATIENCE_SECONDS):
            lines = [(await process.stdout.readline()).decode().split()[0] for _ in range(4)]
            process.send_signal(signal.SIGTERM)
            rest, _ = await process.communicate()
        assert (lines, rest) == (["swept", "Serving", "other", "sweep_outbox"], b"")


def test_the_timers_of_the_start_are_timers_of_the_app() -> None:
    assert set(START_TIMERS) <= TIMERS.keys()
    assert "sweep_outbox" in START_TIMERS


async def test_a_broken_app_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "host.json").write_text("{}", encoding="utf-8")
    (tmp_path / "function_app.py").write_text("import no_such_module\n", encoding="utf-8")
    assert await failure("--app", str(tmp_path), "--port", "0") == (
        1,
        "devhost: function_app.py cannot be loaded: ModuleNotFoundError: No module named 'no_such_module' "
        "(function_app.py, line 1)\n",
    )


async def test_an_app_without_a_store_for_its_feeds_is_one_clear_line() -> None:
    code, errors = await failure("--app", str(APPS / "worker"), "--port", "0")
    assert code == 1
    assert errors.endswith("\ndevhost: The 'count' function is in error: the app has no store to feed it.\n")
    assert "Traceback" not in errors
