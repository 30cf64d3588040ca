"""The smoke run over recorded answers: what a real deployment answered, once, and what one that is broken might."""

import hashlib
import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

SECRETS = ("password", "current_password", "new_password", "access_token", "refresh_token", "invitation", "key")


def tokens(seed: str) -> Callable[[int], str]:
    """Hexadecimal text that looks random and is the same each time."""
    numbers = itertools.count()
    return lambda size: hashlib.sha256(f"{seed} {next(numbers)}".encode()).hexdigest()[: 2 * size]


@dataclass(frozen=True)
class Exchange:
    """One request and its answer."""

    method: str
    url: str
    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def name(self) -> tuple[str, str]:
        return self.method, self.url

    def answer(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(self.status, headers=self.headers, content=self.content, request=request)


@dataclass
class Recorder(httpx.BaseTransport):
    """Passes everything on, and keeps it."""

    inner: httpx.BaseTransport = field(default_factory=httpx.HTTPTransport)
    exchanges: list[Exchange] = field(default_factory=list)
    secrets: set[str] = field(default_factory=set)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = self.inner.handle_request(request)
        content = answer.read()
        headers = {name: value for name, value in answer.headers.items() if name not in ("content-length", "date")}
        self.exchanges.append(Exchange(request.method, str(request.url), answer.status_code, headers, content))
        self.secrets |= secrets_in(request.content) | secrets_in(content)
        return httpx.Response(answer.status_code, headers=headers, content=content, request=request)

    def close(self) -> None:
        self.inner.close()


def secrets_in(content: bytes) -> set[str]:
    """Every value of a body that nobody may see."""
    try:
        found = json.loads(content)
    except ValueError:
        return set()
    if not isinstance(found, dict):
        return set()
    values = {value for name in SECRETS if isinstance(value := found.get(name), str)}
    return {each for each in values if not (len(each) == 36 and each.count("-") == 4)}  # an alert's key is an id


type Spoil = Callable[[Exchange, httpx.Request], httpx.Response]


@dataclass
class Replay(httpx.BaseTransport):
    """Gives the recorded answers. From the recorded request `at` on, `spoil` makes the answers to that same call."""

    exchanges: list[Exchange]
    at: int = -1
    spoil: Spoil = Exchange.answer
    asked: list[tuple[str, str]] = field(default_factory=list)
    answered: list[int] = field(default_factory=list)
    """The status of each answer; 0 where none was given."""
    _next: int = 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        name = (request.method, str(request.url))
        exchange = self._recorded(name)
        self.asked.append(name)
        self.answered.append(0)
        is_spoiled = 0 <= self.at < self._next and name == self.exchanges[self.at].name
        answer = self.spoil(exchange, request) if is_spoiled else exchange.answer(request)
        self.answered[-1] = answer.status_code
        return answer

    def _recorded(self, name: tuple[str, str]) -> Exchange:
        """The answer whose turn it is; off the recorded path the last one to such a call, or a success."""
        if self._next < len(self.exchanges) and self.exchanges[self._next].name == name:
            self._next += 1
            return self.exchanges[self._next - 1]
        if self._next and self.exchanges[self._next - 1].name == name:  # asked again
            return self.exchanges[self._next - 1]
        ours = [each for each in self.exchanges if each.name == name]
        return ours[-1] if ours else Exchange(*name, 204, {}, b"")


@dataclass
class Clock:
    """Time that passes when somebody sleeps."""

    at: float = 0.0
    slept: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.at += seconds

    def now(self) -> float:
        return self.at


def with_json(exchange: Exchange, request: httpx.Request, change: Callable[[Any], Any]) -> httpx.Response:
    """The answer with a changed body."""
    body = change(json.loads(exchange.content))
    headers = {name: value for name, value in exchange.headers.items() if name != "content-type"}
    return httpx.Response(exchange.status, headers=headers, json=body, request=request)
