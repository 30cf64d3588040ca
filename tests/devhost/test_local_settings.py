"""The settings file of Azure's own tool."""

import json
from pathlib import Path

import pytest

from devhost.errors import HostError
from devhost.local_settings import apply_local_settings


def write(directory: Path, content: str) -> None:
    (directory / "local.settings.json").write_text(content, encoding="utf-8")


def test_values_are_added_and_the_environment_wins(tmp_path: Path) -> None:
    write(tmp_path, json.dumps({"IsEncrypted": False, "Values": {"A": "file", "B": "file", "C": 3}}))
    environment = {"A": "before"}
    apply_local_settings(tmp_path, environment)
    assert environment == {"A": "before", "B": "file", "C": "3"}


def test_no_file_changes_nothing(tmp_path: Path) -> None:
    environment: dict[str, str] = {}
    apply_local_settings(tmp_path, environment)
    assert environment == {}


@pytest.mark.parametrize("content", ["x", "[]", '{"Values": 1}', '{"Values": null}', '{"IsEncrypted": true}'])
def test_a_file_that_cannot_be_used_is_refused(tmp_path: Path, content: str) -> None:
    write(tmp_path, content)
    with pytest.raises(HostError, match=r"^local\.settings\.json"):
        apply_local_settings(tmp_path, {})
