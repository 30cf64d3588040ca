"""What a tenant set for detection: thresholds of its own, mutes, and addresses and accounts that are nobody's concern.

Mutes and exemptions hold by event time, from when they were set until they expire, so that what they hide does not
depend on when an event arrives. Thresholds hold as they are when an event is evaluated.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from pydantic import ValidationError

from shared.core.clock import rfc3339
from shared.detection.engine import event_time
from shared.detection.model import Parameters, Pattern
from shared.storage.documents import Item
from shared.telemetry import get_log

_log = get_log(__name__)


@dataclass(frozen=True, slots=True)
class Exemption:
    """Something that is left alone for a while: a pattern's id, an address' blind-index value, or an account's id."""

    value: str
    since: datetime
    until: datetime

    def holds(self, moment: datetime) -> bool:
        """Whether it holds at a moment; at its end no more."""
        return self.since <= moment < self.until


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of one tenant."""

    thresholds: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    mutes: tuple[Exemption, ...] = ()
    addresses: tuple[Exemption, ...] = ()
    accounts: tuple[Exemption, ...] = ()
    has_odd_times: bool = False
    """Whether the tenant has events of an implausible time: they are looked for only where there are any."""

    def parameters(self, pattern: Pattern[Any]) -> Parameters:
        """The parameters of a pattern. Overrides that are out of today's bounds count for nothing."""
        given = {} if pattern.across_tenants else self.thresholds.get(pattern.id, {})
        try:
            found: Parameters = pattern.parameters.model_validate(dict(given))
        except ValidationError:
            _log.error("thresholds_out_of_bounds", pattern=pattern.id)
            found = pattern.defaults
        return found

    def mutes_at(self, pattern: Pattern[Any], moment: datetime) -> bool:
        """Whether the pattern is muted at a moment of event time."""
        return any(mute.value == pattern.id and mute.holds(moment) for mute in self.mutes)

    def exempts_address(self, ip_key: str | None, moment: datetime) -> bool:
        """Whether an address is exempt at a moment of event time."""
        return any(each.value == ip_key and each.holds(moment) for each in self.addresses)

    def exempts(self, event: Item) -> bool:
        """Whether an event counts for nothing: its address, who did it, or the account that it was about, is exempt."""
        if not self.addresses and not self.accounts:
            return False
        at = event_time(event)
        if self.exempts_address(event.get("ip_key"), at):
            return True
        concerned = {(event.get(whose) or {}).get("id") for whose in ("actor", "target")}
        return any(each.value in concerned and each.holds(at) for each in self.accounts)

    def fingerprint(self, pattern: Pattern[Any]) -> str:
        """Tells apart what changes a pattern's crossing points."""
        exempt = [*(e for e in self.mutes if e.value == pattern.id), *self.addresses, *self.accounts]
        told = [[each.value, rfc3339(each.since), rfc3339(each.until)] for each in exempt]
        text = json.dumps([pattern.id, self.parameters(pattern).model_dump(), told], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


NO_RULES = Rules()


class RulesSource(Protocol):
    """Where the rules of a tenant are."""

    async def rules_of(self, tenant_id: str) -> Rules:
        """A tenant's rules as they are now. StoreError."""
        ...


class NoRules:
    """Nobody set anything."""

    async def rules_of(self, tenant_id: str) -> Rules:
        """The defaults."""
        return NO_RULES
