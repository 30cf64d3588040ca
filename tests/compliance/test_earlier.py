"""What had ended before a period, last logins of many accounts, and samples that nothing recorded later redraws."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from shared.audit.model import Actor, Target
from shared.compliance import earlier
from shared.compliance.builder import Order, build
from shared.compliance.earlier import Earlier
from shared.compliance.evidence import Account
from shared.compliance.facts.gone import Before
from shared.compliance.facts.merged import Facts
from shared.compliance.rules import RULES
from shared.compliance.samples import seed_of
from shared.ledger._text import encode_base64
from shared.ledger.merkle import leaf_hashes, root_of
from shared.ledger.shards import ENTRY
from shared.storage.containers import AUDIT_EVENTS, IDENTITY, LEDGER
from shared.storage.documents import DocumentStore, Item
from shared.storage.sqlite import SqliteStore
from tests.audit.support import EXAMPLES, TENANT
from tests.compliance.bureau import FROM, NOW, Bureau
from tests.compliance.trails import DAYS, Trail, account, good_evidence, good_trail, new_evidence
from tests.fakes import ManualClock

START = "2026-03-01T00:00:00.000000Z"
RULES_OF_ALL = ("ACC-01", "DATA-02", "DATA-03")


@pytest.fixture
async def store() -> AsyncIterator[SqliteStore]:
    made = await SqliteStore.open(None, clock=ManualClock())
    yield made
    await made.close()


async def put(store: DocumentStore, *trails: Trail, month: str = "2026-02") -> None:
    """Keep what is said as events of another month."""
    for trail in trails:
        for entry in trail.entries:
            at = {name: month + entry[name][7:] for name in ("recorded_at", "occurred_at")}
            await store.create(AUDIT_EVENTS, (TENANT, month), entry | at | {"period": month, "tenant_id": TENANT})


def status(trail: Trail, who: str, at: str, new: str) -> None:
    trail.say("user.status_change", at, target=who, old_status="x", new_status=new)


async def test_the_last_word_before_the_period_counts(store: SqliteStore) -> None:
    trail = Trail()
    for who, states in {"gone": "suspended", "back": "suspended active", "again": "suspended active suspended"}.items():
        for day, new in enumerate(states.split(), 1):
            status(trail, who, f"0{day}T10:00", new)
    trail.say("user.delete", "04T10:00", target="deleted")
    trail.say("privacy.erasure", "04T10:00", target="p-1", reason="executed", request_id="r", counts={})
    trail.say("privacy.erasure", "04T10:01", target="p-2", reason="requested", request_id="r", counts={})
    trail.say("consent.withdraw", "05T10:00", about=["p-1", "p-2"], purpose="News ", version="1")
    trail.say("consent.grant", "06T10:00", about=["p-2"], purpose="news", version="1")
    await put(store, trail)
    late = Trail()
    status(late, "later", "01T00:00", "suspended")
    await put(store, late, month="2026-03")
    before = await Earlier(store).before(TENANT, START, RULES_OF_ALL, consents=True)
    assert before == Before(
        frozenset({"gone", "again", "deleted"}), frozenset({"p-1"}), frozenset({"p-1\nnews", "p-1\n"})
    )
    assert await Earlier(store).before(TENANT, START, (), consents=True) == Before()
    unasked = await Earlier(store).before(TENANT, START, RULES_OF_ALL, consents=False)
    assert unasked.withdrawn == frozenset()


async def test_when_keys_expire_that_were_made_before_the_period(store: SqliteStore) -> None:
    trail, late = Trail(), Trail()
    given: dict[str, Any] = {"scopes": ["events:write"], "origin": ("session", "s")}
    for key, expires_at in {"long": "2026-04-01T00:00:00.000000Z", "gone": "2026-02-09T00:00:00.000000Z"}.items():
        trail.say("apikey.create", "01T10:00", target=key, expires_at=expires_at, **given)
    trail.say("apikey.create", "02T10:00", target="lasting", expires_at=None, **given)
    late.say("apikey.create", "01T00:00", target="later", expires_at="2026-03-09T00:00:00.000000Z", **given)
    await put(store, trail)
    await put(store, late, month="2026-03")
    before = await Earlier(store).before(TENANT, START, ("INT-06",), consents=True)
    assert before == Before(expiring={"long": "2026-04-01T00:00:00.000000Z", "gone": "2026-02-09T00:00:00.000000Z"})
    assert (await Earlier(store).before(TENANT, START, RULES_OF_ALL, consents=True)).expiring == {}


async def test_more_than_is_looked_through_is_unknown(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(earlier, "_A_PAGE", 2)
    monkeypatch.setattr(earlier, "MOST_EARLIER", 4)
    trail = Trail()
    for number in range(4):
        trail.say("user.delete", f"0{number + 1}T10:00", target=f"u-{number}")
    await put(store, trail)
    whole = await Earlier(store).before(TENANT, START, RULES_OF_ALL, consents=True)
    assert (len(whole.ended), whole.unknown) == (4, frozenset())
    more = Trail()
    for day in range(5, 8):
        more.say("user.delete", f"0{day}T11:00", target=f"v-{day}")
        more.entries[-1]["id"] = f"0195c000-0000-7000-8000-00000000000{day}"
    await put(store, more)
    cut = await Earlier(store).before(TENANT, START, RULES_OF_ALL, consents=True)
    assert (cut.ended >= {"v-5", "v-6", "v-7"}, cut.unknown) == (True, frozenset({"ended"}))


ENDED: list[tuple[str, str, Before, dict[str, Any]]] = [
    ("ACC-01", "ended", Before(ended=frozenset({"mallory"})), {"who": "mallory", "data_class": "phi"}),
    ("DATA-02", "erased", Before(erased=frozenset({"p-7"})), {"about": ["p-7"], "data_class": "phi"}),
    (
        "DATA-03",
        "withdrawn",
        Before(withdrawn=frozenset({"p-7\nnews"})),
        {"about": ["p-7"], "data_class": "personal", "purpose": "News", "legal_basis": "Art. 6 (1) (a)"},
    ),
]


@pytest.mark.parametrize(("rule", "what", "before", "used"), ENDED)
def test_what_had_ended_before_the_period_is_found_in_it(
    rule: str, what: str, before: Before, used: dict[str, Any]
) -> None:
    """The first day, and the last; and whoever cannot tell does not pass."""
    for day in ("01", "31"):
        trail = good_trail()
        trail.say("data.read", f"{day}T20:00", **used)
        trail.entries.sort(key=lambda each: each["recorded_at"])
        documents = trail.documents()
        assert RULES[rule].run(good_evidence("gdpr", trail, facts=Facts(DAYS, documents))).found == ()
        (found,) = RULES[rule].run(good_evidence("gdpr", trail, facts=Facts(DAYS, documents, before))).found
        assert found.first_seen[:10] == f"2026-03-{day}"
    unknown = Facts(DAYS, documents, Before(unknown=frozenset({what})))
    result = RULES[rule].run(good_evidence("gdpr", trail, facts=unknown))
    assert (result.found, result.missing) == ((), ("facts",))


def test_somebody_who_comes_back_in_the_period_is_no_leaver_any_more() -> None:
    trail = Trail()
    trail.say("user.status_change", "03T10:00", target="bob", old_status="suspended", new_status="active")
    trail.say("profile.view", "04T10:00", who="bob")
    before = Before(ended=frozenset({"bob"}))
    assert Facts(DAYS, trail.documents(), before).after_exit == (0, [])
    trail.say("profile.view", "03T09:00", who="bob")
    trail.entries.sort(key=lambda each: each["recorded_at"])
    assert Facts(DAYS, trail.documents(), before).after_exit[0] == 1


async def test_a_report_finds_what_ended_in_the_month_before(local: Bureau) -> None:
    """From the trail, by way of everything that makes a report: a leaver, and a person who was erased."""
    local.clock.set(datetime(2026, 3, 1, 20, tzinfo=UTC))
    use = EXAMPLES["data.read"]
    context = dataclasses.replace(use.request, started_at=local.clock.now())
    given: dict[str, Any] = {"request": context, "tenant_id": TENANT, "data_class": "phi", "subjects": ("p-9",)}
    await local.services.recorder.record(dataclasses.replace(use, **given))
    await local.seal()
    local.clock.set(NOW)
    await local.check()
    before = await local.build("pci_dss", wanted="0195c000-0000-7000-8000-00000000f001")
    assert "ACC-01" not in {e.rule for e in (await local.services.compliance.report(before)).exceptions}
    [seen] = {e["actor"]["id"] for e in await local.all(AUDIT_EVENTS) if e["type"] == "profile.view"}
    trail = Trail()
    trail.say("user.delete", "20T10:00", target=seen)
    trail.say("privacy.erasure", "20T10:00", target="p-9", reason="executed", request_id="r", counts={})
    for entry in trail.entries:
        at = {name: f"2026-02{entry[name][7:]}" for name in ("recorded_at", "occurred_at")}
        own = {"period": "2026-02", "tenant_id": TENANT}
        await local.store.create(AUDIT_EVENTS, (TENANT, "2026-02"), entry | at | own)
    for framework, rule in (("pci_dss", "ACC-01"), ("gdpr", "DATA-02")):
        head = await local.build(framework, wanted=f"0195c000-0000-7000-8000-0000000{framework.encode().hex()[:5]}")
        found = [each for each in (await local.services.compliance.report(head)).exceptions if each.rule == rule]
        assert [each.first_seen[:10] for each in found] == ["2026-03-01"], rule


@pytest.mark.parametrize("expires_at", [None, "2026-03-02T06:00:00.000000Z", "2026-03-03T06:00:00.000000Z"])
async def test_a_report_knows_when_a_key_of_the_month_before_expired(local: Bureau, expires_at: str | None) -> None:
    local.clock.set(datetime(2026, 3, 1, 20, tzinfo=UTC))
    sent = EXAMPLES["data.read"]
    context = dataclasses.replace(sent.request, started_at=local.clock.now(), session_id=None, api_key_id="key-1")
    await local.services.recorder.record(dataclasses.replace(sent, request=context, tenant_id=TENANT))
    await local.seal()
    local.clock.set(NOW)
    await local.check()
    trail = Trail()
    trail.say("apikey.create", "20T10:00", target="key-1", scopes=["events:write"], expires_at=expires_at)
    await put(local.store, trail)
    report = await local.services.compliance.report(await local.build("soc2"))
    found = [each.text for each in report.exceptions if each.rule == "INT-06" and "key-1" in each.text]
    hours = {None: 52, "2026-03-02T06:00:00.000000Z": 0, "2026-03-03T06:00:00.000000Z": 34}[expires_at]
    assert found == ([f"Source api_key:key-1 was silent for {hours} hours"] if hours else [])


OLD = "2025-06-01T00:00:00.000000Z"
END = "2026-03-02T00:00:00.000000Z"


async def logins(store: SqliteStore, count: int) -> list[Account]:
    """So many old accounts, all of which signed in in February, and one that never did."""
    trail = Trail()
    for number in range(count):
        trail.login(f"u-{number}", f"02T10:{number % 60:02}:{number // 60:02}", mfa=False)
    await put(store, trail)
    names = [*(f"u-{n}" for n in range(count)), "never"]
    return [account(name, created_at=OLD, last_login_at=None) for name in names]


async def test_accounts_beyond_those_that_are_asked_for_are_no_findings(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever signed in is found among the newest logins; whoever could not be looked for is unknown, and a gap."""
    held = await logins(store, 30)

    async def result_of(most: int, pages: int) -> tuple[list[str], tuple[str, ...], int]:
        monkeypatch.setattr(earlier, "MOST_LOGINS_ASKED", most)
        monkeypatch.setattr(earlier, "MOST_LOGIN_PAGES", pages)
        found = tuple(await Earlier(store).with_logins(TENANT, held, (), END, 90))
        result = RULES["ACC-04"].run(new_evidence(Trail(), "pci_dss", accounts=found))
        return [each.text for each in result.found], result.missing, sum(each.is_unknown for each in found)

    never = ["Account never: no login since 2025-06-01"]
    assert await result_of(31, 0) == (never, (), 0), "each is asked for"
    assert await result_of(5, 1) == (never, (), 0), "most are among the newest logins"
    assert await result_of(5, 0) == ([], ("last_logins",), 26), "there are too many: nothing is made up"
    assert await result_of(0, 0) == ([], ("last_logins",), 31)


async def test_only_old_active_accounts_are_asked_for(store: SqliteStore) -> None:
    held = [account("new", last_login_at=None), account("out", status="suspended", created_at=OLD, last_login_at=None)]
    held.append(account("here", created_at=OLD, last_login_at=None))
    found = await Earlier(store).with_logins(TENANT, held, {"here"}, END, 90)
    assert [(each.id, each.last_login_at) for each in found] == [("new", None), ("out", None), ("here", END)]


async def sign_in(bureau: Bureau, who: str) -> None:
    draft = EXAMPLES["auth.login"]
    context = dataclasses.replace(draft.request, started_at=bureau.clock.now())
    given: dict[str, Any] = {"outcome": "success", "reason": None, "actor": Actor("user", who, "user")}
    given |= {"target": Target("user", who), "request": context, "tenant_id": TENANT}
    await bureau.services.recorder.record(dataclasses.replace(draft, **given))


async def test_a_daily_report_of_many_accounts_finds_none_idle(local: Bureau) -> None:
    """A hundred and fifty that signed in the day before."""
    for number in range(150):
        name = f"0195c000-0000-7000-8000-{number:012}"
        user = {"kind": "user", "role": "user", "status": "active", "mfa": True, "created_at": OLD, "user_id": name}
        await local.store.create(IDENTITY, (TENANT,), user | {"id": f"user|{name}", "tenant_id": TENANT})
        await sign_in(local, name)
    await local.record(datetime(2026, 3, 5, 8, tzinfo=UTC), "profile.view")
    await local.seal()
    local.clock.set(datetime(2026, 3, 6, 6, tzinfo=UTC))
    await local.check()
    head = await local.services.compliance.build(TENANT, "pci_dss", date(2026, 3, 5), date(2026, 3, 6), local.request())
    report = await local.services.compliance.report(head)
    assert head["gate_passed"], report.gate
    (control,) = [each for each in report.controls if each.oscal_id == "pci-8.2.6"]
    assert [each.text for each in report.exceptions if each.rule == "ACC-04"] == []
    assert control.reason != "data-missing"


def told(report: Any, name: str) -> Any:
    return dict(report.method.parameters)[name]


async def entries(bureau: Bureau) -> list[Item]:
    held = [item for item in await bureau.all(LEDGER, TENANT, "2026-03") if item["kind"] == ENTRY]
    return sorted(held, key=lambda each: each["index"])


async def test_nothing_recorded_later_redraws_a_sample(bureau: Bureau) -> None:
    """A period within a month: seed and sample stay, and follow from the report and the ledger alone."""
    end = FROM + timedelta(days=2)

    async def drawn(name: str) -> Any:
        head = await bureau.services.compliance.build(
            TENANT, "pci_dss", FROM, end, bureau.request(), wanted=f"0195c000-0000-7000-8000-0000000000{name}"
        )
        return await bureau.services.compliance.report(head)

    first = await drawn("01")
    sampled = [each for each in first.controls if each.samples]
    assert len(sampled) > 20
    last = max(each["index"] for each in await entries(bureau) if '"recorded_at":"2026-03-02' in each["entry"])
    leaves = leaf_hashes(each["entry"].encode() for each in (await entries(bureau))[: last + 1])
    assert told(first, "sampling_root") == encode_base64(root_of(leaves))
    assert (told(first, "sampling_month"), told(first, "sampling_size")) == ("2026-03", last + 1)
    for control in sampled:
        assert control.samples.seed == seed_of(told(first, "sampling_root"), control.oscal_id)
    for number in range(3):
        await bureau.record(bureau.clock.now() + timedelta(minutes=1), "profile.view")
        await bureau.seal()
        await bureau.check()
        again = await drawn(f"1{number}")
        assert [each.samples for each in again.controls] == [each.samples for each in first.controls]
        assert again.population[0].size > first.population[0].size


ORDER = Order("report", "2026-04-01T06:00:00.000000Z", "system")


def disclosures(trail: Trail) -> Any:
    made = build(new_evidence(trail, "hipaa"), ORDER)
    (accounting,) = [each for each in made.tables if each.id == "accounting"]
    (figure,) = {m.value for control in made.controls for m in control.metrics if m.id == "disclosures"}
    return accounting, figure


@pytest.mark.parametrize(("persons", "listed"), [(1, 1), (20, 20), (50, 20)])
def test_an_accounting_names_every_patient_of_an_export_or_says_how_many_it_does_not(persons: int, listed: int) -> None:
    """As many as an event may have are all there; an entry that has more is counted whole."""
    trail = Trail()
    about = [f"patient-{number:02}" for number in range(persons)]
    trail.say("data.export", "06T10:00", data_class="phi", about=about, recipient="x", purpose="care")
    trail.say("data.export", "06T11:00", data_class="personal", about=["other"], recipient="x", purpose="care")
    trail.say("data.export", "06T12:00", data_class="phi", about=["no"], outcome="failure")
    table, figure = disclosures(trail)
    assert [row[0] for row in table.rows] == about[:listed]
    assert table.total == persons
    left = f"{persons - listed} more are counted and not listed here; they are in the evidence bundle."
    assert table.note == (left if persons > listed else "")
    assert figure == f"{persons + 1} about {persons + 1} persons"


def test_exports_beyond_those_that_a_day_keeps_are_counted_by_patient() -> None:
    trail = Trail()
    for number in range(70):
        about = [f"p-{number}-{each}" for each in range(3)]
        trail.say("data.export", f"06T10:{number % 60:02}", data_class="phi", about=about, recipient="x", purpose="y")
    trail.say("privacy.export", "07T08:00", target="ada", request_id="r-1", counts={})
    table, figure = disclosures(trail)
    assert (len(table.rows), table.total) == (181, 211)
    assert table.note.startswith("30 more are counted")
    assert figure == "210 about 210 persons"
