"""All targets: by name what is called with any bytes, and bytes that it takes, to begin from.

`python -m tests.fuzz.targets` prints the names; with a name and a folder it writes what that target begins from.
"""

import sys
from pathlib import Path

from tests.fuzz.evidence_targets import EVIDENCE
from tests.fuzz.request_targets import REQUESTS

TARGETS = EVIDENCE | REQUESTS

if __name__ == "__main__":
    if len(sys.argv) == 3:
        for number, seed in enumerate(TARGETS[sys.argv[1]][1]):
            (Path(sys.argv[2]) / f"seed-{number}").write_bytes(seed)
    else:
        sys.stdout.write("\n".join(TARGETS) + "\n")
