"""JSON lines and CSV: what is written is read back as it was, by readers that know nothing of us."""

import csv
import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.audit.export_formats import COLUMNS, FORMATS, csv_line, json_line
from tests.audit.exported import NAMES, sample
from tests.audit.support import ADA, EMAIL, IP

HOSTILE = (
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    " =1",
    "\ufeff=1",
    "\u200b=1",
    "\u00a0=1",
    "＝1",
    "＠x",
    "'=1",
    "'",
    '"=1',
    'a","=1',
    "a\r\n=1",
    "line\nbreak",
    "comma, quote \" and 'apostrophe'",
    "\x00=1",
)


def read_back(data: bytes) -> list[dict[str, str]]:
    """What another program reads: strict, and every mark taken away that we set."""
    rows = csv.DictReader(io.StringIO(data.decode(), newline=""), strict=True)
    return [{name: cell[1:] if cell.startswith("'") else cell for name, cell in row.items()} for row in rows]


def opened(data: bytes) -> list[dict[str, str]]:
    """What a spreadsheet sees."""
    return list(csv.DictReader(io.StringIO(data.decode(), newline=""), strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_in_every_format(name: str) -> None:
    event = sample(name)
    assert json.loads(FORMATS["jsonl"].line(event)) == event
    (row,) = read_back(FORMATS["csv"].header + FORMATS["csv"].line(event))
    assert list(row) == list(COLUMNS)
    assert row["id"] == event["id"]
    assert json.loads(row["attributes"]) == event["attributes"]
    assert json.loads(row["personal"]) == event["personal"]
    assert row["subjects"].split() == event["subjects"]
    assert row["record_count"] == str(event["record_count"])
    assert row["target.id"] == (event["target"] or {"id": ""})["id"]
    for each in FORMATS.values():
        line = each.line(event)
        assert line.endswith(b"\r\n" if each.name == "csv" else b"\n")
        assert b"\xef\xbb\xbf" not in each.header + line


def test_every_field_of_an_event_has_a_column() -> None:
    named = {column.partition(".")[0] for column in COLUMNS} - {"ip", "user_agent"}
    assert named == {*sample("auth.login"), "erased_at"}


def test_the_person_of_a_csv_row() -> None:
    (row,) = opened(FORMATS["csv"].header + csv_line(sample("user.role_change")))
    shown = ("actor.email", "target.email", "ip", "user_agent", "actor.role")
    expected = [EMAIL, "bob@example.com", IP, "Mozilla/5.0 (X11; Linux x86_64)", "auditor"]
    assert [row[name] for name in shown] == expected
    erased = sample("user.role_change")
    erased["personal"] = {each: {"erased": True} for each in erased["personal"]}
    (row,) = opened(FORMATS["csv"].header + csv_line(erased))
    assert [row[name] for name in shown[:4]] == ["", "", "", ""]
    assert json.loads(row["personal"])[ADA] == {"erased": True}


@pytest.mark.parametrize("text", HOSTILE)
def test_no_cell_is_a_formula(text: str) -> None:
    event = sample("auth.login") | {"reason": text, "type": text}
    event["target"]["id"] = text
    event["personal"] = {text: {"email": text, "ip": text, "user_agent": text}}
    data = FORMATS["csv"].header + csv_line(event)
    (row,) = opened(data)
    for name, cell in row.items():
        seen = cell.lstrip(" \u00a0\ufeff\u200b\x00")
        assert not seen or seen[0] not in "=+-@\t\r\n＝＠", (name, cell)
    (back,) = read_back(data)
    for name in ("reason", "type", "target.id", "target.email", "ip", "user_agent"):
        assert back[name] == text


@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=4))
def test_csv_gives_back_whatever_went_in(texts: list[str]) -> None:
    events = [sample("auth.login") | {"reason": text, "attributes": {text: text}} for text in texts]
    rows = read_back(FORMATS["csv"].header + b"".join(csv_line(event) for event in events))
    assert [row["reason"] for row in rows] == texts
    assert [json.loads(row["attributes"]) for row in rows] == [{text: text} for text in texts]


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(values=st.lists(JSON, min_size=1, max_size=3))
def test_a_json_value_is_one_line_to_every_reader(values: list[Any]) -> None:
    lines = b"".join(map(json_line, values)).decode()
    assert [json.loads(line) for line in lines.splitlines()] == values, "which also knows U+2028 and U+0085"


@pytest.mark.parametrize(
    ("end", "written"),
    [("\u2028", b"\\u2028"), ("\u2029", b"\\u2029"), ("\x85", b"\\u0085"), ("\n", b"\\n")],
    ids=ascii,
)
def test_what_some_readers_take_for_the_end_of_a_line_is_escaped(end: str, written: bytes) -> None:
    value = {f"na{end}me": f"one{end}two"}
    assert json_line(value) == b'{"na' + written + b'me":"one' + written + b'two"}\n'
    assert json.loads(json_line(value)) == value
    for name in ("jsonl", "ocsf"):
        line = FORMATS[name].line(sample("auth.login") | {"reason": f"ż{end}x"})
        assert len(line.decode().splitlines()) == 1
        assert b"x" in line.partition("ż".encode() + written)[2]


def test_names_are_in_order_whatever_order_they_came_in() -> None:
    event = sample("auth.login")
    assert json_line(dict(reversed(event.items()))) == json_line(event)
    assert json_line({"b": 1, "a": {"d": 1, "c": 2}}) == b'{"a":{"c":2,"d":1},"b":1}\n'


def test_half_a_surrogate_pair_does_not_break_a_line() -> None:
    assert json.loads(json_line({"x": "a\ud800b\udfff"})) == {"x": "a\ufffdb\ufffd"}
    assert json.loads(json_line({"x": "\ud83d\ude00"})) == {"x": "😀"}
    (row,) = read_back(FORMATS["csv"].header + csv_line(sample("auth.login") | {"reason": "\ud800"}))
    assert row["reason"] == "\ufffd"
