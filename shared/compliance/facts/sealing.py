"""Facts as they are stored: their parts as texts, under a code that only the app can make (HMAC-SHA-256).

Facts stand between the sealed entries and reports, in a container that the ledger does not cover. So each document
carries a code over tenant, day and every part, under a key of the tenant's that derives from the root secret `ledger`;
what does not fit is folded again from the entries. Parts are texts because these are hashed, and read back, much faster
than what they hold: a report parses the parts that its rules ask for.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from shared.core.clock import Clock
from shared.privacy.secrets import SecretsPort, SecretVersion, derive, signing_version
from shared.storage.documents import Item

_WITHIN = ("marks", "extracts", "listed")
"""Parts of which each part is a text by itself."""
_REST, _SMALL = "", 300
"""The name under which parts are kept together whose texts are no longer than so many characters."""
_SWAPPED = str.maketrans('"`', '`"')
"""Quotes change places with backquotes: within the JSON of an item they would each need an escape."""
_BREAKS = (("\n", "`"), ("\t", "^"))
"""So do the breaks of lines, and of what is in them."""
_OPEN = ("version", "day", "events", "first", "last")
"""What is beside the texts as well, for whoever asks how current facts are; it is not relied on."""


class Sealing:
    """Makes and checks the codes of facts."""

    def __init__(self, secrets: SecretsPort, clock: Clock) -> None:
        self._secrets = secrets
        self._clock = clock

    async def version(self) -> SecretVersion:
        """The version that facts are sealed under now. SecretsError."""
        return signing_version(await self._secrets.versions("ledger"), self._clock.now(), timedelta(0))

    def seal(self, root: SecretVersion, tenant_id: str, facts: Mapping[str, Any]) -> Item:
        """What is stored of facts. ValueError: they hold a number that JSON cannot."""
        lines, values, rest = dict[str, str](), dict[str, str](), dict[str, Any]()
        for name, value in _flat(facts):
            if isinstance(value, str):
                lines[name] = _swapped(value)
            elif len(text := _text(value)) >= _SMALL or name in _WITHIN or "/" in name:
                values[name] = text
            else:
                rest[name] = value
        values[_REST] = _text(rest)
        code = _code(root, tenant_id, facts["day"], lines, values)
        own = {name: facts[name] for name in _OPEN}
        return {**own, "key": root.version, "code": code, "lines": lines, "values": values}

    def opened(self, root: SecretVersion, tenant_id: str, item: Item) -> SealedDay | None:
        """The facts of an item; None: they are not as we left them, or under another version of the secret."""
        try:
            lines, values, day = item["lines"], item["values"], item["id"].partition("|")[2]
            expected = _code(root, tenant_id, day, lines, values)
            is_ours = item["key"] == root.version and hmac.compare_digest(item["code"].encode(), expected.encode())
        except (KeyError, TypeError, AttributeError):
            return None
        return SealedDay(lines, values) if is_ours else None


def _flat(facts: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in facts.items():
        if name in _WITHIN:
            yield name, sorted(value)
            yield from ((f"{name}/{part}", each) for part, each in value.items())
        elif isinstance(value, dict) and (texts := {key: each for key, each in value.items() if _is_long(each)}):
            yield name, {key: each for key, each in value.items() if key not in texts}
            yield from ((f"{name}/{key}", text) for key, text in texts.items())
        else:
            yield name, value


def _is_long(value: Any) -> bool:
    return isinstance(value, str) and len(value) >= _SMALL


def _text(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).translate(_SWAPPED)


def _swapped(text: str) -> str:
    """A text with breaks and what stands for them in each other's place; twice, it is what it was."""
    for one, other in _BREAKS:
        text = text.replace(one, "\0").replace(other, one).replace("\0", other)
    return text


def _code(root: SecretVersion, tenant_id: str, day: str, lines: Mapping[str, str], values: Mapping[str, str]) -> str:
    """The code, in hexadecimal: over each part's name and length before the text, so that nothing can change places."""
    parts = [tenant_id, day]
    for kind, texts in (("lines", lines), ("values", values)):
        for name in sorted(texts):
            parts += [f"{kind} {name} {len(texts[name])}", texts[name]]
    message = "\n".join(parts).encode("utf-8", "surrogatepass")
    return hmac.digest(derive(root.value, f"facts/{tenant_id}"), message, hashlib.sha256).hex()


class SealedDay(Mapping[str, Any]):
    """The facts of a day, each part parsed when it is asked for."""

    def __init__(self, lines: Mapping[str, str], values: Mapping[str, str]) -> None:
        self._lines = lines
        self._values = values
        self._read: dict[str, Any] = read(values[_REST])
        for name in lines:
            whole, _, part = name.partition("/")
            if part and whole in self._read:
                self._read[whole][part] = _swapped(lines[name])

    def __getitem__(self, name: str) -> Any:
        try:
            return self._read[name]
        except KeyError:
            found = self._read[name] = self._part(name)
            return found

    def _part(self, name: str) -> Any:
        if name in self._lines:
            return _swapped(self._lines[name])
        if name in _WITHIN:
            return _Within(self._lines, self._values, name)
        found = read(self._values[name])
        if isinstance(found, dict):
            prefix = f"{name}/"
            found |= {
                part[len(prefix) :]: _swapped(self._lines[part]) for part in self._lines if part.startswith(prefix)
            }
        return found

    def __iter__(self) -> Iterator[str]:
        parts = (name for name in (*self._lines, *self._values) if name and "/" not in name)
        return iter(dict.fromkeys([*read(self._values[_REST]), *parts]))

    def __len__(self) -> int:
        return sum(1 for _ in self)


class _Within(Mapping[str, Any]):
    """The parts of a part."""

    def __init__(self, lines: Mapping[str, str], values: Mapping[str, str], name: str) -> None:
        self._lines = lines
        self._values = values
        self._prefix = f"{name}/"
        self._names: list[str] = read(values[name])
        self._read: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._read:
            part = self._prefix + name
            self._read[name] = _swapped(self._lines[part]) if part in self._lines else read(self._values[part])
        return self._read[name]

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def read(text: str) -> Any:
    """A part as it was before it became a text."""
    return json.loads(text.translate(_SWAPPED))
