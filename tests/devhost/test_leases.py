"""Which feed functions keep their place in the same leases, and are refused for it."""

from pathlib import Path

import pytest

from devhost.host import Host
from tests.devhost.test_start import feed_function, refusal, write_app


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('container_name="identity"', 'container_name="identity"'),
        ('container_name="identity", lease_container_prefix=""', 'container_name="identity"'),
        ('container_name="identity", lease_container_name="leases"', 'container_name="identity"'),
        (
            'container_name="identity", lease_container_prefix="p", max_items_per_invocation=5',
            'container_name="identity", lease_container_prefix="%PREFIX%"',
        ),
    ],
)
async def test_leases_are_the_same_by_what_they_come_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one: str, other: str
) -> None:
    monkeypatch.setenv("PREFIX", "p")
    app = write_app(tmp_path, feed_function("a", one) + feed_function("b", other))
    assert "The 'b' function is in error: it shares container and lease prefix with 'a'" in await refusal(app)


@pytest.mark.parametrize(
    "other",
    [
        'container_name="alerts", lease_container_prefix="p"',
        'container_name="identity", lease_container_prefix="q"',
        'container_name="identity", lease_container_prefix="p", lease_container_name="more_leases"',
    ],
)
async def test_leases_that_differ_are_taken(tmp_path: Path, other: str) -> None:
    first = feed_function("a", 'container_name="identity", lease_container_prefix="p"')
    host = await Host.load(write_app(tmp_path, first + feed_function("b", other)))
    assert [each.name for each in host.functions] == ["a", "b"]
