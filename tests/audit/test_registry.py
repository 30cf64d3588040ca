"""The registry of event types: what it refuses, and what every registered type keeps."""

import re
from typing import Annotated, Any

import pytest
from pydantic import ValidationError

from shared.audit.events.auth import AuthLogin, AuthRegister
from shared.audit.model import AuditEvent, PersonalOf
from shared.audit.registry import all_types, event_type, type_of

pytestmark = pytest.mark.usefixtures("scratch_registry")
STYLE = re.compile(r"[a-z]+\.[a-z]+(_[a-z]+)*")

type Sealed = Annotated[str, PersonalOf("actor")]


class Documented(AuditEvent):
    """A type of this test."""


def test_a_name_is_taken_once() -> None:
    with pytest.raises(ValueError, match=r"auth\.login is registered already"):
        event_type("auth.login")(Documented)
    assert all_types()["auth.login"].model is AuthLogin


def test_a_class_is_one_type() -> None:
    """Under two names its events would be stored under the second, and the first never again."""
    with pytest.raises(ValueError, match=r"registered already, as auth\.login"):
        event_type("auth.signin")(AuthLogin)
    assert "auth.signin" not in all_types()
    assert type_of(AuthLogin(attempt_count=0)).name == "auth.login"


@pytest.mark.parametrize("text", [None, "", "  \n "])
def test_a_docstring_is_demanded(text: str | None) -> None:
    class Bare(AuditEvent):
        pass

    Bare.__doc__ = text
    with pytest.raises(ValueError, match="needs a docstring"):
        event_type("test.bare")(Bare)
    assert "test.bare" not in all_types()


def test_a_docstring_is_not_inherited() -> None:
    class Child(Documented):
        pass

    with pytest.raises(ValueError, match="needs a docstring"):
        event_type("test.child")(Child)


def test_an_unregistered_class_has_no_type() -> None:
    with pytest.raises(KeyError):
        type_of(Documented())


def test_personal_fields_are_known_with_their_owner() -> None:
    class Changed(AuditEvent):
        """A change of somebody else's data."""

        fields: list[str]
        old: Annotated[dict[str, Any], PersonalOf("target")]
        typed: Annotated[str | None, PersonalOf("actor")] = None

    event_type("test.changed")(Changed)
    assert all_types()["test.changed"].personal == {"old": "target", "typed": "actor"}


def test_a_mark_that_would_not_seal_the_field_is_refused() -> None:
    """Each of these reads as personal, and would be stored in clear."""

    class InUnion(AuditEvent):
        """A type of this test."""

        email: Annotated[str, PersonalOf("actor")] | None

    class InList(AuditEvent):
        """A type of this test."""

        emails: list[Annotated[str, PersonalOf("actor")]]

    class ByAlias(AuditEvent):
        """A type of this test."""

        email: Sealed

    class ByAliasInUnion(AuditEvent):
        """A type of this test."""

        emails: dict[str, Sealed | None]

    for model in (InUnion, InList, ByAlias, ByAliasInUnion):
        with pytest.raises(ValueError, match="must mark the whole of email"):
            event_type("test.marked")(model)
    assert "test.marked" not in all_types()


def test_every_name_has_the_style_of_the_catalog() -> None:
    for name in all_types():
        assert STYLE.fullmatch(name) or name == "custom.*", name


def test_every_type_can_happen_and_is_described() -> None:
    for name, kind in all_types().items():
        assert kind.name == name
        assert kind.outcomes
        assert kind.outcomes <= {"success", "failure", "denied", "error"}
        assert len((kind.model.__doc__ or "").split()) >= 4, f"{name}: the docstring is its published description"
        assert set(kind.personal) <= set(kind.model.model_fields)
        assert set(kind.personal.values()) <= {"actor", "target"}


def test_no_attribute_is_named_like_personal_data_and_kept_in_clear() -> None:
    names = {
        "email",
        "ip",
        "user_agent",
        "name",
        "first_name",
        "last_name",
        "phone",
        "filters",
        "old",
        "new",
        "address",
    }
    for kind in all_types().values():
        assert not names & (set(kind.model.model_fields) - set(kind.personal)), kind.name


def test_a_denial_is_never_below_low() -> None:
    for kind in all_types().values():
        assert kind.severity_of("denied") != "info"
        assert kind.severity_of("success") == kind.severity
        assert kind.severity_of("failure") == kind.severity
        if kind.severity != "info":
            assert kind.severity_of("denied") == kind.severity


def test_attributes_are_typed_and_cannot_change() -> None:
    with pytest.raises(ValidationError):
        AuthLogin.model_validate({"attempt_count": "3"})
    with pytest.raises(ValidationError):
        AuthLogin.model_validate({"attempt_count": 3, "password": "x"})
    with pytest.raises(ValidationError):
        AuthRegister.model_validate({})
    with pytest.raises(ValidationError):
        AuthLogin(attempt_count=3).attempt_count = 4  # type: ignore[misc] # that is the point
