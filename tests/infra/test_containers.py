"""The containers that the templates create are the containers that the app declares."""

import json

import pytest

from shared.core.settings import Settings
from shared.storage._cosmos_definition import definition, drifts
from shared.storage.containers import CONTAINERS, Container
from tests.app import ROOT
from tools.infra import FILE, containers_json

MADE = {each["id"]: each for each in json.loads(FILE.read_text(encoding="utf-8"))}
SEVEN_YEARS_SECONDS = 2555 * 86_400


def test_the_file_is_what_it_is_generated_from() -> None:
    assert FILE.read_text(encoding="utf-8") == containers_json(), "run `make docs`"


def test_every_container_is_made_the_leases_included() -> None:
    assert set(MADE) == set(CONTAINERS) >= {"audit_events", "leases"}


@pytest.mark.parametrize("container", CONTAINERS.values(), ids=lambda each: each.name)
def test_provisioning_finds_no_difference(container: Container) -> None:
    """As `python -m shared.storage.provision --check` compares: key, TTL, indexes."""
    assert drifts(MADE[container.name], definition(container, ttl_days=2555)) == []


def test_the_trail_is_kept_for_seven_years_by_tenant_and_month() -> None:
    for name in ("audit_events", "ledger"):
        assert MADE[name]["defaultTtl"] == SEVEN_YEARS_SECONDS
        assert MADE[name]["partitionKey"] == {"paths": ["/tenant_id", "/period"], "kind": "MultiHash", "version": 2}
    assert Settings.model_fields["cosmos_db_ttl_days"].default * 86_400 == SEVEN_YEARS_SECONDS


def test_nothing_is_indexed_but_what_is_declared() -> None:
    for each in MADE.values():
        assert {"path": "/*"} in each["indexingPolicy"]["excludedPaths"]


def test_the_template_takes_the_file_as_it_is() -> None:
    """And the database is called what the settings call it."""
    text = (ROOT / "infra/modules/cosmos.bicep").read_text(encoding="utf-8")
    assert "loadJsonContent('../containers.json')" in text
    assert "    resource: each\n" in text
    assert f"name: '{Settings.model_fields['cosmos_db_name'].default}'" in text
    assert "defaultConsistencyLevel: 'Strong'" in text
