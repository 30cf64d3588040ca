"""Walking a person's export in tests, and reading what it says."""

import json
from pathlib import Path
from typing import Any

import httpx

from tests.app import Account, App
from tests.exporting import next_of

PATH = "/v1/privacy/export"


async def ask(app: App, who: Account, **params: str) -> httpx.Response:
    """The first part."""
    return await app.client.get(PATH, params=params, headers=who.auth)


async def walk(app: App, who: Account, **params: str) -> list[httpx.Response]:
    """All parts."""
    answers = [await ask(app, who, **params)]
    while (following := next_of(answers[-1])) is not None:
        answers.append(await app.client.get(following, headers=who.auth))
    assert {answer.status_code for answer in answers} == {200}, answers[-1].text
    return answers


def read(answers: list[httpx.Response]) -> list[dict[str, Any]]:
    return [json.loads(answer.content) for answer in answers]


def events_in(answers: list[httpx.Response]) -> list[dict[str, Any]]:
    return [event for part in read(answers) for event in part["events"]]


def save(folder: Path, answers: list[httpx.Response]) -> list[str]:
    """The parts as files."""
    paths = [folder / f"part-{number}.json" for number, _ in enumerate(answers, 1)]
    for path, answer in zip(paths, answers, strict=True):
        path.write_bytes(answer.content)
    return [str(path) for path in paths]


async def seal(app: App) -> None:
    """Let the feed seal what happened, and a moment pass."""
    await app.host.drain_feed()
    app.clock.advance(seconds=1)
