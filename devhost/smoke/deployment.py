"""A deployment as an HTTP client sees it: bounded retries, answers checked, and nothing told that is a secret.

Wrong        it answered, and not as it has to
Unreachable  it did not answer at all, or not as the one that it is asked to be (TLS)
"""

import re
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

PREFIX = "/api"
ANSWER_SECONDS = 60.0
_BUSY = (429, 503)
_GATEWAY = (502, 504)
_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.25, 5.0
_CODE = re.compile(r"[a-z0-9_]{1,64}")


class Wrong(Exception):
    """The deployment does not do what it has to; the message holds no secret."""


class Unreachable(Exception):
    """There is nobody to ask."""


@dataclass(slots=True)
class Deadline:
    """Time that is left, in seconds. `sleep` and `now` are real unless a test brings others."""

    seconds: float
    sleep: Callable[[float], None] = time.sleep
    now: Callable[[], float] = time.monotonic
    _until: float = field(init=False)

    def __post_init__(self) -> None:
        self._until = self.now() + self.seconds

    def renewed(self, seconds: float) -> "Deadline":
        """Another one, of the same clock."""
        return Deadline(seconds, self.sleep, self.now)

    @property
    def left(self) -> float:
        """Seconds until then, below zero when it is over."""
        return self._until - self.now()

    def pause(self, attempt: int, at_least: float = 0.0) -> bool:
        """Wait before another attempt (from 0), longer each time. False, at once, when there is no time for it."""
        wait = max(min(_PAUSE_SECONDS * 2**attempt, _LONGEST_PAUSE_SECONDS), at_least)
        if wait > self.left:
            return False
        self.sleep(wait)
        return True


@dataclass(slots=True)
class Deployment:
    """Calls of one deployment."""

    http: httpx.Client
    deadline: Deadline

    def ask(  # the names of HTTP
        self,
        method: str,
        path: str,
        *,
        expected: int | tuple[int, ...] = 200,
        token: str | None = None,
        body: Any = None,
        params: Mapping[str, str] | None = None,
        accept: str = "application/json",
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """One call. Wrong unless it has an expected status.

        429 and 503 did nothing and are asked again, as is what was never sent; a GET also when its answer was lost.
        """
        wanted = expected if isinstance(expected, tuple) else (expected,)
        sent = {"Accept": accept, **(headers or {})}
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        attempt = 0
        while True:
            answer, fault = self._once(method, path, body, params, sent)
            if answer is not None and answer.status_code in wanted:
                return answer
            fault = fault or _told(answer)
            if not _again(method, answer, fault) or not self.deadline.pause(attempt, _asked_for(answer)):
                raise Wrong(f"{method} {path}: {fault}, not {' or '.join(map(str, wanted))}")
            attempt += 1

    def once(self, path: str) -> tuple[httpx.Response | None, str]:
        """One GET, whatever comes: the answer, or None and what went wrong. Unreachable for what no waiting mends."""
        return self._once("GET", path, None, None, {"Accept": "application/json"})

    def _once(
        self, method: str, path: str, body: Any, params: Mapping[str, str] | None, headers: Mapping[str, str]
    ) -> tuple[httpx.Response | None, str]:
        try:
            answer = self.http.request(method, f"v1/{path}", json=body, params=params, headers=headers)
        except httpx.TransportError as error:
            if _is_refused_certificate(error):
                raise Unreachable("its TLS certificate is not to be trusted") from None
            return None, type(error).__name__
        return answer, ""


def json_of(answer: httpx.Response) -> Any:
    """The body of an answer. Wrong unless it is JSON."""
    try:
        return answer.json()
    except ValueError:
        raise Wrong(f"{answer.request.method} {_path(answer)}: the answer is not JSON") from None


def field_of(answer: httpx.Response, name: str, kind: type = str) -> Any:
    """One field of an answer's object, by its dotted name. Wrong unless it is there and of the kind."""
    found = json_of(answer)
    for part in name.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    if not isinstance(found, kind) or (kind is str and not found):
        raise Wrong(f"{answer.request.method} {_path(answer)}: the answer has no {name}")
    return found


def require(condition: object, message: str) -> None:
    """Wrong, unless the condition holds."""
    if not condition:
        raise Wrong(message)


def base_url(url: str) -> str:
    """Where the API begins, with a slash. ValueError unless it is https, or http on this machine."""
    from shared.core.endpoints import is_loopback

    try:
        parts = httpx.URL(url)
    except (httpx.InvalidURL, TypeError):
        raise ValueError("is not a URL") from None
    if not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError("is not a URL")
    if parts.scheme not in ("http", "https") or not parts.host:
        raise ValueError("is not the https address of a deployment")
    if parts.scheme == "http" and not is_loopback(parts.host):
        raise ValueError("must be https: passwords and tokens go there")
    if parts.userinfo or parts.query or parts.fragment:
        raise ValueError("must have no user, query or fragment")
    path = parts.path.rstrip("/") or PREFIX
    return str(parts.copy_with(path=f"{path}/"))


def _again(method: str, answer: httpx.Response | None, fault: str) -> bool:
    if answer is None:
        return method == "GET" or fault in ("ConnectError", "ConnectTimeout", "PoolTimeout")
    return answer.status_code in _BUSY or (method == "GET" and answer.status_code in _GATEWAY)


def _asked_for(answer: httpx.Response | None) -> float:
    """Seconds that an answer asks to wait."""
    value = "" if answer is None else answer.headers.get("retry-after", "")
    return float(value) if value.isdecimal() and len(value) < 7 else 0.0


def _told(answer: httpx.Response | None) -> str:
    """Status and error code: whatever else a body holds may be a secret."""
    if answer is None:
        return "no answer"
    try:
        code = answer.json().get("code", "")
    except (ValueError, AttributeError):
        code = ""
    code = f" {code}" if isinstance(code, str) and _CODE.fullmatch(code) else ""
    wait = answer.headers.get("retry-after", "")
    later = f" (it asks to wait {wait} s)" if answer.status_code in _BUSY and wait.isdecimal() else ""
    return f"{answer.status_code}{code}{later}"


def _path(answer: httpx.Response) -> str:
    return answer.request.url.path.partition("/v1/")[2]


def _is_refused_certificate(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = error.__cause__ or error.__context__
    return False
