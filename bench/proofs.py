"""What auditors wait for: `python -m bench.proofs [--events 20000]` (about half a minute).

The app is a real `python -m devhost` process on an embedded store in a temporary folder. Events of one tenant come in
through POST /events; once they are sealed, proofs of events spread over all of them are asked for one after the other
over one kept-alive connection, and an evidence bundle of the month is fetched, part by part, and checked offline.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx

from bench._figures import figure, table
from bench._servers import ROOT, Server, devhost

PROOFS = 500
BATCH = 500
PATIENCE_SECONDS = 300.0
VERIFIER = ROOT / "tools" / "verify_evidence.py"
_EVENT = {"type": "custom.invoice_paid", "actor": {"kind": "service", "id": "billing"}, "attributes": {"cents": 1999}}
_ACCOUNT = {"email": "someone@example.com", "password": "a quite long password", "first_name": "A", "last_name": "B"}


def fill(client: httpx.Client, events: int) -> list[str]:
    """Write events and wait until they are sealed; their ids. RuntimeError when that takes too long."""
    body = _ACCOUNT | {"organization": "Example", "accept_terms": True, "accept_privacy": True}
    token = client.post("/v1/register", json=body).json()["access_token"]
    client.headers["Authorization"] = f"Bearer {token}"
    ids: list[str] = []
    for _ in range(0, events, BATCH):
        items = client.post("/v1/events", json={"events": [_EVENT] * BATCH}).json()["items"]
        ids += [each["id"] for each in items]
    until = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < until:
        if sum(each["size"] for each in client.get("/v1/ledger/shards").json()["items"]) >= len(ids):
            return ids
        time.sleep(0.2)
    raise RuntimeError("the events were not sealed")


def proofs(client: httpx.Client, ids: Sequence[str]) -> Iterator[float]:
    """Seconds of each proof. RuntimeError for an answer that is none."""
    step = max(1, len(ids) // PROOFS)
    for event_id in ids[::step][:PROOFS]:
        start = time.perf_counter()
        answer = client.get("/v1/ledger/proof", params={"event_id": event_id})
        yield time.perf_counter() - start
        if answer.status_code != 200:
            raise RuntimeError(f"a proof was answered {answer.status_code}")


def bundle(client: httpx.Client, month: str, folder: Path) -> tuple[float, list[Path]]:
    """Seconds of fetching all parts, and their files."""
    following = f"{int(month[:4]) + int(month[5:]) // 12:04}-{int(month[5:]) % 12 + 1:02}"
    url: Any = httpx.URL(client.base_url).join("v1/ledger/bundle")
    url = url.copy_merge_params({"from": f"{month}-01", "to": f"{following}-01"})
    parts: list[Path] = []
    start = time.perf_counter()
    while url is not None:
        answer = client.get(url).raise_for_status()
        parts.append(folder / f"{len(parts)}.zip")
        parts[-1].write_bytes(answer.content)
        link = answer.links.get("next")
        url = answer.url.join(link["url"]) if link else None
    return time.perf_counter() - start, parts


def measure(server: Server, events: int, folder: Path) -> list[tuple[str, float, str]]:
    """The figures."""
    with httpx.Client(base_url=f"{server.url}/", timeout=120) as client:
        ids = fill(client, events)
        list(proofs(client, ids[:20]))  # to warm up
        found = sorted(proofs(client, ids))
        vkey = client.get("/v1/ledger/key").text.strip()
        month = client.get("/v1/ledger/shards").json()["items"][0]["period"]
        seconds, parts = bundle(client, month, folder)
    start = time.perf_counter()
    command = [sys.executable, str(VERIFIER), *map(str, parts), "--vkey", vkey]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own program
    if done.returncode != 0:
        raise RuntimeError(done.stdout)
    return [
        ("proof_served_p50", found[len(found) // 2] * 1000, "ms"),
        ("proof_served_p99", found[len(found) * 99 // 100] * 1000, "ms"),
        ("bundle_fetched", seconds, "s"),
        ("bundle_parts", len(parts), "1"),
        ("bundle_checked", time.perf_counter() - start, "s"),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Latency of proofs and bundles.")
    parser.add_argument("--events", type=int, default=20_000)
    events = parser.parse_args(arguments).events
    with tempfile.TemporaryDirectory() as folder, devhost(ROOT, f"{folder}/data") as server:
        found = measure(server, events, Path(folder))
    table([(name, f"{value:10.2f} {unit}") for name, value, unit in found])
    for name, value, unit in found:
        figure("proofs", name, value, unit, events=events)
    return 0


if __name__ == "__main__":
    sys.exit(main())
