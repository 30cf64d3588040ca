"""What a fresh machine and Azure will install, and what they must not be told."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from shared.core.settings import Settings
from shared.core.version import VERSION
from tests.app import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
_LOCKED = ("requirements.txt", "requirements-dev.txt")
COMPILE = ["pip", "compile", "--quiet", "--generate-hashes", "--universal", "--no-header", "--python-version", "3.13"]


@pytest.mark.parametrize(("name", "group"), [("requirements.txt", []), ("requirements-dev.txt", ["--group", "dev"])])
def test_the_lock_files_are_what_pyproject_compiles_to(tmp_path: Path, name: str, group: list[str]) -> None:
    """Compiled again over the locked versions, nothing changes. Needs the package index, as setting up does."""
    locked = (ROOT / name).read_text(encoding="utf-8")
    shutil.copy(ROOT / name, tmp_path)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    uv = Path(sys.executable).with_name("uv")
    command = [str(uv), *COMPILE, "pyproject.toml", *group, "-o", name]
    environment = {**os.environ, "UV_SYSTEM_CERTS": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr
    assert (tmp_path / name).read_text(encoding="utf-8") == locked, "run `make lock`"


_OF_CHECKS = {"tests/infra/requirements.txt": 5, "tests/infra/supply.txt": 5, "tests/fuzz/requirements.txt": 0}


@pytest.mark.parametrize(("name", "more_than"), [*((name, 5) for name in _LOCKED), *_OF_CHECKS.items()])
def test_every_requirement_is_pinned_and_hashed_and_names_no_index(name: str, more_than: int) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    requirements = [block for block in re.split(r"\n(?=[a-z0-9])", text) if block]
    assert len(requirements) > more_than
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


def test_the_version_is_one() -> None:
    assert PROJECT["project"]["version"] == VERSION
    assert f"[{VERSION}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


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


@pytest.mark.parametrize("folder", ["functions", "shared", "devhost", "bench"])
def test_modules_stay_readable(folder: str) -> None:
    """A module above 400 lines is probably two."""
    for path in sorted((ROOT / folder).rglob("*.py")):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 400, path.relative_to(ROOT)
