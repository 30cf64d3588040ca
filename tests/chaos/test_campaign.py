"""A short campaign with a fixed seed, and the judge of it: what it has to find is planted into what the run left."""

import json
from collections import Counter
from pathlib import Path

import pytest

from tests.chaos import defects, defects_of_content
from tests.chaos.campaign import Outcome, run_campaign
from tests.chaos.checks import check_bundle
from tests.chaos.journal import read_journal
from tests.chaos.places import embedded
from tests.chaos.planted import Planted
from tests.chaos.report import as_json, as_table

SEED = 12
KINDS = (
    "died after a write",
    "disk full",
    "clock stepped forward",
    "store: answer lost",
    "everything at once, kill -9",
)
JUDGED = (
    ("alert_update", 200),
    ("denied", 403),
    ("export", 200),
    ("ingest", 201),
    ("key_create", 201),
    ("password", 204),
    ("profile", 200),
    ("profile_update", 200),
    ("register", 201),
    ("report_order", 2),
    ("search", 200),
    ("settings", 200),
    ("invite", 201),
    ("user_update", 200),
)
"""What defects are planted into: however slow a machine is, the run goes on until there is one of each. 2: any 2xx."""


async def test_nothing_is_lost_and_the_judge_is_awake(tmp_path: Path) -> None:
    """One test, so that one run is judged: the run, what is told of it, and each defect planted into what it left."""
    with embedded(tmp_path) as place:
        judged = await run_campaign(place, tmp_path, seed=SEED, seconds=0, companies=2, kinds=KINDS, until=JUDGED)
    outcome = judged.outcome
    assert outcome.findings == []
    assert outcome.tally.faults == outcome.tally.survived == Counter(KINDS)
    assert {"acknowledged", "refused", "in doubt"} <= outcome.requests.keys()
    assert outcome.starts >= 4  # the first, two behind kills, one for the quiet
    check_report(outcome)
    missed = {}
    for plant, wanted in {**defects.DEFECTS, **defects_of_content.DEFECTS}.items():
        planted = Planted(judged)
        plant(planted)
        missed[plant.__name__] = planted.missed(wanted)
    assert {name: wanted for name, wanted in missed.items() if wanted} == {}


def check_report(outcome: Outcome) -> None:
    told = json.loads(json.dumps(as_json([outcome])))
    assert told["lost"] == 0
    assert told["campaigns"][0]["faults"]["died after a write"] == {"injected": 1, "survived": 1}
    table = as_table([outcome])
    assert "**Lost: 0.**" in table
    assert "| disk full" in table


async def test_a_bundle_that_was_tampered_with_is_found(tmp_path: Path) -> None:
    part = tmp_path / "part.zip"
    part.write_bytes(b"PK\5\6" + bytes(18))
    assert [each.check for each in check_bundle([part], [])] == ["bundle_not_verified"]


def test_the_log_is_read_as_it_was_written() -> None:
    lines = ['{"attempt":"a","call":"login","told":{"email":"x"}}', '{"attempt":"b","call":"logout","told":{}}']
    answers = ['{"attempt":"b","status":204,"seen":{}}', ""]
    first, second = read_journal([*lines, *answers])
    assert (first.in_doubt, first.acknowledged, first.told) == (True, False, {"email": "x"})
    assert (second.acknowledged, second.number) == (True, 1)
    with pytest.raises(ValueError, match="nobody asked"):
        read_journal(['{"attempt":"c","status":200,"seen":{}}'])
