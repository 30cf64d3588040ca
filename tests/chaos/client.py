"""One client of the app: it logs what it is going to ask, asks, and logs what it was answered."""

import asyncio
import hashlib
from collections.abc import Sequence
from random import Random
from typing import Any

import httpx

from tests.chaos.journal import Journal

SECONDS = 40.0
"""Longer than the app takes for anything: after it, or after a broken connection, no answer is on its way any more."""
PAUSE_SECONDS = 0.1
"""After a call that was not answered: the app is perhaps about to start again."""

JSON = ("application/json", "application/problem+json")

type Json = dict[str, Any]


class Caller:
    """Sends attempts of one client, from the address that it has at the time, to any of the app's processes."""

    def __init__(self, urls: Sequence[str], journal: Journal, random: Random, address: str) -> None:
        self.random = random
        self.address = address
        self._urls = urls
        self._journal = journal
        self._http = httpx.AsyncClient(timeout=SECONDS)

    async def close(self) -> None:
        """Let go of connections."""
        await self._http.aclose()

    async def attempt(
        self,
        call: str,
        method: str,
        path: str,
        body: Json | None = None,
        token: str | None = None,
        told: Json | None = None,
        headers: Json | None = None,
    ) -> httpx.Response | None:
        """The answer; None when there was none."""
        name = f"{self.random.getrandbits(128):032x}"
        await self._journal.write(attempt=name, call=call, told={**(told or {}), "asked": f"{method} {path}"})
        given = {"traceparent": f"00-{name}-{'1' * 16}-01", "X-Forwarded-For": self.address, **(headers or {})}
        if token is not None:
            given["Authorization"] = f"Bearer {token}"
        url = f"{self.random.choice(self._urls)}/api/v1{path}"
        try:
            answer = await self._http.request(method, url, json=body, headers=given)
        except httpx.TransportError as error:
            unsent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
            await self._journal.write(attempt=name, status=0, seen={"unsent": True} if unsent else {})
            await asyncio.sleep(3 * PAUSE_SECONDS if unsent else PAUSE_SECONDS)
            return None
        await self._journal.write(attempt=name, status=answer.status_code, seen=_seen(answer))
        self._journal.answered |= {(call, answer.status_code), (call, answer.status_code // 100)}
        if answer.status_code >= 500 or answer.status_code == 429:
            await asyncio.sleep(PAUSE_SECONDS)
        return answer


def _opened(body: Json) -> Json:
    """Of what an answer gives into somebody's hands: the hash of a secret, the session."""
    given: Json = {}
    for secret in (body.get(name) for name in ("key", "invitation", "refresh_token")):
        if secret is not None:
            given["secret_hash"] = hashlib.sha256(secret.rpartition(".")[2].encode()).hexdigest()
    return given | ({"session": session_of(body["refresh_token"])} if "refresh_token" in body else {})


def session_of(refresh_token: str) -> str:
    """The id of the session that a refresh token names: it is in clear in it, behind the organization's."""
    return refresh_token.split(".")[1]


def _seen(answer: httpx.Response) -> Json:
    """Of an answer what the checks go by: ids and codes, of secrets hashes alone; and plain text (a verifier key)."""
    seen: Json = {"request_id": answer.headers.get("x-request-id")}
    if answer.headers.get("content-type", "").startswith("text/plain"):
        seen["text"] = answer.text.strip()
    if not answer.content or answer.headers.get("content-type") not in JSON:
        return seen
    body = answer.json()
    if not isinstance(body, dict):
        return seen
    for name in ("id", "code", "status"):
        if isinstance(body.get(name), str):
            seen[name] = body[name]
    seen |= _opened(body)
    if "user" in body:
        seen |= {"user": body["user"]["id"], "tenant": body["user"]["tenant_id"]}
    if isinstance(body.get("items"), list):
        seen["items"] = [[each.get("id"), each.get("status")] for each in body["items"] if isinstance(each, dict)]
    return seen
