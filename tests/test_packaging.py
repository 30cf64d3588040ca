"""What a fresh machine and Azure will install, and what they must not be told."""

import json
import re
import tomllib

import pytest

from shared.core.settings import Settings
from tests.app import ROOT
from tools.release import LOCKS, compiled

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
_LOCKED = ("requirements.txt", "requirements-dev.txt")


@pytest.mark.parametrize("name", _LOCKED)
def test_the_lock_files_are_what_pyproject_compiles_to(name: str) -> None:
    """Compiled again over the locked versions, nothing changes. Needs the package index, as setting up does."""
    assert compiled(ROOT, name) == (ROOT / name).read_text(encoding="utf-8"), "run `make lock`"


_FEW = {"tests/fuzz/requirements.txt"}


@pytest.mark.parametrize("name", LOCKS)
def test_every_requirement_is_pinned_and_hashed_and_names_no_index(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    requirements = [block for block in re.split(r"\n(?=[a-z0-9])", text) if block]
    assert len(requirements) > (0 if name in _FEW else 5)
    for block in requirements:
        assert re.match(r"[a-z0-9._-]+==\S+", block), block.splitlines()[0]
        assert "--hash=sha256:" in block, block.splitlines()[0]
    assert not re.search(r"--(extra-)?index-url|--find-links|https?://", text)


def test_what_azure_installs_is_among_what_developers_install() -> None:
    def pins(name: str) -> set[str]:
        return set(re.findall(r"^[a-z0-9._-]+==\S+", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE))

    assert pins("requirements.txt") <= pins("requirements-dev.txt")


def test_every_runtime_dependency_has_its_reason() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    section = text[text.index("dependencies = [") : text.index("[dependency-groups]")]
    lines = [line for line in section.splitlines() if line.strip().startswith('"')]
    assert len(lines) == len(PROJECT["project"]["dependencies"])
    assert all(re.search(r",\s+# \S.{10,}", line) for line in lines)


def test_the_package_for_azure_leaves_out_what_only_developers_need() -> None:
    ignored = set((ROOT / ".funcignore").read_text(encoding="utf-8").split())
    assert {".git*", ".venv", ".kraftd", "tests", "docs", "bench", "devhost", "local.settings.json"} <= ignored
    assert not ignored & {"functions", "shared", "function_app.py", "host.json", "requirements.txt"}


def test_the_offline_verifier_alone_of_the_tools_goes_to_azure() -> None:
    """Every evidence bundle carries it."""
    ignored = set((ROOT / ".funcignore").read_text(encoding="utf-8").split())
    tools = {path.relative_to(ROOT).as_posix() for path in (ROOT / "tools").iterdir()}
    assert tools - ignored - {"tools/__pycache__"} == {"tools/verify_evidence.py"}
    assert "tools" not in ignored


def test_example_settings_are_settings() -> None:
    values = json.loads((ROOT / "local.settings.example.json").read_text(encoding="utf-8"))["Values"]
    own = set(values) - {"AzureWebJobsStorage", "FUNCTIONS_WORKER_RUNTIME"}
    known = {name.upper() for name in Settings.model_fields}
    assert own <= known
    optional = {name.upper() for name, field in Settings.model_fields.items() if field.default is None}
    assert known - own == optional | {"COSMOS_DB_EMULATOR"}  # which is refused without an endpoint that it is about


def test_host_json_is_what_the_functions_expect() -> None:
    host = json.loads((ROOT / "host.json").read_text(encoding="utf-8"))
    assert host["extensions"]["http"]["routePrefix"] == "api"
    assert host["extensionBundle"]["version"] == "[4.*, 5.0.0)"
    assert host["telemetryMode"] == "OpenTelemetry"


def test_make_help_names_every_target() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", text, re.MULTILINE))
    documented = set(re.findall(r"^([a-z-]+):.*## ", text, re.MULTILINE))
    assert targets == documented
    assert {"setup", "serve", "demo", "test", "bench"} <= targets
