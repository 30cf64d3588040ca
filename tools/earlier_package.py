"""`python -m tools.earlier_package`: fetch a package that an earlier run of the deployment has found good.

In a workflow: GITHUB_REPOSITORY, GITHUB_API_URL and GH_TOKEN are in the environment. A package counts when the deploy
workflow, run by a push or by hand on main of this repository, kept it after its smoke run (`good-<environment>`). A
branch or a fork can make artifacts of any name; none of them is taken.

Exit code: 0, also when nothing is to be had of `--good` (a first deployment), which is told; 1 when a package is there
and cannot be fetched or is not what it should be, or when `--run` names no good one; 2 for bad arguments.
"""

import argparse
import hashlib
import io
import os
import re
import sys
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tools.package import NAME

WORKFLOW = ".github/workflows/deploy.yml"
BRANCH = "main"
EVENTS = ("push", "workflow_dispatch")
DIGEST = f"{NAME}.sha256"
_REPOSITORY = re.compile(r"[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+")
_MOST_BYTES = 100 << 20


class FetchError(Exception):
    """There is no telling which package is the right one, or it is not to be had."""


@dataclass(frozen=True, slots=True)
class GitHub:
    """The artifacts and runs of one repository."""

    http: httpx.Client
    repository: str

    def artifacts(self, where: str, **query: str) -> list[dict[str, Any]]:
        """The artifacts that are still there, the newest first."""
        found = self._json(f"{where}artifacts", per_page="100", **query).get("artifacts")
        if not isinstance(found, list):
            raise FetchError("GitHub lists no artifacts")
        left = [each for each in found if not each.get("expired")]
        return sorted(left, key=lambda each: str(each.get("created_at")), reverse=True)

    def is_ours(self, run_id: Any) -> bool:
        """Whether a run is one of the deploy workflow on the main branch of this repository."""
        run = self._json(f"runs/{run_id}")
        head, home = (run.get(name) or {} for name in ("head_repository", "repository"))
        return (
            str(run.get("path", "")).partition("@")[0] == WORKFLOW
            and run.get("head_branch") == BRANCH
            and run.get("event") in EVENTS
            and head.get("id") is not None
            and head.get("id") == home.get("id")
        )

    def content(self, artifact: Mapping[str, Any]) -> bytes:
        """The ZIP that holds an artifact."""
        answer = self._get(f"artifacts/{artifact.get('id')}/zip")
        if len(answer.content) > _MOST_BYTES:
            raise FetchError("the artifact is larger than any package")
        return answer.content

    def _json(self, path: str, **query: str) -> dict[str, Any]:
        try:
            found = self._get(path, **query).json()
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise FetchError(f"GitHub answers {path} with something else")
        return found

    def _get(self, path: str, **query: str) -> httpx.Response:
        try:
            answer = self.http.get(f"repos/{self.repository}/actions/{path}", params=query or None)
        except httpx.HTTPError as error:
            raise FetchError(f"GitHub does not answer {path}: {type(error).__name__}") from None
        if answer.status_code != 200:
            raise FetchError(f"GitHub answers {path} with {answer.status_code}")
        return answer


def good_in(github: GitHub, environment: str) -> dict[str, Any] | None:
    """The newest package that was found good in an environment; None when there is none. FetchError."""
    for artifact in github.artifacts("", name=f"good-{environment}"):
        run_id = (artifact.get("workflow_run") or {}).get("id")
        if run_id is not None and github.is_ours(run_id):
            return artifact
    return None


def good_of(github: GitHub, run_id: str) -> dict[str, Any]:
    """The package of a run, which was found good in some environment. FetchError when there is none."""
    if not github.is_ours(run_id):
        raise FetchError(f"run {run_id} is not a deployment of main")
    for artifact in github.artifacts(f"runs/{run_id}/"):
        if str(artifact.get("name")).startswith("good-"):
            return artifact
    raise FetchError(f"run {run_id} has no package that was found good, or no longer")


def unpack(content: bytes, folder: Path) -> str:
    """Write package and digest into a folder; the digest. FetchError unless they are there and fit."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as opened:
            package, told = opened.read(NAME), opened.read(DIGEST).decode("ascii")
    except (zipfile.BadZipFile, KeyError, UnicodeDecodeError, ValueError):
        raise FetchError("the artifact is not a package and its digest") from None
    digest = hashlib.sha256(package).hexdigest()
    if told != f"{digest}  {NAME}\n":
        raise FetchError("the package is not the one that its digest is of")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / NAME).write_bytes(package)
    (folder / DIGEST).write_text(told, encoding="ascii")
    return digest


def main(arguments: Sequence[str] | None = None, *, transport: httpx.BaseTransport | None = None) -> int:
    """Fetch it. `transport` is for tests."""
    options = _parser().parse_args(arguments)
    try:
        with _client(os.environ, transport) as http:
            github = GitHub(http, _needed(os.environ, "GITHUB_REPOSITORY", _REPOSITORY))
            found = good_of(github, options.run) if options.run else good_in(github, options.good)
            if found is None:
                print(f"earlier_package: nothing was found good in {options.good} yet", file=sys.stderr)
                return 0
            digest = unpack(github.content(found), options.output)
    except (FetchError, OSError) as error:
        print(f"earlier_package: {error}", file=sys.stderr)
        return 1
    print(f"{options.output / NAME}: of {found.get('created_at')}, sha256 {digest}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.earlier_package", description="Fetch a package that was found good."
    )
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--good", metavar="ENVIRONMENT", help="the last one that was found good there")
    which.add_argument("--run", metavar="ID", type=_run_id, help="that of a run, found good in any environment")
    parser.add_argument("--output", type=Path, required=True, help="folder that it is put into")
    return parser


def _run_id(text: str) -> str:
    if not text.isascii() or not text.isdecimal():
        raise argparse.ArgumentTypeError("is not the number of a run")
    return text


def _client(environment: Mapping[str, str], transport: httpx.BaseTransport | None) -> httpx.Client:
    """A client that gives its token to the API alone, not to where an artifact's bytes are."""
    token = _needed(environment, "GH_TOKEN", re.compile(r"[\x21-\x7e]+"))
    headers = {"Authorization": f"Bearer {token}", "Accept": "application/vnd.github+json"}
    url = _needed(environment, "GITHUB_API_URL", re.compile(r"https://[\x21-\x7e]+"))
    return httpx.Client(base_url=url, headers=headers, timeout=60, follow_redirects=True, transport=transport)


def _needed(environment: Mapping[str, str], name: str, form: re.Pattern[str]) -> str:
    value = environment.get(name, "")
    if not form.fullmatch(value):
        raise FetchError(f"{name} is not set, or not to what it should be")
    return value


if __name__ == "__main__":
    sys.exit(main())
