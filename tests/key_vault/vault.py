"""A stand-in for Key Vault over HTTPS: challenge, secrets and keys, lists with pages, errors, scripted faults.

Shapes as documented for api-version 7.4 (Get Secret, Get Secret Versions, Get Key, Get Key Versions, Unwrap Key, REST
API error codes). The client reaches it under a name of the real service: its resolver leads there, its certificate says
so, and no check of the SDK is off.
"""

import asyncio
import base64
import itertools
import json
import secrets
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal, cast
from urllib.parse import parse_qs, urlsplit

from aiohttp import ClientSession, DummyCookieJar, TCPConnector
from aiohttp.abc import AbstractResolver, ResolveResult
from azure.core.credentials import AccessToken
from azure.core.pipeline.transport import AioHttpTransport

from shared.core.clock import Clock, SystemClock
from shared.privacy.key_vault import KeyVaultSecrets
from shared.privacy.vault_keys import KEY, VaultKeys
from tests.cosmos_emulator.emulator import make_certificate
from tests.fakes import ManualClock
from tests.key_vault.answers import Answer, Attribute, Attributes, refusal
from tests.key_vault.keys import OPERATIONS, KeyVersion, Private, new_version

PAGE = 25
RESOURCE = "https://vault.azure.net"
TENANT = "0195c000-0000-7000-8000-0000000000aa"

_numbers = itertools.count(1)


@dataclass
class Version(Attributes):
    """One version of a secret as the vault keeps it."""

    value: str = ""

    def item(self, id_: str) -> dict[str, Any]:
        return {"id": id_, "attributes": self.shown(), "tags": {}}


@dataclass(frozen=True)
class Fault:
    """What the next requests run into, instead of an answer: a status, silence, or a lost connection.

    `on_values`: only requests for a value do.
    """

    kind: Literal["status", "hang", "drop"] = "status"
    status: int = 500
    times: int = 1
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    on_values: bool = False


@dataclass(frozen=True)
class Seen:
    """One request: of which secret or key, what (`versions`, a version, `<it>/unwrapkey`), whether with our token."""

    name: str
    what: str
    authorized: bool


class Vault:
    """One vault. `faults` come first, one by one; `seen` are all requests; `down` hangs every one until it ends."""

    def __init__(self, server: "Server", clock: ManualClock) -> None:
        self.host = f"kraftd-{next(_numbers)}.vault.azure.net"
        self.uri = f"https://{self.host}/"
        self.clock = clock
        self.token = secrets.token_urlsafe(16)
        self.secrets: dict[str, list[Version]] = {}
        self.keys: dict[str, list[KeyVersion]] = {}
        self.seen: list[Seen] = []
        self.faults: list[Fault] = []
        self.page = PAGE
        self.released = threading.Event()
        self.hung = False
        self._server = server
        self._sessions: list[ClientSession] = []
        server.vaults[self.host] = self

    def put(self, name: str, value: str | bytes | None = None, **attributes: Attribute) -> str:
        """`az keyvault secret set`: a new version (of 32 random bytes); its id."""
        raw = secrets.token_bytes(32) if value is None else value
        text = raw if isinstance(raw, str) else base64.b64encode(raw).decode()
        now = int(self.clock.now().timestamp())
        made = Version(secrets.token_hex(16), now, now, value=text)
        self.secrets.setdefault(name, []).append(made)
        made.set(attributes)
        return made.id

    def put_key(
        self,
        name: str = KEY,
        private: Private | None = None,
        operations: tuple[str, ...] = OPERATIONS,
        **attributes: Attribute,
    ) -> str:
        """`az keyvault key create` or `rotate`: a new version (RSA, 2048 bits); its id."""
        held = self.keys.setdefault(name, [])
        held.append(new_version(len(held), int(self.clock.now().timestamp()), private, operations))
        held[-1].set(attributes)
        return held[-1].id

    def key_version(self, name: str = KEY) -> str:
        """The only version of a key."""
        (only,) = self.keys[name]
        return only.id

    def change(self, name: str, version: str, **attributes: Attribute) -> None:
        """`az keyvault secret set-attributes` (`key set-attributes`) of one version."""
        held: list[Attributes] = [*self.secrets.get(name, []), *self.keys.get(name, [])]
        (found,) = (each for each in held if each.id == version)
        found.updated = int(self.clock.now().timestamp())
        found.set(attributes)

    def delete(self, name: str) -> None:
        """`az keyvault secret delete` (`key delete`): all versions."""
        del (self.keys if name in self.keys else self.secrets)[name]

    def value(self, name: str, version: str) -> bytes:
        """What a version holds."""
        (found,) = (each for each in self.secrets[name] if each.id == version)
        return base64.b64decode(found.value)

    def listings(self, name: str = "kraftd-tokens") -> int:
        """How often the versions of a secret were listed (first pages and others alike)."""
        return self.seen.count(Seen(name, "versions", authorized=True))

    def gets(self, name: str = "kraftd-tokens") -> list[str]:
        """The versions whose values were fetched."""
        return [each.what for each in self.seen if each.name == name and each.authorized and each.what != "versions"]

    def mend(self) -> None:
        """End all faults, hanging requests too."""
        self.faults.clear()
        self.released.set()

    async def close(self) -> None:
        """Mend, and close the connections of adapters that never used theirs."""
        self.mend()
        for session in self._sessions:
            await session.close()
        if self.hung:
            await asyncio.sleep(0.1)  # a connection that was given up while it hung says goodbye to its peer

    def client(self, clock: Clock | None = None, **options: Any) -> KeyVaultSecrets:
        """An adapter on this vault, with caches and connections of its own: what one app instance has."""
        return KeyVaultSecrets(self.uri, clock=clock or self.clock, **self._settings(options))

    def wrapper(self, clock: Clock | None = None, **options: Any) -> VaultKeys:
        """The same for keys."""
        return VaultKeys(self.uri, clock=clock or self.clock, **self._settings(options))

    def _settings(self, options: Mapping[str, Any]) -> dict[str, Any]:
        connector = TCPConnector(resolver=Resolver(self.host, self._server.port), ssl=self._server.trust)
        session = ClientSession(connector=connector, cookie_jar=DummyCookieJar(), auto_decompress=False)
        self._sessions.append(session)
        return {"transport": AioHttpTransport(session=session), "credential": Credential(self.token), **options}

    def answer(
        self, path: str, query: Mapping[str, Sequence[str]], token: str | None, sent: Mapping[str, Any] | None = None
    ) -> Answer:
        """The answer to one GET, or to a POST of `sent`."""
        match path.strip("/").split("/"):
            case ["secrets" | "keys" as kind, name, what] if sent is None:
                pass
            case ["keys" as kind, name, version, "unwrapkey"] if sent is not None:
                what = f"{version}/unwrapkey"
            case _:
                return refusal(400, "BadParameter", "The request URI is not as documented")
        self.seen.append(Seen(name, what, token == self.token))
        if token != self.token:
            challenge = f'Bearer authorization="https://login.microsoftonline.com/{TENANT}", resource="{RESOURCE}"'
            unauthorized = refusal(401, "Unauthorized", "AKV10000: Request is missing a Bearer or PoP token.")
            return replace(unauthorized, headers={"WWW-Authenticate": challenge})
        if query.get("api-version") != ["7.4"]:
            return refusal(400, "BadParameter", "The api-version is not as documented")
        versions: Sequence[Version | KeyVersion] = (self.secrets if kind == "secrets" else self.keys).get(name, [])
        found = next((each for each in versions if each.id == what.partition("/")[0]), None)
        if what == "versions" and versions:
            return self._list(f"{kind}/{name}", versions, int(query.get("$skiptoken", ["0"])[0]))
        if found is None:
            kind_of = "Secret" if kind == "secrets" else "Key"
            absent = f"A {kind_of.lower()} with (name/id) {name} was not found in this key vault."
            return refusal(404, f"{kind_of}NotFound", absent)
        return self._get(found, f"{self.uri}{kind}/{name}/{found.id}", sent)

    def _list(self, path: str, versions: "Sequence[Version | KeyVersion]", start: int) -> Answer:
        ordered = sorted(versions, key=lambda each: each.id)  # the order is not documented: this one means nothing
        page, more = ordered[start : start + self.page], len(ordered) > start + self.page
        link = f"https://{self.host}:443/{path}/versions?api-version=7.4&$skiptoken={start + self.page}"
        items = [each.item(f"{self.uri}{path}/{each.id}") for each in page]
        return Answer(200, {"value": items, "nextLink": link if more else None})

    def _get(self, version: "Version | KeyVersion", id_: str, sent: Mapping[str, Any] | None) -> Answer:
        if isinstance(version, KeyVersion):
            return Answer(200, version.bundle(id_)) if sent is None else version.unwrap(id_, sent)
        if not version.enabled:
            return refusal(403, "Forbidden", "Operation get is not allowed on a disabled secret.", "SecretDisabled")
        return Answer(200, {"value": version.value, **version.item(id_)})


class Credential:
    """Gives one token, and only for the vault's own resource, as a managed identity would."""

    def __init__(self, token: str) -> None:
        self._token = token
        self.asked = 0
        self.closed = 0

    async def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        assert scopes == (f"{RESOURCE}/.default",)
        self.asked += 1
        return AccessToken(self._token, int(SystemClock().now().timestamp()) + 3600)

    async def close(self) -> None:
        self.closed += 1

    async def __aenter__(self) -> "Credential":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class Resolver(AbstractResolver):
    """Knows one name, and leads to a port of this machine."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        if host != self._host:
            raise OSError(f"no such host: {host}")
        found = ResolveResult(hostname=host, host="127.0.0.1", port=self._port, family=socket.AF_INET, proto=0, flags=0)
        return [found]

    async def close(self) -> None:
        """Nothing to let go of."""


class Server(ThreadingHTTPServer):
    """Serves vaults by their host names, on a loopback port of its own."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, certificate: Path, key: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.trust = ssl.create_default_context(cafile=certificate)
        self.vaults: dict[str, Vault] = {}
        self.defects: list[str] = []
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up is its right; anything else is a defect of the stand-in."""
        import sys

        error = sys.exception()
        if not isinstance(error, OSError):
            self.defects.append(repr(error))


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """A server for as long as the block lasts; `folder` takes its certificate."""
    server = Server(*make_certificate(folder, "*.vault.azure.net"))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server
    finally:
        for vault in server.vaults.values():
            vault.mend()
        server.shutdown()
        thread.join()
        server.server_close()
    assert server.defects == []


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30
    disable_nagle_algorithm = True  # or a body waits 40 ms, until the client acknowledges the head

    def do_PUT(self) -> None:
        """Set Secret: a new version, for whoever has the token."""
        vault = cast("Server", self.server).vaults[self.headers["Host"].partition(":")[0]]
        _, _, token = self.headers.get("Authorization", "").partition(" ")
        sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"{}")
        name = urlsplit(self.path).path.strip("/").split("/")[1]
        answer = vault.answer(f"/secrets/{name}/", {"api-version": ["7.4"]}, token)
        fault = _next(vault.faults, urlsplit(self.path).path)
        if fault is not None:
            self._write(fault.status, fault.body, fault.headers)
        elif answer.status == 401:
            self._write(answer.status, json.dumps(answer.body).encode(), answer.headers)
        else:
            version = vault.put(name, sent["value"])
            made = next(each for each in vault.secrets[name] if each.id == version)
            self._write(
                200, json.dumps({**made.item(f"{vault.uri}secrets/{name}/{version}"), "value": made.value}).encode(), {}
            )

    def do_GET(self) -> None:
        self._answer(None)

    def do_POST(self) -> None:
        self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"{}"))

    def _answer(self, sent: Mapping[str, Any] | None) -> None:
        vault = cast("Server", self.server).vaults[self.headers["Host"].partition(":")[0]]
        url = urlsplit(self.path)
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        answer = vault.answer(url.path, parse_qs(url.query), token if scheme == "Bearer" else None, sent)
        fault = _next(vault.faults, url.path)
        if fault is None:
            self._write(answer.status, json.dumps(answer.body).encode(), answer.headers)
        elif fault.kind == "status":
            self._write(fault.status, fault.body, fault.headers)
        else:
            if fault.kind == "hang":
                vault.hung = True
                vault.released.wait(60)
            self.close_connection = True  # without a word

    def _write(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        usual = {"Content-Type": "application/json; charset=utf-8", "Content-Length": str(len(body))}
        for name, value in {**usual, **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class calls it that
        """Silent: what was asked for is in `seen`."""


def _next(faults: list[Fault], path: str) -> Fault | None:
    if not faults or (faults[0].on_values and path.endswith("/versions")):
        return None
    first = faults[0]
    faults[:1] = [] if first.times == 1 else [replace(first, times=first.times - 1)]
    return first
