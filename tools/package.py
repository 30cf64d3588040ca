"""`python -m tools.package`: build the ZIP that Azure takes, the same bytes from the same files, and say what is in it.

What `.funcignore` names stays out, by git's rules of ignoring, as Core Tools and azd have it; so do caches of Python.
It refuses what those would pack without a word: a file that is not in version control, a link, and anything at the top
that is no part of the app. Dependencies are not in it: Azure installs requirements.txt (a remote build), and brings its
own worker runtime.

Exit code: 0, 1 when the package would not be right, with the reason, 2 for bad arguments.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pathspec import GitIgnoreSpec

IGNORE_FILE = ".funcignore"
NAME = "package.zip"
TOP = frozenset(("function_app.py", "functions", "host.json", "LICENSE", "requirements.txt", "shared", "tools"))
"""What the app is made of."""
NEEDED = ("function_app.py", "host.json", "requirements.txt")
_NEVER = ("__pycache__/", "*.py[co]", "local.settings.json", ".git/", ".azure/")
_TIME = (1980, 1, 1, 0, 0, 0)
_MODE = 0o100644 << 16


class PackageError(Exception):
    """The package would hold what it must not, or lack what it needs."""


@dataclass(frozen=True, slots=True)
class Package:
    """A package on disk. `unpacked_bytes`: the size of its files; `digest`: its SHA-256, hex."""

    path: Path
    files: tuple[str, ...]
    packed_bytes: int
    unpacked_bytes: int
    digest: str


def files_of(root: Path) -> list[str]:
    """The files of the package, as paths below `root` with slashes, sorted. PackageError when one must not be there."""
    rules = (root / IGNORE_FILE).read_text(encoding="utf-8").splitlines()
    ignored = GitIgnoreSpec.from_lines([*rules, *_NEVER])
    found = sorted(_walk(root, "", ignored))
    strange = sorted({each.partition("/")[0] for each in found} - TOP)
    if strange:
        raise PackageError(f"{', '.join(strange)}: neither part of the app nor named in {IGNORE_FILE}")
    missing = [each for each in NEEDED if each not in found]
    if missing:
        raise PackageError(f"{', '.join(missing)}: not there")
    unknown = sorted(set(found) - tracked) if (tracked := _tracked(root)) is not None else []
    if unknown:
        raise PackageError(f"{', '.join(unknown[:5])}: not in version control")
    return found


def _walk(root: Path, folder: str, ignored: GitIgnoreSpec) -> Iterator[str]:
    with os.scandir(root / folder) as entries:
        listed = list(entries)
    for entry in listed:
        path = f"{folder}{entry.name}"
        is_folder = entry.is_dir(follow_symlinks=False)
        if ignored.match_file(f"{path}/" if is_folder else path) or ignored.match_file(path):
            continue
        if entry.is_symlink():
            raise PackageError(f"{path}: a link, which may lead anywhere")
        if is_folder:
            yield from _walk(root, f"{path}/", ignored)
        elif entry.is_file(follow_symlinks=False):
            yield path
        else:
            raise PackageError(f"{path}: not a file")


def _tracked(root: Path) -> set[str] | None:
    """What is in version control; None where there is none."""
    if not (root / ".git").exists():
        return None
    git = shutil.which("git")
    if git is None:
        raise PackageError("git is needed to tell which files belong to the project")
    done = subprocess.run([git, "ls-files", "-z"], cwd=root, capture_output=True, check=False)  # noqa: S603
    if done.returncode:
        raise PackageError("git does not say which files belong to the project")
    return {os.fsdecode(each) for each in done.stdout.split(b"\0")}


def build(root: Path, target: Path) -> Package:
    """Write the package of `root` to the file `target`, whole or not at all. PackageError as `files_of`."""
    files, unpacked = files_of(root), 0
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.part")
    try:
        with zipfile.ZipFile(partial, "w") as package:
            for name in files:
                content = (root / name).read_bytes()
                unpacked += len(content)
                package.writestr(_entry(name), content, compresslevel=9)
        packed = partial.read_bytes()
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return Package(target, tuple(files), len(packed), unpacked, hashlib.sha256(packed).hexdigest())


def _entry(name: str) -> zipfile.ZipInfo:
    """Name and nothing that differs from one machine to another."""
    entry = zipfile.ZipInfo(name, _TIME)
    entry.create_system = 3  # Unix
    entry.external_attr = _MODE
    entry.compress_type = zipfile.ZIP_DEFLATED
    return entry


def main(arguments: Sequence[str] | None = None) -> int:
    """Build it, with its digest beside it, and print what it is."""
    parser = argparse.ArgumentParser(prog="python -m tools.package", description="Build the ZIP that Azure takes.")
    parser.add_argument(
        "--output", type=Path, default=Path("dist"), help="folder of the package (default: %(default)s)"
    )
    parser.add_argument("--root", type=Path, default=Path(), help="folder of the project (default: this one)")
    options = parser.parse_args(arguments)
    try:
        package = build(options.root, options.output / NAME)
    except (PackageError, OSError) as error:
        print(f"package: {error}", file=sys.stderr)
        return 1
    (options.output / f"{NAME}.sha256").write_text(f"{package.digest}  {NAME}\n", encoding="utf-8")
    print(
        f"{package.path}: {package.packed_bytes:,} bytes, {len(package.files)} files of {package.unpacked_bytes:,} "
        f"bytes\nsha256 {package.digest}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
