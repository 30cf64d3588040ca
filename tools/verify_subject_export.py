"""Check a person's export offline: `python -m tools.verify_subject_export PART.json [PART.json ...] --vkey VKEY`.

What it checks, with the code of `verify_evidence.py`: the parts belong together, none lacks, and each is what its
signed statement says; the checkpoints are signed; every event that is said to be sealed leads to the checkpoint of its
month; what is shown of the person is what was committed to. With `--bundle` (an evidence bundle, which auditors can
take; check that with `verify_evidence.py` first) it also checks that no event that names the person was left out.

Exit status: 0 all of it is verified, 1 something is wrong, 2 something could not be checked.
"""

import argparse
import hashlib
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tools.verify_evidence import (
    EXITS,
    UNKNOWN,
    WRONG,
    Checks,
    Key,
    Part,
    Unchecked,
    Wrong,
    canonical,
    open_note,
    parse_checkpoint,
    parse_json,
    parse_vkey,
    require,
    root_from_path,
    strict_base64,
    table,
)

FORMAT = "kraftd-audit-subject-export/1"
TITLE = "kraftd-audit subject export"
_LISTS = ("consents", "sessions", "requests", "alerts", "events")


class Export:
    """The parts of one export, in order. Wrong when they are none."""

    def __init__(self, parts: Sequence[dict[str, Any]], keys: Sequence[Key]) -> None:
        self.parts = parts
        self.keys = keys
        self.head = {name: value for name, value in parts[0]["export"].items() if name not in ("part", "last")}
        self.log = f"/{self.head['tenant_id']}"
        self.months = {each["period"]: each for each in parts[0]["months"]}

    @property
    def events(self) -> Iterator[dict[str, Any]]:
        """Every event."""
        return (event for part in self.parts for event in part["events"])

    def check_parts(self) -> str:
        """All parts are there, once, and of one export."""
        for number, part in enumerate(self.parts, 1):
            own = dict(part["export"])
            require(part["format"] == FORMAT, "not an export of a person")
            require(own.pop("part") == number, f"part {number} is missing, or there twice")
            require(own.pop("last") == (number == len(self.parts)), "the last part is missing, or not the last one")
            require(own == self.head and part["months"] == self.parts[0]["months"], "parts of different exports")
        ids = [each["event"]["id"] for each in self.events]
        require(len(set(ids)) == len(ids), "an event is in it twice")
        return f"{len(self.parts)} parts, {len(ids)} events"

    def check_statements(self) -> str:
        """Each part is what its signed statement says."""
        names = set()
        for number, part in enumerate(self.parts, 1):
            note = part["statement"].encode()
            name = note.decode().rpartition("\u2014 ")[2].partition(" ")[0]
            require(name.endswith(f"{self.log}/subject-export"), "a statement of another organization")
            text, signers = open_note(note, [key.renamed(name) for key in self.keys])
            require(signers, f"part {number}: the statement is signed with another key")
            require(text.split("\n")[:-1] == self._expected(part), f"part {number} is not what its statement says")
            names.add(name)
        require(len(names) == 1, "statements of different services")
        self.log = names.pop().removesuffix("/subject-export")
        return "signed, and what they say is what is there"

    def _expected(self, part: Mapping[str, Any]) -> list[str]:
        own = part["export"]
        records = [*([part["account"]] if part["account"] else []), *(each for name in _LISTS for each in part[name])]
        digest = hashlib.sha256()
        for record in records:
            digest.update(canonical(record).encode() + b"\n")
        named = Counter(each["event"]["period"] for each in part["events"])
        lines = [
            TITLE,
            f"export {own['id']}",
            f"tenant {own['tenant_id']}",
            f"subject {own['subject']}",
            f"until {own['received_at']}",
            f"part {own['part']} {'last' if own['last'] else 'more'}",
            f"records {len(records)} sha256 {digest.hexdigest()}",
        ]
        for period in sorted({*self.months, *named}):
            month = self.months.get(period)
            sealed = f"{month['size']} {month['root']}" if month and month["checkpoint"] else "none"
            lines.append(f"month {period} events {named[period]} checkpoint {sealed}")
        return lines

    def check_checkpoints(self) -> str:
        """Each month's checkpoint is signed, and of that month."""
        for period, month in self.months.items():
            if month["checkpoint"] is None:
                continue
            origin = f"{self.log}/{period}"
            text, signers = open_note(month["checkpoint"].encode(), [key.renamed(origin) for key in self.keys])
            require(signers, f"{period}: the checkpoint is signed with another key")
            found = (origin, month["size"], strict_base64(month["root"]))
            require(parse_checkpoint(text) == found, f"{period}: the checkpoint says something else")
        return f"{len(self.months)} months"

    def check_events(self) -> str:
        """Each event is about the person, and leads to its month's checkpoint."""
        unproven: Counter[str] = Counter()
        for each in self.events:
            event, proof = each["event"], each["proof"]
            require(set(event["subjects"]) & set(self.head["ids"]), f"{event['id']} does not name the person")
            if proof["state"] in ("broken", "changed"):
                raise Wrong(f"{event['id']}: the service itself says that it is not as it was sealed")
            if proof["state"] != "sealed":
                unproven[proof["state"]] += 1
                continue
            month = self.months[event["period"]]
            leaf = hashlib.sha256(b"\x00" + canonical(event).encode()).digest()
            path = [strict_base64(each) for each in proof["path"]]
            root = root_from_path(leaf, proof["index"], month["size"], path)
            require(root == strict_base64(month["root"]), f"{event['id']} is not in the ledger as it is here")
        if unproven:
            raise Unchecked(", ".join(f"{count} {state}" for state, count in sorted(unproven.items())))
        return "every event is in the ledger as it is here"

    def check_personal(self) -> str:
        """What is shown of the person is what was committed to."""
        shown = erased = 0
        for each in self.events:
            commitments = each["event"]["commitments"]
            require(set(each["personal"]) <= {*self.head["ids"]}, "it shows something of another person")
            for subject, personal in each["personal"].items():
                salt = each["salts"].get(subject)
                if salt is None:
                    require(personal == {"erased": True}, f"{each['event']['id']}: what is stored of you is damaged")
                    erased += 1
                    continue
                digest = hashlib.sha256(strict_base64(salt) + canonical(personal).encode()).digest()
                same = strict_base64(commitments[subject]) == digest
                require(same, f"{each['event']['id']}: what is shown is not what was recorded")
                shown += 1
        return f"{shown} shown as they were recorded, {erased} erased"

    def check_complete(self, bundle: Sequence[str]) -> str:
        """No event that names the person is in an evidence bundle, below the checkpoints, and not here."""
        here = {each["event"]["id"] for each in self.events}
        covered: set[str] = set()
        for period, index, entry in _entries(bundle):
            month = self.months.get(period)
            if month is None or month["state"] != "sealed" or index >= month["size"]:
                continue
            covered.add(period)
            event = parse_json(entry, "an entry")
            if event["recorded_at"] < self.head["received_at"] and set(event["subjects"]) & set(self.head["ids"]):
                require(event["id"] in here, f"{event['id']} names the person and is not in the export")
        sealed = {period for period, month in self.months.items() if month["state"] == "sealed" and month["size"]}
        if sealed - covered:
            raise Unchecked(f"the bundle has nothing of {', '.join(sorted(sealed - covered))}")
        return "every entry that names the person is here"


def _entries(bundle: Sequence[str]) -> Iterator[tuple[str, int, bytes]]:
    """Month, index and bytes of each entry of a bundle."""
    for path in bundle:
        part = Part(path)
        part.manifest = parse_json(part.read("manifest.json"), "manifest.json")
        for name in part.infos:
            _, _, number = name.partition("/tile/entries/")
            if not number:
                continue
            digits = number.partition(".p/")[0].replace("x", "").replace("/", "")
            data, at, index = part.read(name), 0, int(digits) * 256
            while at < len(data):
                end = at + 2 + int.from_bytes(data[at : at + 2], "big")
                yield name.split("/")[1], index, data[at + 2 : end]
                at, index = end, index + 1


def verify(paths: Sequence[str], vkeys: Sequence[str] = (), bundle: Sequence[str] = ()) -> Checks:
    """Check the files of an export against keys that the user has from elsewhere."""
    checks = Checks()
    try:
        parts = [parse_json(Path(path).read_bytes(), path) for path in paths]
        parts.sort(key=lambda part: part["export"]["part"])
        keys = [parse_vkey(each) for each in (vkeys or parts[0]["keys"])]
        export = Export(parts, keys)
        if not vkeys:
            checks.add("Who signed", UNKNOWN, "give --vkey with the key as you have it from elsewhere")
        if checks.attempt("Parts", export.check_parts) and checks.attempt("Statements", export.check_statements):
            checks.attempt("Checkpoints", export.check_checkpoints)
            checks.attempt("Events", export.check_events)
            checks.attempt("Personal data", export.check_personal)
            if bundle:
                checks.attempt("Completeness", lambda: export.check_complete(bundle))
    except (Wrong, Unchecked, OSError, KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        checks.add("Files", WRONG, f"they cannot be read: {error}")
    finally:
        Part.close_all()
    return checks


def main(arguments: Sequence[str] | None = None) -> int:
    """Check, print, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.verify_subject_export", description="Check an export.")
    parser.add_argument("parts", nargs="+", metavar="PART.json", help="the files of one export, all of them")
    parser.add_argument("--vkey", action="append", default=[], help="the service's verifier key, from elsewhere")
    parser.add_argument("--bundle", action="append", default=[], metavar="PART.zip", help="an evidence bundle")
    options = parser.parse_args(arguments)
    checks = verify(options.parts, options.vkey, options.bundle)
    sys.stdout.write(table(checks).replace("bundle is", "export is").replace("on this bundle", "on this export"))
    return EXITS[checks.result]


if __name__ == "__main__":
    sys.exit(main())
