"""What a tenant set for detection: thresholds of its own, mutes, and addresses and accounts that are nobody's concern.

Mutes and exemptions hold by event time, from when they were set until they expire, so that what they hide does not
depend on when an event arrives. Thresholds hold as they are when an event is evaluated.
"""

import hashlib
import json
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from pydantic import ValidationError

from shared.core.clock import parse_rfc3339, rfc3339
from shared.core.errors import FieldError, Invalid
from shared.detection.engine import MAX_BEHIND, event_time
from shared.detection.episodes import reach
from shared.detection.model import Parameters, Pattern
from shared.detection.registry import all_patterns
from shared.storage.documents import Item
from shared.telemetry import get_log

_log = get_log(__name__)

ODD_TIMES = "odd_times"
ENDED = "ended"
KEPT_ENDED = MAX_BEHIND + reach(timedelta(days=1))
"""An event may come a week late, and is looked at with those before it: so many days for the longest window."""
MOST_ENDED = 100


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
    traits: frozenset[str] = frozenset()
    """What is so of the tenant and of few others (`traits.py`); nobody sets it."""

    @property
    def has_odd_times(self) -> bool:
        """Whether the tenant has events of an implausible time: they are looked for only where there are any."""
        return ODD_TIMES in self.traits

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

    def exempts_account(self, account: str | None, moment: datetime) -> bool:
        """Whether an account is exempt at a moment of event time."""
        return any(each.value == account and each.holds(moment) for each in self.accounts)

    def hides(self, pattern: Pattern[Any], ip_key: str, moment: datetime) -> bool:
        """Whether the tenant is told nothing of a crossing point that counts for all tenants."""
        return self.mutes_at(pattern, moment) or self.exempts_address(ip_key, moment)

    def edges(self, pattern: Pattern[Any], ip_key: str) -> Iterator[datetime]:
        """Where `hides` may change."""
        mutes = (each for each in self.mutes if each.value == pattern.id)
        addresses = (each for each in self.addresses if each.value == ip_key)
        for each in (*mutes, *addresses):
            yield from (each.since, each.until)

    def exempts(self, event: Item) -> bool:
        """Whether an event counts for nothing: its address, who did it, or the account that it was about, is exempt."""
        if not self.addresses and not self.accounts:
            return False
        at = event_time(event)
        if self.exempts_address(event.get("ip_key"), at):
            return True
        return any(self.exempts_account((event.get(whose) or {}).get("id"), at) for whose in ("actor", "target"))

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


class StoredRules:
    """The rules among the settings of each tenant."""

    def __init__(self, settings_of: Callable[[str], Awaitable[Mapping[str, Any]]]) -> None:
        self._settings_of = settings_of

    async def rules_of(self, tenant_id: str) -> Rules:
        """A tenant's rules as they are now. StoreError."""
        settings = await self._settings_of(tenant_id)
        lists = settings.get("allow_lists", {})
        return Rules(
            thresholds=settings.get("thresholds", {}),
            mutes=_exemptions(settings.get("mutes", []), "pattern"),
            addresses=_exemptions(lists.get("addresses", []), "key"),
            accounts=_exemptions(lists.get("accounts", []), "value"),
        )


def _exemptions(entries: Iterable[Item], name: str) -> tuple[Exemption, ...]:
    return tuple(Exemption(e[name], parse_rfc3339(e["since"]), parse_rfc3339(e["until"])) for e in entries)


def check_thresholds(given: Mapping[str, Mapping[str, int]]) -> None:
    """Invalid (422) naming the field for a pattern, a parameter or a value that cannot be set."""
    patterns = all_patterns()
    faults: list[FieldError] = []
    for name, values in given.items():
        field = f"thresholds.{name}"
        if name not in patterns:
            faults.append(FieldError(field, "unknown", "is no pattern"))
        elif patterns[name].across_tenants:
            faults.append(FieldError(field, "not_settable", "counts across organizations: its thresholds are fixed"))
        else:
            faults += _faults(patterns[name], values, field)
    if faults:
        raise Invalid("invalid_request", "Some fields are not as they must be.", errors=tuple(faults))


def _faults(pattern: Pattern[Any], values: Mapping[str, int], field: str) -> list[FieldError]:
    try:
        pattern.parameters.model_validate(dict(values))
    except ValidationError as error:
        return [
            FieldError(".".join((field, *map(str, each["loc"]))), each["type"], each["msg"]) for each in error.errors()
        ]
    return []


def since(entries: Sequence[Item], held: Sequence[Item], now: datetime) -> list[Item]:
    """Entries with the time from when they hold, and behind them those that are ended: nothing rewrites the past.

    An entry that changes one that still holds keeps its `since`, and ends now at the earliest. What is left out is
    ended now, and kept for as long as events of its time may still be looked at; the latest `MOST_ENDED` of it.
    """
    found: list[Item] = []
    left, moment = list(held), rfc3339(now)
    for each in entries:
        former = _former(each, entries, left, moment)
        if former is None:
            found.append({**each, "since": moment})
            continue
        left.remove(former)
        until = each["until"] if former["until"] <= moment else max(each["until"], moment)
        found.append({**each, "since": former["since"], "until": until})
    ended = [each if each.get(ENDED) else _ended(each, moment) for each in left]
    kept = sorted((e for e in ended if e["until"] > rfc3339(now - KEPT_ENDED)), key=lambda each: str(each["until"]))
    return [*found, *kept[-MOST_ENDED:]]


def standing(entries: Sequence[Item]) -> list[Item]:
    """The entries that somebody set and nobody took back."""
    return [each for each in entries if not each.get(ENDED)]


def _former(entry: Item, entries: Sequence[Item], left: Sequence[Item], now: str) -> Item | None:
    """What an entry was: the same, or one about the same that still holds and that no other entry is."""
    about = entry.get("pattern", entry.get("value"))
    mine = [each for each in left if each.get("pattern", each.get("value")) == about and not each.get(ENDED)]
    same = [each for each in mine if _as_given(each) == entry]
    changed = [each for each in mine if each["until"] > now and _as_given(each) not in entries]
    return next(iter([*same, *changed]), None)


def _as_given(held: Item) -> Item:
    return {name: value for name, value in held.items() if name != "since"}


def _ended(held: Item, now: str) -> Item:
    """An entry that is ended: why it was made stands in the event that tells of the change."""
    entry = {name: value for name, value in held.items() if name != "reason"}
    return {**entry, "until": min(held["until"], now), ENDED: True}
