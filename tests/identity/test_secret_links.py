import hashlib

import pytest

from shared.identity.secret_links import API_KEY, INVITATION, SecretLink, new_secret, read_secret

TENANT = "0195c000-0000-7000-8000-0000000000aa"
RECORD = "0195c000-0000-7000-8000-0000000000bb"


def test_what_is_made_is_read_and_opens_its_own_item_alone() -> None:
    text, secret_hash = new_secret(API_KEY, TENANT, RECORD)
    _, other_hash = new_secret(API_KEY, TENANT, RECORD)
    link = read_secret(API_KEY, text)
    assert link is not None
    assert (link.tenant_id, link.record_id) == (TENANT, RECORD)
    assert link.opens({"secret_hash": secret_hash})
    assert not link.opens({"secret_hash": other_hash})
    assert read_secret(INVITATION, text) is None, "a key is no invitation"


def test_only_the_hash_is_stored_and_repr_shows_no_secret() -> None:
    text, secret_hash = new_secret(API_KEY, TENANT, RECORD)
    secret = text.rpartition(".")[2]
    assert len(secret) == 43, "256 bits"
    assert secret_hash == hashlib.sha256(secret.encode()).hexdigest()
    assert secret not in repr(read_secret(API_KEY, text))


def test_the_platform_has_secrets_too() -> None:
    link = read_secret(API_KEY, new_secret(API_KEY, "platform", RECORD)[0])
    assert link == SecretLink("platform", RECORD, link.secret if link else "")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "kak_",
        f"kak_{TENANT}.{RECORD}",
        f"kak_{TENANT}.{RECORD}.",
        f"kak_{TENANT}.{RECORD}.{'x' * 42}",
        f"kak_{TENANT}.{RECORD}.{'x' * 44}",
        f"kak_{TENANT}.{RECORD}.{'x' * 43}\n",
        f" kak_{TENANT}.{RECORD}.{'x' * 43}",
        f"kak_{TENANT.upper()}.{RECORD}.{'x' * 43}",
        f"kak_{TENANT}/../other.{RECORD}.{'x' * 43}",
        f"kak_{TENANT}.{RECORD}|x.{'x' * 43}",
        f"KAK_{TENANT}.{RECORD}.{'x' * 43}",
        f"kak_{TENANT}.{RECORD}.{'é' * 43}",
        f"kak_platform.{RECORD}.{'x' * 43}" * 2,
        "kak_" + "x" * 100_000,
    ],
)
def test_anything_else_is_no_secret(text: str) -> None:
    assert read_secret(API_KEY, text) is None
