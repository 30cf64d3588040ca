"""What fuzzing found, or reading with it in mind: each once made a reader fail in another way than it says."""

import json
import struct
from typing import Any

import pytest

from shared.audit.entries import entry_of
from tests.fuzz import request_targets
from tests.fuzz.evidence_targets import EXPORTED, FILES, WHOLE, Hostile, signed_with_manifest, small, verified
from tests.ledger.evidence import Event, event, resigned
from tools import verify_evidence as verifier

MANIFEST: dict[str, Any] = json.loads(FILES["manifest.json"])
ROLLUPS = "shards/2026-03/rollups.jsonl"


def claiming(**changes: Any) -> bytes:
    """The bundle with a manifest that says something else, signed by the key."""
    return signed_with_manifest(json.dumps(MANIFEST | changes).encode())


def sealing(**changes: Any) -> bytes:
    """A bundle of a service that sealed an event of another form."""
    hostile = Hostile(small().events)
    changed: Event = event("2026-04", 0, **changes)
    hostile.sealed["2026-04"][0] = entry_of(changed)
    return hostile.parts()[0]


def said(checks: verifier.Checks, result: str) -> str:
    assert checks.result == result, verifier.table(checks)
    return "; ".join(line.detail for line in checks.lines if line.result == result)


@pytest.mark.parametrize("trust", [True, False])
@pytest.mark.parametrize("field", ["key", "origin"])
def test_a_manifest_whose_names_are_no_text(field: str, trust: bool) -> None:
    """A lone surrogate has no bytes that could be hashed or signed."""
    changed = claiming(**{field: MANIFEST[field].replace("ledger", "\ud800")})
    assert said(verified(changed, trust=trust), verifier.WRONG)


def test_a_vkey_whose_name_is_no_text() -> None:
    _, key_id, encoded = MANIFEST["key"].split("+", 2)
    checks = verifier.verify(["none.zip"], [f"\udcff+{key_id}+{encoded}"])
    assert "not the form of a verifier key" in said(checks, verifier.UNKNOWN)


@pytest.mark.parametrize("number", [10**7, 10**15, 10**4000])
def test_a_part_that_follows_more_parts_than_there_can_be(number: int) -> None:
    """They are not counted one by one: that took all memory, before any of it was said."""
    assert "parts are missing: 1, 2, 3" in said(verified(claiming(part=number)), verifier.UNKNOWN)


@pytest.mark.parametrize(
    "moment", ["0001-01-01T00:00:00Z", "0001-01-01", "9999-12-31T23:59:59-20:00", "2026-06-01", "no time", ""]
)
def test_a_bundle_that_was_made_when_no_time_is(moment: str) -> None:
    checks = verified(claiming(made_at=moment), events=EXPORTED)
    assert "does not say when the bundle was made" in said(checks, verifier.WRONG)


def test_a_file_whose_name_in_front_of_it_is_not_utf_8() -> None:
    data = bytearray(WHOLE)
    listed = data.index(b"PK\1\2")
    (flags,) = struct.unpack_from("<H", data, listed + 8)
    struct.pack_into("<H", data, listed + 8, flags | 0x800)  # names are UTF-8
    (at,) = struct.unpack_from("<I", data, listed + 42)
    data[at + 30] = 0x93
    assert "cannot be unpacked" in said(verified(bytes(data)), verifier.WRONG)


@pytest.mark.parametrize("depth", [900, 5000])
def test_totals_that_are_nested_deeper_than_one_can_follow(depth: int) -> None:
    deep = b"[" * depth + b"]" * depth

    def nested(files: dict[str, bytes]) -> None:
        files[ROLLUPS] = files[ROLLUPS].replace(b'"hours":', b'"hours":' + deep + b',"other":')

    text = said(verified(resigned(WHOLE, nested)), verifier.WRONG)
    assert "2026-03-01: the totals say another hours" in text or "nested deeper than can be followed" in text


@pytest.mark.parametrize("outcome", [1, True, 0.5])
def test_entries_that_cannot_be_put_in_order(outcome: object) -> None:
    """A text and a number at the same place of two events of a type."""
    assert "totals" in said(verified(sealing(type="ledger.checkpoint", outcome=outcome)), verifier.WRONG)


def other_spellings(text: str) -> list[str]:
    """What a lenient reader of base64url takes for the same bytes."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    spare = [text[:-1] + alphabet[alphabet.index(text[-1]) ^ bit] for bit in (1, 2, 3)]
    return [*spare, text + "=", text + "==", text + "\0", text[:-9] + "\0\0\0\0" + text[-9:], text + "\n", f" {text}"]


@pytest.mark.parametrize("name", ["cursor", "token"])
def test_what_was_given_out_has_one_spelling(name: str) -> None:
    target, [seed] = request_targets.REQUESTS[name]
    target(seed)
    for each in other_spellings(seed.decode()):
        target(each.encode())
