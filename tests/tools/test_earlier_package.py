"""Which earlier package is deployed again: one that the deployment itself found good, and no other."""

import hashlib
import io
import zipfile
from pathlib import Path
from typing import Any

import httpx
import pytest

from tools.earlier_package import main
from tools.package import NAME

API = "https://api.example.com"
PACKAGE = b"PK of a good package"
DIGEST = f"{hashlib.sha256(PACKAGE).hexdigest()}  {NAME}\n".encode()
TOKEN = "ghs_secret"
OURS = {
    "path": ".github/workflows/deploy.yml",
    "head_branch": "main",
    "event": "push",
    "repository": {"id": 7},
    "head_repository": {"id": 7},
}


def artifact(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        for name, content in files.items():
            opened.writestr(name.replace("_", "."), content)
    return buffer.getvalue()


GOOD = artifact(package_zip=PACKAGE, package_zip_sha256=DIGEST)


class GitHub(httpx.BaseTransport):
    """As much of GitHub as is asked: runs, artifacts, and another host for their bytes."""

    def __init__(self, runs: dict[int, dict[str, Any]], artifacts: list[dict[str, Any]], content: bytes = GOOD) -> None:
        self.runs = runs
        self.artifacts = artifacts
        self.content = content
        self.requests: list[httpx.Request] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if request.url.host == "bytes.example.com":
            return httpx.Response(200, content=self.content)
        assert request.headers["authorization"] == f"Bearer {TOKEN}"
        path = request.url.path.removeprefix("/repos/example/audit/actions/")
        if path == "artifacts":
            wanted = request.url.params["name"]
            return self._listed([each for each in self.artifacts if each["name"] == wanted])
        if path.startswith("artifacts/"):
            return httpx.Response(302, headers={"Location": f"https://bytes.example.com/{path}"})
        number = int(path.split("/")[1])
        if path.endswith("/artifacts"):
            return self._listed([each for each in self.artifacts if each["workflow_run"]["id"] == number])
        return httpx.Response(200, json=self.runs[number]) if number in self.runs else httpx.Response(404)

    @staticmethod
    def _listed(found: list[dict[str, Any]]) -> httpx.Response:
        return httpx.Response(200, json={"total_count": len(found), "artifacts": found})

    @property
    def fetched(self) -> list[str]:
        return [each.url.path for each in self.requests if each.url.host == "bytes.example.com"]


def kept(number: int, run: int, name: str = "good-production", **changes: Any) -> dict[str, Any]:
    made = f"2026-03-{number:02}T00:00:00Z"
    return {"id": number, "name": name, "expired": False, "created_at": made, "workflow_run": {"id": run}} | changes


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_API_URL", API)
    monkeypatch.setenv("GITHUB_REPOSITORY", "example/audit")
    monkeypatch.setenv("GH_TOKEN", TOKEN)


def fetch(github: httpx.BaseTransport, output: Path, *which: str) -> int:
    return main([*(which or ("--good", "production")), "--output", str(output)], transport=github)


def test_the_newest_good_one_is_fetched(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    github = GitHub({1: OURS, 2: OURS}, [kept(3, 1), kept(5, 2), kept(4, 1), kept(9, 2, "good-staging")])
    assert fetch(github, tmp_path / "last") == 0
    assert github.fetched == ["/artifacts/5/zip"]
    assert (tmp_path / "last" / NAME).read_bytes() == PACKAGE
    assert (tmp_path / "last" / f"{NAME}.sha256").read_bytes() == DIGEST
    assert DIGEST.decode().split()[0] in capsys.readouterr().out


def test_the_token_goes_to_the_api_alone(tmp_path: Path) -> None:
    github = GitHub({1: OURS}, [kept(1, 1)])
    assert fetch(github, tmp_path) == 0
    (elsewhere,) = [each for each in github.requests if each.url.host != "api.example.com"]
    assert "authorization" not in elsewhere.headers


@pytest.mark.parametrize(
    "changes",
    [
        {"path": ".github/workflows/ci.yml"},
        {"path": ".github/workflows/deploy.yml.evil"},
        {"head_branch": "feature"},
        {"event": "pull_request"},
        {"event": "pull_request_target"},
        {"head_repository": {"id": 8}},
        {"head_repository": None},
        {"head_repository": {}, "repository": {}},
    ],
)
def test_what_a_branch_or_a_fork_calls_good_is_not_taken(tmp_path: Path, changes: dict[str, Any]) -> None:
    """It is the newest one; the older one, of main, is taken."""
    github = GitHub({1: OURS, 2: OURS | changes}, [kept(9, 2), kept(1, 1)])
    assert fetch(github, tmp_path) == 0
    assert github.fetched == ["/artifacts/1/zip"]
    assert fetch(github, tmp_path / "other", "--run", "2") == 1
    assert not (tmp_path / "other").exists()


def test_none_yet_is_told_and_no_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for artifacts in ([], [kept(1, 1, expired=True)]):
        assert fetch(GitHub({1: OURS}, artifacts), tmp_path / "last") == 0
        assert "nothing was found good in production" in capsys.readouterr().err
    assert not (tmp_path / "last").exists()


def test_the_package_of_a_run_must_have_been_good_somewhere(tmp_path: Path) -> None:
    github = GitHub({1: OURS, 2: OURS}, [kept(1, 1, "package"), kept(2, 2, "package"), kept(3, 2, "good-staging")])
    assert fetch(github, tmp_path / "one", "--run", "1") == 1
    assert fetch(github, tmp_path / "two", "--run", "2") == 0
    assert github.fetched == ["/artifacts/3/zip"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a zip",
        artifact(package_zip=PACKAGE),
        artifact(package_zip=PACKAGE + b"!", package_zip_sha256=DIGEST),
        artifact(package_zip=PACKAGE, package_zip_sha256=b"\xff"),
        artifact(package_zip=PACKAGE, package_zip_sha256=DIGEST + DIGEST),
    ],
)
def test_an_artifact_that_is_not_as_it_should_be_is_an_error(tmp_path: Path, content: bytes) -> None:
    assert fetch(GitHub({1: OURS}, [kept(1, 1)], content), tmp_path / "last") == 1
    assert not (tmp_path / "last").exists()


def test_nothing_but_the_two_files_is_written(tmp_path: Path) -> None:
    buffer = io.BytesIO(GOOD)
    with zipfile.ZipFile(buffer, "a") as opened:
        opened.writestr("../../outside", b"x")
        opened.writestr("more", b"x")
    assert fetch(GitHub({1: OURS}, [kept(1, 1)], buffer.getvalue()), tmp_path / "a" / "b") == 0
    assert sorted(each.name for each in tmp_path.rglob("*") if each.is_file()) == [NAME, f"{NAME}.sha256"]


@pytest.mark.parametrize("status", [401, 403, 404, 500])
def test_an_answer_of_trouble_is_an_error_and_not_none_yet(
    tmp_path: Path, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fetch(httpx.MockTransport(lambda _: httpx.Response(status, text=TOKEN)), tmp_path) == 1
    told = capsys.readouterr().err
    assert str(status) in told
    assert TOKEN not in told


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"artifacts": 7}'])
def test_an_answer_of_another_shape_is_an_error(tmp_path: Path, body: bytes) -> None:
    assert fetch(httpx.MockTransport(lambda _: httpx.Response(200, content=body)), tmp_path) == 1


def test_no_answer_is_an_error(tmp_path: Path) -> None:
    def gone(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError(TOKEN, request=request)

    assert fetch(httpx.MockTransport(gone), tmp_path) == 1


@pytest.mark.parametrize("name", ["GH_TOKEN", "GITHUB_API_URL", "GITHUB_REPOSITORY"])
@pytest.mark.parametrize("value", ["", "http://api.example.com/ x\n"])
def test_without_what_a_workflow_has_it_asks_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    github = GitHub({1: OURS}, [kept(1, 1)])
    assert fetch(github, tmp_path) == 1
    assert github.requests == []


@pytest.mark.parametrize("which", [("--run", "1; x"), ("--run", "²"), ("--run", "1", "--good", "production"), ("--x",)])
def test_bad_arguments_are_2(tmp_path: Path, which: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as ended:
        fetch(GitHub({}, []), tmp_path, *which)
    assert ended.value.code == 2
