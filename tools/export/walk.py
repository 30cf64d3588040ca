"""Getting an export from the service: part by part, trying again where that helps, going on where it was cut off."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import httpx

from shared.core.clock import rfc3339
from shared.core.ids import time_of
from tools.export.errors import CursorOver, CutOff, Refused
from tools.export.files import Output
from tools.export.progress import Progress
from tools.export.records import id_of, is_heading, last_of, records

_MOST_BYTES = 100 * 1024 * 1024
"""What the service can answer with at all; its parts are a tenth of that."""
_TIMEOUT = httpx.Timeout(240.0, connect=20.0)
_LONGEST_WAIT = 300.0
_TRY_AGAIN = frozenset({429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Received:
    """One part, whole, and the query string that leads to the next one."""

    body: bytes
    rows: int
    next: str | None


class Source:
    """The service."""

    def __init__(
        self,
        url: httpx.URL,
        token: str,
        tries: int,
        *,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        headers = {"Authorization": f"Bearer {token}", "Accept-Encoding": "identity", "User-Agent": "kraftd-export"}
        self._url = url
        self._tries = max(1, tries)
        self._sleep = sleep
        self._client = httpx.Client(headers=headers, timeout=_TIMEOUT, transport=transport, follow_redirects=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def part(self, query: str) -> Received:
        """One part, tried for as often as was asked. Refused, CursorOver; CutOff when no try went well."""
        why = ""
        for number in range(1, self._tries + 1):
            try:
                answer, body = self._ask(query)
            except httpx.TransportError as error:
                why, wait = f"no connection ({type(error).__name__})", min(2.0**number, 60.0)
            else:
                if answer.status_code == 200:
                    return self._received(answer, body)
                if answer.status_code not in _TRY_AGAIN:
                    raise _refusal(answer, body)
                why = f"the service answered {answer.status_code}"
                wait = _wait(answer.headers.get("retry-after"), number)
            if number < self._tries:
                self._sleep(wait)
        raise CutOff(why)

    def _ask(self, query: str) -> tuple[httpx.Response, bytes]:
        with self._client.stream("GET", self._url.copy_with(query=query.encode("ascii"))) as answer:
            body = bytearray()
            for chunk in answer.iter_bytes():
                body += chunk
                if len(body) > _MOST_BYTES:
                    raise Refused("the service answers with more than a part can be")
            return answer, bytes(body)

    def _received(self, answer: httpx.Response, body: bytes) -> Received:
        try:
            rows = int(answer.headers["x-record-count"])
        except (KeyError, ValueError):
            raise Refused("this is no export: is the address right?") from None
        link = answer.links.get("next", {}).get("url")
        if link is None:
            return Received(body, rows, None)
        following = answer.url.join(link)
        if following.copy_with(query=None) != self._url:
            raise Refused("the next part is said to be somewhere else; the token does not go there")
        return Received(body, rows, following.query.decode("ascii"))


def _wait(retry_after: str | None, number: int) -> float:
    seconds = float(retry_after) if retry_after and retry_after.isdigit() else 2.0**number
    return min(max(seconds, 1.0), _LONGEST_WAIT)


def _refusal(answer: httpx.Response, body: bytes) -> Exception:
    """What the service has against it, in its words: it names fields and never repeats what was sent."""
    try:
        problem: dict[str, Any] = json.loads(body)
        fields = [f"{each['field']}: {each['message']}" for each in problem.get("errors", [])]
        said = "; ".join(fields) or f"{problem['title']} {problem['detail']}"
    except (ValueError, KeyError, TypeError, AttributeError):
        return Refused(f"the service answered {answer.status_code}: is the address right?")
    if answer.status_code == 422 and any(each["field"] == "cursor" for each in problem.get("errors", [])):
        return CursorOver()
    return Refused(f"{answer.status_code}: {said}")


def walk(source: Source, output: Output, asked: dict[str, Any], progress: Progress) -> None:
    """From where the output is to the end. Refused, CutOff."""
    query = None if output.whole else output.next or _first(asked)
    skip = ""
    while query is not None:
        try:
            part = source.part(query)
        except CursorOver:
            if not output.last_id or skip:
                raise CutOff("the service does not know the place any more") from None
            skip = output.last_id
            progress.say("the place is not known any more; going on behind the last event received")
            query = _first(asked | {"from": rfc3339(time_of(skip))})
            continue
        body, rows = _behind(part, asked["format"], skip) if skip else (part.body, part.rows)
        last_id = output.last_id
        if rows:
            last_id, skip = id_of(last_of(body, asked["format"]), asked["format"]), ""
        output.add(body, rows, part.next, last_id)
        query = part.next
        progress.show(output.rows, output.size, output.last_id)
    output.finish()


def _first(asked: dict[str, Any]) -> str:
    return str(httpx.QueryParams(asked))


def _behind(part: Received, name: str, last_id: str) -> tuple[bytes, int]:
    """What of a part comes behind an event: ids are in the order of time, as the events are."""
    dropped, rows = 0, part.rows
    for record in records(part.body, name):
        heading = is_heading(record, name)
        if not heading and id_of(record, name) > last_id:
            break
        dropped += len(record)
        rows -= not heading
    return part.body[dropped:], rows
