"""`python -m tests.fuzz TARGET [libFuzzer options]`: any bytes for a target, led by coverage (atheris), until something
fails or the time is up. `scripts/fuzz.sh` installs atheris and runs every target."""

import sys

import atheris

WATCHED = [
    *("tools.verify_evidence", "tools.verify_subject_export"),
    *("shared.ledger.note", "shared.ledger.checkpoint", "shared.ledger.proof", "shared.ledger._text"),
    *("shared.detection.imports", "shared.audit.producer", "shared.audit.sensitive", "shared.audit.values"),
    *("shared.core.text", "shared.core.clock", "shared.identity.tokens", "shared.identity.secret_links"),
    *("functions._parsing", "functions._cursors", "functions._http", "functions.events_ingest"),
]
"""What reads the bytes; watching more makes the start slow and finds nothing."""

with atheris.instrument_imports(include=WATCHED):
    from tests.fuzz.targets import TARGETS

if __name__ == "__main__":
    target, _ = TARGETS[sys.argv[1]]
    atheris.Setup([sys.argv[0], *sys.argv[2:]], target)
    atheris.Fuzz()
