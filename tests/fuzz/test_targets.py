"""Every target, with what it begins from and what a few cuts make of that; `make fuzz` goes on, led by coverage."""

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS

SLOW = frozenset({"bundle", "signed_bundle", "entry", "exported_events"})
"""They check a whole bundle each time."""
PIECES = st.binary(max_size=8) | st.sampled_from(
    [
        b"\0",
        b"\n\n",
        b"\xff",
        b"=",
        b"+",
        b'"',
        b"[" * 60,
        b"]}",
        b"\\ud800",
        b"1e999",
        b"-1",
        b"9" * 30,
        b"null",
        b"\xe2\x80\x94 ",
    ]
)


def changed(seed: bytes, cuts: list[tuple[int, int, bytes]]) -> bytes:
    """A text with pieces of it replaced, each by its place in thousandths and its length."""
    for place, length, piece in cuts:
        at = len(seed) * place // 1000
        seed = seed[:at] + piece + seed[at + length :]
    return seed


@pytest.mark.parametrize("name", TARGETS)
def test_what_it_begins_from(name: str) -> None:
    target, seeds = TARGETS[name]
    for seed in (b"", b"\0", b"\xff" * 40, *seeds):
        target(seed)


@pytest.mark.parametrize("name", TARGETS)
def test_a_few_cuts(name: str) -> None:
    target, seeds = TARGETS[name]
    many = int(os.environ.get("FUZZ_SECONDS", "0")) * 10

    @settings(max_examples=(many or 100) // (8 if name in SLOW else 1), suppress_health_check=[HealthCheck.too_slow])
    @given(st.sampled_from(seeds), st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 6), PIECES), max_size=4))
    def run(seed: bytes, cuts: list[tuple[int, int, bytes]]) -> None:
        target(changed(seed, cuts))

    run()
