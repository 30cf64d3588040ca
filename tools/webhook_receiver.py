"""A reference receiver of webhooks: `python -m tools.webhook_receiver --secret whsec_…`.

It checks signatures (Standard Webhooks), takes each event once however often it comes, and checks the order within
each month. With `--faults` it fails by chance in the ways that receivers do; what it answered 2xx to, it has kept.
Nothing of this project's own code is used: it does what docs/streaming.md tells a receiver to do.
"""

import argparse
import asyncio
import base64
import binascii
import gzip
import hashlib
import hmac
import io
import json
import random
import ssl
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

TOLERANCE_SECONDS = 300
MOST_BYTES = 4 * 1024 * 1024
"""Of a message, unpacked."""
FAULTS = ("500", "429", "reset", "slow", "reset_after", "lost", "redirect")
"""`lost`, `reset_after`: it keeps the message, and the answer says or shows otherwise."""


class Refused(Exception):
    """A message that nobody should take. The text says why."""


@dataclass
class Inbox:
    """What was received: each event once, by month and index, in the order of its first coming."""

    secrets: Sequence[str]
    now: Callable[[], float] = time.time
    events: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    order: dict[tuple[str, str], list[int]] = field(default_factory=lambda: defaultdict(list))
    duplicates: int = 0
    messages: int = 0
    tests: int = 0
    wrong: list[str] = field(default_factory=list)

    def take(self, headers: Any, body: bytes) -> None:
        """Verify one message, `body` as it was sent, and keep its events. Refused."""
        payload = unpacked(body, headers.get("Content-Encoding", "identity"))
        verify(self.secrets, headers, payload, self.now())
        message = json.loads(payload)
        self.messages += 1
        if message["type"] == "webhook.test":
            self.tests += 1
            return
        data = message["data"]
        place = (data["tenant_id"], data["period"])
        for each in data["events"]:
            self._keep(place, each["index"], each["event"])

    def _keep(self, place: tuple[str, str], index: int, event: dict[str, Any]) -> None:
        event_id = event["id"] if "id" in event else event["metadata"]["uid"]
        key = (place[0], event_id)
        if key in self.events:
            self.duplicates += 1
            return
        seen = self.order[place]
        if seen and index <= seen[-1]:
            self.wrong.append(f"{place[1]}/{index} came after {place[1]}/{seen[-1]}")
        seen.append(index)
        self.events[key] = event


def unpacked(body: bytes, encoding: str) -> bytes:
    """The JSON of a message. Refused for another encoding, and for more than anybody sends."""
    if encoding == "identity":
        return body
    if encoding != "gzip":
        raise Refused("encoding")
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(body)) as packed:
            found = packed.read(MOST_BYTES + 1)
    except (OSError, EOFError) as error:
        raise Refused("gzip") from error
    if len(found) > MOST_BYTES:
        raise Refused("size")
    return found


def verify(secrets: Sequence[str], headers: Any, payload: bytes, now: float) -> None:
    """Refused unless one of the secrets signed this payload, within some minutes."""
    message_id, moment = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not moment.isdigit() or abs(now - int(moment)) > TOLERANCE_SECONDS:
        raise Refused("timestamp")
    signed = f"{message_id}.{moment}.".encode() + payload
    given = [each[3:] for each in headers.get("webhook-signature", "").split() if each.startswith("v1,")]
    for secret in secrets:
        key = base64.b64decode(secret.removeprefix("whsec_"))
        good = hmac.new(key, signed, hashlib.sha256).digest()
        for each in given:
            try:
                if hmac.compare_digest(good, base64.b64decode(each, validate=True)):
                    return
            except binascii.Error:
                continue
    raise Refused("signature")


class Receiver:
    """An HTTP server around an inbox. `faults`: the part of messages that it fails at, by `chance`."""

    def __init__(
        self, inbox: Inbox, *, faults: float = 0.0, chance: random.Random | None = None, slow_seconds: float = 1.0
    ) -> None:
        self.inbox = inbox
        self.faults = faults
        self.failed: Counter[str] = Counter()
        self.refused: list[str] = []
        self._chance = chance or random.Random()  # noqa: S311 - nothing is kept secret by it
        self._slow_seconds = slow_seconds
        self._runner: web.AppRunner | None = None

    async def start(self, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None) -> str:
        """Serve; the URL that messages go to."""
        app = web.Application(client_max_size=MOST_BYTES)
        app.router.add_post("/", self._receive)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0, auto_decompress=False)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port, ssl_context=tls)
        await site.start()
        where = self._runner.addresses[0]
        return f"{'https' if tls else 'http'}://{host}:{where[1]}/"

    async def stop(self) -> None:
        """Stop serving."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _receive(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        fault = self._chance.choice(FAULTS) if self._chance.random() < self.faults else ""
        if fault:
            self.failed[fault] += 1
        if fault == "reset":
            return _cut(request)
        if fault == "redirect":
            return web.Response(status=302, headers={"Location": "http://127.0.0.1:9/"})
        if fault in ("500", "429"):
            return web.Response(status=int(fault))
        try:
            self.inbox.take(request.headers, body)
        except (Refused, ValueError, KeyError, TypeError) as error:
            self.refused.append(f"{type(error).__name__}: {error}")
            return web.Response(status=400)
        if fault == "slow":
            await asyncio.sleep(self._slow_seconds)
        if fault == "reset_after":
            return _cut(request)
        return web.Response(status=503 if fault == "lost" else 204)


def _cut(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)


async def serve(arguments: argparse.Namespace) -> None:
    """Serve until it is stopped, and tell of what comes."""
    receiver = Receiver(Inbox(arguments.secret), faults=arguments.faults)
    url = await receiver.start(arguments.host, arguments.port)
    sys.stdout.write(f"receiving at {url}\n")
    before, told = "", 0
    try:
        while True:
            await asyncio.sleep(1)
            inbox = receiver.inbox
            counts = f"{inbox.messages} messages, {len(inbox.events)} events, {inbox.duplicates} duplicates, "
            now = counts + f"{len(inbox.wrong)} out of order, {len(receiver.refused)} refused"
            for why in receiver.refused[told:]:
                sys.stdout.write(f"refused: {why}\n")
            told = len(receiver.refused)
            if now != before:
                sys.stdout.write(now + "\n")
                sys.stdout.flush()
            before = now
    finally:
        await receiver.stop()


def main(argv: list[str]) -> int:
    """The command line; 130 when it is stopped."""
    parser = argparse.ArgumentParser(prog="python -m tools.webhook_receiver", description=__doc__)
    parser.add_argument("--secret", action="append", required=True, help="whsec_…; give it twice during a rotation")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8090)
    parser.add_argument("--faults", type=float, default=0.0, help="the part of messages to fail at, 0 to 1")
    try:
        asyncio.run(serve(parser.parse_args(argv)))
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
