"""Every pattern against its own samples: through the consumer, forward and backward, in one batch and one by one."""

from importlib import import_module
from typing import Any

import pytest

from shared.detection import all_patterns
from tests.detection.cases import Case
from tests.detection.support import START, World, seconds, stored_event, times_of

ALL = [
    pytest.param(pattern, case, id=f"{pattern}: {case.name}")
    for pattern in all_patterns()
    for case in import_module(f"tests.detection.cases.{pattern}").CASES
]


@pytest.mark.parametrize("pattern", all_patterns())
def test_a_pattern_has_samples_of_every_kind(pattern: str) -> None:
    cases: list[Case] = import_module(f"tests.detection.cases.{pattern}").CASES

    assert {case.kind for case in cases} == {"firing", "quiet", "boundary"}
    assert len({case.name for case in cases}) == len(cases)
    assert all(case.expected for case in cases if case.kind == "firing")
    assert not any(case.expected for case in cases if case.kind == "quiet")


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize(("pattern", "case"), ALL)
async def test_samples(world: World, pattern: str, case: Case, backward: bool) -> None:
    events = [stored_event(f"e{n:04}", START + seconds(at), **fields) for n, (at, fields) in enumerate(case.events)]
    world.clock.set(START + seconds(max(at for at, _ in case.events)))  # signals expire
    if backward and len(events) < 25:
        for event in reversed(events):
            await world.deliver([event], all_patterns()[pattern])
    else:
        await world.deliver(events, all_patterns()[pattern])

    found = await world.current()
    assert [_summary(alert) for alert in found] == [
        (e.severity, e.count, START + seconds(e.first_seen), START + seconds(e.last_seen)) for e in case.expected
    ]
    assert all(len(alert["event_ids"]) == min(500, alert["count"]) for alert in found)
    assert not await world.dead()


def _summary(alert: dict[str, Any]) -> tuple[Any, ...]:
    return alert["severity"], alert["count"], *times_of(alert)
