"""`python -m tests.cosmos_emulator`: an account of Cosmos DB on this machine, in memory, to try the app out on."""

import argparse
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.cosmos_emulator.emulator import KEY, Emulator


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until interrupted. Exit code 1 when it cannot start."""
    parser = argparse.ArgumentParser(prog="python -m tests.cosmos_emulator", description=__doc__)
    parser.add_argument("--port", type=int, default=8081, help="loopback port, 0 for any (default: %(default)s)")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with tempfile.TemporaryDirectory(prefix="kraftd-emulator-") as folder:
        try:
            emulator = Emulator.start(Path(folder), options.port)
        except RuntimeError as error:
            print(f"emulator: {error}", file=sys.stderr)
            return 1
        try:
            emulator.control("account", {"serverless": True})  # what COSMOS_DB_THROUGHPUT means where it is not set
            print(_settings(emulator), flush=True)
            emulator.wait()
        except KeyboardInterrupt:
            return 0
        finally:
            emulator.stop()
    print("emulator: it ended by itself", file=sys.stderr)
    return 1


def _settings(emulator: Emulator) -> str:
    """What the app has to be told, as a shell takes it."""
    values = {"COSMOS_DB_ENDPOINT": emulator.endpoint, "COSMOS_DB_KEY": KEY, "COSMOS_DB_EMULATOR": "true"}
    return "\n".join(f"export {name}={value}" for name, value in values.items())


if __name__ == "__main__":
    sys.exit(main())
