"""Templates, constraints and the order of functions, without any app."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devhost.errors import HostError
from devhost.routing import Router, RouteSpec, Template, parse_path

GUID = "0b5f8c1e-90a1-4a62-8b1b-0d6b6a1d2c3e"


def match(template: str, raw: str) -> dict[str, str] | None:
    parsed, path = Template(template), parse_path(raw)
    assert path is not None
    return parsed.match(path) if parsed.fits(len(path.segments)) else None


@pytest.mark.parametrize(
    ("constraint", "good", "bad"),
    [
        ("int", ["0", "-7", "+7", "2147483647"], ["2147483648", "1.5", "x", "٣", "1" * 5000]),
        ("long", ["9223372036854775807"], ["9223372036854775808", "a"]),
        ("int:min(1)", ["1"], ["0", "-1"]),
        ("max(5)", ["5", "-9"], ["6", "x"]),
        ("range(1,3)", ["1", "3"], ["0", "4"]),
        ("guid", [GUID, GUID.upper(), GUID.replace("-", ""), f"({GUID})"], [GUID[:-1], f"({GUID}", "x"]),
        ("alpha", ["abc", "ABC"], ["a1", "ä"]),
        ("length(3)", ["abc"], ["ab", "abcd"]),
        ("length(2,3)", ["ab", "abc"], ["a", "abcd"]),
        ("minlength(2)", ["ab"], ["a"]),
        ("maxlength(2)", ["ab"], ["abc"]),
        ("bool", ["true", "FALSE"], ["yes"]),
        ("double", ["1", "-1.5e3", ".5"], ["x", "1e"]),
        ("float", ["1.5"], ["-"]),
        ("decimal", ["1.5"], ["1e3"]),
        ("required", ["x"], []),
        (r"regex(^\d{{4}}-\d\d$)", ["2026-03"], ["26-03", "2026-3"]),
        ("regex((a|b)c):minlength(3)", ["xbc"], ["bc", "xdc"]),
    ],
)
def test_constraints(constraint: str, good: list[str], bad: list[str]) -> None:
    for value in good:
        assert match(f"{{x:{constraint}}}", f"/{value}") == {"x": value}
    for value in bad:
        assert match(f"{{x:{constraint}}}", f"/{value}") is None


@pytest.mark.parametrize(
    ("template", "path", "expected"),
    [
        ("a/{x}", "/a/", None),
        ("a/{x}", "/a//", None),
        ("a/{x?}", "/A", {}),
        ("a/{x:int?}", "/a", {}),
        ("a/{x:int?}", "/a/x", None),
        ("a/{x?}/{y?}", "/a/1", {"x": "1"}),
        ("a/{*rest}", "/a", {}),
        ("a/{**rest}", "/a/b//c", {"rest": "b//c"}),
        ("a/{x}", "/a/%E2%82%AC", {"x": "€"}),
        ("a/{x}", "/a/%ff", {"x": "%ff"}),
        ("a/{x}", "/a/50%", {"x": "50%"}),
        ("a/{x}", "/a/b%2fc", {"x": "b%2fc"}),
        ("a/{x}", "/z/../a/./b", {"x": "b"}),
        ("a/{x}", "/z/%2e%2E/a/b", {"x": "b"}),
        ("a/{x}", "/a/+", {"x": "+"}),
        ("", "/", {}),
    ],
)
def test_paths(template: str, path: str, expected: dict[str, str] | None) -> None:
    assert match(template, path) == expected


@pytest.mark.parametrize(
    "route",
    [
        "{x:even}",
        "{x:int(3)}",
        "{x:length(1,2,3)}",
        "{x:min(a)}",
        "{x:regex(()}",
        "{x:regex}",
        "{x=1}",
        "a{x}",
        "{x}.{y}",
        "{x}/{X}",
        "{*x}/a",
        "{*x?}",
        "a//b",
        "{x",
        "x}",
        "{}",
    ],
)
def test_what_cannot_be_honored_is_refused_at_the_start(route: str) -> None:
    with pytest.raises(HostError, match="The 'f' function is in error: route"):
        Router([RouteSpec("f", route, None)], "api")


@pytest.mark.parametrize("route", ["admin/users", "/Admin", "administrators", "runtime/x", "RUNTIME"])
def test_reserved_routes_are_refused_with_the_hosts_message(route: str) -> None:
    message = "The 'f' function is in error: The specified route conflicts with one or more built in routes."
    with pytest.raises(HostError, match=message):
        Router([RouteSpec("f", route, None)], "api")
    Router([RouteSpec("f", f"v1/{route.strip('/')}", None)], "api")


def test_a_route_and_method_belong_to_one_function() -> None:
    get, post = frozenset({"GET"}), frozenset({"POST"})
    Router([RouteSpec("a", "x/{id}", get), RouteSpec("b", "x/{id}", post)], "api")
    for methods in (get, None):
        with pytest.raises(HostError, match="conflicts with the route defined by function 'a'"):
            Router([RouteSpec("a", "x/{id}", get), RouteSpec("b", "/X/{ID}/", methods)], "api")


def test_names_are_compared_like_the_host_does() -> None:
    """Ordinal, upper case first: an underscore stands behind every letter."""
    router = Router([RouteSpec("get_a", "{x}", None), RouteSpec("getb", "{y}", None)], "")
    assert found(router, "GET", "/1") == ("getb", {"y": "1"})


def found(router: Router, method: str, raw: str) -> tuple[str, dict[str, str]] | None:
    path = parse_path(raw)
    assert path is not None
    return router.match(method, path)


_segments = st.sampled_from(["a", "b", "B", "1", "{x}", "{x:int}", "{x:alpha}", "{x?}", "{*x}"])
_templates = st.lists(_segments, max_size=4).map("/".join)
_methods = st.sampled_from([None, frozenset({"GET"}), frozenset({"POST"}), frozenset({"GET", "POST"})])
_paths = st.lists(st.sampled_from(["a", "A", "b", "1", "", "zz"]), max_size=5).map(lambda parts: "/" + "/".join(parts))


@given(st.lists(st.tuples(_templates, _methods), max_size=8), _paths, st.sampled_from(["GET", "POST", "PUT"]))
def test_the_router_answers_like_trying_every_function_in_order(
    declared: list[tuple[str, frozenset[str] | None]], raw: str, method: str
) -> None:
    specs: list[RouteSpec] = []
    for index, (template, methods) in enumerate(declared):
        try:
            Router([*specs, RouteSpec(f"f{index}", template, methods)], "")
        except HostError:
            continue
        specs.append(RouteSpec(f"f{index}", template, methods))
    expected = None
    for spec in specs:
        if spec.methods is not None and method not in spec.methods:
            continue
        values = match(spec.route, raw)
        if values is not None:
            expected = (spec.name, values)
            break
    assert found(Router(specs, ""), method, raw) == expected
