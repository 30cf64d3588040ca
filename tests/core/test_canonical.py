"""The quick way to canonical JSON and the careful one are the same."""

from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from shared.core.canonical import canonical

ESCAPED = st.text(st.characters(codec="utf-8", max_codepoint=0x100) | st.sampled_from("\u2028\u2029\ufeff\U0001f600"))
NUMBERS = st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(-1e15, 1e15)
VALUES = st.recursive(
    st.none() | st.booleans() | ESCAPED | st.text() | NUMBERS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ESCAPED, inner, max_size=4),
    max_leaves=12,
)
PLAIN = st.recursive(
    st.none() | st.booleans() | ESCAPED | st.integers(-(2**53) + 1, 2**53 - 1),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="ascii")), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(VALUES | PLAIN)
def test_the_quick_way_to_canonical_json_is_the_same(value: Any) -> None:
    assert canonical(value) == rfc8785.dumps(value)


@pytest.mark.parametrize(
    "value", [2**53, -(2**53), "\ud800", {"\ud800": 1}, {1: 2}, b"x", float("nan"), object], ids=repr
)
@pytest.mark.parametrize("within", [lambda each: each, lambda each: {"a": [1, {"b": each}]}], ids=["alone", "within"])
def test_what_has_no_canonical_form_is_refused(value: Any, within: Any) -> None:
    with pytest.raises(ValueError, match=r".+"):
        canonical(within(value))


def test_endless_nesting_is_refused() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(RecursionError):
        canonical(value)
