"""The witness as the settings name it."""

import pytest

from devhost.host import Host
from shared.core.settings import Settings, SettingsError
from shared.ledger.note import Cosigner, Signer
from tests.app import UNLIMITED, running, services_for
from tests.fakes import ManualClock

COSIGNER = Cosigner("witness.example.org/w1", b"w" * 32)


def settings(vkey: str) -> Settings:
    return Settings(
        kraftd_data=":memory:", ledger_witness_url="http://127.0.0.1:9", ledger_witness_vkey=vkey, **UNLIMITED
    )


async def test_the_timer_says_that_the_witness_is_silent_and_the_app_goes_on(host: Host, clock: ManualClock) -> None:
    async with running(host, clock, settings=settings(COSIGNER.verifier.encode())) as app:
        ada = await app.register()
        await app.host.drain_feed()
        assert not await app.host.run_timer("witness_checkpoints")
        answer = await app.client.get("/v1/ledger/checkpoint", headers=ada.auth)
        assert answer.status_code == 200
        assert len(answer.text.partition("\n\n")[2].splitlines()) == 1


@pytest.mark.parametrize(
    "vkey",
    [
        Signer("witness.example.org/w1", b"w" * 32).verifier.encode(),
        COSIGNER.verifier.encode().replace("/w1", "/w2"),
        f"witness.example.org/w1+0a1b2c3d+{'A' * 44}",
    ],
    ids=["signs", "another name", "none"],
)
async def test_a_key_that_is_none_of_a_witness(clock: ManualClock, vkey: str) -> None:
    with pytest.raises(SettingsError, match="LEDGER_WITNESS_VKEY"):
        await services_for(clock, None, settings(vkey))


async def test_without_one_the_timer_has_nothing_to_do(host: Host, clock: ManualClock) -> None:
    async with running(host, clock) as app:
        assert app.services.witness is None
        assert await app.host.run_timer("witness_checkpoints")
