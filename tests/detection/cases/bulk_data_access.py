"""Fifty records read or exported by one actor in 15 minutes; high where health or cardholder data is among them."""

from typing import Any

from tests.detection.cases import Case, Expected, Sample

CLERK = {"kind": "user", "id": "0195c000-0000-7000-8000-00000000c1e6", "role": "user"}
WINDOW = 900.0
TICK = 1e-6


def read(at: float, record: str | None, kind: str = "data.read", count: int = 1, **fields: Any) -> Sample:
    target = {"kind": "record", "id": record} if record else None
    common = {"outcome": "success", "reason": None, "actor": CLERK, "target": target}
    return at, {"type": kind, "data_class": "personal", "record_count": count, **common, **fields}


def each(*times: float) -> list[Sample]:
    return [read(at, f"record-{n}") for n, at in enumerate(times)]


CASES = [
    Case("record by record", "firing", each(*range(60)), (Expected("medium", 60, 0, 59),)),
    Case("one export", "firing", [read(0, None, "data.export", 400)], (Expected("medium", 1, 0, 0),)),
    Case("a list of many", "firing", [read(0, None, count=50)], (Expected("medium", 1, 0, 0),)),
    Case(
        "some of each",
        "firing",
        [*each(*range(30)), read(30, "report", "data.export", 20)],
        (Expected("medium", 31, 0, 30),),
    ),
    Case(
        "accounts", "firing", [read(n, f"user-{n}", "user.view") for n in range(50)], (Expected("medium", 50, 0, 49),)
    ),
    Case(
        "a patient among them",
        "firing",
        [read(0, "patient", data_class="phi"), *each(*range(1, 50))],
        (Expected("high", 50, 0, 49),),
    ),
    Case("cards", "firing", [read(0, None, "data.export", 90, data_class="cardholder")], (Expected("high", 1, 0, 0),)),
    Case("a ward's list", "firing", [read(0, "ward-3", count=50)], (Expected("medium", 1, 0, 0),)),
    Case(
        "two records each", "firing", [read(n, "ward-3", count=2) for n in range(25)], (Expected("medium", 25, 0, 24),)
    ),
    Case(
        "exports of one report",
        "firing",
        [read(n, "report", "data.export") for n in range(50)],
        (Expected("medium", 50, 0, 49),),
    ),
    Case(
        "a patient at the end",
        "firing",
        [*each(*range(49)), read(49, "patient", data_class="phi")],
        (Expected("high", 50, 0, 49),),
    ),
    Case(
        "a patient long before",
        "firing",
        [read(0, "patient", data_class="phi"), read(WINDOW + 1, None, "data.export", 60)],
        (Expected("medium", 1, WINDOW + 1, WINDOW + 1),),
    ),
    Case("two small exports far apart", "quiet", [read(at, None, "data.export", 30) for at in (0, WINDOW + 1)]),
    Case("the same record all day", "quiet", [read(n, "record-1") for n in range(200)]),
    Case("refused reads", "quiet", [read(n, f"record-{n}", outcome="denied") for n in range(80)]),
    Case("writing", "quiet", [read(n, f"record-{n}", "data.update") for n in range(80)]),
    Case("a small export", "quiet", [read(0, None, "data.export", 20), read(1, None, "data.export", 20)]),
    Case("49: one less than it takes", "boundary", each(*range(49))),
    Case("exactly 50", "boundary", each(*range(50)), (Expected("medium", 50, 0, 49),)),
    Case("an export of 49", "boundary", [read(0, None, "data.export", 49)]),
    Case("an export of exactly 50", "boundary", [read(0, None, "data.export", 50)], (Expected("medium", 1, 0, 0),)),
    Case("the first at the edge", "boundary", each(*range(49), WINDOW), (Expected("medium", 50, 0, WINDOW),)),
    Case("the first just outside", "boundary", each(*range(49), WINDOW + TICK)),
]
