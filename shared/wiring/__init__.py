"""Putting the app together: settings in, services out. The only module that names an adapter."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from shared.core.clock import Clock, SystemClock
from shared.core.ids import IdFactory
from shared.core.settings import MEMORY, Settings
from shared.storage.containers import container_names
from shared.telemetry import Timed, get_log
from shared.wiring.adapters import open_secrets, open_store, open_wrapper

if TYPE_CHECKING:  # the domain is imported when the first request needs it: cold start counts
    from shared.audit.continuity import Continuity
    from shared.audit.dead_letters import DeadLetters
    from shared.audit.exports import Exports
    from shared.audit.heartbeats import Heartbeats
    from shared.audit.ingest import Ingest
    from shared.audit.outbox import Outbox
    from shared.audit.recorder import Recorder
    from shared.audit.rounds import Rounds
    from shared.audit.search import EventSearch
    from shared.compliance.facts.store import FactsStore
    from shared.compliance.reporting import ComplianceReports
    from shared.compliance.service import Reports
    from shared.compliance.sign_off import SignOffs
    from shared.detection import AlertService, DetectionService
    from shared.identity.access import Access
    from shared.identity.access_reviews import AccessReviews
    from shared.identity.account_operations import AccountOperations
    from shared.identity.api_keys import ApiKeys
    from shared.identity.challenges import Challenges
    from shared.identity.consents import Consents
    from shared.identity.directory import Directory
    from shared.identity.invitations import Invitations
    from shared.identity.joining import Joining
    from shared.identity.members import Members
    from shared.identity.mfa import Mfa
    from shared.identity.operations import Operations
    from shared.identity.own_account import OwnAccount
    from shared.identity.passwords import Passwords
    from shared.identity.rejections import Rejections
    from shared.identity.service import Identity
    from shared.identity.session_life import SessionLife
    from shared.identity.sources import Sources
    from shared.identity.tenant_settings import TenantSettings
    from shared.identity.throttle import Throttle
    from shared.ledger.checkpoints import Checkpoints
    from shared.ledger.closing import Closing
    from shared.ledger.evidence import Evidence
    from shared.ledger.keys import LedgerKeys
    from shared.ledger.roster import Roster
    from shared.ledger.sealer import Sealer
    from shared.ledger.service import Ledger
    from shared.ledger.shards import Shards
    from shared.ledger.statements import Statements
    from shared.ledger.verification import Verification
    from shared.ledger.witness import Witness
    from shared.privacy.blind_index import BlindIndex
    from shared.privacy.guards import Guards
    from shared.privacy.key_probe import KeyProbe
    from shared.privacy.key_wrapping import KeyWrapper
    from shared.privacy.person_keys import PersonKeys
    from shared.privacy.secrets import SecretsPort
    from shared.storage.documents import DocumentStore
    from shared.streaming import Streaming
    from shared.subject_rights.erasure import Erasures
    from shared.subject_rights.export import SubjectExports
    from shared.subject_rights.holds import Holds
    from shared.subject_rights.replay import Replays
    from shared.subject_rights.rewrapping import Rewrapping
    from shared.subject_rights.service import SubjectRequests
    from shared.wiring._compliance import FrameworkReports

_log = get_log(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Everything that functions call."""

    settings: Settings
    clock: Clock
    ids: IdFactory
    store: "DocumentStore"
    secrets: "SecretsPort"
    index: "BlindIndex"
    wrapper: "KeyWrapper"
    key_probe: "KeyProbe"
    person_keys: "PersonKeys"
    recorder: "Recorder"
    continuity: "Continuity"
    outbox: "Outbox"
    dead_letters: "DeadLetters"
    rounds: "Rounds"
    search: "EventSearch"
    exports: "Exports"
    ingest: "Ingest"
    directory: "Directory"
    access: "Access"
    access_reviews: "AccessReviews"
    rejections: "Rejections"
    guards: "Guards"
    throttle: "Throttle"
    identity: "Identity"
    consents: "Consents"
    session_life: "SessionLife"
    own_account: "OwnAccount"
    operations: "Operations"
    account_operations: "AccountOperations"
    challenges: "Challenges"
    mfa: "Mfa"
    passwords: "Passwords"
    members: "Members"
    invitations: "Invitations"
    joining: "Joining"
    api_keys: "ApiKeys"
    sources: "Sources"
    heartbeats: "Heartbeats"
    tenant_settings: "TenantSettings"
    detection: "DetectionService"
    alerts: "AlertService"
    reports: "Reports"
    sign_offs: "SignOffs"
    facts: "FactsStore"
    compliance: "ComplianceReports"
    framework_reports: "FrameworkReports"
    sealer: "Sealer"
    shards: "Shards"
    ledger_keys: "LedgerKeys"
    checkpoints: "Checkpoints"
    statements: "Statements"
    ledger: "Ledger"
    evidence: "Evidence"
    witness: "Witness | None"
    verification: "Verification"
    roster: "Roster"
    closing: "Closing"
    subject_requests: "SubjectRequests"
    subject_exports: "SubjectExports"
    erasures: "Erasures"
    replays: "Replays"
    rewrapping: "Rewrapping"
    holds: "Holds"
    runs: Timed
    streaming: "Streaming"

    async def close(self) -> None:
        """Let go of threads and files."""
        await self.streaming.runner.close()
        self.passwords.close()
        await self.continuity.close()
        try:
            await self.store.close()
        finally:
            await self.wrapper.close()
            await self.secrets.close()


type Builder = Callable[[], Awaitable[Services]]


class LazyServices:
    """Services that are built on first use, once, in the event loop that uses them."""

    def __init__(self, settings: Settings, build: Builder | None = None) -> None:
        self.settings = settings
        self._build = build or (lambda: build_services(settings))
        self._tells = build is None
        self._built: Services | None = None
        self._lock = asyncio.Lock()
        self._system_clock = SystemClock()

    @property
    def clock(self) -> Clock:
        """The services' clock, or the system's while there are none."""
        return self._built.clock if self._built else self._system_clock

    @property
    def ids(self) -> IdFactory:
        """The services' ids, or the system's while there are none."""
        return self._built.ids if self._built else IdFactory(self._system_clock)

    @property
    def container_names(self) -> dict[str, str]:
        """What containers are called where the settings say, by our name. SettingsError: see `container_names`."""
        return container_names(self.settings)

    @property
    def served_from(self) -> str:
        """The store that the settings name, for the person at the terminal."""
        endpoint, data = self.settings.cosmos_db_endpoint, self.settings.kraftd_data
        if endpoint is not None:
            return f"Cosmos DB at {urlsplit(endpoint).netloc}, database {self.settings.cosmos_db_name}"
        return "SQLite, in memory" if data == MEMORY else f"SQLite in {data}"

    async def get(self) -> Services:
        """The services. Whatever building them raises; the next call tries again.

        What they have to tell of themselves (`Continuity`) is recorded beside the call, which does not wait for it.
        """
        if self._built is None:
            async with self._lock:
                if self._built is None:
                    self._built = await self._build()
        if self._tells:
            self._built.continuity.tell_beside(self.ids)
        return self._built

    def put(self, services: Services | None) -> None:
        """Use these services from now on (None: build again when needed). What was there is the caller's to close.
        They are told of by the timers alone."""
        self._built, self._tells = services, services is None

    async def close(self) -> None:
        """Close what was built."""
        built, self._built = self._built, None
        if built is not None:
            await built.close()


async def build_services(
    settings: Settings,
    *,
    clock: Clock | None = None,
    store: "DocumentStore | None" = None,
    secrets: "SecretsPort | None" = None,
    passwords: "Passwords | None" = None,
    wrapper: "KeyWrapper | None" = None,
) -> Services:
    """The app on its store. What is given takes the place of what the settings would make (tests, benchmarks)."""
    from shared.privacy.key_check import PersonsPin, open_index
    from shared.privacy.secrets import ROOTS

    clock = clock or SystemClock()
    secrets = secrets or open_secrets(settings, clock)
    async with AsyncExitStack() as undo:
        undo.push_async_callback(secrets.close)
        for root in ROOTS:
            await secrets.versions(root)  # fail now, not at the first login
        wrapper = wrapper or open_wrapper(settings, clock, secrets)
        undo.push_async_callback(wrapper.close)
        store = store or await open_store(settings, clock)
        undo.push_async_callback(store.close)
        index = await open_index(store, secrets, clock)
        if settings.key_vault_uri is None:  # in a vault no other key has the name of a version; readiness looks there
            await PersonsPin(store, wrapper).check()
        services = _assemble(settings, clock, store, secrets, index, passwords, wrapper)
        undo.pop_all()
    return services


def _assemble(
    settings: Settings,
    clock: Clock,
    store: "DocumentStore",
    secrets: "SecretsPort",
    index: "BlindIndex",
    passwords: "Passwords | None",
    wrapper: "KeyWrapper",
) -> Services:
    from shared.audit.dead_letters import DeadLetters
    from shared.audit.exports import Exports
    from shared.audit.ingest import Ingest
    from shared.audit.outbox import Outbox
    from shared.audit.recorder import Recorder
    from shared.audit.rounds import Rounds
    from shared.audit.search import EventSearch
    from shared.audit.writing import Writing
    from shared.detection import AlertService, DetectionService
    from shared.detection.rules import StoredRules
    from shared.identity.directory import Directory
    from shared.identity.passwords import Passwords
    from shared.identity.tenant_settings import read_settings_of_events
    from shared.ledger.statements import Statements
    from shared.ledger.watched_boxes import WatchedBoxes
    from shared.privacy.boxes import SealedBoxes
    from shared.privacy.key_check import PersonsPin
    from shared.privacy.key_probe import KeyProbe
    from shared.privacy.person_keys import PersonKeys
    from shared.telemetry.metrics import (
        DeadLetterCounts,
        EventCounts,
        IngestCounts,
        OutboxCounts,
        audit_writes,
        function_runs,
    )
    from shared.wiring._compliance import compliance_services
    from shared.wiring._identity import identity_services
    from shared.wiring._ledger import ledger_services
    from shared.wiring._life import life_services
    from shared.wiring._streaming import streaming_services
    from shared.wiring._subject_rights import subject_rights_services

    ids = IdFactory(clock)
    person_keys = PersonKeys(store, wrapper, clock)
    box, pin = SealedBoxes(person_keys), PersonsPin(store, wrapper)
    writing = Writing(clock)
    recorder = Recorder(store, clock, ids, box, index, writing, timed=audit_writes(), counted=EventCounts())
    outbox = Outbox(store, recorder, clock, ids, OutboxCounts(), writing)
    dead_letters = DeadLetters(store, clock, DeadLetterCounts())
    directory, passwords = Directory(store, index, clock), passwords or Passwords()
    rules = StoredRules(partial(read_settings_of_events, store, index))
    common: dict[str, Any] = {"store": store, "recorder": recorder, "clock": clock}
    identity = identity_services(settings, common, ids, outbox, directory, passwords, index, secrets, box=box)
    statements = Statements(store, recorder)
    watched = recorder.watch(WatchedBoxes(box, statements, clock, ids))
    search = EventSearch(store, index, watched, clock)
    trail: dict[str, Any] = {"outbox": outbox, "search": search, "dead_letters": dead_letters}
    trail |= {"box": watched, "statements": statements, "directory": directory}
    ledger = ledger_services(settings, common, ids, secrets, **trail)
    of_persons: dict[str, Any] = {"outbox": outbox, "search": search, "directory": directory, "index": index, **common}
    streaming = streaming_services(settings, of_persons, ids, person_keys, secrets, ledger, identity["guards"])
    identity["operations"].index_rotation.also(streaming.webhooks.renew)
    return Services(
        settings=settings,
        ids=ids,
        runs=function_runs(),
        secrets=secrets,
        index=index,
        wrapper=wrapper,
        key_probe=KeyProbe(wrapper, clock, pin),
        person_keys=person_keys,
        outbox=outbox,
        dead_letters=dead_letters,
        rounds=Rounds(store, directory, clock),
        search=search,
        exports=Exports(search, store, recorder, outbox, clock),
        ingest=Ingest(recorder, identity["guards"], clock, IngestCounts()),
        directory=directory,
        passwords=passwords,
        **identity,
        **subject_rights_services(settings, of_persons, ids, person_keys, pin, watched, identity, ledger),
        detection=DetectionService(store, outbox, recorder, dead_letters, clock, ids, rules=rules),
        alerts=AlertService(store, outbox, recorder, clock, rules),
        **ledger,
        streaming=streaming,
        **life_services(settings, common, outbox=outbox, writing=writing, shards=ledger["shards"]),
        **compliance_services(settings, common, ids, outbox, directory, ledger, secrets),
        **common,
    )
