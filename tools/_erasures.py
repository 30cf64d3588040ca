"""The operator's commands about erasures: the list that is kept apart from the database, its replay, and the check."""

import argparse
import os
from pathlib import Path
from typing import BinaryIO

from shared.subject_rights.replay import Line, read_line, written
from shared.wiring import Services

NO_EMAIL = """
NOT LOOKED FOR, since nothing tells the e-mail any more: its entry in the directory, open invitations to it, and events
that know it by its hash only (invitations, sign-ins without an account). Give it with --email."""


class ListError(Exception):
    """The list cannot be read or written, or somebody on it is not erased; the message says where and why."""


async def list_erasures(services: Services, options: argparse.Namespace) -> str:
    """Append what is not in the list yet. What is in it stays, and is read first: a damaged list is refused."""
    path = Path(options.file)
    known = {(line.tenant_id, line.request_id) for line in _read(path, may_be_new=True)}
    added = 0
    with _appended(path) as file:
        async for line in services.replays.carried_out():
            if (line.tenant_id, line.request_id) not in known:
                file.write(written(line).encode())
                added += 1
        file.flush()
        os.fsync(file.fileno())
    return f"{added} erasures added, {len(known) + added} in the list"


async def replay_erasures(services: Services, options: argparse.Namespace) -> str:
    """Erase again whom the list names, or leave even that to the app. All lines are read before any is done."""
    lines = _read(Path(options.file))
    done = await services.replays.replay(lines, options.operator, begin_only=options.begin_only)
    if options.begin_only:
        return f"{done} of {len(lines)} erasures begun again, which the app carries out; the others were not undone"
    return f"{done} of {len(lines)} erasures begun again, which the app finishes; the others were not undone"


async def check_erasure(services: Services, options: argparse.Namespace) -> str:
    """Look for a person in every copy that the app knows, and say what could not be looked for."""
    person = await services.erasures.person(options.tenant, options.subject, options.email)
    left = await services.erasures.check(person)
    without = "" if person.email_key is not None else NO_EMAIL
    if left:
        raise ListError("\n".join([f"{len(left)} places hold something of this person:", *left, *without.splitlines()]))
    by = "by the id" if without else "by the id and by the e-mail"
    return f"nothing is left of this person in any copy that the app knows, {by}" + without


def _read(path: Path, *, may_be_new: bool = False) -> list[Line]:
    if may_be_new and not path.exists():
        return []
    try:
        texts = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ListError(f"{path}: cannot be read: {type(error).__name__}") from None
    lines = []
    for number, text in enumerate(texts, 1):
        try:
            lines.append(read_line(text))
        except ValueError as error:
            raise ListError(f"{path}, line {number}: {error}") from None
    return lines


def _appended(path: Path) -> BinaryIO:
    try:
        return os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600), "wb")
    except OSError as error:
        raise ListError(f"{path}: cannot be written: {type(error).__name__}") from None
