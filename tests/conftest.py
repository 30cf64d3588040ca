import logging
from collections.abc import AsyncIterator, Iterator

import pytest
from hypothesis import HealthCheck, settings

from devhost.host import Host
from shared.core.sdk_logs import SDK_LOGS
from tests import environment  # noqa: F401 - before anything reads settings
from tests.app import ROOT, Account, App, running
from tests.cosmos_emulator.emulator import Emulator
from tests.fakes import ManualClock
from tests.storage.conftest import open_cosmos

settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")
"""How long an example takes says more of the machine than of the code."""


@pytest.fixture(scope="session")
async def host() -> Host:
    """The real function app, loaded once: its functions can be indexed once per process."""
    return await Host.load(ROOT, data=":memory:")


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """The Cosmos DB emulator, started by the first test that wants it."""
    started = Emulator.start(tmp_path_factory.mktemp("emulator"))
    yield started
    started.stop()


@pytest.fixture
def unset_sdk_logs() -> Iterator[None]:
    """The levels of the SDKs' logs as a new process has them."""
    logs = [logging.getLogger(name) for name in SDK_LOGS]
    before = [each.level for each in logs]
    for each in logs:
        each.setLevel(logging.NOTSET)
    yield
    for each, level in zip(logs, before, strict=True):
        each.setLevel(level)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def adapter() -> str:
    """What `app` stores in. A module that is worth the time overrides this, with `params=LOCAL`."""
    return "sqlite"


@pytest.fixture
async def app(host: Host, clock: ManualClock, adapter: str, request: pytest.FixtureRequest) -> AsyncIterator[App]:
    store = await open_cosmos(request.getfixturevalue("emulator"), clock) if adapter == "cosmos" else None
    async with running(host, clock, store) as started:
        yield started


@pytest.fixture
async def ada(app: App) -> Account:
    """The first tenant_admin of a tenant."""
    return await app.register("ada@example.com")


@pytest.fixture
async def grace(app: App) -> Account:
    """The first tenant_admin of another tenant."""
    return await app.register("grace@example.org")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The conformance suite ran once for each adapter: one line each, so that everybody sees it."""
    for adapter in ("sqlite", "cosmos", "account"):
        counts = {
            outcome: sum(_is_of(each.nodeid, adapter) for each in terminalreporter.stats.get(outcome, []))
            for outcome in ("passed", "failed", "skipped")
        }
        if any(counts.values()):
            shown = ", ".join(f"{number} {outcome}" for outcome, number in counts.items())
            terminalreporter.write_line(f"conformance of the storage port on {adapter}: {shown}")


def _is_of(nodeid: str, adapter: str) -> bool:
    """Whether a test is one of the conformance suite's, run on this adapter."""
    parameters = nodeid.partition("[")[2].rstrip("]").split("-")
    return "/storage/test_conformance_" in nodeid and adapter in parameters
