"""What an account knew is compared under one version of the index secret: a rotation is no news of anybody."""

from datetime import UTC, datetime, timedelta

import pytest

from shared.detection.familiarity import Sighting, answered
from shared.detection.model import Observed, Visit
from shared.detection.patterns.suspicious_password_change import PATTERN

NOON = datetime(2026, 3, 9, 12, tzinfo=UTC)
HOME, AWAY = "1", "3"


def keys(version: str, place: str) -> tuple[str, str]:
    """The hashes of an address and a user agent."""
    return f"{version}:{place * 64}", f"{version}:{chr(ord(place) + 1) * 64}"


@pytest.mark.parametrize(
    ("seen", "visited", "alerts"),
    [
        ([("v1", HOME)], ("v1", HOME), 0),
        ([("v1", HOME)], ("v1", AWAY), 1),
        ([("v1", HOME)], ("v2", HOME), 0),  # nobody can tell: no alert for every account on the day of a rotation
        ([("v1", HOME)], ("v2", AWAY), 0),
        ([("v1", HOME), ("v2", HOME)], ("v2", AWAY), 1),
        ([("v2", HOME), ("v1", AWAY)], ("v2", HOME), 0),
        ([("v1", HOME), ("v2", HOME)], ("v1", HOME), 0),  # late, from an instance that was behind
        ([], ("v2", AWAY), 1),
    ],
)
def test_versions_are_not_compared(seen: list[tuple[str, str]], visited: tuple[str, str], alerts: int) -> None:
    sightings = [
        Sighting(NOON - timedelta(days=9 - number), f"s{number}", *keys(*each), False)
        for number, each in enumerate(seen)
    ]
    observed = [Observed(NOON, "change", Visit("password", *keys(*visited)))]
    for order in (sightings, sightings[::-1]):
        assert len(answered(PATTERN, observed, PATTERN.defaults, order)) == alerts


def test_what_is_no_hash_of_ours_is_compared_as_it_is() -> None:
    """Imported logs have addresses themselves, also such as have colons."""
    sightings = [Sighting(NOON - timedelta(days=9), "s", "2001:db8::1", "curl", False)]
    for address, alerts in (("2001:db8::1", 0), ("2001:db8::2", 1), ("192.0.2.1", 1)):
        observed = [Observed(NOON, "change", Visit("password", address, "other"))]
        assert len(answered(PATTERN, observed, PATTERN.defaults, sightings)) == alerts
