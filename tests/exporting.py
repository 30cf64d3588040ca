"""Walking an export in tests: from part to part, as a client does."""

import csv
import io
import json
from typing import Any

import httpx

from shared.audit.events.user import UserUpdate
from shared.audit.export_formats import FORMATS
from shared.audit.model import Draft, RequestContext, Target
from shared.storage.containers import AUDIT_EVENTS
from shared.storage.documents import create
from tests.app import Account, App

PATH = "/v1/events/export"
HOSTILE = "=cmd|' /C calc'!A0, \"quoted\"\r\nzażółć 😀 \u2028 end"


def next_of(answer: httpx.Response) -> str | None:
    """The address of the next part, as any HTTP client finds it."""
    link = answer.links.get("next")
    return str(answer.url.join(link["url"])) if link else None


async def walk(app: App, headers: dict[str, str], **params: Any) -> list[httpx.Response]:
    """All parts of an export."""
    answers = [await app.client.get(PATH, params=params, headers=headers)]
    while (following := next_of(answers[-1])) is not None:
        answers.append(await app.client.get(following, headers=headers))
    assert {answer.status_code for answer in answers} == {200}, answers[-1].text
    return answers


def joined(answers: list[httpx.Response]) -> bytes:
    return b"".join(answer.content for answer in answers)


def ids_in(name: str, data: bytes) -> list[str]:
    """The ids of the events in a whole file."""
    if name == "csv":
        return [row["id"] for row in csv.DictReader(io.StringIO(data.decode(), newline=""), strict=True)]
    lines = [json.loads(line) for line in data.decode().split("\n")[:-1]]
    return [line["metadata"]["uid"] if name == "ocsf" else line["id"] for line in lines]


async def expected(app: App, tenant_id: str, name: str, **wanted: str) -> bytes:
    """The file that an export of what is in the store now has to be."""
    events = [await app.services.search.shown(event) for event in await app.events(tenant_id)]
    kept = [event for event in events if all(event[field] == value for field, value in wanted.items())]
    return FORMATS[name].header + b"".join(FORMATS[name].line(event) for event in kept)


async def fill(app: App, account: Account, count: int, text: str = "x") -> None:
    """Events in a tenant's trail, a millisecond apart; `text` is in each."""
    for first in range(0, count, 100):
        drafts = []
        for number in range(first, min(first + 100, count)):
            request = RequestContext(f"request-{number}", "PUT /v1/x", "x", app.clock.now(), "203.0.113.9", "=1+1")
            event = UserUpdate(changed_fields=("bio",), old_values={"bio": str(number)}, new_values={"bio": text})
            target = Target("user", account.id, account.email)
            drafts.append(
                await app.services.recorder.finish(
                    Draft(account.tenant_id, event, request, target=target, person=account.id)
                )
            )
            app.clock.advance(seconds=0.001)
        key = (account.tenant_id, drafts[0]["period"])
        for some in range(0, len(drafts), 20):
            await app.store.batch(AUDIT_EVENTS, key, [create(each) for each in drafts[some : some + 20]])
