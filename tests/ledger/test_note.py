"""Signed notes: the published example, strict reading, keys rather than names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.ledger.note import (
    MAX_SIGNATURES,
    Cosigner,
    KeyType,
    NoteError,
    Signature,
    Signer,
    VerifierKey,
    parse_note,
    parse_signatures,
    require_cosigners,
    verify_note,
    with_signatures,
)
from tests.ledger import known
from tests.ledger.support import flip

SIGNER = Signer("example.com/log", bytes(range(32)))
WITNESS = Cosigner("example.org/witness", bytes(32))
TEXT = "example.com/log\n3\nrrrr\n"
NOTE = SIGNER.sign(TEXT)


def code_of(error: pytest.ExceptionInfo[NoteError]) -> str:
    return error.value.code


def test_the_known_note_is_signed_and_verified() -> None:
    signer = Signer("PeterNeumann", known.seed_of(known.NOTE_PRIVATE))
    note = signer.sign(known.NOTE_TEXT)
    assert signer.verifier.encode() == known.NOTE_VKEY
    assert note.encode() == f"{known.NOTE_TEXT}\n— PeterNeumann {known.NOTE_SIGNATURE}\n"
    key = VerifierKey.decode(known.NOTE_VKEY)
    assert key.key_id.hex() == "c74f20a3"
    assert verify_note(parse_note(note.encode().encode()), [key]).text == known.NOTE_TEXT


def test_every_bit_of_a_note_matters() -> None:
    data = NOTE.encode().encode()
    for bit in range(len(data) * 8):
        with pytest.raises(NoteError):
            verify_note(parse_note(flip(data, bit)), [SIGNER.verifier])


@pytest.mark.parametrize("bit", range(0, 32 * 8, 7))
def test_another_key_of_the_same_name_is_unknown(bit: int) -> None:
    other = VerifierKey(SIGNER.verifier.name, flip(SIGNER.verifier.public_key, bit))
    with pytest.raises(NoteError) as error:
        verify_note(NOTE, [other])
    assert code_of(error) in {"unsigned", "bad_signature"}


def test_a_known_key_that_signed_wrongly_spoils_the_note_whatever_else_is_there() -> None:
    forged = Signature(SIGNER.verifier.name, SIGNER.verifier.key_id, flip(NOTE.signatures[0].payload, 3))
    for note in (with_signatures(NOTE, [forged]), with_signatures(SIGNER.sign("a\n"), NOTE.signatures)):
        with pytest.raises(NoteError) as error:
            verify_note(note, [SIGNER.verifier])
        assert code_of(error) == "bad_signature"


def test_unknown_signatures_are_ignored_and_do_not_count() -> None:
    other = Signer("example.net/other", b"\7" * 32)
    both = with_signatures(NOTE, other.sign(TEXT).signatures)
    assert verify_note(both, [SIGNER.verifier]).signers == (SIGNER.verifier,)
    assert verify_note(both, [SIGNER.verifier, other.verifier]).signers == (SIGNER.verifier, other.verifier)
    for keys in ([], [VerifierKey("example.com/else", SIGNER.verifier.public_key)], [WITNESS.verifier]):
        with pytest.raises(NoteError) as error:
            verify_note(both, keys)
        assert code_of(error) == "unsigned"


def test_cosignatures_are_counted_by_key() -> None:
    again = Cosigner("example.org/renamed", bytes(32))
    own = Cosigner("example.com/self", bytes(range(32)))
    note = with_signatures(NOTE, [each.cosign(TEXT, 1_700_000_000) for each in (WITNESS, again, own)])
    verified = verify_note(note, [SIGNER.verifier, WITNESS.verifier, again.verifier, own.verifier])
    assert verified.cosigned_at_seconds == (1_700_000_000, 1_700_000_000)
    assert verified.distinct_cosigners() == 1
    require_cosigners(verified, 1)
    with pytest.raises(NoteError) as error:
        require_cosigners(verified, 2)
    assert code_of(error) == "too_few_cosignatures"


def test_every_bit_of_a_cosignature_matters() -> None:
    line = WITNESS.cosign(TEXT, 1_700_000_000)
    keys = [SIGNER.verifier, WITNESS.verifier]
    assert verify_note(with_signatures(NOTE, [line]), keys).distinct_cosigners() == 1
    for bit in range(len(line.payload) * 8):
        changed = with_signatures(NOTE, [Signature(line.name, line.key_id, flip(line.payload, bit))])
        with pytest.raises(NoteError):
            verify_note(changed, keys)
    with pytest.raises(NoteError):
        verify_note(with_signatures(NOTE, [Signature(line.name, line.key_id, line.payload + b"\0")]), keys)


def test_a_cosignature_cannot_pass_for_a_signature() -> None:
    key = VerifierKey(WITNESS.verifier.name, WITNESS.verifier.public_key)
    assert key.key_id != WITNESS.verifier.key_id
    line = WITNESS.cosign(TEXT, 0)
    with pytest.raises(NoteError):
        verify_note(with_signatures(NOTE, [Signature(line.name, key.key_id, line.payload)]), [SIGNER.verifier, key])


LINE = NOTE.signatures[0].encode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "a",
        "a\n",
        "a\n\n",
        f"a\n{LINE}",
        f"\n{LINE}",
        f"a\n\n{LINE[:-1]}",
        f"a\n\n{LINE}\n",
        f"a\n\n{LINE}x\n",
        f"a\n\n{LINE.replace('—', '-')}",
        f"a\n\n{LINE.replace('— ', '—')}",
        f"a\n\n{LINE.replace('— ', '—  ')}",
        f"a\n\n{LINE.replace('/log ', '/log  ')}",
        f"a\n\n{LINE.replace('/log', '/l+g')}",
        f"a\n\n{LINE.replace('/log', '/l\u00a0g')}",
        f"a\n\n{LINE.replace('=', '')}",
        f"a\n\n{LINE[:-1]} x\n",
        f"a\n\n{LINE[:-1]}\r\n",
        f"a\tb\n\n{LINE}",
        f"a\0\n\n{LINE}",
        "a\n\n— x AAAAAA==\n",
        "a\n\n— x AAAAAB==\n",
        "a\n\n— x\n",
        "a\n\n—  AAAAAAA=\n",
        "a\n\n" + LINE * (MAX_SIGNATURES + 1),
        "a\n" * 500_001 + "\n" + LINE,
    ],
)
def test_malformed_notes_are_refused(text: str) -> None:
    with pytest.raises(NoteError) as error:
        parse_note(text.encode())
    assert code_of(error) == "malformed_note"


@pytest.mark.parametrize("data", [b"\xff\n\n" + LINE.encode(), b"a\n\n\xed\xa0\x80" + LINE.encode()])
def test_what_is_not_utf_8_is_refused(data: bytes) -> None:
    with pytest.raises(NoteError, match="UTF-8"):
        parse_note(data)


def test_the_text_ends_at_the_last_empty_line() -> None:
    text = "one\n\n" + LINE + "\ntwo\n"
    note = SIGNER.sign(text)
    assert parse_note(note.encode().encode()).text == text


@pytest.mark.parametrize("text", ["", "a", "a\rb\n", "a\0\n"])
def test_text_that_no_note_can_hold_is_not_signed(text: str) -> None:
    with pytest.raises(NoteError):
        SIGNER.sign(text)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\u2003b", "a\nb", "a\0", "\ud800"])
def test_names_that_no_key_can_have(name: str) -> None:
    with pytest.raises(NoteError) as error:
        VerifierKey(name, bytes(32))
    assert code_of(error) == "malformed_key"


VKEY = SIGNER.verifier.encode()


@pytest.mark.parametrize(
    "vkey",
    [
        "",
        "+",
        "++",
        VKEY[:-1],
        VKEY + "=",
        VKEY.upper(),
        VKEY.replace("example", "examp1e"),
        " " + VKEY,
        VKEY + "\n",
        "a+00000000+" + VKEY.split("+", 2)[2],
        VKEY.replace("+AQ", "+Ag"),
        "a+00000000+",
        "a+00000000+AQ==",
    ],
)
def test_malformed_vkeys_are_refused(vkey: str) -> None:
    with pytest.raises(NoteError) as error:
        VerifierKey.decode(vkey)
    assert code_of(error) == "malformed_key"


names = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Zs", "Zl", "Zp"], exclude_characters=["+"]),
    min_size=1,
    max_size=40,
)


@given(names, st.binary(min_size=32, max_size=32), st.sampled_from(KeyType))
def test_vkeys_round_trip(name: str, key: bytes, kind: KeyType) -> None:
    made = VerifierKey(name, key, kind)
    assert VerifierKey.decode(made.encode()) == made


@given(
    st.lists(st.text(st.characters(codec="utf-8", exclude_characters=[chr(c) for c in range(32)])), min_size=1),
    names,
    st.binary(min_size=32, max_size=32),
)
def test_notes_round_trip(lines: list[str], name: str, seed: bytes) -> None:
    signer = Signer(name, seed)
    note = signer.sign("\n".join(lines) + "\n")
    data = note.encode().encode()
    assert parse_note(data) == note
    assert verify_note(parse_note(data), [signer.verifier]).signers == (signer.verifier,)


def test_signature_lines_alone() -> None:
    line = WITNESS.cosign(TEXT, 5)
    assert parse_signatures(line.encode() * 2) == (line, line)
    for text in ("", line.encode()[:-1], "\n"):
        with pytest.raises(NoteError):
            parse_signatures(text)


@pytest.mark.parametrize("length", [0, 31, 33])
def test_seeds_have_32_bytes_and_do_not_show(length: int) -> None:
    with pytest.raises(NoteError):
        Signer("a", b"\x41" * length)
    assert "AAAA" not in repr(Signer("a", b"\x41" * 32))
