"""What of every stored item is personal: each field of each kind of item declares one level, and none is left out.

    public    says nothing of a person beyond opaque ids
    personal  names a person, leads to one, or is text that people wrote: `clear`, `sealed` under the person's key, or
              `hashed` with a key
    secret    opens something: hashes of passwords and tokens, wrapped keys, sealed secrets

Paths are dotted, lists do not count (`history.note`), `*` is any one name, `**` whatever is below.
docs/data-inventory.md is written from here; tests hold every write of the app, and the fields of every event class,
against it.
"""

from shared.privacy.inventory_kind import ANY, SYSTEM, Kind
from shared.storage.containers import (
    ALERTS,
    AUDIT_EVENTS,
    DEAD_LETTERS,
    DIRECTORY,
    GUARDS,
    IDENTITY,
    LEASES,
    LEDGER,
    REPORTS,
    SIGNALS,
    SUBJECT_KEYS,
    TENANTS,
    Container,
)

_PUBLIC = (
    "id tenant_id period type outcome reason severity recorded_at occurred_at actor.kind actor.id actor.role "
    "target target.kind target.id subjects source.kind source.id context.request_id context.trace_id "
    "context.session_id context.route context.duration_ms data_class record_count attributes.** "
    "commitments.* schema erased_at"
)
_SEALED = "personal.*.form personal.*.nonce personal.*.sealed"
_HASHED = "actor_key target_key ip_key ua_key"


def _below(prefix: str, paths: str) -> str:
    """The paths of an event that stands in an item; it may bring the store's fields."""
    return " ".join(f"{prefix}.{path}" for path in paths.split())


def _event(prefix: str) -> dict[str, str]:
    public = f"{_below(prefix, _PUBLIC)} {_below(prefix, ' '.join(sorted(SYSTEM)))}"
    return {"public": public, "sealed": _below(prefix, _SEALED), "hashed": _below(prefix, _HASHED)}


def _with_event(container: Container, name: str, about: str, public: str, prefix: str = "event", **more: str) -> Kind:
    held = _event(prefix)
    return Kind(
        container, name, about, f"{public} {held['public']}", sealed=held["sealed"], hashed=held["hashed"], **more
    )


def _outbox(container: Container) -> Kind:
    return _with_event(
        container,
        "outbox",
        "Events that are not in the trail yet, and what has to follow them.",
        "id tenant_id kind created_at follow_ups follow_ups.kind follow_ups.arguments.**",
        "events",
    )


_ITEM, _INDEXED = "id tenant_id kind", "id version later.version later.added_at later.indexed_at later.swept_at"

KINDS: tuple[Kind, ...] = (
    Kind(AUDIT_EVENTS, "", "An event of the trail.", _PUBLIC, sealed=_SEALED, hashed=_HASHED),
    Kind(
        IDENTITY,
        "user",
        "An account.",
        f"{_ITEM} user_id created_at updated_at role status mfa sessions_valid_from invitation_id "
        "consents.*.at consents.*.granted consents.*.version",
        clear="email first_name last_name phone company job_title bio location website "
        "search_email search_name search_last_name",
        opens="password_hash password_history",
    ),
    Kind(
        IDENTITY,
        "tenant",
        "An organization and its settings; reasons are text that its administrators wrote.",
        f"{_ITEM} created_at status admins settings.require_mfa settings.consents "
        "settings.consents.* settings.thresholds.** settings.mutes "
        "settings.mutes.pattern settings.mutes.since settings.mutes.until settings.legal_hold "
        "settings.legal_hold.subject settings.legal_hold.since settings.legal_hold.until settings.allow_lists.accounts "
        "settings.allow_lists.accounts.value settings.allow_lists.accounts.since settings.allow_lists.accounts.until "
        "settings.allow_lists.addresses settings.allow_lists.addresses.since settings.allow_lists.addresses.until "
        "settings.allow_lists.addresses.ended settings.allow_lists.accounts.ended "
        "settings.time_zone settings.working_hours.days settings.working_hours.from settings.working_hours.to "
        "settings.schedules settings.schedules.framework settings.schedules.every settings.schedules.hour "
        "settings.not_applicable settings.not_applicable.framework settings.not_applicable.control "
        "settings.not_applicable.declared_by settings.not_applicable.declared_at settings.report_thresholds.* "
        "settings.on_call settings.expected_sources settings.data_roles.* settings.accepted_risks "
        "settings.accepted_risks.framework settings.accepted_risks.rule settings.accepted_risks.until "
        "settings.accepted_risks.accepted_by settings.accepted_risks.accepted_at",
        clear="name settings.not_applicable.reason settings.accepted_risks.reason "
        "settings.mutes.reason settings.legal_hold.reason settings.allow_lists.accounts.reason "
        "settings.allow_lists.addresses.value settings.allow_lists.addresses.reason",
        hashed="settings.allow_lists.addresses.key",
    ),
    Kind(
        IDENTITY,
        "session",
        "A sign-in that goes on.",
        f"{_ITEM} session_id user_id created_at refreshed_at expires_at idle_expires_at epoch mfa_at enrollment_only",
        opens="family_hash refresh_hash",
    ),
    Kind(
        IDENTITY,
        "challenge",
        "The first half of a sign-in with a second factor.",
        f"{_ITEM} user_id created_at expires_at valid_from tries",
        opens="secret_hash",
    ),
    Kind(
        IDENTITY,
        "mfa",
        "A second factor.",
        f"{_ITEM} user_id last_step pending pending.tries pending.until secret",
        opens="secret.key secret.nonce secret.sealed pending.secret.key pending.secret.nonce pending.secret.sealed "
        "recovery",
    ),
    Kind(IDENTITY, "attempts", "Failed sign-ins to an account.", f"{_ITEM} count recent locked_until"),
    Kind(
        IDENTITY,
        "invitation",
        "An invitation, for a week.",
        f"{_ITEM} invitation_id created_at expires_at invited_by role",
        clear="email",
        opens="secret_hash",
    ),
    Kind(
        IDENTITY,
        "api_key",
        "A key of another service; people write its name.",
        f"{_ITEM} key_id created_at created_by expires_at last_used_at last_sent_at silent_since scopes",
        clear="name",
        opens="secret_hash",
    ),
    Kind(
        IDENTITY,
        "subject_request",
        "A request of a person about their data.",
        f"{_ITEM} request_id about subject state cause by created_at due_at extended cooling_off_until started_at "
        "executed_at counts.accounts counts.events counts.items exported "
        "exported.* kept kept.note kept.period kept.state event_id next_at work_at overdue_at pass place "
        "place.walk place.id place.value replayed closed_at keys keys.until",
        hashed="keys.directory_key keys.email_key keys.platform_key",
    ),
    Kind(
        IDENTITY,
        "access_review",
        "What was decided about users' access, by their ids; each note sealed under its person.",
        f"{_ITEM} review_id completed_by created_at population keep change remove digest "
        "decisions decisions.user_id decisions.decision",
        sealed="notes.*.form notes.*.nonce notes.*.sealed",
    ),
    Kind(
        IDENTITY,
        "webhook",
        "Where a tenant's events are streamed to; of the address what may be shown.",
        f"{_ITEM} url address secrets secrets.id secrets.box secrets.since secrets.until types format personal gzip "
        "enabled created_at updated_at",
        opens="address.key address.nonce address.sealed secrets.box.key secrets.box.nonce secrets.box.sealed",
    ),
    Kind(
        IDENTITY,
        "webhook_stream",
        "How far the stream to a webhook is, by month.",
        f"{_ITEM} created_at next next.* generation attempts limit failures failing_since retry_at delivered_at "
        "paused paused_at owner leased_until",
    ),
    Kind(
        IDENTITY,
        "webhook_delivery",
        "What came of a message to a webhook, for a week.",
        f"{_ITEM} created_at message_id outcome status reason first last events bytes milliseconds failures",
    ),
    Kind(IDENTITY, "pulse", "What was told of a tenant last.", f"{_ITEM} policy_day detected_day hour"),
    Kind(IDENTITY, "erasure", "That a person has an open request.", f"{_ITEM} request_id"),
    *(
        Kind(IDENTITY, name, about, f"{_ITEM} created_at pending reason", hashed="ip_key")
        for name, about in (
            ("token_rejections", "Rejected tokens of one address, counted."),
            ("throttled_logins", "Refused sign-ins of one address, counted."),
            ("throttled_refreshes", "Refused refreshes of one address, counted."),
            ("throttled_registrations", "Refused registrations of one address, counted."),
        )
    ),
    *(Kind(IDENTITY, name, "That a registration was given up.", _ITEM) for name in ("void_tenant", "void_user")),
    _outbox(IDENTITY),
    Kind(
        DIRECTORY,
        "email",
        "Which account has an e-mail; the id is its keyed hash.",
        "tenant_id user_id state reserved_at",
        hashed="id",
    ),
    Kind(DIRECTORY, "user", "Which tenant a user is of.", "id tenant_id"),
    Kind(DIRECTORY, "key_check", "Under which secrets the store was made.", _INDEXED, opens="value later.value"),
    Kind(
        DIRECTORY,
        "ledger_signed",
        "What the ledger signed last, by month.",
        "id tenant_id signed.*.root signed.*.size covered.*",
    ),
    Kind(DIRECTORY, "ledger_tenants", "Who has a ledger, by shard of the registry.", "id tenants"),
    Kind(DIRECTORY, "", "The public keys of the ledger.", "id keys keys.version keys.public_key keys.since"),
    Kind(TENANTS, "", "That there is a tenant.", "id shard enrolled_at"),
    Kind(LEDGER, "entry", "What the ledger covers of an event, as text: never a box.", f"{_ITEM} period index entry"),
    Kind(LEDGER, "tile", "Hashes of the tree.", f"{_ITEM} period hashes"),
    Kind(
        LEDGER,
        "head",
        "How far a month is sealed.",
        f"{_ITEM} period size nodes edge.* note signed_at signed_size witnessed_size",
    ),
    Kind(LEDGER, "checkpoint", "A signed root.", f"{_ITEM} period size note signed_at"),
    Kind(
        LEDGER,
        "rollup",
        "Counts of a day; actors are cut hashes of ids.",
        f"{_ITEM} period day events first last counts hours.** distinct_actors distinct_actors_exact actors",
    ),
    Kind(
        LEDGER,
        "recount",
        "Counts of a day that a check has so far.",
        f"{_ITEM} period day events first last counts hours.** distinct_actors distinct_actors_exact actors lap",
    ),
    Kind(LEDGER, "check", "How far the check of a month is.", f"{_ITEM} period after looked_at marked lap.** new.**"),
    *(
        _with_event(LEDGER, name, about, f"{_ITEM} period")
        for name, about in (("finding", "What a check found."), ("closing", "That a month was closed."))
    ),
    Kind(
        ALERTS,
        "alert",
        "An alert. Notes and facts are text that people wrote; its key is the id of an account, or a keyed hash.",
        f"{_ITEM} pattern title severity status created_at first_seen last_seen closed_at count count_is_minimum "
        "named_until event_ids attack runbook rules crossed.at crossed.id history history.at history.by history.from "
        "history.to superseded_by overflowed_by incident incident.aware_at incident.recorded_at incident.recorded_by "
        "incident.authority_notified_at incident.subjects_notified_at",
        clear="history.note incident.decision incident.facts",
        hashed="key series",
    ),
    Kind(
        ALERTS,
        "alert_hour",
        "Places that are taken of one key and hour.",
        f"{_ITEM} pattern counted_by kept beyond.** settled.**",
    ),
    Kind(ALERTS, "detection_traits", "What is so of few tenants only, by pattern.", f"{_ITEM} traits"),
    Kind(
        ALERTS,
        "alert_digest",
        "An hour of a busy series, summed up by the minute; with ids of events and accounts.",
        f"{_ITEM} first_seen rules minutes.**",
        hashed="series",
    ),
    Kind(ALERTS, "alert_series", "The newest version of a series.", f"{_ITEM} version hot", hashed="series"),
    Kind(ALERTS, "reached", "How far detection is.", f"{_ITEM} at"),
    _outbox(ALERTS),
    Kind(
        REPORTS,
        "report",
        "A report: counts.",
        f"{_ITEM} framework from to status generated_at events_in_period by_type.** access_denied.** alerts_raised.**",
    ),
    Kind(
        REPORTS,
        "compliance_report",
        "A compliance report: what is told of it without reading it.",
        f"{_ITEM} created_at framework from to status generated_at generated_by events_in_period gate_passed "
        "gate_failed summary.* exceptions digest parts bytes",
    ),
    Kind(REPORTS, "schedule", "Up to which day a schedule of reports was ordered.", f"{_ITEM} next_from"),
    Kind(
        REPORTS,
        "report_order",
        "A compliance report that was asked for and is not there yet.",
        f"{_ITEM} report_id framework from to edition created_at ordered_by.** status due_at attempts reason waits_for",
    ),
    Kind(REPORTS, "report_part", "A part of the JSON of a compliance report.", f"{_ITEM} text"),
    Kind(
        REPORTS,
        "facts",
        "The facts of a day: what reports need of its sealed entries, as texts. Persons are opaque ids, or hashes of "
        "them.",
        f"{_ITEM} version day events first last key code lines.* values.*",
    ),
    *(
        _with_event(
            REPORTS,
            name,
            about,
            f"{_ITEM} created_at advanced_at rows kept kept.bundle_id kept.key kept.made_at kept.shards kept.shards.*",
        )
        for name, about in (("export", "An export under way."), ("export_closed", "An export that has ended."))
    ),
    Kind(
        REPORTS,
        "sign_off",
        "Who signed a report off, and what they stated.",
        f"{_ITEM} report_id user_id role signed_as at digest",
        clear="statement",
    ),
    _outbox(REPORTS),
    Kind(
        SUBJECT_KEYS,
        "key",
        "The data key of a person, wrapped.",
        f"{_ITEM} subject created_at kek",
        opens="wrapped",
    ),
    Kind(SUBJECT_KEYS, "tombstone", "That a person was erased.", f"{_ITEM} subject erased_at"),
    _with_event(
        GUARDS,
        "producer_id",
        "An event that a producer named, finished, for a week; the id is a keyed hash.",
        "id by until",
        "value",
    ),
    Kind(
        GUARDS,
        "ingest_key",
        "What a request of a producer wrote, finished events packed, for a day; the id is a keyed hash.",
        "id by until value.digest",
        sealed="value.plan",
    ),
    Kind(GUARDS, "review_key", "Which access review a request made.", "by until value.digest value.id", hashed="id"),
    *(
        Kind(GUARDS, name, "Calls of an address or organization in a while.", "before count", hashed="id")
        for name in ("login_rate", "refresh_rate", "register_rate", "webhook_tests")
    ),
    Kind(GUARDS, "", "What a health check writes.", "id"),
    Kind(GUARDS, "round", "Where a timer goes on.", "id after"),
    Kind(SIGNALS, "", "A failed sign-in, by address, for nine days.", "id tenant_id account at", hashed="ip_key"),
    Kind(LEASES, ANY, "How far a trigger is.", "id container function position updated_at"),
    Kind(
        DEAD_LETTERS,
        "dead_letter",
        "An item that a consumer failed on, by its id.",
        f"{_ITEM} item_id period consumer state attempts failures created_at last_failed_at retry_at error error_at",
    ),
)
