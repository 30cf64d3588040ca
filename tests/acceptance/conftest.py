import pytest

from tests.storage.conftest import LOCAL


@pytest.fixture(params=LOCAL)
def adapter(request: pytest.FixtureRequest) -> str:
    """The stories are told on every store."""
    return str(request.param)
