"""What the demo did, and what the API and the store showed of it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shared.audit.model import PLATFORM_TENANT

type Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Made:
    """A report on disk. `counts`: how many controls have which status. `check`: the lines of a shell that check its
    bundle. `fault`: what is wrong with it, or None."""

    framework: str
    counts: Json
    gate_passed: bool
    events: int
    folder: Path
    check: tuple[str, ...]
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class Answered:
    """One call that was answered. `route`: its path with {id} for ids."""

    method: str
    route: str
    status: int
    request_id: str

    def __str__(self) -> str:
        return f"{self.method} /{self.route} ({self.status})"


@dataclass(slots=True)
class Seen:
    """All by tenant id. `shown`: the alerts that the API shows; `alerts`: those that the store holds in the end, of
    nobody's tenant, too. `trails`: oldest event first; `logs`: what the API shows of them to an administrator. `made`:
    the reports of the first organization on frameworks, on disk."""

    truth: Json = field(default_factory=dict)
    calls: list[Answered] = field(default_factory=list)
    shown: dict[str, list[Json]] = field(default_factory=dict)
    reports: dict[str, list[Json]] = field(default_factory=dict)
    logs: dict[str, list[Json]] = field(default_factory=dict)
    alerts: dict[str, list[Json]] = field(default_factory=dict)
    trails: dict[str, list[Json]] = field(default_factory=dict)
    made: list[Made] = field(default_factory=list)

    @property
    def tenants(self) -> dict[str, str]:
        """Names by id, nobody's tenant last."""
        return {each["id"]: each["name"] for each in self.truth["tenants"]} | {PLATFORM_TENANT: "platform"}

    @property
    def attacks(self) -> list[Json]:
        """The cases that are attacks, in the order of time."""
        return sorted((case for case in self.truth["cases"] if case["attack"]), key=lambda case: str(case["first"]))

    @property
    def near_misses(self) -> list[Json]:
        """The cases that are none."""
        return [case for case in self.truth["cases"] if not case["attack"]]

    def explained_by(self, case: Json) -> Iterator[tuple[str, Json]]:
        """The alerts that a case explains, each with its tenant; those of its own pattern first."""
        person, addresses = case["account"] or case["actor"], self._addresses()
        for pattern in (case["pattern"], *case["also"]):
            key = case["address"] if pattern == "credential_stuffing" else person["id"]
            for tenant_id in case["tenants"]:
                for alert in self.alerts.get(tenant_id, ()):
                    if alert["pattern"] == pattern and addresses.get(alert["key"], alert["key"]) == key:
                        yield tenant_id, alert

    def events_of(self, case: Json) -> list[Json]:
        """The events of the trails that a case is made of; a lock is what the app made of them."""
        ids, requests = set(case["event_ids"]), set(case["request_ids"])
        return [
            event
            for trail in self.trails.values()
            for event in trail
            if (event["id"] in ids or event["context"]["request_id"] in requests)
            and event["type"] != "auth.account_locked"
        ]

    def who(self, key: str) -> str:
        """Whom an alert is about, for a person: an e-mail, or an address."""
        emails = {each["id"]: each["email"] for tenant in self.truth["tenants"] for each in tenant["users"]}
        return emails.get(key) or self._addresses().get(key) or key

    def _addresses(self) -> dict[str, str]:
        """The addresses behind the values that events and alerts have in their place."""
        return {
            event["ip_key"]: held["ip"]
            for trail in self.trails.values()
            for event in trail
            for held in event["personal"].values()
            if event.get("ip_key") and "ip" in held
        }
