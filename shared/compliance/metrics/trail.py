"""Metrics of the trail itself, of signing in and of access."""

from __future__ import annotations

from shared.compliance.evidence import Evidence, hours_between
from shared.compliance.facts.quality import SKEW_MS
from shared.compliance.metrics.model import Measured, counted, marked, shown, spread, told
from shared.compliance.report_model import Cell
from shared.compliance.rules.access import PRIVILEGED, off_hours, rises
from shared.compliance.rules.model import approval

_USERS_ADDED = "auth.register+success user.invite"


def _first(evidence: Evidence) -> Cell:
    places = [(each.period, each.first) for each in evidence.shards if each.first is not None]
    return f"{places[0][0]} {places[0][1]}" if places else None


def _last(evidence: Evidence) -> Cell:
    places = [(each.period, each.last) for each in evidence.shards if each.last is not None]
    return f"{places[-1][0]} {places[-1][1]}" if places else None


def _missing(evidence: Evidence) -> Cell:
    bad = [each for each in evidence.gate.checks if each.id in ("counted", "facts", "checkpoint") and not each.passed]
    return "; ".join(each.detail for each in bad) or 0


def _completeness(evidence: Evidence) -> Cell:
    events = evidence.facts.events
    return shown(100 * evidence.facts.total("complete") / events) if events else None


def _age(evidence: Evidence) -> Cell:
    oldest = evidence.ledger.oldest_month
    if oldest is None:
        return None
    first = max(f"{oldest}-01T00:00:00.000000Z", evidence.organization.enrolled_at)
    return int(hours_between(first, evidence.period.end) // 24)


def _skew(evidence: Evidence) -> Cell:
    """The upper bound of the class that the 99th percentile lies in."""
    counts = evidence.facts.skew
    wanted, seen = 0.99 * sum(counts), 0
    for place, n in enumerate(counts):
        seen += n
        if n and seen >= wanted:
            return SKEW_MS[place] if place < len(SKEW_MS) else f"above {SKEW_MS[-1]}"
    return None


def _silence(evidence: Evidence) -> Cell:
    spans = [(gap[1] - gap[0]) / 3600 for _, _, gap in evidence.facts.heard.sources.values()]
    return shown(max(spans)) if spans else None


def _seen(evidence: Evidence) -> Cell:
    expected = evidence.policies.sources
    seen = [name for name in evidence.facts.heard.sources if name != "session"]
    return f"{'unknown' if expected is None else len(expected)} expected, {len(seen)} seen"


def _downtime(evidence: Evidence) -> Cell:
    if evidence.operations is None:
        return None
    return shown(sum(hours_between(each.since, each.until) * 60 for each in evidence.operations.outages))


def _longest_run(evidence: Evidence) -> Cell:
    return evidence.facts.longest_run


def _misses(evidence: Evidence) -> Cell:
    return evidence.facts.runs(evidence.at_least("lockout_max_attempts"))[0]


def _early(evidence: Evidence) -> Cell:
    return evidence.facts.after_lock(evidence.at_least("lockout_minutes"))[0]


def _passwords(evidence: Evidence) -> Cell:
    facts = evidence.facts
    return f"{facts.count('auth.password_change+success')} ok, {facts.count('auth.password_change+failure')} failed"


def _oldest_password(evidence: Evidence) -> Cell:
    if evidence.accounts is None:
        return None
    days = [
        int(hours_between(each.password_at(evidence.period.end), evidence.period.end) // 24)
        for each in evidence.accounts
        if each.status == "active"
    ]
    return max(days, default=None)


def _removed(evidence: Evidence) -> Cell:
    ended = [e for e in evidence.facts.extracts("user.status_change") if e.attributes.get("new_status") != "active"]
    return evidence.facts.count("user.delete") + len(ended)


def _roles(evidence: Evidence) -> Cell:
    changes = evidence.facts.extracts("user.role_change")
    ranks = {"auditor": PRIVILEGED, "tenant_admin": 40, "system_admin": 50}
    privileged = sum(rises(each) and str(each.attributes.get("new_role")) in ranks for each in changes)
    return f"{evidence.facts.count('user.role_change')}, {privileged} of them to privileged roles"


def _self_grants(evidence: Evidence) -> Cell:
    return sum(each.actor[1] == each.target for each in evidence.facts.extracts("user.role_change"))


def _deprovisioning(evidence: Evidence) -> Cell:
    return spread(
        [
            hours_between(str(each.attributes["left_at"]), each.at)
            for each in evidence.facts.extracts("user.status_change")
            if each.attributes.get("left_at")
        ]
    )


def _inactive(evidence: Evidence) -> Cell:
    if evidence.accounts is None:
        return None
    hours, end = evidence.at_least("inactive_account_days") * 24, evidence.period.end
    idle = sum(
        each.status == "active"
        and not each.is_unknown
        and hours_between(each.last_login_at or each.created_at, end) > hours
        for each in evidence.accounts
    )
    return f"at least {idle}" if any(each.is_unknown for each in evidence.accounts) else idle


def _review(evidence: Evidence) -> Cell:
    last = evidence.last_review_at
    return f"{last[:10]}, {int(hours_between(last, evidence.period.end) // 24)} days before" if last else "none"


def _unapproved(evidence: Evidence) -> Cell:
    changes = evidence.facts.extracts("user.role_change", "user.status_change", "config.change", "apikey.create")
    return sum(
        not approval(each.attributes)
        for each in changes
        if each.actor[0] == "user" and each.attributes.get("key") != "webhook.test"  # which changes nothing
    )


def _unauthorized_views(evidence: Evidence) -> Cell:
    return evidence.facts.marked("log_view")[0]


def _actors(evidence: Evidence) -> Cell:
    left = sum(day["actors_left"] for day in evidence.facts.documents)
    people = len(evidence.facts.actors)
    return f"at least {people}" if left else people


TRAIL = (
    Measured("events_total", "Events in the period", "events", lambda e: e.facts.events),
    Measured("evidence_events", "Events that speak to the control", "events", lambda e: e.facts.events),
    Measured("seq_first", "First place in the ledger", "month and index", _first),
    Measured("seq_last", "Last place in the ledger", "month and index", _last),
    Measured("seq_missing", "Places that are missing or there twice", "", _missing),
    Measured("checkpoints", "Signed checkpoints in the period", "checkpoints", lambda e: e.facts.checkpoints),
    Measured(
        "integrity_failures",
        "Failures of checks: recorded, and found now",
        "failures",
        lambda e: e.facts.count("ledger.verify_failed") + sum(not each.passed for each in e.gate.checks),
    ),
    Measured("oldest_event_age_days", "Age of the oldest month that is kept", "days", _age),
    Measured("retention_days_configured", "Retention in force", "days", lambda e: e.ledger.retention_days),
    Measured(
        "purged_events",
        "Months that are over their retention and still there",
        "months",
        lambda e: len(e.ledger.kept_past),
    ),
    Measured("online_coverage_days", "Days that can be answered at once", "days", _age),
    Measured("field_completeness_pct", "Entries with all six fields", "%", _completeness),
    marked("unattributed_events", "Events of people that name nobody", "unattributed"),
    Measured("distinct_actors", "Different actors", "actors", _actors),
    counted("logins_ok", "Successful logins", "auth.login+success"),
    counted("logins_failed", "Failed logins", "auth.login+failure"),
    counted("accounts_locked", "Locks of accounts", "auth.account_locked"),
    Measured("lock_misses", "Runs of failures that are longer than may be", "runs", _misses),
    Measured("max_consecutive_failures", "Most failures in a row of one account", "failures", _longest_run),
    Measured("early_unlocks", "Successes within the time of a lock", "events", _early),
    counted("token_failures", "Tokens that were refused", "auth.token_rejected auth.token_refresh+failure"),
    Measured("password_changes", "Changes of passwords", "", _passwords),
    Measured("oldest_password_days", "Age of the oldest password in use, at least", "days", _oldest_password),
    counted("users_added", "Accounts opened, and invitations", _USERS_ADDED),
    Measured("users_removed", "Accounts deleted or suspended", "accounts", _removed),
    Measured("role_changes", "Changes of roles", "", _roles),
    counted("status_changes", "Changes of status", "user.status_change"),
    Measured("self_grants", "Changes of one's own role", "events", _self_grants),
    Measured(
        "post_exit_events", "Accounts that acted after they were ended", "accounts", lambda e: e.facts.after_exit[0]
    ),
    Measured("deprovision_hours_p50_max", "From leaving to the end of access", "hours", _deprovisioning),
    Measured("inactive_accounts", "Active accounts that nobody signs in to", "accounts", _inactive),
    Measured("last_access_review", "Last completed access review", "", _review),
    Measured("unapproved_changes", "Changes without approver and ticket", "events", _unapproved),
    counted("denied", "Refusals", "access.denied"),
    counted("cross_tenant_denied", "Attempts to reach another organization", "access.cross_tenant_denied"),
    Measured(
        "cross_tenant_success", "Successes across organizations (no call of the store can)", "events", lambda _: 0
    ),
    Measured("log_views", "Readings of the trail, by role", "", lambda e: told(e.facts.summed("log_views"))),
    Measured("log_views_unauth", "Readings of the trail by roles that may not", "events", _unauthorized_views),
    counted("config_changes", "Changes of settings", "config.change"),
    Measured("clock_skew_p99_ms", "Delay from event to record, 99th percentile, at most", "ms", _skew),
    Measured("time_reversals", "Recorded times that run backwards", "entries", lambda e: e.facts.total("backwards")),
    Measured("sources_expected_seen", "Sources", "", _seen),
    Measured("longest_silence_hours", "Longest silence of a source", "hours", _silence),
    Measured("audit_downtime_minutes", "Time in which the trail could not be written", "minutes", _downtime),
    Measured(
        "idle_violations",
        "Sessions that went on after the idle limit",
        "events",
        lambda e: e.facts.idle(e.at_least("idle_minutes"))[0],
    ),
    marked(
        "concurrent_use", "Times that an account was in several sessions at once", "concurrent", "concurrent_sessions"
    ),
    Measured(
        "single_factor_logins",
        "Logins with one factor alone",
        "events",
        lambda e: sum(day["single_factor"]["n"] for day in e.facts.documents),
    ),
    Measured("emergency_uses", "Uses of emergency access", "events", lambda _: None),
    Measured("copy_lag_events", "Events that are not in the second copy", "events", lambda _: None),
    Measured(
        "off_hours_sensitive",
        "Uses of sensitive data outside working hours",
        "events",
        lambda e: sum(n for *_, n in off_hours(e)),
    ),
)
