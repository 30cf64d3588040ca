"""Which function answers a request: route templates as the Functions host reads them (ASP.NET Core's syntax).

Literals ignore case, `{x}` takes one segment, `{x?}` may be missing at the end, `{*x}` takes the rest; constraints
follow a colon. Functions are tried in the order of their names (ordinal, ignoring case) and nothing is redirected.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from devhost.constraints import Constraint, build_constraint
from devhost.errors import HostError

_CONSTRAINT = re.compile(r":(\w+)(?:\((.*?)\)(?=:|$))?(?=:|$)")
_PARAMETER = re.compile(r"(\*{0,2})(\w+)(.*?)(\??)", re.DOTALL)
_ENCODED_SLASH = re.compile(r"(%2[fF])")
_RESERVED = ("admin", "runtime")


@dataclass(frozen=True, slots=True)
class RouteSpec:
    """What a function declares: `route` without the prefix; `methods` None means all of them."""

    name: str
    route: str
    methods: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class _Segment:
    """One part of a template. `text` is the literal in lower case, or the parameter's name."""

    text: str
    parameter: bool = False
    catch_all: bool = False
    optional: bool = False
    constraints: tuple[Constraint, ...] = ()


@dataclass(frozen=True, slots=True)
class RequestPath:
    """A request's path, decoded and cut: `%2F` stays as it was sent, so it never splits a segment."""

    segments: Sequence[str]
    lowered: Sequence[str]
    trailing_slash: bool

    def rest(self, start: int) -> str:
        """Everything from segment `start` on: what a catch-all receives."""
        text = "/".join(self.segments[start:])
        return text + "/" if text and self.trailing_slash else text


def parse_path(raw: str) -> RequestPath | None:
    """A raw path (percent-encoded, no query); None when the real server would answer 400."""
    text = _decoded(raw) if "%" in raw else raw
    if "\0" in text:
        return None
    trailing = len(text) > 1 and text.endswith("/")
    segments = text.strip("/").split("/") if "//" not in text else text[1 : -1 if trailing else None].split("/")
    if "/." in text:
        segments = _without_dots(segments)
    if segments == [""]:
        segments = []
    return RequestPath(segments, [each.lower() for each in segments], trailing)


def _decoded(raw: str) -> str:
    parts = _ENCODED_SLASH.split(raw)
    for index in range(0, len(parts), 2):
        try:
            parts[index] = unquote_to_bytes(parts[index]).decode()
        except UnicodeDecodeError:
            continue  # left as sent, like the real server does
    return "".join(parts)


def _without_dots(segments: Sequence[str]) -> list[str]:
    kept: list[str] = []
    for each in segments:
        if each == "..":
            del kept[-1:]
        elif each != ".":
            kept.append(each)
    return kept


class Template:
    """One parsed route template, prefix included. ValueError for a template that devhost cannot honor."""

    def __init__(self, text: str) -> None:
        self.segments = tuple(_parse_segment(part) for part in _cut(text.strip("/")))
        names = [each.text.lower() for each in self.segments if each.parameter]
        if len(set(names)) != len(names):
            raise ValueError("a parameter name appears more than once")
        if any(each.catch_all for each in self.segments[:-1]):
            raise ValueError("a catch-all parameter can only be the last segment")
        self.literal = all(not each.parameter for each in self.segments)
        self.catch_all = bool(self.segments) and self.segments[-1].catch_all
        required = [at for at, each in enumerate(self.segments, 1) if not (each.optional or each.catch_all)]
        self.shortest = required[-1] if required else 0

    def fits(self, count: int) -> bool:
        """Whether a path of `count` segments can match at all."""
        return self.shortest <= count and (self.catch_all or count <= len(self.segments))

    def match(self, path: RequestPath) -> dict[str, str] | None:
        """The route parameters when `path` (of a fitting length) matches, else None."""
        values: dict[str, str] = {}
        for at, (segment, lowered) in enumerate(zip(self.segments, path.lowered, strict=False)):
            if not segment.parameter:
                if segment.text != lowered:
                    return None
                continue
            value = path.rest(at) if segment.catch_all else path.segments[at]
            if not value:
                if segment.optional or segment.catch_all:
                    continue
                return None
            if not all(check(value) for check in segment.constraints):
                return None
            values[segment.text] = value
        return values


def _cut(template: str) -> list[str]:
    """Split at the slashes that stand outside braces."""
    parts, depth = [""], 0
    for char in template:
        depth += (char == "{") - (char == "}")
        if char == "/" and depth == 0:
            parts.append("")
        else:
            parts[-1] += char
    return [] if parts == [""] else parts


def _parse_segment(text: str) -> _Segment:
    if not text:
        raise ValueError("an empty segment")
    if "{" not in text and "}" not in text:
        return _Segment(text.lower())
    inner = text[1:-1].replace("{{", "\1").replace("}}", "\2")
    found = _PARAMETER.fullmatch(inner)
    if text[0] != "{" or text[-1] != "}" or "{" in inner or "}" in inner or found is None:
        raise ValueError(f"the segment '{text}' is not supported: use a literal or one parameter")
    stars, name, tail, optional = found.groups()
    if optional and stars:
        raise ValueError("a catch-all parameter cannot be optional")
    constraints, position = [], 0
    tail = tail.replace("\1", "{").replace("\2", "}")
    while position < len(tail):
        each = _CONSTRAINT.match(tail, position)
        if each is None:
            raise ValueError(f"'{tail}' is not a list of constraints (default values are not supported)")
        constraints.append(build_constraint(each[1], each[2]))
        position = each.end()
    return _Segment(name, True, bool(stars), bool(optional), tuple(constraints))


@dataclass(frozen=True, slots=True)
class _Route:
    order: int
    name: str
    template: Template
    methods: frozenset[str] | None

    def takes(self, method: str | None) -> bool:
        return self.methods is None or method in self.methods


class Router:
    """All routes of an app. HostError at construction for what the real host would refuse.

    Literal routes are found by one look-up; the answer is the same as trying every function in the order of names.
    """

    def __init__(self, specs: Iterable[RouteSpec], prefix: str) -> None:
        ordered = sorted(specs, key=lambda spec: spec.name.upper())
        _refuse_conflicts(ordered)
        routes = [_route(order, spec, prefix) for order, spec in enumerate(ordered)]
        self._literals: dict[tuple[str | None, str], _Route] = {}
        for route in routes:
            if route.template.literal:
                key = "/".join(each.text for each in route.template.segments)
                for method in route.methods if route.methods is not None else (None,):
                    self._literals[method, key] = route
        self._methods = frozenset[str]().union(*(route.methods or () for route in routes))
        # Paths longer than every template fit the catch-alls only, so they share the last row.
        self._longest = 1 + max((len(route.template.segments) for route in routes), default=0)
        self._candidates: Mapping[tuple[str | None, int], list[_Route]] = {
            (method, count): [
                route
                for route in routes
                if not route.template.literal and route.takes(method) and route.template.fits(count)
            ]
            for method in (*self._methods, None)
            for count in range(self._longest + 1)
        }

    def match(self, method: str, path: RequestPath) -> tuple[str, dict[str, str]] | None:
        """The function that answers and its route parameters; None when there is none (a bare 404)."""
        key = "/".join(path.lowered)
        literal = self._literals.get((method, key)) or self._literals.get((None, key))
        known = method if method in self._methods else None
        for route in self._candidates[known, min(len(path.segments), self._longest)]:
            if literal is not None and route.order > literal.order:
                break
            values = route.template.match(path)
            if values is not None:
                return route.name, values
        return None if literal is None else (literal.name, {})


def _route(order: int, spec: RouteSpec, prefix: str) -> _Route:
    try:
        return _Route(order, spec.name, Template(f"{prefix}/{spec.route.strip('/')}"), spec.methods)
    except ValueError as error:
        raise HostError(f"The '{spec.name}' function is in error: route '{spec.route}': {error}") from error


def _refuse_conflicts(specs: Sequence[RouteSpec]) -> None:
    """Refuse what the real host refuses, with its own words."""
    seen: list[RouteSpec] = []
    for spec in specs:
        route = spec.route.strip("/").lower()
        where = f"The '{spec.name}' function is in error: "
        if route.startswith(_RESERVED):
            raise HostError(f"{where}The specified route conflicts with one or more built in routes.")
        for other in seen:
            if other.route.strip("/").lower() != route:
                continue
            if spec.methods is None or other.methods is None or spec.methods & other.methods:
                raise HostError(
                    f"{where}The route specified conflicts with the route defined by function '{other.name}'."
                )
        seen.append(spec)
