"""Sealed secrets open for the one that they were sealed for, and for nobody else, and name the key that they need."""

import base64

import pytest

from shared.privacy.secret_boxes import SecretBox, SecretBoxes
from shared.privacy.secrets import MemorySecrets, RootName, SecretsError, SecretVersion

TENANT, OTHER = "0195c000-0000-7000-8000-0000000000aa", "0195c000-0000-7000-8000-0000000000bb"
SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"


class Rotated(MemorySecrets):
    """Two versions of every root secret, the newest first."""

    both = (SecretVersion("v2", b"2" * 32), SecretVersion("v1", b"1" * 32))

    async def versions(self, name: RootName) -> tuple[SecretVersion, ...]:
        return self.both

    async def find(self, name: RootName, version: str) -> SecretVersion | None:
        return next((each for each in self.both if each.version == version), None)


async def test_what_was_sealed_opens_again_and_shows_nothing() -> None:
    boxes = SecretBoxes(Rotated(), "v1")
    box = await boxes.seal("mfa", TENANT, "user|1", SECRET)
    assert box.keys() == {"key", "nonce", "sealed"}
    assert SECRET not in str(box)
    assert base64.b64encode(SECRET.encode()).decode() not in str(box)
    assert await boxes.open("mfa", TENANT, "user|1", box) == SECRET


async def test_the_same_secret_never_looks_the_same() -> None:
    boxes = SecretBoxes(Rotated(), "v1")
    made = [await boxes.seal("mfa", TENANT, "user|1", SECRET) for _ in range(20)]
    assert len({box["nonce"] for box in made}) == len({box["sealed"] for box in made}) == 20
    assert {len(base64.b64decode(box["nonce"])) for box in made} == {12}, "as NIST SP 800-38D recommends"


async def test_it_is_sealed_under_the_version_that_the_store_holds_on_to() -> None:
    box = await SecretBoxes(Rotated(), "v1").seal("mfa", TENANT, "user|1", SECRET)
    assert box["key"] == "v1"
    assert await SecretBoxes(Rotated(), "v2").open("mfa", TENANT, "user|1", box) == SECRET


@pytest.mark.parametrize(("tenant_id", "owner"), [(OTHER, "user|1"), (TENANT, "user|2"), ("", f"{TENANT}|user|1")])
async def test_a_box_of_somebody_else_does_not_open(tenant_id: str, owner: str) -> None:
    boxes = SecretBoxes(Rotated(), "v1")
    box = await boxes.seal("mfa", TENANT, "user|1", SECRET)
    with pytest.raises(SecretsError):
        await boxes.open("mfa", tenant_id, owner, box)


@pytest.mark.parametrize("part", ["nonce", "sealed"])
async def test_a_box_that_was_changed_does_not_open(part: str) -> None:
    boxes = SecretBoxes(Rotated(), "v1")
    box = await boxes.seal("mfa", TENANT, "user|1", SECRET)
    raw = bytearray(base64.b64decode(box[part]))
    raw[0] ^= 1
    changed: SecretBox = {**box, part: base64.b64encode(raw).decode()}
    with pytest.raises(SecretsError) as caught:
        await boxes.open("mfa", TENANT, "user|1", changed)
    assert SECRET not in str(caught.value)


async def test_without_its_key_nothing_is_sealed_or_opened() -> None:
    box = await SecretBoxes(Rotated(), "v1").seal("mfa", TENANT, "user|1", SECRET)
    with pytest.raises(SecretsError, match=r"^secret index: the data was indexed under version v3, which is not there"):
        await SecretBoxes(Rotated(), "v3").seal("mfa", TENANT, "user|1", SECRET)
    with pytest.raises(SecretsError):
        await SecretBoxes(Rotated(), "v1").open("mfa", TENANT, "user|1", {**box, "key": "v3"})
    with pytest.raises(SecretsError):  # another secret under the same name
        await SecretBoxes(MemorySecrets(), "v1").open("mfa", TENANT, "user|1", box)
