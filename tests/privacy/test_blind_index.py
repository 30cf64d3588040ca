"""The blind index: equal values meet where they may, and nowhere else."""

import hashlib
import hmac
import re

from shared.privacy.blind_index import BlindIndex
from shared.privacy.secrets import MemorySecrets, RootName, SecretVersion
from tests.privacy.test_secrets import hkdf

TENANT, OTHER = "0195c000-0000-7000-8000-0000000000aa", "0195c000-0000-7000-8000-0000000000bb"
EMAIL, ADDRESS, AGENT = "ada@example.com", "203.0.113.9", "curl/8.0"


class Rotated:
    """Root secrets of which the newest is `v2`."""

    async def versions(self, name: RootName) -> tuple[SecretVersion, ...]:
        return (SecretVersion("v2", name.encode() * 8), SecretVersion("v1", b"old" * 8))


def index(byte: bytes = b"\x01") -> BlindIndex:
    return BlindIndex(MemorySecrets(lambda count: byte * count))


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


async def test_the_newest_version_of_the_index_secret_is_used() -> None:
    value = await BlindIndex(Rotated()).for_address(ADDRESS)
    assert value == "v2:" + by_hand(b"index" * 8, "blind-index/address", ADDRESS)


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
