"""`python -m tools.infra`: write what of infra/ is generated: containers.json, of shared/storage/containers.py."""

import json
import sys
from pathlib import Path

from shared.core.settings import Settings
from shared.storage._cosmos_definition import definition
from shared.storage.containers import CONTAINERS

FILE = Path(__file__).resolve().parents[1] / "infra" / "containers.json"
TTL_DAYS: int = Settings.model_fields["cosmos_db_ttl_days"].default


def containers_json() -> str:
    """Every container as the templates create it, by name; the text of the file."""
    made = [definition(CONTAINERS[name], ttl_days=TTL_DAYS) for name in sorted(CONTAINERS)]
    return json.dumps(made, indent=2) + "\n"


def main() -> int:
    """Write the file; say so if that changed it."""
    text = containers_json()
    if not FILE.is_file() or FILE.read_text(encoding="utf-8") != text:
        FILE.write_text(text, encoding="utf-8")
        sys.stdout.write(f"written: infra/{FILE.name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
