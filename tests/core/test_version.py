import tomllib
from pathlib import Path

from shared.core.version import VERSION

PYPROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"


def test_the_version_is_the_package_s() -> None:
    assert tomllib.loads(PYPROJECT.read_text())["project"]["version"] == VERSION
