"""The package that Azure takes: the same each time, the app and nothing else, and it serves where only it is."""

import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import azure.functions as func
import pytest

import functions
from shared.core.settings import Settings
from shared.wiring import LazyServices
from tests.app import ROOT
from tools.package import NAME, TOP, PackageError, build, files_of, main

BASE: str = sys._base_executable  # type: ignore[attr-defined]  # the Python below the one of the tests
NOT_AT_RUN_TIME = ("tests", "infra", "devhost", "docs", "bench", "scripts", "dist", "node_modules", "__pycache__")
PLANTED = (
    "local.settings.json",
    "shared/local.settings.json",
    ".env",
    ".env.production",
    "functions/.env",
    ".azure/production/.env",
    "shared/__pycache__/secrets.cpython-313.pyc",
    "functions/old.pyc",
    "certificate.pem",
    "shared/identity/signing.key",
    ".kraftd/secrets/kraftd-tokens",
    ".github/workflows/ci.yml",
    "tests/test_x.py",
    "devhost/x.py",
    "infra/main.bicep",
    "tools/operator.py",
    "dist/package.zip",
    "README.md",
)
LISTING = """
import asyncio, importlib.metadata, json, sys
worker, app = sys.argv[1:]
sys.path.append(worker)  # after what the app brings: it is the platform's
from types import SimpleNamespace
from azure_functions_runtime import handle_event
from azure_functions_runtime.bindings.meta import load_binding_registry
class Info(SimpleNamespace):
    undefined, out, inout = 0, 1, 2
handle_event.protos = SimpleNamespace(
    BindingInfo=Info, RpcRetryOptions=SimpleNamespace, RpcFunctionMetadata=SimpleNamespace
)
load_binding_registry()
sys.path.insert(0, app)
handle_event.load_function_metadata(app, caller_info="test")
found = sorted(each.name for each in handle_event._metadata_result)
files = sorted({each.__file__ for each in list(sys.modules.values()) if getattr(each, "__file__", None)})
print(json.dumps({"functions": found, "files": files}))
"""
"""What Azure's worker does first: import the app and list its functions, with the modules that this loads."""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package of this project."""
    return build(ROOT, tmp_path_factory.mktemp("package") / NAME).path


def names_in(package: Path) -> list[str]:
    with zipfile.ZipFile(package) as opened:
        return opened.namelist()


def test_it_holds_the_app_and_nothing_else(package: Path) -> None:
    names = names_in(package)
    assert {"function_app.py", "host.json", "requirements.txt", "tools/verify_evidence.py"} <= set(names)
    assert "shared/compliance/render/report.typ" in names, "not only Python"
    assert {name.partition("/")[0] for name in names} <= TOP
    assert not [name for name in names if set(name.split("/")) & set(NOT_AT_RUN_TIME)]
    assert [name for name in names if name.startswith("tools/")] == ["tools/verify_evidence.py"]
    assert len(names) > 150


def test_it_is_the_same_each_time(package: Path, tmp_path: Path) -> None:
    """From a copy whose files have other times, modes and order too."""
    copy = tmp_path / "copy"
    for name in reversed(names_in(package)):
        target = copy / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, target)
        target.chmod(0o600)
        os.utime(target, (1, 1))
    shutil.copyfile(ROOT / ".funcignore", copy / ".funcignore")
    again = build(copy, tmp_path / NAME)
    assert again.path.read_bytes() == package.read_bytes()
    assert again.digest == hashlib.sha256(package.read_bytes()).hexdigest()
    with zipfile.ZipFile(package) as opened:
        assert opened.testzip() is None
        assert opened.namelist() == sorted(opened.namelist())
        assert {each.date_time for each in opened.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert {each.external_attr >> 16 for each in opened.infolist()} == {0o100644}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A small project under the rules of this one, without version control."""
    root = tmp_path / "project"
    for name in ("function_app.py", "host.json", "requirements.txt", "shared/a.py", "functions/b.py"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"# {name}\n", encoding="utf-8")
    shutil.copyfile(ROOT / ".funcignore", root / ".funcignore")
    return root


OWN = ["function_app.py", "functions/b.py", "host.json", "requirements.txt", "shared/a.py"]


def test_secrets_and_leftovers_stay_out(project: Path, tmp_path: Path) -> None:
    for name in PLANTED:
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text("planted secret", encoding="utf-8")
    built = build(project, tmp_path / "out" / NAME)
    assert names_in(built.path) == OWN
    with zipfile.ZipFile(built.path) as opened:
        assert not [name for name in opened.namelist() if b"planted" in opened.read(name)]


@pytest.mark.parametrize("name", ["local.settings.json", "x/__pycache__/y.pyc", ".git/config", ".azure/x/.env"])
def test_some_things_stay_out_whatever_the_rules_say(project: Path, name: str) -> None:
    (project / ".funcignore").write_text(".funcignore\n", encoding="utf-8")
    (project / "shared" / name).parent.mkdir(parents=True, exist_ok=True)
    (project / "shared" / name).write_text("planted", encoding="utf-8")
    assert files_of(project) == OWN


@pytest.mark.parametrize("name", ["shared/link.py", "tools/x", "notes"])
@pytest.mark.parametrize("target", ["/etc/passwd", "../../outside", "missing", "shared"])
def test_a_link_is_refused(project: Path, tmp_path: Path, name: str, target: str) -> None:
    (tmp_path / "outside").write_text("not of the project", encoding="utf-8")
    (project / name).parent.mkdir(exist_ok=True)
    (project / name).symlink_to(target)
    with pytest.raises(PackageError, match=f"{name}: a link"):
        build(project, tmp_path / NAME)
    assert not list(tmp_path.glob(f"{NAME}*"))


def test_an_ignored_link_is_none_of_its_business(project: Path) -> None:
    (project / ".venv").symlink_to("/usr")
    assert files_of(project) == OWN


@pytest.mark.parametrize("name", ["notes.txt", "secrets/token", ".npmrc", "id_rsa", "backup.sql"])
def test_what_is_no_part_of_the_app_is_refused(project: Path, name: str) -> None:
    (project / name).parent.mkdir(exist_ok=True)
    (project / name).write_text("?", encoding="utf-8")
    with pytest.raises(PackageError, match="neither part of the app"):
        files_of(project)


def test_what_is_not_in_version_control_is_refused(project: Path) -> None:
    def git(*arguments: str) -> None:
        subprocess.run(["git", *arguments], cwd=project, check=True, capture_output=True)  # noqa: S603, S607

    git("init", "--quiet")
    git("add", ".")
    assert files_of(project) == OWN
    (project / "shared" / "café.py").write_text("", encoding="utf-8")
    with pytest.raises(PackageError, match="café"):
        files_of(project)
    git("add", ".")
    assert "shared/café.py" in files_of(project)


def test_version_control_that_does_not_answer_is_no_leave(project: Path) -> None:
    (project / ".git").write_text("gitdir: /nowhere\n", encoding="utf-8")
    with pytest.raises(PackageError, match="git does not say"):
        files_of(project)


def test_a_fifo_is_refused(project: Path) -> None:
    os.mkfifo(project / "shared" / "pipe")
    with pytest.raises(PackageError, match="shared/pipe: not a file"):
        files_of(project)


@pytest.mark.parametrize("name", ["function_app.py", "host.json", "requirements.txt"])
def test_an_app_that_lacks_something_is_refused(project: Path, tmp_path: Path, name: str) -> None:
    (project / name).unlink()
    assert main(["--root", str(project), "--output", str(tmp_path / "out")]) == 1
    assert not (tmp_path / "out" / NAME).exists()


def test_the_command_says_what_it_built(project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(["--root", str(project), "--output", str(out)]) == 0
    digest = hashlib.sha256((out / NAME).read_bytes()).hexdigest()
    told = capsys.readouterr().out
    assert f"{(out / NAME).stat().st_size:,} bytes, 5 files" in told
    assert digest in told
    assert (out / f"{NAME}.sha256").read_text(encoding="utf-8") == f"{digest}  {NAME}\n"
    assert not list(out.glob("*.part"))


def test_the_rules_are_read_alike_by_everybody() -> None:
    """Plain names and stars at the end of one: of exceptions and the rest, each reader has its own idea."""
    for line in (ROOT / ".funcignore").read_text(encoding="utf-8").splitlines():
        assert re.fullmatch(r"[\w.*/-]+", line), line
        assert not line.startswith("/"), line


@pytest.fixture(scope="module")
def unpacked(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A machine with nothing but the package: `app`; `venv` with its requirements.txt alone; `worker`, which is the
    platform's and comes with no package."""
    machine = tmp_path_factory.mktemp("machine")
    with zipfile.ZipFile(io.BytesIO(package.read_bytes())) as opened:
        opened.extractall(machine / "app")
    locked = (ROOT / "requirements-dev.txt").read_text(encoding="utf-8")
    worker = [
        block
        for block in re.split(r"\n(?=[a-z0-9])", locked)
        if re.match(r"(azure-functions-runtime|azurefunctions-extensions-base)==", block)
    ]
    assert len(worker) == 2
    (machine / "worker.txt").write_text("\n".join(worker), encoding="utf-8")
    python = str(machine / "venv/bin/python")
    hashed = ("--require-hashes", "--python", python)
    _uv("venv", "--python", BASE, str(machine / "venv"))
    _uv("pip", "sync", *hashed, str(machine / "app/requirements.txt"))
    _uv("pip", "install", *hashed, "--no-deps", "--target", str(machine / "worker"), "-r", str(machine / "worker.txt"))
    return machine


def _uv(*arguments: str) -> None:
    command = [str(Path(sys.executable).with_name("uv")), *arguments, "--quiet"]
    environment = {**os.environ, "UV_SYSTEM_CERTS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("role", ["app", "erasure"])
def test_it_serves_where_there_is_nothing_else(unpacked: Path, role: str, tmp_path: Path) -> None:
    """The functions that Azure's worker lists are those that the app registers here, of each role."""
    command = [str(unpacked / "venv/bin/python"), "-I", "-c", LISTING, str(unpacked / "worker"), str(unpacked / "app")]
    environment = {"APP_ROLE": role, "PATH": os.environ["PATH"]}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["functions"] == registered(role)
    assert role == "app" or found["functions"] == ["keep_held", "run_erasures"]
    homes = (unpacked, Path(BASE).resolve().parents[1])
    strangers = [
        each for each in found["files"] if not any(Path(each).resolve().is_relative_to(home) for home in homes)
    ]
    assert not strangers, "it stands on the package, what Azure installs and brings, and Python"


def registered(role: str) -> list[str]:
    """The names of the functions that the app registers in a role."""
    app = func.FunctionApp()
    functions.register(app, LazyServices(Settings(app_role=role, kraftd_data=":memory:")))
    return sorted(str(each.get_function_name()) for each in app.get_functions())
