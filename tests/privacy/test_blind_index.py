"""The blind index: equal values meet where they may, and nowhere else."""

import hashlib
import hmac
import logging
import re

import pytest

from shared.privacy.blind_index import BlindIndex
from shared.privacy.secrets import MemorySecrets, RootName, SecretsError, SecretVersion
from tests.privacy.test_secrets import hkdf

TENANT, OTHER = "0195c000-0000-7000-8000-0000000000aa", "0195c000-0000-7000-8000-0000000000bb"
EMAIL, ADDRESS, AGENT = "ada@example.com", "203.0.113.9", "curl/8.0"


class Rotated:
    """Root secrets of which the newest is `v2`; `v0` is there, but not among those that are held."""

    async def versions(self, name: RootName) -> tuple[SecretVersion, ...]:
        return (SecretVersion("v2", name.encode() * 8), SecretVersion("v1", b"old" * 8))

    async def find(self, name: RootName, version: str) -> SecretVersion | None:
        old = (SecretVersion("v0", b"first" * 8),)
        return next((each for each in (*await self.versions(name), *old) if each.version == version), None)

    async def close(self) -> None:
        """Nothing to let go of."""


def index(byte: bytes = b"\x01") -> BlindIndex:
    return BlindIndex(MemorySecrets(lambda count: byte * count), "v1")


def by_hand(root: bytes, label: str, value: str) -> str:
    return hmac.new(hkdf(root, b"kraftd/" + label.encode(), 32), value.encode(), hashlib.sha256).hexdigest()


async def test_the_values_by_hand() -> None:
    root = b"\x01" * 32
    assert await index().for_email(TENANT, EMAIL) == "v1:" + by_hand(root, f"blind-index/tenant/{TENANT}/email", EMAIL)
    assert await index().for_user_agent(TENANT, AGENT) == "v1:" + by_hand(
        root, f"blind-index/tenant/{TENANT}/user_agent", AGENT
    )
    assert await index().for_address(ADDRESS) == "v1:" + by_hand(root, "blind-index/address", ADDRESS)
    assert await index().for_directory(EMAIL) == "v1:" + by_hand(root, "blind-index/directory", EMAIL)


async def test_the_form_and_that_nothing_of_the_value_shows() -> None:
    for value in (await index().for_email(TENANT, EMAIL), await index().for_address(ADDRESS)):
        assert re.fullmatch(r"v1:[0-9a-f]{64}", value)
        assert "ada" not in value
        assert "203" not in value[:8]


@pytest.mark.parametrize(("version", "root"), [("v2", b"index" * 8), ("v1", b"old" * 8), ("v0", b"first" * 8)])
async def test_the_version_of_the_store_is_used_however_new_others_are(version: str, root: bytes) -> None:
    value = await BlindIndex(Rotated(), version).for_address(ADDRESS)
    assert value == f"{version}:" + by_hand(root, "blind-index/address", ADDRESS)


async def test_a_newer_version_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    held = BlindIndex(Rotated(), "v1")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            await held.for_address(ADDRESS)
            await held.for_directory(EMAIL)
    (line,) = caplog.messages
    assert line == 'index_secret_version_ignored {"newest": "v2", "used": "v1"}'


async def test_no_other_version_takes_the_place_of_one_that_is_gone() -> None:
    held = BlindIndex(Rotated(), "v9")
    for each in (held.for_address(ADDRESS), held.for_directory(EMAIL), held.for_email(TENANT, EMAIL), held.check()):
        with pytest.raises(SecretsError, match=r"secret index: .* under version v9"):
            await each


async def test_tenants_do_not_meet() -> None:
    assert await index().for_email(TENANT, EMAIL) != await index().for_email(OTHER, EMAIL)
    assert await index().for_user_agent(TENANT, AGENT) != await index().for_user_agent(OTHER, AGENT)


async def test_kinds_of_values_do_not_meet() -> None:
    found = [
        await index().for_email(TENANT, EMAIL),
        await index().for_user_agent(TENANT, EMAIL),
        await index().for_address(EMAIL),
        await index().for_directory(EMAIL),
    ]
    assert len(set(found)) == len(found)


async def test_deployments_do_not_meet() -> None:
    assert await index(b"\x01").for_address(ADDRESS) != await index(b"\x02").for_address(ADDRESS)


async def test_every_spelling_of_an_e_mail_meets() -> None:
    spellings = ("ada@münchen.de", "ADA@MÜNCHEN.DE", "ａｄａ@xn--mnchen-3ya.de", "Ada@mu\u0308nchen.de")
    assert len({await index().for_email(TENANT, each) for each in spellings}) == 1
    assert len({await index().for_directory(each) for each in spellings}) == 1


async def test_addresses_of_two_people_do_not_meet() -> None:
    others = ("ada+x@example.com", "\u0430da@example.com", "ada@example.org")
    known = await index().for_directory(EMAIL)
    for each in others:
        assert await index().for_directory(each) != known
