"""Facts are a cache that nobody but the app can write: what was changed is folded again from the ledger, and logged."""

from __future__ import annotations

import copy
import dataclasses
import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from shared.compliance.facts.sealing import Sealing
from shared.compliance.facts.store import FactsStore, facts_id
from shared.ledger.shards import head_id, rollup_id
from shared.privacy.secrets import MemorySecrets, RootName, SecretVersion
from shared.storage.containers import AUDIT_EVENTS, LEDGER, REPORTS
from shared.storage.documents import Item
from tests.audit.support import EXAMPLES, OTHER, TENANT
from tests.compliance.bureau import FROM, SAID, TO, Bureau
from tests.compliance.trails import Trail, good_trail
from tests.fakes import ManualClock

MONTH = "2026-03"
DAYS = ("2026-03-01", "2026-03-02", "2026-03-03")


def roots(*values: bytes) -> list[SecretVersion]:
    return [SecretVersion(f"v{number}", value * 32) for number, value in enumerate(values, 1)]


class Held(MemorySecrets):
    """Versions of every root secret, the newest first."""

    def __init__(self, *given: SecretVersion) -> None:
        super().__init__()
        self.given = given

    async def versions(self, name: RootName) -> tuple[SecretVersion, ...]:
        return self.given


def test_facts_are_read_back_as_they_were_folded() -> None:
    """Each part, whatever is in it: quotes, backquotes, breaks, carets, any script, and nothing at all."""
    trail = good_trail()
    for text in ('"`\n\t^~\\', "Łódź ✓😀", "", "`" * 50, "\x00\x01"):
        trail.say("config.change", "20T10:00", key=text, changed_fields=[text])
        trail.say("data.read", "20T10:00", who=text or None, data_class="phi", about=[text])
    sealing, (root,) = Sealing(MemorySecrets(), ManualClock()), roots(b"a")
    for facts in [*trail.documents().values(), *Trail().documents().values()]:
        item = {"id": facts_id(facts["day"]), **sealing.seal(root, TENANT, facts)}
        opened = sealing.opened(root, TENANT, item)
        assert opened is not None
        assert {name: opened[name] for name in facts} == facts
        assert set(opened) == set(facts)
        assert len(opened) == len(facts)
        for name in ("marks", "extracts"):
            assert dict(opened[name]) == facts[name]


def _parts(item: Item) -> list[tuple[str, str]]:
    return [(kind, name) for kind in ("lines", "values") for name in item[kind]]


def _longer(kind: str, name: str, item: Item) -> None:
    item[kind][name] += " "


def _without(kind: str, name: str, item: Item) -> None:
    del item[kind][name]


def _renamed(kind: str, name: str, item: Item) -> None:
    item[kind][f"{name}2"] = item[kind].pop(name)


def test_no_part_can_be_changed_moved_taken_away_or_added() -> None:
    sealing, (root, other) = Sealing(MemorySecrets(), ManualClock()), roots(b"a", b"b")
    (facts,) = [each for day, each in good_trail().documents().items() if day == "2026-03-09"]
    item = {"id": facts_id(facts["day"]), **sealing.seal(root, TENANT, facts)}
    assert sealing.opened(root, TENANT, item) is not None

    def opens(change: Callable[[Item], Any]) -> bool:
        changed = copy.deepcopy(item)
        change(changed)
        return sealing.opened(root, TENANT, changed) is not None

    for kind, name in _parts(item):
        assert not opens(partial(_longer, kind, name)), name
        assert not opens(partial(_without, kind, name)), name
        assert not opens(partial(_renamed, kind, name)), name
    for change in (
        lambda each: each["lines"].update(more=""),
        lambda each: each["values"].update(actors=each["lines"].pop("actors")),
        lambda each: each.update(id=facts_id("2026-03-10")),
        lambda each: each.update(code=""),
        lambda each: each.update(code="ж" * 64),
        lambda each: each.update(code=None),
        lambda each: each.update(key="v2"),
        lambda each: each.update(lines=None),
        lambda each: each.pop("values"),
        lambda each: each["values"].update(dict.fromkeys(each["values"], 1)),
    ):
        assert not opens(change)
    assert sealing.opened(root, OTHER, item) is None
    assert sealing.opened(SecretVersion("v1", other.value), TENANT, item) is None
    assert sealing.opened(other, TENANT, item) is None
    assert opens(lambda each: each.update(events=0, ttl=5)), "what is beside the parts is not relied on"


async def rules_found(bureau: Bureau, name: str) -> tuple[bool, set[str]]:
    head = await bureau.build("soc2", wanted=f"0195c000-0000-7000-8000-0000000000{name}")
    report = await bureau.services.compliance.report(head)
    return head["gate_passed"], {each.rule for each in report.exceptions}


async def held(bureau: Bureau, day: str) -> Item:
    return await bureau.store.read(REPORTS, (TENANT,), facts_id(day))


async def test_what_somebody_emptied_is_folded_again_and_logged(
    bureau: Bureau, caplog: pytest.LogCaptureFixture
) -> None:
    """Findings do not go away with what was marked; nor when a day's facts are those of another day or tenant."""
    honest = await rules_found(bureau, "01")
    assert honest[1]
    items = {day: await held(bureau, day) for day in DAYS}
    first = items[DAYS[0]]

    def emptied(item: Item) -> Item:
        values = {name: text for name, text in item["values"].items() if not name.startswith(("marks/", "extracts/"))}
        return item | {"values": values | {"marks": "[]", "extracts": "[]"}}

    async def put(change: Callable[[Item], Item]) -> None:
        for day, item in items.items():
            own = {"id": facts_id(day), "tenant_id": TENANT}
            given = {name: value for name, value in change(item).items() if not name.startswith("_")}
            await bureau.store.upsert(REPORTS, (TENANT,), given | own)

    for number, change in enumerate((emptied, lambda item: first, lambda item: item | {"code": "0" * 64})):
        await put(change)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert await rules_found(bureau, f"1{number}") == honest
        assert [await held(bureau, day) for day in DAYS] != [first] * 3
        told = [record for record in caplog.records if "facts_not_ours" in record.getMessage()]
        assert len(told) == (2 if number == 1 else 3)
        for day in DAYS:
            assert (await held(bureau, day))["values"] == items[day]["values"], "as it was"


async def test_a_rotated_secret_has_facts_folded_again(local: Bureau) -> None:
    services = local.services

    def store_of(*versions: SecretVersion) -> FactsStore:
        secrets = Held(*versions)
        return FactsStore(local.store, services.ledger, services.shards, local.clock, 2555, secrets)

    one, two = roots(b"a", b"b")
    assert await store_of(one).gather(TENANT, DAYS[0], local.request()) is True
    assert await store_of(one).gather(TENANT, DAYS[0], local.request()) is False
    assert await store_of(one).unfolded(TENANT, DAYS) == 2 * len(SAID)
    assert await store_of(two, one).unfolded(TENANT, DAYS) == 3 * len(SAID)
    assert await store_of(two, one).gather(TENANT, DAYS[0], local.request()) is True
    assert (await held(local, DAYS[0]))["key"] == "v2"


async def recount(bureau: Bureau, day: str, **changed: Any) -> None:
    """Somebody changes the counts of a day."""
    item = await bureau.store.read(LEDGER, (TENANT, MONTH), rollup_id(day))
    await bureau.store.replace(LEDGER, (TENANT, MONTH), item | changed)


def less(item: Item, gone: int) -> dict[str, Any]:
    """Counts of a day without its last events: everything adds up."""
    counts = [list(row) for row in item["counts"]]
    for row in counts[:gone]:
        row[-1] -= 1
    kept = [row for row in counts if row[-1]]
    return {"counts": kept, "events": item["events"] - gone, "last": item["last"] - gone}


@pytest.mark.parametrize("folded_before", [True, False])
async def test_counts_that_were_set_back_fail_the_gate(local: Bureau, folded_before: bool) -> None:
    """A day loses its last events, and another one outside of the period gains as many, so that the sum is right. What
    was folded before had more; what is folded now finds the day's entries beyond its end."""
    await local.record(local.clock.now(), *SAID)
    await local.seal()
    local.clock.advance(minutes=5)
    await local.check()
    if folded_before:
        await local.services.facts.gather(TENANT, DAYS[2], local.request())
    item = await local.store.read(LEDGER, (TENANT, MONTH), rollup_id(DAYS[2]))
    other = await local.store.read(LEDGER, (TENANT, MONTH), rollup_id("2026-03-04"))
    await recount(local, DAYS[2], **less(item, 4))
    more = [[*row[:-1], row[-1] + (4 if place == 0 else 0)] for place, row in enumerate(other["counts"])]
    await recount(local, "2026-03-04", counts=more, events=other["events"] + 4, first=other["first"] - 4)
    head = await local.services.compliance.build(TENANT, "soc2", FROM, TO, local.request())
    assert head["gate_passed"] is False
    told = [e for e in await local.all(AUDIT_EVENTS) if e["type"] == "ledger.verify_failed"]
    assert [each["attributes"]["what"] for each in told] == ["rollup"]


async def test_a_day_that_goes_on_meanwhile_is_no_fault(local: Bureau) -> None:
    """Counts that were read before more was sealed: facts of then are made, or those of now are left alone."""
    services = local.services
    rollups = await services.shards.rollups(TENANT, MONTH, list(DAYS))
    await local.record(local.clock.now().replace(day=3, hour=23), *SAID)
    await local.seal()
    before = await services.facts.days(TENANT, DAYS, rollups, local.request())
    assert before[DAYS[2]]["events"] == len(SAID)
    await services.facts.gather(TENANT, DAYS[2], local.request())
    again = await services.facts.days(TENANT, DAYS, rollups, local.request())
    assert again[DAYS[2]]["events"] == len(SAID)
    assert not [e for e in await local.all(AUDIT_EVENTS) if e["type"] == "ledger.verify_failed"]
    assert (await local.store.read(LEDGER, (TENANT, MONTH), head_id(MONTH)))["size"] == 4 * len(SAID)


async def test_a_second_factor_in_the_tile_before_a_day_is_seen(local: Bureau) -> None:
    """Shown just before midnight, as the last entry of a tile; its login is the first of the day, and of the next."""
    services, eve = local.services, local.clock.now().replace(day=4, hour=23, minute=40)
    size = (await local.store.read(LEDGER, (TENANT, MONTH), head_id(MONTH)))["size"]
    await local.record(eve, *("profile.view",) * (255 - size))
    context = local.request()
    for at, kind in ((eve.replace(minute=59, second=59), "mfa.challenge"), (eve.replace(day=5, hour=0), "auth.login")):
        local.clock.set(at)
        draft = dataclasses.replace(EXAMPLES[kind], request=context, outcome="success", reason=None)
        await services.recorder.record(draft)
        await local.seal()
    rollup = (await services.shards.rollups(TENANT, MONTH, ["2026-03-05"]))["2026-03-05"]
    assert (rollup["first"], rollup["events"]) == (256, 1)
    found = await services.facts.days(TENANT, ["2026-03-05"], {"2026-03-05": rollup}, local.request())
    assert found["2026-03-05"]["single_factor"]["n"] == 0
