"""Are the properties of a resource those that Azure's types have? Pure, over what a parser of Bicep gives.

A parsed value is a JSON value; what Azure computes is `{"operator": …}` or `{"function": …}`, a loop
`{"loop_type": …, "config": …}`, a condition `{"condition": …, "config": …}`. Names stand as text, as texts do: which
texts are names is told by `names`.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

REQUIRED, READ_ONLY = 1, 2
_OWN = frozenset({"name", "parent", "scope", "dependsOn", "location", "tags", "zones", "kind", "sku", "identity"})
"""What any resource may have, whether its type says so or not."""

type Shape = Mapping[str, Any]


class Types:
    """Resource types by name and version, as arm_types.json has them."""

    def __init__(self) -> None:
        data = json.loads(Path(__file__).with_name("arm_types.json").read_text(encoding="utf-8"))
        self._pool: list[Shape] = data["pool"]
        self._types: dict[str, int] = data["types"]

    def problems(self, resource: str, body: Any, names: frozenset[str] = frozenset()) -> list[str]:
        """What is wrong with a resource of a type (`Provider/kind@version`); KeyError for a type that is not there."""
        return list(self._compare(body, self._types[resource], names, ""))

    def __contains__(self, resource: str) -> bool:
        return resource in self._types

    def _compare(self, value: Any, wanted: int, names: frozenset[str], at: str) -> Iterator[str]:
        for each in _values(value):
            if not _is_computed(each, names):
                yield from self._compare_one(each, self._pool[wanted], names, at)

    def _compare_one(self, value: Any, shape: Shape, names: frozenset[str], at: str) -> Iterator[str]:
        kind = shape["k"]
        if kind in "od":
            if not isinstance(value, dict):
                yield f"{at}: is {_kind(value)}, should be an object"
            else:
                yield from self._object(value, shape, names, at)
        elif kind == "r":
            if not isinstance(value, list):
                yield f"{at}: is {_kind(value)}, should be an array"
            else:
                for number, item in enumerate(value):
                    yield from self._compare(item, shape["e"], names, f"{at}[{number}]")
        elif kind == "b" and not isinstance(value, bool):
            yield f"{at}: is {_kind(value)}, should be true or false"
        elif kind == "i" and (isinstance(value, bool) or not isinstance(value, int)):
            yield f"{at}: is {_kind(value)}, should be a number"
        elif kind in "sel" and not isinstance(value, str):
            yield f"{at}: is {_kind(value)}, should be a text"
        elif kind == "e" and not shape.get("open") and value not in shape["v"]:
            yield f"{at}: {value} is none of {', '.join(map(str, shape['v']))}"

    def _object(self, value: Mapping[str, Any], shape: Shape, names: frozenset[str], at: str) -> Iterator[str]:
        known: dict[str, tuple[int, int]] = dict(shape["p"])
        if shape["k"] == "d":
            told = value.get(shape["on"])
            if told not in shape["of"]:
                yield f"{at}.{shape['on']}: {told} is none of {', '.join(shape['of'])}"
                return
            known |= self._pool[shape["of"][told]]["p"]
            shape = self._pool[shape["of"][told]]
        given = {name.strip("'"): each for name, each in value.items()}
        for name, each in given.items():
            if name in known and not (known[name][1] & READ_ONLY and name != "name"):
                yield from self._compare(each, known[name][0], names, f"{at}.{name}")
            elif "ap" in shape:
                yield from self._compare(each, shape["ap"], names, f"{at}.{name}")
            elif at or name not in _OWN:
                yield f"{at}.{name}: {'is read-only' if name in known else 'there is no such property'}"
        for name, (_, flags) in known.items():
            if flags & REQUIRED and not flags & READ_ONLY and name not in given:
                yield f"{at}.{name}: is missing"


def _values(value: Any) -> Iterator[Any]:
    """The values that an expression can have, as far as its text shows them."""
    if isinstance(value, dict) and "loop_type" in value:
        yield [value["config"]]
    elif isinstance(value, dict) and set(value) == {"operator"} and value["operator"]["type"] == "conditional":
        operands = value["operator"]["operands"]
        yield from _values(operands["true_value"])
        yield from _values(operands["false_value"])
    else:
        yield value


def _is_computed(value: Any, names: frozenset[str]) -> bool:
    if isinstance(value, dict):
        return set(value) in ({"operator"}, {"function"})
    return value is None or (isinstance(value, str) and (value in names or "${" in value))


def _kind(value: Any) -> str:
    return {bool: "true or false", int: "a number", str: "a text", list: "an array", dict: "an object"}[type(value)]
