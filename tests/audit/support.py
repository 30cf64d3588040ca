"""The audit core on an embedded store, and example drafts of every event type."""

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from shared.audit.dead_letters import DeadLetters
from shared.audit.events.access import AccessCrossTenantDenied, AccessDenied
from shared.audit.events.alert import AlertRaise, AlertUpdate
from shared.audit.events.apikey import ApiKeyCreate, ApiKeyRevoke
from shared.audit.events.auth import (
    AuthAccountLocked,
    AuthLogin,
    AuthLogout,
    AuthPasswordChange,
    AuthRegister,
    AuthTokenRefresh,
    AuthTokenRejected,
)
from shared.audit.events.config import ConfigChange
from shared.audit.events.consent import ConsentGrant, ConsentWithdraw
from shared.audit.events.custom import Custom
from shared.audit.events.data import DataCreate, DataDelete, DataExport, DataRead, DataUpdate
from shared.audit.events.incident import IncidentRecord
from shared.audit.events.ledger import LedgerCheckpoint, LedgerVerifyFailed
from shared.audit.events.mfa import MfaChallenge, MfaChallengeIssued, MfaDisable, MfaEnroll, MfaRecoveryUsed
from shared.audit.events.privacy import PrivacyErasure, PrivacyExport
from shared.audit.events.profile import ProfileUpdate, ProfileView
from shared.audit.events.report import ReportGenerate, ReportOrder, ReportRead, ReportSignOff
from shared.audit.events.review import ReviewComplete
from shared.audit.events.session import SessionRevoke
from shared.audit.events.system import SystemFailure, SystemHeartbeat, SystemStart
from shared.audit.events.user import (
    UserDelete,
    UserInvite,
    UserInviteRevoke,
    UserList,
    UserRoleChange,
    UserStatusChange,
    UserUnlock,
    UserUpdate,
    UserView,
)
from shared.audit.events.webhook import WebhookPause
from shared.audit.model import PLATFORM_TENANT, SYSTEM, Actor, AuditEvent, DataClass, Draft, RequestContext, Target
from shared.audit.outbox import Outbox
from shared.audit.recorder import Recorder
from shared.audit.search import EventSearch, exported, searched
from shared.core.ids import IdFactory
from shared.privacy.blind_index import BlindIndex
from shared.privacy.secrets import MemorySecrets
from shared.storage.containers import AUDIT_EVENTS, Container
from shared.storage.documents import DocumentStore, Item, Query
from shared.storage.sqlite import SqliteStore
from tests.fakes import ClearBox, ManualClock

NOW = datetime(2026, 3, 15, 12, 0, 0, 123_456, tzinfo=UTC)
TENANT = "0195c000-0000-7000-8000-0000000000aa"
OTHER = "0195c000-0000-7000-8000-0000000000bb"
ADA = "0195c000-0000-7000-8000-00000000ada0"
BOB = "0195c000-0000-7000-8000-00000000b0b0"
SESSION = "0195c000-0000-7000-8000-00000000005e"
ALERT = "0195c000-0000-7000-8000-00000000a1e7"
INVITATION = "0195c000-0000-7000-8000-00000000111e"
API_KEY = "0195c000-0000-7000-8000-00000000a91e"
REPORT = "5c0f5a4e-33b9-5d0a-8a5f-0000000000aa"
EMAIL, IP, AGENT = "Ada@Example.com", "203.0.113.9", "Mozilla/5.0 (X11; Linux x86_64)"

REQUEST = RequestContext(
    request_id="0195c000-0000-7000-8000-0000000000f0",
    route="GET /v1/profile",
    function="get_profile",
    started_at=NOW - timedelta(milliseconds=7),
    ip=IP,
    user_agent=AGENT,
    trace_id="4bf92f3577b34da6a3ce929d0e0e4736",
    session_id=SESSION,
)
ANYONE = RequestContext(
    request_id="0195c000-0000-7000-8000-0000000000f1",
    route="POST /v1/login",
    function="login",
    started_at=NOW - timedelta(milliseconds=80),
    ip=IP,
    user_agent=AGENT,
)
TIMER = RequestContext("0195c000-0000-7000-8000-0000000000f2", "timer/daily_reports", "daily_reports", NOW)
AUDITOR = Actor("user", ADA, "auditor", EMAIL)


def by_ada(event: AuditEvent, tenant_id: str = TENANT, *, target: Target | None = None, count: int = 0) -> Draft:
    """What a signed-in person did."""
    return Draft(tenant_id, event, REQUEST, actor=AUDITOR, target=target, person=ADA, record_count=count)


def denied(event: AuditEvent, reason: str, target: Target | None = None) -> Draft:
    """What a signed-in person was refused."""
    return Draft(TENANT, event, REQUEST, outcome="denied", reason=reason, actor=AUDITOR, target=target, person=ADA)


def by_the_system(event: AuditEvent, target: Target) -> Draft:
    """What the service did by itself."""
    return Draft(TENANT, event, TIMER, actor=SYSTEM, target=target)


def by_a_program(event: AuditEvent, data_class: DataClass | None = None, count: int = 1) -> Draft:
    """What another service of the tenant did."""
    program = RequestContext(
        "0195c000-0000-7000-8000-0000000000f3", "POST /v1/events", "write_events", NOW, api_key_id=API_KEY
    )
    actor, target = Actor("service", "billing"), Target("record", "patient:17")
    return Draft(TENANT, event, program, actor=actor, target=target, data_class=data_class, record_count=count)


EXAMPLES: dict[str, Draft] = {
    "access.cross_tenant_denied": denied(AccessCrossTenantDenied(), "cross_tenant", Target("user", BOB)),
    "access.denied": denied(
        AccessDenied(
            required_role="tenant_admin",
            held_role="auditor",
            attempted_fields=("role",),
            attempted_role="tenant_admin",
            target_role="viewer",
            attempted={"role": "tenant_admin"},
        ),
        "role",
        Target("user", BOB, "bob@example.com"),
    ),
    "alert.raise": by_the_system(AlertRaise(pattern="brute_force", severity="high"), Target("alert", ALERT)),
    "alert.update": by_the_system(
        AlertUpdate(pattern="brute_force", severity="critical", old_status="open", new_status="open"),
        Target("alert", ALERT),
    ),
    "apikey.create": by_ada(ApiKeyCreate(scopes=("alerts:read", "reports:read")), target=Target("api_key", API_KEY)),
    "apikey.revoke": by_ada(ApiKeyRevoke(scopes=("alerts:read",)), target=Target("api_key", API_KEY)),
    "audit.search": by_ada(
        searched("authorization", {"email": EMAIL, "type": ["auth.*"]}, by_person=True),
        count=2,
    ),
    "auth.account_locked": Draft(
        TENANT,
        AuthAccountLocked(attempt_count=10, locked_until="2026-03-15T12:30:00.123456Z"),
        ANYONE,
        target=Target("user", ADA, EMAIL),
        person=ADA,
    ),
    "auth.login": Draft(
        TENANT,
        AuthLogin(attempt_count=3),
        ANYONE,
        outcome="failure",
        reason="bad_credentials",
        target=Target("user", ADA, EMAIL),
        person=ADA,
        email_typed="ada@EXAMPLE.com",
    ),
    "auth.logout": by_ada(AuthLogout(session_seconds=3600)),
    "auth.password_change": by_ada(AuthPasswordChange(sessions_ended=2), target=Target("user", ADA, EMAIL)),
    "auth.register": by_ada(
        AuthRegister(organization=True, terms_version="1", privacy_version="2", first_name="Ada", last_name="Łovelace"),
        target=Target("user", ADA, EMAIL),
    ),
    "auth.token_refresh": Draft(
        TENANT,
        AuthTokenRefresh(),
        REQUEST,
        outcome="failure",
        reason="reused",
        actor=AUDITOR,
        target=Target("user", ADA, EMAIL),
        person=ADA,
    ),
    "auth.token_rejected": Draft(
        PLATFORM_TENANT, AuthTokenRejected(count=4), ANYONE, outcome="denied", reason="bad_signature"
    ),
    "config.change": by_ada(
        ConfigChange(
            key="settings",
            changed_fields=("require_mfa",),
            old_values={"require_mfa": "off"},
            new_values={"require_mfa": "all"},
        ),
        target=Target("tenant", TENANT),
    ),
    "consent.grant": by_ada(ConsentGrant(purpose="terms", version="1"), target=Target("user", ADA, EMAIL)),
    "audit.export": by_ada(
        exported("csv", {"email": EMAIL, "to": "2026-03-15T12:00:00.000000Z"}, by_person=True), count=3
    ),
    "consent.withdraw": by_ada(ConsentWithdraw(purpose="marketing", version="1"), target=Target("user", ADA, EMAIL)),
    "custom.*": by_a_program(
        Custom(named="invoice.sent", attributes={"invoice": "2026-17", "amount": 17.5, "paid": False, "tags": ["a", 1]})
    ),
    "data.create": by_a_program(DataCreate(), "confidential"),
    "data.delete": by_a_program(DataDelete(attributes={"table": "visits"}), "phi"),
    "data.export": by_a_program(DataExport(attributes={"format": "csv"}), "cardholder", 1200),
    "data.read": by_a_program(DataRead(attributes={"table": "visits", "page": None}), "phi"),
    "data.update": by_a_program(DataUpdate(attributes={"changed_fields": ["note"]}), "personal"),
    "incident.record": by_ada(
        IncidentRecord(aware_at="2026-03-14T08:00:00.000000Z", decision="notify_authority"),
        target=Target("alert", ALERT),
    ),
    "ledger.checkpoint": by_the_system(
        LedgerCheckpoint(period="2026-02", size=3, root="A" * 43 + "="), Target("ledger", "2026-02")
    ),
    "ledger.verify_failed": Draft(
        TENANT,
        LedgerVerifyFailed(what="entry", period="2026-02", index=2),
        TIMER,
        outcome="failure",
        actor=SYSTEM,
        target=Target("ledger", "2026-02"),
    ),
    "privacy.erasure": by_ada(
        PrivacyErasure(
            request_id=REPORT, counts={}, due_at="2026-04-14T12:00:00.123456Z", reason_text="wants to be forgotten"
        )
    ),
    "privacy.export": by_ada(PrivacyExport(request_id=REPORT, counts={"events": 7})),
    "report.sign_off": by_ada(
        ReportSignOff(framework="soc2", period_from="2026-02-01", period_to="2026-03-01", digest="00" * 32),
        target=Target("report", REPORT),
    ),
    "review.complete": by_ada(ReviewComplete(population=3, keep=1, change=1, remove=1)),
    "system.error": Draft(
        PLATFORM_TENANT, SystemFailure(source="sealer", error_code="stuck"), TIMER, outcome="error", actor=SYSTEM
    ),
    "system.heartbeat": Draft(PLATFORM_TENANT, SystemHeartbeat(source="heartbeat"), TIMER, actor=SYSTEM),
    "system.start": Draft(PLATFORM_TENANT, SystemStart(version="0.2.0"), TIMER, actor=SYSTEM),
    "profile.update": by_ada(
        ProfileUpdate(
            changed_fields=["first_name", "phone"],
            old_values={"first_name": "Ada", "phone": None},
            new_values={"first_name": "Augusta", "phone": "+44 20 7946 0000"},
        ),
        target=Target("user", ADA, EMAIL),
    ),
    "mfa.challenge": Draft(
        TENANT,
        MfaChallenge(factor="totp"),
        ANYONE,
        outcome="failure",
        reason="wrong_code",
        target=Target("user", ADA, EMAIL),
        person=ADA,
        email_typed=EMAIL,
    ),
    "mfa.challenge_issued": Draft(
        TENANT,
        MfaChallengeIssued(factor="totp"),
        ANYONE,
        target=Target("user", ADA, EMAIL),
        person=ADA,
        email_typed=EMAIL,
    ),
    "mfa.disable": by_ada(MfaDisable(factor="totp"), target=Target("user", ADA, EMAIL)),
    "mfa.enroll": Draft(
        TENANT,
        MfaEnroll(factor="totp"),
        REQUEST,
        reason="confirmed",
        actor=AUDITOR,
        target=Target("user", ADA, EMAIL),
        person=ADA,
    ),
    "mfa.recovery_used": Draft(
        TENANT,
        MfaRecoveryUsed(factor="recovery", remaining=9),
        ANYONE,
        actor=AUDITOR,
        target=Target("user", ADA, EMAIL),
        person=ADA,
    ),
    "profile.view": Draft(
        TENANT,
        ProfileView(),
        REQUEST,
        actor=AUDITOR,
        target=Target("user", ADA, EMAIL),
        person=ADA,
        data_class="personal",
        record_count=1,
    ),
    "report.generate": by_the_system(
        ReportGenerate(framework="activity", period_from="2026-03-14", period_to="2026-03-15", digest="00" * 32),
        Target("report", REPORT),
    ),
    "report.order": by_ada(
        ReportOrder(framework="soc2", period_from="2026-02-01", period_to="2026-03-01"),
        target=Target("report", REPORT),
    ),
    "report.read": by_ada(ReportRead(framework="activity", format="json"), target=Target("report", REPORT)),
    "session.revoke": by_ada(SessionRevoke(sessions_ended=1), target=Target("session", SESSION)),
    "user.delete": by_ada(
        UserDelete(reason_text="left the company", last_profile={"first_name": "Bob", "phone": None}),
        target=Target("user", BOB, "bob@example.com"),
    ),
    "user.invite": by_ada(UserInvite(role="viewer"), target=Target("invitation", INVITATION, "new@example.com")),
    "user.invite_revoke": by_ada(UserInviteRevoke(), target=Target("invitation", INVITATION)),
    "user.list": by_ada(UserList(filters={"q": "bo", "role": "viewer"}), count=1),
    "user.role_change": by_ada(
        UserRoleChange(old_role="viewer", new_role="auditor"), target=Target("user", BOB, "bob@example.com")
    ),
    "user.status_change": by_ada(
        UserStatusChange(old_status="active", new_status="suspended"), target=Target("user", BOB, "bob@example.com")
    ),
    "user.unlock": by_ada(UserUnlock(), target=Target("user", BOB, "bob@example.com")),
    "user.update": by_ada(
        UserUpdate(changed_fields=("phone",), old_values={"phone": None}, new_values={"phone": "+48 22 000 00 00"}),
        target=Target("user", BOB, "bob@example.com"),
    ),
    "user.view": by_ada(UserView(), target=Target("user", BOB, "bob@example.com")),
    "webhook.pause": Draft(
        TENANT,
        WebhookPause(
            cause="failing", failures=120, failing_since="2026-03-14T11:59:00.000000Z", position="2026-03/4711"
        ),
        TIMER,
        outcome="failure",
        reason="failing",
        actor=SYSTEM,
        target=Target("webhook", TENANT),
    ),
}
"""One draft of every event type. Its stored form is golden: see test_golden.py."""


@dataclass
class World:
    """The audit core over one store; ids, salts and keys are the same in every world."""

    store: DocumentStore
    clock: ManualClock
    ids: IdFactory
    index: BlindIndex
    box: ClearBox

    @property
    def recorder(self) -> Recorder:
        return Recorder(self.store, self.clock, self.ids, self.box, self.index)

    @property
    def search(self) -> EventSearch:
        return EventSearch(self.store, self.index, self.box, self.clock)

    @property
    def letters(self) -> DeadLetters:
        return DeadLetters(self.store, self.clock)

    def outbox(self, store: DocumentStore | None = None) -> Outbox:
        """An outbox as one instance of the app has it, over `store`."""
        through = store or self.store
        recorder = Recorder(through, self.clock, self.ids, self.box, self.index)
        return Outbox(through, recorder, self.clock, self.ids)

    def over(self, store: DocumentStore) -> "World":
        """The same world through another store."""
        return World(store, self.clock, self.ids, self.index, self.box)

    async def all(self, container: Container, *partition: str) -> list[Item]:
        """Every item of a partition, by id, without the store's own fields."""
        found: list[Item] = []
        query = Query(limit=1000)
        while True:
            page = await self.store.query(container, partition, query)
            found += page.items
            if page.next is None:
                return [without_store_fields(item) for item in found]
            query = Query(limit=1000, after=page.next)

    async def events(self, tenant_id: str = TENANT) -> list[Item]:
        return await self.all(AUDIT_EVENTS, tenant_id)


def without_store_fields(item: Item) -> Item:
    return {name: value for name, value in item.items() if not name.startswith("_") and name != "ttl"}


@asynccontextmanager
async def new_world(now: datetime = NOW) -> AsyncIterator[World]:
    clock = ManualClock(now)
    store = await SqliteStore.open(None, clock=clock)
    numbers = itertools.count(1)
    ids = IdFactory(clock, lambda _: next(numbers))
    index = BlindIndex(MemorySecrets(lambda count: bytes(range(count))), "v1")
    try:
        yield World(store, clock, ids, index, ClearBox(lambda count: b"\x5a" * count))
    finally:
        await store.close()
