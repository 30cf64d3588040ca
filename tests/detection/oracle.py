"""What the alerts of one key have to be, worked out anew and naively: quadratic, no incremental window, no ranges."""

from dataclasses import dataclass
from datetime import datetime, timedelta

DAY = timedelta(hours=24)


@dataclass(frozen=True)
class Attack:
    """One alert as the rules demand it."""

    crossed: str
    severity: str
    first_seen: datetime
    last_seen: datetime
    members: tuple[str, ...]


def attacks(events: set[tuple[datetime, str]], *, threshold: int, window: timedelta, critical_from: int) -> set[Attack]:
    """The attacks among the failures of one account."""
    windows = {
        event: {other for other in events if other <= event and event[0] - other[0] <= window} for event in events
    }
    crossing = sorted(event for event in events if len(windows[event]) >= threshold)
    return {
        Attack(
            crossed=group[0][1],
            severity="critical" if any(len(windows[point]) >= critical_from for point in group) else "high",
            first_seen=min(set().union(*(windows[point] for point in group)))[0],
            last_seen=max(group)[0],
            members=tuple(name for _, name in sorted(set().union(*(windows[point] for point in group)))),
        )
        for group in _groups(crossing, window)
    }


def _groups(crossing: list[tuple[datetime, str]], window: timedelta) -> list[list[tuple[datetime, str]]]:
    """Chains of points closer than the window; chains above 24 hours by the day."""
    left, found = list(crossing), []
    while left:
        chain = {left.pop(0)}
        while near := [each for each in left if any(abs(each[0] - other[0]) < window for other in chain)]:
            chain |= set(near)
            left = [each for each in left if each not in chain]
        points = sorted(chain)
        if points[-1][0] - points[0][0] <= DAY:
            found.append(points)
            continue
        days = sorted({point[0].strftime("%Y%m%d") for point in points})
        found += [[point for point in points if point[0].strftime("%Y%m%d") == day] for day in days]
    return found
