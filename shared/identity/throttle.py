"""Limits on calls that anybody can make, by address. What is refused is in the trail, sampled and counted."""

import ipaddress
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from shared.audit.model import RequestContext
from shared.core.errors import TooMany
from shared.identity.rejections import LOGINS, REFRESHES, REGISTRATIONS, Rejections
from shared.privacy.guards import Guards

type Limited = Literal["login", "refresh", "register"]

SHARED_FACTOR = 10
"""How many times the limit those calls share whose address is not known: a proxy that is not set up as the settings say
must not shut everybody out, and who gets around it must not have free play."""
_KINDS: Mapping[Limited, str] = {"login": LOGINS, "refresh": REFRESHES, "register": REGISTRATIONS}
_V6_PREFIX = 64


@dataclass(frozen=True, slots=True)
class Limit:
    """So many calls in so many seconds; 0: any number."""

    calls: int
    window_seconds: int


class Throttle:
    """Refuses what an address asks too often, on all instances together."""

    def __init__(self, guards: Guards, rejections: Rejections, limits: Mapping[Limited, Limit]) -> None:
        self._guards = guards
        self._rejections = rejections
        self._limits = limits

    async def check(self, what: Limited, request: RequestContext) -> None:
        """Count one call. TooMany (429 rate_limited), audited, above the limit. StoreError, Unready: refused, too."""
        limit = self._limits[what]
        if limit.calls == 0:
            return
        place = place_of(request.ip) if request.ip else None
        calls = limit.calls if place else limit.calls * SHARED_FACTOR
        taken = await self._guards.take(f"{what}_rate", place or "unknown", calls, limit.window_seconds)
        if taken.allowed:
            return
        await self._rejections.throttled(_KINDS[what], place, request)
        raise TooMany(
            "rate_limited",
            "Too many calls from this address.",
            retry_after_seconds=max(1, math.ceil(taken.retry_after_seconds)),
        )


def place_of(address: str) -> str:
    """What counts as one address: an IPv4 address, or the /64 that a single customer's IPv6 addresses lie in."""
    found = ipaddress.ip_address(address)
    if found.version == 4:
        return address
    return str(ipaddress.ip_network((found, _V6_PREFIX), strict=False))
