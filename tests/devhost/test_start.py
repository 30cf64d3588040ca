"""What keeps the host from starting: each is one line that names the function."""

import json
import os
import shutil
from pathlib import Path
from textwrap import dedent

import pytest

from devhost.errors import HostError
from devhost.host import Host
from shared.storage.containers import AUDIT_EVENTS
from tests.devhost.fakes import APPS, MemoryFeed

HEAD = """
import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
"""
COSMOS = 'arg_name="documents", connection="C", database_name="d"'


def write_app(directory: Path, body: str, *, host_json: object = None) -> Path:
    # An app of the same size in the same second would be taken for the one before, by its cached bytecode.
    shutil.rmtree(directory / "__pycache__", ignore_errors=True)
    (directory / "function_app.py").write_text(HEAD + dedent(body), encoding="utf-8")
    (directory / "host.json").write_text(json.dumps(host_json or {"version": "2.0"}), encoding="utf-8")
    return directory


async def refusal(app_dir: Path) -> str:
    with pytest.raises(HostError) as caught:
        await Host.load(app_dir)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def http_function(name: str, decorator: str) -> str:
    return f"""
    {decorator}
    async def {name}(req: func.HttpRequest) -> func.HttpResponse:
        return func.HttpResponse("{name}")
    """


def feed_function(name: str, arguments: str) -> str:
    return f"""
    @app.cosmos_db_trigger({COSMOS}, {arguments})
    async def {name}(documents: func.DocumentList) -> None:
        return None
    """


def timer_function(name: str, arguments: str) -> str:
    return f"""
    @app.timer_trigger(arg_name="timer", {arguments})
    async def {name}(timer: func.TimerRequest) -> None:
        return None
    """


async def test_a_reserved_route(tmp_path: Path) -> None:
    app = write_app(tmp_path, http_function("users", '@app.route("admin/users")'))
    assert await refusal(app) == (
        "The 'users' function is in error: The specified route conflicts with one or more built in routes."
    )


async def test_a_duplicate_route(tmp_path: Path) -> None:
    one, two = http_function("one", '@app.route("x")'), http_function("two", '@app.route("X", methods=["GET"])')
    assert await refusal(write_app(tmp_path, one + two)) == (
        "The 'two' function is in error: The route specified conflicts with the route defined by function 'one'."
    )


async def test_a_duplicate_name(tmp_path: Path) -> None:
    same = http_function("one", '@app.route("a")') + http_function("one", '@app.route("b")')
    assert "does not have a unique function name" in await refusal(write_app(tmp_path, same))
    other = http_function("one", '@app.route("a")') + http_function("ONE", '@app.route("b")')
    assert "must be unique within the function app" in await refusal(write_app(tmp_path, other))


async def test_a_name_that_azure_does_not_take(tmp_path: Path) -> None:
    app = write_app(tmp_path, http_function("f", '@app.function_name("a b")\n    @app.route("a")'))
    assert await refusal(app) == "'a b' is not a valid function name."


async def test_function_keys_are_not_implemented(tmp_path: Path) -> None:
    app = write_app(tmp_path, http_function("f", '@app.route("a", auth_level=func.AuthLevel.FUNCTION)'))
    assert await refusal(app) == (
        "The 'f' function is in error: its authLevel is 'function', and devhost does not implement function keys."
    )


async def test_an_unknown_binding(tmp_path: Path) -> None:
    app = write_app(
        tmp_path,
        """
        @app.queue_trigger(arg_name="message", queue_name="q", connection="C")
        async def f(message: func.QueueMessage) -> None:
            return None
        """,
    )
    assert await refusal(app) == (
        "The 'f' function is in error: devhost does not serve bindings of type 'queuetrigger'."
    )


async def test_an_unknown_constraint(tmp_path: Path) -> None:
    app = write_app(tmp_path, http_function("f", '@app.route("a/{x:even}")'))
    assert "the constraint reference 'even' could not be resolved" in await refusal(app)


async def test_a_setting_that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NIGHTLY", raising=False)
    app = write_app(tmp_path, timer_function("f", 'schedule="%NIGHTLY%"'))
    assert await refusal(app) == "The 'f' function is in error: '%NIGHTLY%' does not resolve to a value."
    monkeypatch.setenv("NIGHTLY", "0 0 3 * * *")
    assert "timer 0 0 3 * * *" in (await Host.load(app)).describe()


@pytest.mark.parametrize(
    "schedule", ["0 3 * * *", "@daily", "0 0 25 * * *", "0 0 3 * * * 2026", "0 0 3 L * *", "0 0 0 30 2 *", "x"]
)
async def test_a_schedule_that_is_not_ncrontab(tmp_path: Path, schedule: str) -> None:
    app = write_app(tmp_path, timer_function("f", f'schedule="{schedule}"'))
    assert f"The schedule expression '{schedule}' was not recognized" in await refusal(app)


async def test_an_unknown_container(tmp_path: Path) -> None:
    app = write_app(tmp_path, feed_function("f", 'container_name="nowhere"'))
    assert await refusal(app) == "The 'f' function is in error: there is no container 'nowhere'."


RENAMED = """
    class Services:
        container_names = {{"audit_events": "{name}"}}

        async def close(self) -> None:
            return None

    services = Services()
"""


async def test_a_container_that_has_another_name_in_the_account(tmp_path: Path) -> None:
    app = write_app(tmp_path, RENAMED.format(name="trail") + feed_function("f", 'container_name="trail"'))
    feed = MemoryFeed()
    host = await Host.load(app, feed.store)
    async with host:
        assert "change feed of trail" in host.describe()
        feed.put(AUDIT_EVENTS, "a")
        assert await host.drain_feed() == 1
    assert feed.leases["|f"]["container"] == "audit_events"


@pytest.mark.parametrize("own", ["audit_events", "Trail"])
async def test_a_renamed_container_is_known_by_its_new_name_alone(tmp_path: Path, own: str) -> None:
    app = write_app(tmp_path, RENAMED.format(name="trail") + feed_function("f", f'container_name="{own}"'))
    assert await refusal(app) == f"The 'f' function is in error: there is no container '{own}'."


async def test_what_the_app_says_of_its_store_is_told_last(tmp_path: Path) -> None:
    services = """
    class Services:
        served_from = "a drawer"

    services = Services()
    """
    app = write_app(tmp_path, services + timer_function("f", 'schedule="0 0 3 * * *"'))
    assert (await Host.load(app)).describe().splitlines()[-1] == "From a drawer"


async def test_a_batch_size_below_one(tmp_path: Path) -> None:
    app = write_app(tmp_path, feed_function("f", 'container_name="identity", max_items_per_invocation=0'))
    assert "maxItemsPerInvocation must be at least 1" in await refusal(app)


async def test_two_functions_with_the_same_leases(tmp_path: Path) -> None:
    arguments = 'container_name="identity", lease_container_prefix="p"'
    app = write_app(tmp_path, feed_function("a", arguments) + feed_function("b", arguments))
    assert "it shares container and lease prefix with 'a'" in await refusal(app)


async def test_a_feed_without_a_store(tmp_path: Path) -> None:
    host = await Host.load(write_app(tmp_path, feed_function("f", 'container_name="identity"')))
    with pytest.raises(HostError, match="the app has no store to feed it"):
        await host.start()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("raise ValueError('broken\\nhere')", "cannot be loaded: ValueError: broken here (function_app.py, line 6)"),
        ("def f(:", "cannot be loaded: SyntaxError:"),
        (
            "import no_such_module",
            "cannot be loaded: ModuleNotFoundError: No module named 'no_such_module' (function_a",
        ),
        ("raise SystemExit(3)", "cannot be loaded: SystemExit: 3"),
        ("app = None", "Could not find top level function app instances"),
        ("@app.route('x')\ndef f(other): ...", "cannot be loaded: FunctionLoadError"),
    ],
)
async def test_a_broken_app(tmp_path: Path, body: str, message: str) -> None:
    assert message in await refusal(write_app(tmp_path, f"\n{body}\n" if body[0] != "@" else body))


async def test_a_directory_without_an_app(tmp_path: Path) -> None:
    assert await refusal(tmp_path) == f"no host.json in {tmp_path}"
    (tmp_path / "host.json").write_text("[]", encoding="utf-8")
    assert "host.json cannot be read" in await refusal(tmp_path)
    (tmp_path / "host.json").write_text("{}", encoding="utf-8")
    assert await refusal(tmp_path) == f"no function_app.py in {tmp_path}"


async def test_an_empty_prefix_and_the_data_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KRAFTD_DATA", "before")
    settings = {"extensions": {"http": {"routePrefix": ""}}}
    body = "import os\n    SEEN = os.environ['KRAFTD_DATA']" + http_function("f", '@app.route("x", methods=["GET"])')
    host = await Host.load(write_app(tmp_path, "    " + body, host_json=settings), data=":memory:")
    assert (host.module.SEEN, os.environ["KRAFTD_DATA"]) == (":memory:", ":memory:")
    assert host.describe() == "  f  GET /x"


async def test_services_are_opened_and_closed(tmp_path: Path) -> None:
    body = """
    calls: list[str] = []


    class Services:
        store = None

        async def get(self):
            calls.append("get")
            return self

        async def close(self):
            calls.append("close")


    services = Services()
    """
    host = await Host.load(write_app(tmp_path, body + http_function("f", '@app.route("x")')))
    async with host:
        assert host.module.calls == ["get"]
    assert host.module.calls == ["get", "close"]


async def test_services_that_cannot_start_are_one_line(tmp_path: Path) -> None:
    body = """
    class Services:
        async def get(self):
            raise OSError("the data is in use\\nby another process")

        async def close(self):
            return None


    services = Services()
    """
    host = await Host.load(write_app(tmp_path, body))
    with pytest.raises(HostError) as caught:
        await host.start()
    assert str(caught.value) == "the app's services cannot start: OSError: the data is in use by another process"
    await host.stop()


async def test_apps_live_side_by_side_in_one_process(tmp_path: Path) -> None:
    """Functions of the same name stay apart, and loading an app again gives a fresh one."""
    body = http_function("ping", '@app.route("ping", methods=["GET"])')
    other = await Host.load(write_app(tmp_path, body))
    bare = await Host.load(APPS / "bare")
    again = await Host.load(APPS / "bare")
    assert len({each.functions[0].id for each in (other, bare, again)}) == 3
    assert bare.module is not again.module
