"""`python -m tests.fuzz TARGET [libFuzzer options]`: any bytes for a target, led by coverage (atheris), until something
fails or the time is up. `scripts/fuzz.sh` installs atheris and runs every target."""

import sys

import atheris

with atheris.instrument_imports(include=["tools", "shared", "functions"]):
    from tests.fuzz.targets import TARGETS

if __name__ == "__main__":
    target, _ = TARGETS[sys.argv[1]]
    atheris.Setup([sys.argv[0], *sys.argv[2:]], target)
    atheris.Fuzz()
