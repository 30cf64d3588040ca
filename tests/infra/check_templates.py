"""Read the templates with a parser of Bicep (pycep) and hold them to Azure's types: run by `make infra-check`.

It knows names of properties, which are required, their kinds and closed sets of values; that modules get the parameters
they have and give the outputs that are asked of them; and that files which are loaded are there. It does not know what
the Bicep compiler knows beside that: where there is one, `az bicep build --file infra/main.bicep` says more.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pycep import BicepParser

from tests.infra.arm import Types

INFRA = Path(__file__).resolve().parents[2] / "infra"
UNTYPED = ("Microsoft.Network/", "Microsoft.Insights/dataCollectionRules@")
"""Their types are not in arm_types.json; what is used of them is simple."""
_LOADED = re.compile(r"load(?:Text|Json)Content\('([^']+)'\)")
_OUTPUT = re.compile(r"\b(\w+)\.outputs\.(\w+)")


def main() -> int:
    """0: nothing is wrong. 1: something is; a line each."""
    parser, types = BicepParser(), Types()
    files = {path: parser.parse(file_path=path) for path in sorted(INFRA.rglob("*.bicep"))}
    found = [each for path in files for each in _problems(path, files, types)]
    for each in found:
        sys.stdout.write(each + "\n")
    kinds = [each["type"] + "@" for parsed in files.values() for each in parsed.get("resources", {}).values()]
    number, untyped = len(kinds), sum(kind.startswith(UNTYPED) for kind in kinds)
    sys.stdout.write(
        f"templates: {len(files)} files, {number} resources, {untyped} of types that are not published here: "
        f"{len(found)} problems\n"
    )
    return 1 if found or not number else 0


def _problems(path: Path, files: dict[Path, Any], types: Types) -> Iterator[str]:
    parsed, text, where = files[path], path.read_text(encoding="utf-8"), path.relative_to(INFRA.parent)
    names = _names(parsed)
    for name, resource in parsed.get("resources", {}).items():
        kind = f"{resource['type']}@{resource['api_version']}"
        if resource["existing"] or kind.startswith(UNTYPED):
            continue
        if kind not in types:
            yield f"{where}: {name}: the type {kind} is not known"
            continue
        body, own = _body(resource["config"])
        yield from (f"{where}: {name}{each}" for each in types.problems(kind, body, names | own))
    for loaded in _LOADED.findall(text):
        if not (path.parent / loaded).is_file():
            yield f"{where}: {loaded} is not there"
    modules = {name: path.parent / each["detail"]["path"] for name, each in parsed.get("modules", {}).items()}
    for name, module in parsed.get("modules", {}).items():
        yield from (f"{where}: {name}: {each}" for each in _module(module, files.get(modules[name].resolve())))
    for name, output in _OUTPUT.findall(text):
        target = files.get(modules[name].resolve()) if name in modules else None
        if target is None or output not in target.get("outputs", {}):
            yield f"{where}: {name}.outputs.{output} is not there"


def _module(module: Any, target: Any) -> Iterator[str]:
    if target is None:
        yield "its file is not there"
        return
    body, _ = _body(module["config"])
    given, has = body.get("params", {}), target.get("parameters", {})
    yield from (f"there is no parameter {each}" for each in given.keys() - has.keys())
    yield from (
        f"the parameter {name} is missing"
        for name, each in has.items()
        if each["default"] is None and name not in given
    )


def _names(parsed: Any) -> frozenset[str]:
    return frozenset(
        name for kind in ("parameters", "variables", "resources", "modules") for name in parsed.get(kind, {})
    )


def _body(config: Any) -> tuple[dict[str, Any], frozenset[str]]:
    """The properties of what is perhaps conditional or a loop, and the names that the loop adds."""
    own: frozenset[str] = frozenset()
    while "config" in config:
        detail = config.get("loop_type", {}).get("detail", {})
        own |= frozenset(value for key, value in detail.items() if key in ("item_name", "index_name"))
        config = config["config"]
    return config, own


if __name__ == "__main__":
    sys.exit(main())
