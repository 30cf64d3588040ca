"""What an account knew is compared under one version of the index secret: a rotation is no news of anybody."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.detection.familiarity import MOST, Sighting, answered, asked, is_sighting, latest, sighting, visit
from shared.detection.model import Observed, Span, Visit
from shared.detection.patterns.suspicious_password_change import PATTERN
from shared.storage.documents import Item
from tests.detection.support import BRUTE_FORCE, stored_event

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


def sign_in(**fields: Any) -> Item:
    given = {"type": "auth.login", "outcome": "success", "ip_key": "v1:a", "ua_key": "v1:b", **fields}
    return stored_event("e", NOON, **given)


def test_what_makes_an_address_known() -> None:
    assert is_sighting(sign_in())
    assert is_sighting(sign_in(type="auth.register"))
    assert is_sighting(sign_in(erased_at=None))
    for wrong in ({"outcome": "failure"}, {"type": "auth.logout"}, {"erased_at": "2026-03-09T13:00:00.000000Z"}):
        assert not is_sighting(sign_in(**wrong))


def test_what_is_read_of_a_sign_in_and_of_a_visit() -> None:
    assert sighting(sign_in()) == Sighting(NOON, "e", "v1:a", "v1:b", False)
    assert sighting(sign_in(type="auth.register")) == Sighting(NOON, "e", "v1:a", "v1:b", True)
    assert visit(sign_in(), "sign_in") == Visit("sign_in", "v1:a", "v1:b")
    nowhere = {name: value for name, value in sign_in().items() if name not in ("ip_key", "ua_key")}
    assert sighting(nowhere) == Sighting(NOON, "e", None, None, False)
    assert visit(nowhere, "password") == Visit("password", None, None)


def test_of_very_many_sign_ins_the_latest_are_looked_at() -> None:
    found = [Sighting(NOON + timedelta(seconds=n), f"s{n}", None, None, False) for n in range(MOST + 1)]
    assert latest(found[::-1]) == found[1:]


def test_what_has_to_be_known_to_answer() -> None:
    changes = [Observed(NOON + timedelta(hours=n), f"c{n}", Visit("password", "a", "b")) for n in (0, 5)]
    window, days = PATTERN.defaults.window, timedelta(days=30)
    assert asked(PATTERN, changes, PATTERN.defaults) == Span(NOON - days, NOON + timedelta(hours=5))
    fresher = PATTERN.parameters(fresh_hours=168, familiar_days=7, window_seconds=900)
    assert asked(PATTERN, changes[:1], fresher) == Span(NOON - timedelta(days=7), NOON)
    assert asked(PATTERN, [Observed(NOON, "failed", None)], PATTERN.defaults) is None
    assert asked(BRUTE_FORCE, changes, BRUTE_FORCE.defaults) is None
    assert window == timedelta(minutes=15)


@pytest.mark.parametrize(
    ("before", "registration", "alerts"),
    [
        (timedelta(hours=24), True, 0),
        (timedelta(hours=24, microseconds=1), True, 1),
        (timedelta(hours=24), False, 1),
        (timedelta(microseconds=-1), True, 1),
    ],
)
def test_an_account_of_today_is_told_no_news(before: timedelta, registration: bool, alerts: int) -> None:
    seen = [Sighting(NOON - before, "s", *keys("v1", HOME), registration)]
    change = [Observed(NOON, "t", Visit("password", *keys("v1", AWAY)))]
    assert len(answered(PATTERN, change, PATTERN.defaults, seen)) == alerts


@pytest.mark.parametrize(
    ("ip_key", "ua_key", "alerts"),
    [(HOME, AWAY, 0), (AWAY, HOME, 0), (AWAY, AWAY, 1)],
)
def test_an_address_or_a_user_agent_that_is_known_is_enough(ip_key: str, ua_key: str, alerts: int) -> None:
    seen = [Sighting(NOON - timedelta(days=3), "s", keys("v1", HOME)[0], keys("v1", HOME)[1], False)]
    visited = Visit("password", keys("v1", ip_key)[0], keys("v1", ua_key)[1])
    assert len(answered(PATTERN, [Observed(NOON, "t", visited)], PATTERN.defaults, seen)) == alerts


@pytest.mark.parametrize(
    ("ip_version", "ua_version", "alerts"),
    [("v1", "v3", 1), ("v3", "v2", 1), ("v1", "v2", 1), ("v3", "v3", 0), ("v2", "v1", 0)],
)
def test_one_of_the_two_that_can_be_compared_is_enough(ip_version: str, ua_version: str, alerts: int) -> None:
    seen = [Sighting(NOON - timedelta(days=3), "s", keys("v1", HOME)[0], keys("v2", HOME)[1], False)]
    visited = Visit("password", keys(ip_version, AWAY)[0], keys(ua_version, AWAY)[1])
    assert len(answered(PATTERN, [Observed(NOON, "t", visited)], PATTERN.defaults, seen)) == alerts
