"""What keeps a version from being released, each by its name."""

import re
import shutil
import subprocess
from datetime import UTC, date, datetime, timedelta
from email.message import Message
from importlib import metadata
from pathlib import Path
from typing import cast

import pytest

from shared.core.version import VERSION
from tests.app import ROOT
from tests.fakes import ManualClock
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


def test_the_day_of_the_changelog_is_held_against_clock_and_first_commit(
    repository: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a clone that has the last commits alone nobody knows the first one."""
    monkeypatch.setenv("GIT_COMMITTER_DATE", "2027-02-03T12:00:00Z")
    git(repository, "checkout", "-q", "--orphan", "new")
    git(repository, "commit", "-q", "-m", "first")
    text = f"## [{VERSION}] - 2027-02-02\n\n### Added\n- It.\n"
    (repository / "CHANGELOG.md").write_text(text, encoding="utf-8")
    title = f"CHANGELOG.md: [{VERSION}] - 2027-02-02"
    early, late = date(2027, 2, 1), date(2027, 2, 4)
    first = f"{title}: its day is before the first commit (2027-02-03)"
    assert list(release.changelog(repository, late)) == [first]
    assert list(release.changelog(repository, early)) == [f"{title}: its day is not there yet", first]
    monkeypatch.setenv("GIT_COMMITTER_DATE", "2027-02-09T12:00:00Z")
    git(repository, "commit", "-q", "--allow-empty", "-m", "second")
    assert list(release.changelog(repository, late)) == [first]
    shallow = tmp_path_factory.mktemp("shallow")
    git(shallow, "clone", "-q", "--depth", "1", f"file://{repository}", ".")
    (shallow / "CHANGELOG.md").write_text(text, encoding="utf-8")
    assert list(release.changelog(shallow, late)) == []


@pytest.mark.parametrize(
    ("committed", "begun"),
    [("2027-02-03T01:00:00+05:00", date(2027, 2, 2)), ("2027-02-03T23:00:00-05:00", date(2027, 2, 4))],
)
def test_the_day_of_the_first_commit_is_that_of_utc(
    repository: Path, monkeypatch: pytest.MonkeyPatch, committed: str, begun: date
) -> None:
    monkeypatch.setenv("GIT_COMMITTER_DATE", committed)
    git(repository, "checkout", "-q", "--orphan", "new")
    git(repository, "commit", "-q", "-m", "first")
    day = begun - timedelta(days=1)
    (repository / "CHANGELOG.md").write_text(f"## [{VERSION}] - {day}\n\n### Added\n- It.\n", encoding="utf-8")
    before = f"CHANGELOG.md: [{VERSION}] - {day}: its day is before the first commit ({begun})"
    assert list(release.changelog(repository, date(2027, 3, 1))) == [before]


@pytest.fixture
def read_alone(tmp_path: Path) -> Path:
    """The least that is there to be read."""
    for name in release.REQUIRED:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("Words.\n", encoding="utf-8")
    assert list(release.pages(tmp_path)) == []
    return tmp_path


@pytest.mark.parametrize("name", release.REQUIRED)
def test_what_a_release_has_to_have(read_alone: Path, name: str) -> None:
    (read_alone / name).write_text(" \n", encoding="utf-8")
    assert list(release.pages(read_alone)) == [f"{name}: not there, or empty"]
    (read_alone / name).unlink()
    assert list(release.pages(read_alone)) == [f"{name}: not there, or empty"]


def test_what_pages_lead_to_name_and_show(read_alone: Path) -> None:
    (read_alone / "README.md").write_text("[a](docs/a.md), [b](LICENSE), made by version 9.9.9\n", encoding="utf-8")
    shown = f'{{"version":"9.9.9"}} {{"version": "{VERSION}"}} made by version {VERSION}\n'
    (read_alone / "docs/tutorial.md").write_text(shown, encoding="utf-8")
    (read_alone / "docs/b.md").write_text('`tests/chaos` `docs/b.md` {"version":"0.1"}\n', encoding="utf-8")
    assert list(release.pages(read_alone)) == [
        "README.md: docs/a.md leads nowhere",
        "README.md: shows the version 9.9.9",
        "docs/b.md: tests/chaos is not there",
        "docs/tutorial.md: shows the version 9.9.9",
    ]


def test_what_make_runs(tmp_path: Path) -> None:
    makefile = "\t@$(PYTHON) -m a.b\n\t@$(PYTHON) -m c\n\t@sh scripts/d.sh x\n\t$(PYTHON) -m pytest -n auto\n"
    (tmp_path / "Makefile").write_text(makefile, encoding="utf-8")
    missing = [f"Makefile: {name} is not there" for name in ("scripts/d.sh", "a.b", "c")]
    assert list(release.programs(tmp_path)) == missing
    for name in ("a/b/__main__.py", "scripts/d.sh"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    assert list(release.programs(tmp_path)) == missing[2:]
    (tmp_path / "c.py").touch()
    assert list(release.programs(tmp_path)) == []


@pytest.mark.parametrize("name", ["benchmarks", "chaos", "coverage-gaps", "mutation", "security"])
def test_a_report_that_is_gone_or_says_nothing(tmp_path: Path, name: str) -> None:
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    page, before = tmp_path / f"docs/{name}.md", set(release.reports(tmp_path))
    page.write_text("# Heading\n", encoding="utf-8")
    empty = set(release.reports(tmp_path)) - before
    assert {each.partition(":")[0] for each in empty} == {f"docs/{name}.md"}
    page.unlink()
    assert set(release.reports(tmp_path)) - before == {f"docs/{name}.md: not there"}


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
    for shown in ("normal", "no"):
        git(repository, "config", "status.showUntrackedFiles", shown)
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
    _, _, below = log.read_text(encoding="utf-8").partition("\n## ")
    text = f"# Changelog\n\n## [{VERSION}] - 2027-03-01\n{below.partition('\n')[2].partition('\n## ')[0]}\n"
    log.write_text(text, encoding="utf-8")
    monkeypatch.setenv("GIT_COMMITTER_DATE", "2027-02-01T12:00:00Z")
    clock = ManualClock(datetime(2027, 3, 1, 0, 30, tzinfo=UTC))
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "x")
    assert release.main(["--root", str(tmp_path)], clock) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines()[-1] == f"{VERSION} can be released: git tag v{VERSION}"
    assert printed.out.count(" ok\n") == 1 + len(release.CHECKS)

    log.write_text(text.replace(f"[{VERSION}]", "[0.0.9]"), encoding="utf-8")
    (tmp_path / "shared/new.py").write_text(f"# {NOTED}\n", encoding="utf-8")
    git(tmp_path, "add", "-N", "shared/new.py")
    shutil.rmtree(tmp_path / "tests/chaos")
    (tmp_path / "docs/coverage-gaps.md").write_text("# Coverage\n", encoding="utf-8")
    assert release.main(["--root", str(tmp_path)], clock) == 1
    assert capsys.readouterr().err == "release: not ready: changelog, tree, pages, programs, reports, marks\n"


def test_what_cannot_be_checked_is_not_ready(tmp_path: Path) -> None:
    """A folder without anything."""
    reasons = release.found(tmp_path, date(2026, 11, 28))
    assert {name for name, against in reasons.items() if not against} == set()
    assert reasons["tree"][0].startswith("cannot be checked: git status")


def test_make_lock_and_the_check_compile_alike() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for name, source in release.LOCKS.items():
        assert f"$(UV_COMPILE) {' '.join(source)} -o {name} >/dev/null\n" in makefile
    assert f"uv {' '.join(release._COMPILE)}\n" in makefile
