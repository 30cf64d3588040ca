"""The records of a received part, without reading it as a whole: where each ends, and whose id it carries."""

import json
from collections import deque
from collections.abc import Iterator


def records(data: bytes, name: str) -> Iterator[bytes]:
    """Each record with its line end. In CSV a line end within quotes ends nothing."""
    start = at = 0
    while start < len(data):
        at = data.find(b"\n", at) + 1
        if at == 0:
            raise ValueError("a record has no end")
        if name == "csv" and data.count(b'"', start, at) % 2:
            continue
        yield data[start:at]
        start = at


def is_heading(record: bytes, name: str) -> bool:
    """Whether a record is the names of the columns; no id looks like that."""
    return name == "csv" and record.startswith(b"id,")


def last_of(data: bytes, name: str) -> bytes:
    """The last record of some. In CSV only the whole tells which quotes a line end is between."""
    if name == "csv":
        return deque(records(data, name), maxlen=1)[0]
    return data[data.rfind(b"\n", 0, len(data) - 1) + 1 :]


def id_of(record: bytes, name: str) -> str:
    """The id of the event in a record."""
    if name == "csv":
        return record.split(b",", 1)[0].decode("ascii")
    event = json.loads(record)
    found: str = event["metadata"]["uid"] if name == "ocsf" else event["id"]
    return found
