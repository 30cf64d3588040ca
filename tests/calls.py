"""What a well-formed call of each endpoint needs beside its body: ids and other parts of paths, and queries."""

import re

from functions._api import Endpoint

NOWHERE = "11111111-1111-7111-8111-111111111111"
"""An id that nothing has."""
PERIOD = "2026-03"
"""The month of the clock of tests."""
QUERIES = {
    "get_ledger_proof": {"event_id": NOWHERE},
    "get_ledger_consistency": {"from": "1"},
    "get_ledger_bundle": {"from": "2026-03-01", "to": "2026-04-01"},
}
"""Of endpoints that cannot do without."""


def path_of(endpoint: Endpoint) -> str:
    """The path of an endpoint, with an id that nothing has."""
    path = re.sub(r"\{\w+:guid\}", NOWHERE, endpoint.route)
    return "/" + path.replace("{period}", PERIOD).replace("{*path}", "0/000.p/1")
