"""Root secrets on disk, and the keys that derive from them."""

import asyncio
import hashlib
import hmac
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.errors import Unready
from shared.privacy.file_secrets import FileSecrets
from shared.privacy.secrets import (
    ROOT_BYTES,
    ROOTS,
    SETTLING,
    MemorySecrets,
    RootName,
    SecretsError,
    SecretVersion,
    derive,
    signing_version,
)
from tests.fakes import ManualClock

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Not there yet, and neither is what it stands in."""
    return tmp_path / "srv" / "data" / "secrets"


def write(folder: Path, name: str, value: bytes, mode: int = 0o600) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(value)
    path.chmod(mode)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def chmod(path: Path, bits: int) -> None:
    path.chmod(bits)


def move(path: Path, to: Path) -> None:
    path.rename(to)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


async def test_secrets_are_made_once_for_their_owner_alone(folder: Path) -> None:
    before = os.umask(0)  # the widest umask must not open them
    try:
        made = {name: await FileSecrets(folder).versions(name) for name in ROOTS}
    finally:
        os.umask(before)
    assert mode(folder) == 0o700
    assert names(folder) == ["index.v1", "ledger.v1", "tokens.v1"]
    for name in ROOTS:
        (only,) = made[name]
        assert only.version == "v1"
        assert len(only.value) == ROOT_BYTES
        assert mode(folder / f"{name}.v1") == 0o600
        assert (folder / f"{name}.v1").read_bytes() == only.value
    assert made["tokens"][0].value != made["index"][0].value


async def test_a_restart_finds_the_same_secrets(folder: Path) -> None:
    first = await FileSecrets(folder).versions("tokens")
    assert await FileSecrets(folder).versions("tokens") == first


async def test_the_newest_version_comes_first_by_number(folder: Path) -> None:
    for number in (1, 2, 10, 9):
        write(folder, f"tokens.v{number}", bytes([number]) * ROOT_BYTES)
    found = await FileSecrets(folder).versions("tokens")
    assert [each.version for each in found] == ["v10", "v9", "v2", "v1"]
    assert [each.value[0] for each in found] == [10, 9, 2, 1]


@pytest.mark.parametrize(
    "name",
    ["tokens.v1~", "tokens.v2.bak", "tokens.v", "tokens.vx", "tokens.v-2", "tokens.v01", "tokens.v٢", ".tokens.7"],
)
async def test_other_files_are_no_versions(folder: Path, name: str) -> None:
    write(folder, "tokens.v1", b"1" * ROOT_BYTES)
    write(folder, name, b"x", 0o644)
    assert [each.version for each in await FileSecrets(folder).versions("tokens")] == ["v1"]


@pytest.mark.parametrize("bits", [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o644, 0o666, 0o777])
async def test_a_secret_open_to_others_is_refused(folder: Path, bits: int) -> None:
    write(folder, "tokens.v1", b"s" * ROOT_BYTES, bits)
    with pytest.raises(SecretsError, match=r"tokens\.v1 .*chmod 600") as caught:
        await FileSecrets(folder).versions("tokens")
    assert "ssss" not in str(caught.value)


@pytest.mark.parametrize("bits", [0o720, 0o702, 0o777])
async def test_a_folder_in_which_others_can_put_a_version_is_refused(folder: Path, bits: int) -> None:
    write(folder, "tokens.v1", b"s" * ROOT_BYTES)
    chmod(folder, bits)
    with pytest.raises(SecretsError, match="chmod 700"):
        await FileSecrets(folder).versions("tokens")


@pytest.mark.parametrize("size", [0, 1, ROOT_BYTES - 1, ROOT_BYTES + 1, 4096])
async def test_a_secret_of_the_wrong_size_is_refused(folder: Path, size: int) -> None:
    """A newline that an editor left, or a file that a full disk cut short, must not become another key."""
    write(folder, "tokens.v1", b"1" * ROOT_BYTES)
    write(folder, "tokens.v2", b"s" * size)
    with pytest.raises(SecretsError, match=r"tokens\.v2 must hold 32 bytes"):
        await FileSecrets(folder).versions("tokens")
    assert (folder / "tokens.v2").read_bytes() == b"s" * size


async def test_one_bad_root_does_not_spoil_the_other(folder: Path) -> None:
    write(folder, "tokens.v1", b"")
    secrets = FileSecrets(folder)
    with pytest.raises(SecretsError):
        await secrets.versions("tokens")
    assert len(await secrets.versions("index")) == 1


async def test_an_error_is_not_remembered(folder: Path) -> None:
    write(folder, "tokens.v1", b"1" * ROOT_BYTES, 0o644)
    secrets = FileSecrets(folder)
    with pytest.raises(SecretsError):
        await secrets.versions("tokens")
    (folder / "tokens.v1").chmod(0o600)
    assert len(await secrets.versions("tokens")) == 1


async def test_a_folder_that_cannot_be_used_is_a_secrets_error(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    for folder in (file, file / "secrets", loop / "secrets", tmp_path / ("x" * 300)):
        with pytest.raises(SecretsError, match="secret tokens: "):
            await FileSecrets(folder).versions("tokens")


async def test_a_version_that_leads_nowhere_is_a_secrets_error(folder: Path) -> None:
    write(folder, "other", b"")
    (folder / "tokens.v1").symlink_to(folder / "gone")
    (folder / "index.v1").mkdir(mode=0o700)
    (folder / "ledger.v1").mkdir(mode=0o700)
    for name in ROOTS:
        with pytest.raises(SecretsError, match=f"secret {name}: "):
            await FileSecrets(folder).versions(name)


@pytest.fixture
def as_anyone() -> Iterator[Path]:
    """A folder of an ordinary user, whom permissions bind; the superuser becomes one for the test."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if os.geteuid() != 0:
            yield folder
            return
        os.chown(folder, 65534, 65534)
        os.seteuid(65534)
        try:
            yield folder
        finally:
            os.seteuid(0)


@pytest.mark.parametrize(("bits", "wanted"), [(0o000, "tokens"), (0o300, "tokens"), (0o500, "index")])
async def test_an_unreadable_folder_is_a_secrets_error(as_anyone: Path, bits: int, wanted: RootName) -> None:
    write(as_anyone, "tokens.v1", b"1" * ROOT_BYTES)
    chmod(as_anyone, bits)
    try:
        with pytest.raises(SecretsError):
            await FileSecrets(as_anyone).versions(wanted)
    finally:
        chmod(as_anyone, 0o700)


# While the app runs


@pytest.fixture
def running(folder: Path, clock: ManualClock) -> FileSecrets:
    """An app that started with one version of each."""
    for name in ROOTS:
        write(folder, f"{name}.v1", name[:1].encode() * ROOT_BYTES)
    return FileSecrets(folder, clock=clock)


async def held(secrets: FileSecrets, clock: ManualClock) -> list[str]:
    """The versions of the token secret five minutes later."""
    clock.advance(minutes=5)
    return [each.version for each in await secrets.versions("tokens")]


async def test_a_file_that_was_added_is_read(running: FileSecrets, folder: Path, clock: ManualClock) -> None:
    assert await held(running, clock) == ["v1"]
    write(folder, "tokens.v2", b"2" * ROOT_BYTES)
    os.utime(folder / "tokens.v2", (0, 1_700_000_000))
    assert await held(running, clock) == ["v2", "v1"]
    newest = (await running.versions("tokens"))[0]
    assert newest.value == b"2" * ROOT_BYTES
    assert newest.changed_at is not None
    assert newest.changed_at.timestamp() == 1_700_000_000


@pytest.mark.parametrize(
    ("size", "bits", "kind", "why"),
    [
        (31, 0o600, "SecretsError", "secret tokens: tokens.v2 must hold 32 bytes"),
        (0, 0o600, "SecretsError", "secret tokens: tokens.v2 must hold 32 bytes"),
        (32, 0o644, "SecretsError", "secret tokens: tokens.v2 must not be readable by others (chmod 600)"),
        (32, 0o000, "PermissionError", "Permission denied"),
    ],
)
async def test_a_broken_new_file_takes_nothing_down(
    as_anyone: Path, clock: ManualClock, caplog: pytest.LogCaptureFixture, size: int, bits: int, kind: str, why: str
) -> None:
    """For as long as it lies there. Only a start refuses it."""
    write(as_anyone, "tokens.v1", b"1" * ROOT_BYTES)
    running = FileSecrets(as_anyone, clock=clock)
    assert await held(running, clock) == ["v1"]
    write(as_anyone, "tokens.v2", b"s" * size, bits)
    write(as_anyone, "tokens.v3", b"3" * ROOT_BYTES)
    with caplog.at_level("ERROR"):
        for _ in range(30):
            assert await held(running, clock) == ["v3", "v1"]
    event, _, fields = caplog.messages[0].partition(" ")
    assert event == "secret_version_passed_over"
    told = json.loads(fields)
    assert told.pop("error_at")
    assert told == {"error_type": kind, "root": "tokens", "version": "v2", "why": why}
    assert "ssss" not in caplog.text
    with pytest.raises(SecretsError):
        await FileSecrets(as_anyone).versions("tokens")
    write(as_anyone, "tokens.v2", b"2" * ROOT_BYTES) if bits else chmod(as_anyone / "tokens.v2", 0o600)
    assert await held(running, clock) == ["v3", "v2", "v1"]


async def test_a_file_that_was_deleted_is_a_version_that_ended(
    running: FileSecrets, folder: Path, clock: ManualClock
) -> None:
    write(folder, "tokens.v2", b"2" * ROOT_BYTES)
    assert await held(running, clock) == ["v2", "v1"]
    (folder / "tokens.v1").unlink()
    assert await held(running, clock) == ["v2"]
    assert await running.find("tokens", "v1") is None


async def test_a_running_app_makes_no_secret(running: FileSecrets, folder: Path, clock: ManualClock) -> None:
    """Whoever deleted the last one is to learn of it, and not to find another one in its place."""
    assert await held(running, clock) == ["v1"]
    (folder / "tokens.v1").unlink()
    for _ in range(3):
        with pytest.raises(SecretsError, match="secret tokens: no version is usable"):
            await held(running, clock)
    assert names(folder) == ["index.v1", "ledger.v1"]
    write(folder, "tokens.v1", b"t" * ROOT_BYTES)
    assert await held(running, clock) == ["v1"]


async def test_a_file_that_is_written_over_stays_what_it_was(
    running: FileSecrets, folder: Path, clock: ManualClock
) -> None:
    """A version is one value for good: tokens that name it were signed with that."""
    before = await running.versions("tokens")
    write(folder, "tokens.v1", b"x" * ROOT_BYTES)
    assert await held(running, clock) == ["v1"]
    assert await running.versions("tokens") == before


async def test_a_folder_that_cannot_be_read_any_more_is_bridged_for_an_hour(
    running: FileSecrets, folder: Path, clock: ManualClock
) -> None:
    await running.versions("tokens")
    move(folder, folder.with_name("moved"))
    for _ in range(12):
        assert await held(running, clock) == ["v1"]
    with pytest.raises(SecretsError, match="secret tokens: No such file"):
        await held(running, clock)
    assert names(folder.parent) == ["moved"], "and none is made anew"


class FullDisk(OSError):
    """What a write raises when nothing fits any more."""


async def test_a_failed_write_leaves_no_half_secret(folder: Path) -> None:
    def no_space(_: int) -> bytes:
        raise FullDisk(28, "No space left on device")

    with pytest.raises(SecretsError, match="No space left"):
        await FileSecrets(folder, no_space).versions("tokens")
    assert names(folder) == []
    assert len(await FileSecrets(folder).versions("tokens")) == 1


async def test_a_first_secret_that_is_gone_at_once_is_an_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", lambda source, target: None)
    with pytest.raises(SecretsError, match=r"^secret tokens: none is there, and none could be made$"):
        await FileSecrets(folder).versions("tokens")


async def test_what_a_crash_left_beside_is_no_secret_and_stays_out_of_the_way(folder: Path) -> None:
    write(folder, f".tokens.{os.getpid()}", b"half", 0o644)
    (made,) = await FileSecrets(folder).versions("tokens")
    assert len(made.value) == ROOT_BYTES
    assert mode(folder / "tokens.v1") == 0o600


def test_threads_that_race_keep_one_secret(folder: Path) -> None:
    """All see an empty folder, then all write: each holds the first one's secret in the end, and so does the disk."""
    racers = 8
    barrier = threading.Barrier(racers)

    def load(number: int) -> bytes:
        def random(count: int) -> bytes:
            barrier.wait(30)  # everybody is about to write now
            return bytes([number]) * count

        return asyncio.run(FileSecrets(folder, random).versions("tokens"))[0].value

    with ThreadPoolExecutor(racers) as pool:
        held = set(pool.map(load, range(racers)))
    assert held == {(folder / "tokens.v1").read_bytes()}
    assert names(folder) == ["tokens.v1"]


_RACER = """
import asyncio, sys
from pathlib import Path
from shared.privacy.file_secrets import FileSecrets
def random(count):
    print("ready", flush=True)
    sys.stdin.readline()
    return bytes([int(sys.argv[2])]) * count
print(asyncio.run(FileSecrets(Path(sys.argv[1]), random).versions("tokens"))[0].value.hex())
"""


def test_processes_that_race_keep_one_secret(folder: Path) -> None:
    racers = [
        subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-c", _RACER, str(folder), str(number)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in (1, 2)
    ]
    for each in racers:
        assert each.stdout
        assert each.stdout.readline() == "ready\n"
    held = {each.communicate("go\n", timeout=30)[0].strip() for each in racers}
    assert held == {(folder / "tokens.v1").read_bytes().hex()}


async def test_no_value_shows_in_a_repr(folder: Path) -> None:
    (secret,) = await FileSecrets(folder, lambda count: b"A" * count).versions("tokens")
    for shown in (repr(secret), str(secret), f"{secret}", repr((secret,))):
        assert "AAAA" not in shown
        assert "v1" in shown


async def test_memory_secrets_last_as_long_as_the_process() -> None:
    secrets = MemorySecrets()
    assert await secrets.versions("tokens") == await secrets.versions("tokens")
    assert (await secrets.versions("tokens"))[0].value != (await secrets.versions("index"))[0].value
    assert (await MemorySecrets().versions("tokens")) != await secrets.versions("tokens")
    assert len((await secrets.versions("index"))[0].value) == ROOT_BYTES


def hkdf(secret: bytes, info: bytes, length: int) -> bytes:
    """RFC 5869 with SHA-256 and no salt, by hand."""
    pseudorandom_key = hmac.new(b"\x00" * 32, secret, hashlib.sha256).digest()
    made, block, counter = b"", b"", 0
    while len(made) < length:
        counter += 1
        block = hmac.new(pseudorandom_key, block + info + bytes([counter]), hashlib.sha256).digest()
        made += block
    return made[:length]


def test_the_hand_made_hkdf_agrees_with_rfc_5869() -> None:
    """Appendix A.3: SHA-256, no salt, no info."""
    wanted = "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"
    assert hkdf(b"\x0b" * 22, b"", 42).hex() == wanted


@given(root=st.binary(min_size=1, max_size=64), label=st.text(max_size=40), length=st.integers(1, 200))
def test_keys_are_hkdf_of_root_and_label(root: bytes, label: str, length: int) -> None:
    try:
        info = b"kraftd/" + label.encode()
    except UnicodeEncodeError:
        return
    assert derive(root, label, length) == hkdf(root, info, length)


def test_labels_and_roots_separate_keys() -> None:
    roots, labels = (b"a" * 32, b"b" * 32), ("access-token", "cursor", "blind-index/address", "blind-index/directory")
    keys = {derive(root, label) for root in roots for label in labels}
    assert len(keys) == len(roots) * len(labels)
    assert {len(key) for key in keys} == {32}


def test_a_secret_version_is_what_it_holds() -> None:
    assert SecretVersion("v1", b"a") == SecretVersion("v1", b"a")
    assert SecretVersion("v1", b"a") != SecretVersion("v1", b"b")
    assert SecretVersion("v1", b"a") == SecretVersion("v1", b"a", NOW, NOW, NOW), "the rest may change"
    assert len({SecretVersion("v1", b"a"), SecretVersion("v1", b"a", NOW)}) == 1


def test_a_secrets_error_tells_an_operator_what_and_a_caller_that() -> None:
    error = SecretsError("secret tokens: gone")
    assert isinstance(error, Unready)
    assert str(error) == "secret tokens: gone"
    assert (error.status, error.code, error.retry_after_seconds) == (503, "secrets_unavailable", 5)
    assert error.detail == "The app cannot get at its keys now."


# What signs

NOW = datetime(2026, 3, 15, 12, 0, tzinfo=UTC)
LIFETIME = timedelta(minutes=15)
OLD, SETTLED, YOUNG = NOW - timedelta(days=9), NOW - SETTLING, NOW - SETTLING + timedelta(seconds=1)
LONG, SHORT = NOW + LIFETIME, NOW + LIFETIME - timedelta(seconds=1)


@pytest.mark.parametrize(
    ("versions", "wanted"),
    [
        ([(None, None)], 0),
        ([(YOUNG, None)], 0),
        ([(SETTLED, None), (OLD, None)], 0),
        ([(YOUNG, None), (OLD, None)], 1),
        ([(YOUNG, None), (YOUNG, None), (OLD, None)], 2),
        ([(YOUNG, None), (YOUNG, None)], 1),
        ([(SETTLED, SHORT), (OLD, None)], 1),
        ([(SETTLED, LONG), (OLD, None)], 0),
        ([(YOUNG, None), (OLD, SHORT)], 0),
        ([(YOUNG, None), (YOUNG, None), (OLD, SHORT)], 1),
        ([(YOUNG, SHORT), (OLD, SHORT)], 1),
        ([(YOUNG, SHORT)], 0),
    ],
)
def test_what_signs(versions: list[tuple[datetime | None, datetime | None]], wanted: int) -> None:
    all_of_them = [SecretVersion("v", b"", changed_at=changed, expires_at=ends) for changed, ends in versions]
    assert signing_version(all_of_them, NOW, LIFETIME) is all_of_them[wanted]


def test_a_version_settles_from_its_beginning_on() -> None:
    begun = SecretVersion("v2", b"", changed_at=OLD, not_before=YOUNG)
    older = SecretVersion("v1", b"", changed_at=OLD)
    assert signing_version([begun, older], NOW, LIFETIME) is older
    assert signing_version([begun, older], NOW + timedelta(seconds=1), LIFETIME) is begun


@pytest.mark.parametrize(
    ("begins", "ends", "usable"),
    [(None, None, True), (0, None, True), (1, None, False), (None, 1, True), (None, 0, False), (1, 2, False)],
)
def test_a_version_is_usable_from_its_beginning_and_up_to_its_end(
    begins: int | None, ends: int | None, usable: bool
) -> None:
    begun, ended = (None if each is None else NOW + timedelta(seconds=each) for each in (begins, ends))
    assert SecretVersion("v1", b"", not_before=begun, expires_at=ended).is_usable(NOW) == usable


async def test_a_rotation_adds_the_next_file_and_is_seen_at_once(folder: Path) -> None:
    held = FileSecrets(folder)
    (first,) = await held.versions("tokens")
    assert await held.rotate("tokens") == "v2"
    second, old = await held.versions("tokens")
    assert (second.version, old) == ("v2", first)
    assert (folder / "tokens.v2").read_bytes() == second.value != first.value
    assert mode(folder / "tokens.v2") == 0o600
    assert await held.rotate("tokens") == "v3"
    assert names(folder) == ["tokens.v1", "tokens.v2", "tokens.v3"]
    assert [each.version for each in await held.versions("index")] == ["v1"]
    await held.close()


async def test_a_rotation_goes_on_from_the_highest_number(folder: Path) -> None:
    write(folder, "tokens.v1", b"1" * ROOT_BYTES)
    write(folder, "tokens.v10", b"2" * ROOT_BYTES)
    write(folder, "index.v12", b"3" * ROOT_BYTES)
    held = FileSecrets(folder)
    assert await held.rotate("tokens") == "v11"
    assert [each.version for each in await held.versions("tokens")] == ["v11", "v10", "v1"]
    await held.close()


async def test_a_rotation_without_any_file_begins_with_the_first(folder: Path) -> None:
    held = FileSecrets(folder)
    assert await held.rotate("tokens") == "v1"
    assert names(folder) == ["tokens.v1"]
    assert mode(folder) == 0o700
    await held.close()


async def test_rotations_that_race_write_over_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process adds v2 to v4 after this one has looked."""
    held = FileSecrets(folder)
    await held.versions("tokens")
    link = os.link

    def late(source: Path, target: Path) -> None:
        if target.name == "tokens.v2":
            write(folder, "tokens.v2", b"2" * ROOT_BYTES)
            write(folder, "tokens.v3", b"3" * ROOT_BYTES)
            write(folder, "tokens.v4", b"4" * ROOT_BYTES)
        link(source, target)

    monkeypatch.setattr(os, "link", late)
    assert await held.rotate("tokens") == "v5"
    assert (folder / "tokens.v2").read_bytes() == b"2" * ROOT_BYTES
    assert (folder / "tokens.v3").read_bytes() == b"3" * ROOT_BYTES
    assert (folder / "tokens.v4").read_bytes() == b"4" * ROOT_BYTES
    assert names(folder) == ["tokens.v1", "tokens.v2", "tokens.v3", "tokens.v4", "tokens.v5"]
    await held.close()


async def test_a_rotation_in_a_folder_that_others_may_write_is_refused(folder: Path) -> None:
    write(folder, "tokens.v1", b"1" * ROOT_BYTES)
    chmod(folder, 0o777)
    with pytest.raises(SecretsError, match=r"^secret tokens: the folder secrets must not be writable by others"):
        await FileSecrets(folder).rotate("tokens")
    assert names(folder) == ["tokens.v1"]


async def test_a_rotation_that_cannot_be_written_says_why_and_leaves_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder, "tokens.v1", b"1" * ROOT_BYTES)

    def full(_: Path, __: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "link", full)
    with pytest.raises(SecretsError, match=r"^secret tokens: No space left on device$"):
        await FileSecrets(folder).rotate("tokens")
    assert names(folder) == ["tokens.v1"]
