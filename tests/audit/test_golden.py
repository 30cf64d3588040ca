"""Names and stored forms are public API: what was written once must be read for seven years.

To change a sample on purpose, or to add one, set KRAFTD_WRITE_GOLDEN=1 for one run, read the difference, commit it.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from shared.audit.registry import all_types, type_of
from shared.storage.containers import AUDIT_EVENTS
from tests.audit.support import EXAMPLES, new_world, without_store_fields

GOLDEN = Path(__file__).parent / "golden"
NAMES = GOLDEN / "names.txt"
WRITE = "KRAFTD_WRITE_GOLDEN"
ROOT = Path(__file__).resolve().parents[2]


def check(path: Path, found: str, why: str) -> None:
    """Compare byte for byte. Only with the variable set the file is written; the test fails then, too."""
    held = path.read_bytes() if path.exists() else None
    if held == found.encode():
        return
    if os.environ.get(WRITE) == "1":
        path.write_bytes(found.encode())
        pytest.fail(f"{path.name} was written: read the difference, commit it, and run again without {WRITE}")
    state = "has no golden file" if held is None else "is not what its golden file says"
    lines = (held or b"").decode().splitlines()
    changed = [line for line in found.splitlines() if line not in lines][:5]
    pytest.fail(f"{path.name} {state}. {why} If it is meant, run once with {WRITE}=1. New lines: {changed}")


def golden_file(name: str) -> Path:
    """Not every file system takes a `*`."""
    return GOLDEN / f"{name.replace('*', 'name')}.json"


@pytest.mark.parametrize("name", sorted(all_types()))
async def test_the_stored_form_of_every_type(name: str) -> None:
    if name not in EXAMPLES:
        pytest.fail(f"{name} has no example: add a draft to EXAMPLES in tests/audit/support.py, then its golden file")
    async with new_world() as world:
        event = await world.recorder.record(EXAMPLES[name])
        stored = await world.store.read(AUDIT_EVENTS, (event["tenant_id"], event["period"]), event["id"])
    assert without_store_fields(stored) == event
    text = json.dumps(without_store_fields(stored), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    check(golden_file(name), text, "Stored events of this type exist: what reads them must go on reading them.")


def test_every_example_is_of_the_type_that_it_stands_for() -> None:
    assert {name: type_of(draft.event).name for name, draft in EXAMPLES.items()} == {name: name for name in EXAMPLES}
    assert set(EXAMPLES) == set(all_types())


def test_no_golden_file_stands_for_nothing() -> None:
    assert set(GOLDEN.glob("*.json")) == {golden_file(name) for name in all_types()}


def test_no_name_is_ever_removed_or_renamed() -> None:
    held, found = set(NAMES.read_text().split()) if NAMES.exists() else set(), set(all_types())
    gone = sorted(held - found)
    if gone:
        pytest.fail(f"{gone} are published names of event types: stored events carry them. Bring them back.")
    check(NAMES, "".join(f"{name}\n" for name in sorted(found)), "A new type is public from its first release on.")


def test_a_fresh_process_finds_every_family() -> None:
    """`all_types` must not depend on what was imported before it: the catalog is made from it."""
    program = "from shared.audit.registry import all_types; print(*all_types())"
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == sorted(NAMES.read_text().split())


def test_every_module_of_events_belongs_to_the_registry() -> None:
    families = {path.stem for path in (ROOT / "shared" / "audit" / "events").glob("[a-z]*.py")}
    assert {name.partition(".")[0] for name in all_types()} == families
    for name, kind in all_types().items():
        assert kind.model.__module__ == f"shared.audit.events.{name.partition('.')[0]}"


def test_a_missing_or_changed_sample_fails_and_is_never_written_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(WRITE, raising=False)
    path = tmp_path / "test.json"
    with pytest.raises(pytest.fail.Exception, match=f"has no golden file.*{WRITE}=1"):
        check(path, "a\n", "")
    assert not path.exists()
    path.write_text("a\n")
    check(path, "a\n", "")
    for changed in ("b\n", "a", "a\n\n", "a\r\n"):
        with pytest.raises(pytest.fail.Exception, match="is not what its golden file says"):
            check(path, changed, "")
    assert path.read_text() == "a\n"
    monkeypatch.setenv(WRITE, "1")
    with pytest.raises(pytest.fail.Exception, match="was written"):
        check(path, "b\n", "")
    assert path.read_text() == "b\n"
