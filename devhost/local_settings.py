"""`local.settings.json`: the settings that Azure's own tool gives an app on a developer's machine."""

import json
from collections.abc import MutableMapping
from pathlib import Path

from devhost.errors import HostError

_FILE = "local.settings.json"


def apply_local_settings(app_dir: Path, environment: MutableMapping[str, str]) -> None:
    """Add the file's `Values` to `environment`; what is set there already wins. Nothing without a file."""
    try:
        settings = json.loads((app_dir / _FILE).read_text(encoding="utf-8"))
        values = dict(settings.get("Values", {}))
        encrypted = settings.get("IsEncrypted", False)
    except FileNotFoundError:
        return
    except (ValueError, TypeError, AttributeError, OSError) as error:
        raise HostError(f"{_FILE} cannot be read: {' '.join(str(error).split())}") from error
    if encrypted:
        raise HostError(f"{_FILE} is encrypted; decrypt it with 'func settings decrypt'")
    for name, value in values.items():
        environment.setdefault(name, str(value))
