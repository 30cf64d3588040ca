"""What keeps a version from being released, each by its name."""

import re
import shutil
import subprocess
from email.message import Message
from importlib import metadata
from pathlib import Path
from typing import cast

import pytest

from shared.core.version import VERSION
from tests.app import ROOT
from tests.shell_pages import fresh_copy
from tools import release
from tools.docs import PAGES

NOTED = "TO" + "DO"


def git(root: Path, *arguments: str) -> None:
    who = (
        "-c",
        "user.name=x",
        "-c",
        "user.email=x@example.com",
        "-c",
        "commit.gpgsign=false",
        "-c",
        "tag.gpgsign=false",
    )
    program = shutil.which("git")
    assert program
    subprocess.run([program, *who, *arguments], cwd=root, check=True, capture_output=True)  # noqa: S603


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Two commits of one file."""
    git(tmp_path, "init", "-q")
    for text in ("one\n", "two\n"):
        (tmp_path / "file.txt").write_text(text, encoding="utf-8")
        git(tmp_path, "add", ".")
        git(tmp_path, "commit", "-q", "-m", text)
    return tmp_path


def test_the_audit_looks_at_every_lock_file() -> None:
    script = (ROOT / "scripts" / "supply_chain.sh").read_text(encoding="utf-8")
    asked = re.search(r"for locked in (.*?); do", script, re.DOTALL)
    assert asked
    assert sorted(asked[1].replace("\\", " ").split()) == sorted(release.LOCKS)


@pytest.mark.parametrize(
    ("top", "reason"),
    [
        (f"## [{VERSION}] - 2026-11-27", None),
        (f"## [Unreleased]\n\n## [{VERSION}] - 2026-11-27", "[Unreleased]"),
        ("## [99.0.0] - 2026-11-27", "[99.0.0]"),
        (f"## [{VERSION}]", "no day"),
        (f"## [{VERSION}] - soon", "no day"),
        ("", "not there"),
    ],
)
def test_the_top_entry_of_the_changelog_is_the_version_with_its_day(
    tmp_path: Path, top: str, reason: str | None
) -> None:
    (tmp_path / "CHANGELOG.md").write_text(f"# Changelog\n\n{top}\n\n## [0.0.1] - 2026-01-01\n", encoding="utf-8")
    if not top:
        (tmp_path / "CHANGELOG.md").write_text("# Changelog\n", encoding="utf-8")
    against = list(release.changelog(tmp_path))
    assert (not against) if reason is None else (len(against) == 1 and reason in against[0])


def test_the_tag_is_free_or_of_this_commit(repository: Path) -> None:
    assert list(release.tag(repository)) == []
    git(repository, "tag", "-a", "-m", "x", f"v{VERSION}")
    assert list(release.tag(repository)) == []
    git(repository, "tag", "-f", f"v{VERSION}", "HEAD~1")
    assert list(release.tag(repository)) == [f"v{VERSION} is a tag of another commit already"]


def test_a_tree_with_what_is_not_committed(repository: Path) -> None:
    assert list(release.tree(repository)) == []
    (repository / "file.txt").write_text("three\n", encoding="utf-8")
    (repository / "new.txt").touch()
    assert list(release.tree(repository)) == [" M file.txt", "?? new.txt"]


def test_marks_of_what_is_not_done(repository: Path) -> None:
    assert list(release.marks(repository)) == []
    (repository / "file.txt").write_text(f"x\n# {NOTED}: y\nMAS{NOTED}N\n", encoding="utf-8")
    assert list(release.marks(repository)) == [f"file.txt:2:# {NOTED}: y"]


def test_what_is_generated_and_no_longer_current(tmp_path: Path) -> None:
    for name in (*(f"docs/{page}" for page in PAGES), "infra/containers.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    assert list(release.generated(tmp_path)) == []
    with (tmp_path / "docs/settings.md").open("a", encoding="utf-8") as page:
        page.write("x")
    (tmp_path / "infra/containers.json").unlink()
    assert [each.partition(":")[0] for each in release.generated(tmp_path)] == [
        "docs/settings.md",
        "infra/containers.json",
    ]


def test_a_package_that_cannot_be_built(tmp_path: Path) -> None:
    (tmp_path / ".funcignore").write_text(".funcignore\n", encoding="utf-8")
    (tmp_path / "secrets.txt").touch()
    assert [each.partition(":")[0] for each in release.package(tmp_path)] == ["secrets.txt"]


def test_every_dependency_is_looked_at(tmp_path: Path) -> None:
    here = metadata.version("pydantic")
    pins = (
        f"pydantic=={here} \\\n    --hash=sha256:0\ncryptography==0.1 ; python_version > '3'\nno-such-thing==1.0 \\\n"
    )
    (tmp_path / "requirements.txt").write_text(pins, encoding="utf-8")
    assert list(release.licences(tmp_path)) == [
        f"cryptography 0.1: {metadata.version('cryptography')} is installed here",
        "no-such-thing 1.0: not installed here",
    ]


def test_a_dependency_under_another_licence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "requirements.txt").write_text(f"pydantic=={metadata.version('pydantic')}\n", encoding="utf-8")
    monkeypatch.setattr(release, "LICENCES", frozenset({"ISC"}))
    assert list(release.licences(tmp_path)) == [f"pydantic {metadata.version('pydantic')}: MIT"]


@pytest.mark.parametrize(
    ("fields", "allowed"),
    [
        ({"License-Expression": "MIT"}, True),
        ({"License-Expression": "Apache-2.0 OR GPL-3.0-only"}, True),
        ({"License-Expression": "Apache-2.0 AND GPL-3.0-only"}, False),
        ({"License-Expression": "(MIT OR GPL-2.0-only) AND ISC"}, True),
        ({"License-Expression": "AGPL-3.0-only", "Classifier": "License :: OSI Approved :: MIT License"}, False),
        ({"Classifier": "License :: OSI Approved :: MIT License"}, True),
        ({"Classifier": "License :: OSI Approved :: GNU General Public License v3 (GPLv3)", "License": "MIT"}, False),
        ({"License": "BSD-3-Clause"}, True),
        ({"License": "Proprietary"}, False),
        ({}, False),
    ],
)
def test_which_licences_will_do(fields: dict[str, str], allowed: bool) -> None:
    message = Message()
    for name, value in fields.items():
        message[name] = value
    assert release.is_allowed(release.licence_of(cast("metadata.PackageMetadata", message))) == allowed


def test_lock_files_that_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a project without dependencies, so that nobody needs to be asked."""
    monkeypatch.setenv("UV_OFFLINE", "1")
    name, (source,) = "tests/infra/supply.txt", release.LOCKS["tests/infra/supply.txt"]
    monkeypatch.setattr(release, "LOCKS", {name: (source,)})
    (tmp_path / "tests/infra").mkdir(parents=True)
    (tmp_path / source).touch()
    (tmp_path / name).touch()
    assert list(release.locks(tmp_path)) == []
    (tmp_path / name).write_text("# more\n", encoding="utf-8")
    assert list(release.locks(tmp_path)) == [f"{name}: run `make lock`"]
    (tmp_path / source).write_text("not a requirement\n", encoding="utf-8")
    with pytest.raises(release.ReleaseError, match=r"supply\.txt: "):
        list(release.locks(tmp_path))


def test_the_whole_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """All but the lock files, which the package index would be asked about, on this project as it would be released."""
    monkeypatch.delitem(release.CHECKS, "locks")
    fresh_copy(ROOT, tmp_path)
    log = tmp_path / "CHANGELOG.md"
    text = log.read_text(encoding="utf-8")
    log.write_text(f"# Changelog\n\n## [{VERSION}] - 2026-11-27\n\n{text}", encoding="utf-8")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "x")
    assert release.main(["--root", str(tmp_path)]) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines()[-1] == f"{VERSION} can be released: git tag v{VERSION}"
    assert printed.out.count(" ok\n") == len(release.CHECKS)

    log.write_text(text.replace(f"[{VERSION}]", "[0.0.9]"), encoding="utf-8")
    (tmp_path / "shared/new.py").write_text(f"# {NOTED}\n", encoding="utf-8")
    git(tmp_path, "add", "-N", "shared/new.py")
    assert release.main(["--root", str(tmp_path)]) == 1
    assert capsys.readouterr().err == "release: not ready: changelog, tree, marks\n"


def test_what_cannot_be_checked_is_not_ready(tmp_path: Path) -> None:
    """A folder without anything."""
    reasons = release.found(tmp_path)
    assert {name for name, against in reasons.items() if not against} == set()
    assert reasons["tree"][0].startswith("cannot be checked: git status")


def test_make_lock_and_the_check_compile_alike() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for name, source in release.LOCKS.items():
        assert f"$(UV_COMPILE) {' '.join(source)} -o {name} >/dev/null\n" in makefile
    assert f"uv {' '.join(release._COMPILE)}\n" in makefile
