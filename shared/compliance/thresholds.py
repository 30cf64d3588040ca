"""The thresholds of rules: what they are unless an organization set others, and where each comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

_OURS = "a choice of this product; no framework sets it"


@dataclass(frozen=True, slots=True)
class Threshold:
    """A threshold. `settable`: whether an organization may set it."""

    value: int
    origin: str
    settable: bool = False


THRESHOLDS: Mapping[str, Threshold] = {
    "lockout_max_attempts": Threshold(10, "PCI DSS 8.3.4"),
    "lockout_minutes": Threshold(30, "PCI DSS 8.3.4 (or until the person is identified)"),
    "idle_minutes": Threshold(15, "PCI DSS 8.2.8", settable=True),
    "inactive_account_days": Threshold(90, "PCI DSS 8.2.6", settable=True),
    "password_max_age_days": Threshold(90, "PCI DSS 8.3.9, where the password is the only factor"),
    "password_min_length": Threshold(12, "PCI DSS 8.3.6 (a secondary source)"),
    "password_history": Threshold(4, "PCI DSS 8.3.7"),
    "access_review_months": Threshold(6, "PCI DSS 7.2.4", settable=True),
    "pci_log_retention_months": Threshold(12, "PCI DSS 10.5.1"),
    "hipaa_documentation_years": Threshold(6, "45 CFR 164.316(b)(2)(i); that it reaches to logs is an interpretation"),
    "gdpr_response_months": Threshold(1, "GDPR 12(3): a calendar month from receipt"),
    "gdpr_extension_months": Threshold(2, "GDPR 12(3): told within the first month"),
    "gdpr_breach_hours": Threshold(72, "GDPR 33(1): from awareness"),
    "alert_ack_hours": Threshold(24, _OURS, settable=True),
    "alert_resolve_days": Threshold(7, _OURS, settable=True),
    "recurrence_days": Threshold(30, _OURS),
    "offboarding_hours": Threshold(24, _OURS + "; PCI DSS 8.2.5 says at once, so 0 there", settable=True),
    "checkpoint_max_interval_minutes": Threshold(60, _OURS),
    "ingest_delay_minutes": Threshold(5, _OURS, settable=True),
    "source_silence_hours": Threshold(24, _OURS, settable=True),
    "failure_burst": Threshold(5, _OURS, settable=True),
    "cross_tenant_burst": Threshold(3, _OURS),
    "concurrent_sessions": Threshold(3, _OURS, settable=True),
    "bulk_export_records": Threshold(1000, _OURS, settable=True),
    "sample_size": Threshold(25, _OURS + "; the AICPA prescribes none", settable=True),
}
"""Every threshold by its name; numbers in the unit that the name says."""

MOST_FOR_FRAMEWORK: Mapping[str, Mapping[str, int]] = {
    "pci_dss": {"offboarding_hours": 0, "idle_minutes": 15, "inactive_account_days": 90, "access_review_months": 6}
}
"""Where a framework sets a limit, an organization may ask for less, and what it set beyond does not count."""


def thresholds_for(framework: str, given: Mapping[str, int]) -> dict[str, int]:
    """The thresholds of a report: as the organization set them where it may, else as they are; never beyond what the
    framework says."""
    own = {name: int(value) for name, value in given.items() if name in THRESHOLDS and THRESHOLDS[name].settable}
    found = {name: each.value for name, each in THRESHOLDS.items()} | own
    return found | {name: min(found[name], most) for name, most in MOST_FOR_FRAMEWORK.get(framework, {}).items()}


_WEEK = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


@dataclass(frozen=True, slots=True)
class WorkingHours:
    """When people work, in the organization's time zone: days of the week (0: Monday), minutes of the day."""

    days: frozenset[int] = frozenset(range(5))
    begins: int = 7 * 60
    ends: int = 19 * 60

    @property
    def text(self) -> str:
        """As reports tell them."""
        days = ", ".join(_WEEK[day] for day in sorted(self.days))
        begins, ends = (f"{minute // 60:02}:{minute % 60:02}" for minute in (self.begins, self.ends))
        return f"{days}, {begins} to {ends}"

    def hold(self, moment: datetime, zone: ZoneInfo) -> bool:
        """Whether a moment lies within them."""
        local = moment.astimezone(zone)
        return local.weekday() in self.days and self.begins <= local.hour * 60 + local.minute < self.ends
