"""`python -m tools.release`: whether what is here can be released as the version that it says it is.

It looks at all of it and changes nothing: changelog and tag, the tree, pages and what they lead to, the figures of how
it was tried, what is generated, the package, the licences of what Azure installs, marks of unfinished work, the lock
files (which needs the package index, as setting up does).
Tests are not run: `make test`. Exit code: 0, 1 with each reason under the name of its check, 2 for bad arguments.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime
from functools import partial
from importlib import metadata
from pathlib import Path

from shared.core.clock import Clock, SystemClock
from shared.core.version import VERSION
from tools import _changelog, _links, _reports
from tools.docs import PAGES
from tools.infra import FILE, containers_json
from tools.package import NAME, PackageError, build

LOCKS = {
    "requirements.txt": ("pyproject.toml",),
    "requirements-dev.txt": ("pyproject.toml", "--group", "dev"),
    "tests/infra/requirements.txt": ("tests/infra/requirements.in",),
    "tests/infra/supply.txt": ("tests/infra/supply.in",),
    "tests/fuzz/requirements.txt": ("tests/fuzz/requirements.in",),
    "tests/mutation/requirements.txt": ("tests/mutation/requirements.in",),
}
"""Every lock file, and what it is compiled of; so does `make lock`."""
LICENCES = frozenset(
    ("Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MIT-0", "MPL-2.0", "PSF-2.0", "Unlicense")
)
"""What a dependency at run time may be under (SPDX): permissive, or for its own files alone (MPL)."""
_COMPILE = ("pip", "compile", "--quiet", "--generate-hashes", "--universal", "--no-header", "--python-version", "3.13")
_CLASSIFIERS = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
}
_MARKS = "T[O]DO|F[I]XME|X[X]X"  # which this line is none of
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)


REQUIRED = ("LICENSE", "SECURITY.md", "README.md", "CHANGELOG.md", "docs/tutorial.md")
"""What a release has beside what pages lead to."""
_SHOWN = re.compile(r"""["']version["']: ?["']([^"']+)["']|\bmade by version (\S+)""")
_SHOWING = ("README.md", "docs/tutorial.md")


def changelog(root: Path, today: date) -> Iterator[str]:
    """What is wrong with the changelog, were this released on a day (UTC)."""
    for reason in _changelog.against((root / "CHANGELOG.md").read_text(encoding="utf-8"), VERSION, today, _begun(root)):
        yield f"CHANGELOG.md: {reason}"


def _begun(root: Path) -> date | None:
    """The day of the first commit (UTC); None where only the last ones were fetched."""
    if _git(root, "rev-parse", "--is-shallow-repository").strip() != "false":
        return None
    times = _git(root, "log", "--max-parents=0", "--format=%ct", "HEAD").split()
    return datetime.fromtimestamp(min(map(int, times)), UTC).date()


def pages(root: Path) -> Iterator[str]:
    """Pages that are missing, what they lead to and name that is not there, and versions in them that are another."""
    for name in REQUIRED:
        if not (root / name).is_file() or not (root / name).read_text(encoding="utf-8").strip():
            yield f"{name}: not there, or empty"
    for page in _links.pages(root):
        name, text = page.relative_to(root).as_posix(), page.read_text(encoding="utf-8")
        for link in _links.broken_links(page, text):
            yield f"{name}: {link} leads nowhere"
        for file in sorted(each for each in _links.named_files(text) if not _links.is_there(root, each)):
            yield f"{name}: {file} is not there"
        for shown in _SHOWN.findall(text) if name in _SHOWING else ():
            if VERSION not in shown:
                yield f"{name}: shows the version {''.join(shown)}"


def programs(root: Path) -> Iterator[str]:
    """Programs of this project that `make` runs and that are not there."""
    text = (root / "Makefile").read_text(encoding="utf-8")
    for script in re.findall(r"\bsh (scripts/\S+)", text):
        if not (root / script).is_file():
            yield f"Makefile: {script} is not there"
    for name in re.findall(r"\$\(PYTHON\) -m ([\w.]+)", text):
        place = root / name.replace(".", "/")
        if name != "pytest" and not (place / "__main__.py").is_file() and not place.with_suffix(".py").is_file():
            yield f"Makefile: {name} is not there"


def reports(root: Path) -> Iterator[str]:
    """What the pages do not say that tell how this was tried."""
    from bench._aims import AIMS
    from tests.mutation.scopes import SCOPES

    checks: dict[str, Callable[[str], Iterator[str]]] = {
        "benchmarks": lambda text: _reports.benchmarks(text, [aim.text for aim in AIMS]),
        "chaos": _reports.chaos,
        "coverage-gaps": _reports.coverage,
        "mutation": lambda text: _reports.mutation(text, SCOPES),
        "security": _reports.security,
    }
    for name, check in checks.items():
        path = root / "docs" / f"{name}.md"
        told = check(path.read_text(encoding="utf-8")) if path.is_file() else ("not there",)
        for reason in told:
            yield f"docs/{name}.md: {reason}"


def tag(root: Path) -> Iterator[str]:
    """Whether the tag of the version is at another commit already."""
    name = tag_to_be()
    there = _git(root, "tag", "--list", name).strip()
    if there and _git(root, "rev-list", "-n", "1", name) != _git(root, "rev-parse", "HEAD"):
        yield f"{name} is a tag of another commit already"


def tag_to_be() -> str:
    """The name of the tag that this version gets."""
    return f"v{VERSION}"


def tree(root: Path) -> Iterator[str]:
    """What is not committed, whatever git is set to leave out."""
    yield from _git(root, "status", "--porcelain", "--untracked-files=normal").splitlines()


def generated(root: Path) -> Iterator[str]:
    """Pages and files that are not what they are generated from."""
    made = {f"docs/{name}": make for name, make in PAGES.items()} | {f"infra/{FILE.name}": containers_json}
    for name, make in made.items():
        path = root / name
        if not path.is_file() or path.read_text(encoding="utf-8") != make():
            yield f"{name}: run `make docs`"


def package(root: Path) -> Iterator[str]:
    """Why the package of Azure cannot be built."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            build(root, Path(folder) / NAME)
        except (PackageError, OSError) as error:
            yield str(error)


def licences(root: Path) -> Iterator[str]:
    """Dependencies at run time, all the way down, that are under none of LICENCES, or that nobody here can tell of."""
    for name, version in _PIN.findall((root / "requirements.txt").read_text(encoding="utf-8")):
        try:
            installed = metadata.metadata(name)
        except metadata.PackageNotFoundError:
            yield f"{name} {version}: not installed here"
            continue
        licence = licence_of(installed)
        if metadata.version(name) != version:
            yield f"{name} {version}: {metadata.version(name)} is installed here"
        elif not is_allowed(licence):
            yield f"{name} {version}: {licence or 'no licence is named'}"


def licence_of(package: metadata.PackageMetadata) -> str:
    """The SPDX expression of a distribution, of its classifiers where it has none, or what its field of old says."""
    told = package.get_all("Classifier") or []
    classified = [each.rpartition(" :: ")[2] for each in told if each.startswith("License :: OSI Approved :: ")]
    expression = package.get("License-Expression")
    if expression or classified:
        return expression or " AND ".join(_CLASSIFIERS.get(each, each) for each in classified)
    return (package.get("License", "").splitlines() or [""])[0]


def is_allowed(expression: str) -> bool:
    """Whether each part that has to hold is, or offers, one of LICENCES. What is nested otherwise is refused."""
    parts = re.split(r" AND ", expression)
    return all(any(each.strip(" ()") in LICENCES for each in part.split(" OR ")) for part in parts)


def marks(root: Path) -> Iterator[str]:
    """Where somebody noted that something is not done."""
    yield from _git(root, "grep", "-nIwE", _MARKS, fine=(0, 1)).splitlines()


def locks(root: Path) -> Iterator[str]:
    """Lock files that change when they are compiled over the versions that they lock."""
    for name in LOCKS:
        if compiled(root, name) != (root / name).read_text(encoding="utf-8"):
            yield f"{name}: run `make lock`"


def compiled(root: Path, name: str) -> str:
    """A lock file as it is compiled again, over the versions that it has. ReleaseError when that fails."""
    source, *group = LOCKS[name]
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for each in (name, source):
            (copy / each).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / each, copy / each)
        command = [str(Path(sys.executable).with_name("uv")), *_COMPILE, source, *group, "-o", name]
        done = subprocess.run(  # noqa: S603 - uv, of this environment
            command, cwd=copy, env={**os.environ, "UV_SYSTEM_CERTS": "1"}, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise ReleaseError(f"{name}: {done.stderr.strip()[-300:]}")
        return (copy / name).read_text(encoding="utf-8")


class ReleaseError(Exception):
    """A check could not be made."""


def _git(root: Path, *arguments: str, fine: tuple[int, ...] = (0,)) -> str:
    git = shutil.which("git")
    if git is None:
        raise ReleaseError("git is needed")
    done = subprocess.run([git, *arguments], cwd=root, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode not in fine:
        raise ReleaseError(f"git {arguments[0]}: {done.stderr.strip()}")
    return done.stdout


CHECKS: dict[str, Callable[[Path], Iterator[str]]] = {
    each.__name__: each for each in (tag, tree, pages, programs, reports, generated, package, licences, marks, locks)
}
"""Every check by its name, but `changelog`, which wants the day: what it has against the project of a folder."""


def found(root: Path, today: date) -> dict[str, list[str]]:
    """What each check has to say; one that cannot be made says why."""
    reasons: dict[str, list[str]] = {}
    checks: dict[str, Callable[[Path], Iterator[str]]] = {"changelog": partial(changelog, today=today)}
    for name, check in (checks | CHECKS).items():
        try:
            reasons[name] = list(check(root))
        except (ReleaseError, OSError, ImportError, UnicodeDecodeError) as error:
            reasons[name] = [f"cannot be checked: {error}"]
    return reasons


def main(arguments: Sequence[str] | None = None, clock: Clock | None = None) -> int:
    """Print a line for each check, and one for each reason against a release."""
    parser = argparse.ArgumentParser(prog="python -m tools.release", description="Whether this can be released.")
    parser.add_argument("--root", type=Path, default=Path(), help="folder of the project (default: this one)")
    reasons = found(parser.parse_args(arguments).root.resolve(), (clock or SystemClock()).now().date())
    for name, against in reasons.items():
        sys.stdout.write(f"{name:<10} {'FAILED' if against else 'ok'}\n")
        sys.stdout.writelines(f"           {reason}\n" for reason in against)
    failed = [name for name, against in reasons.items() if against]
    if failed:
        sys.stderr.write(f"release: not ready: {', '.join(failed)}\n")
        return 1
    sys.stdout.write(f"{VERSION} can be released: git tag {tag_to_be()}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
