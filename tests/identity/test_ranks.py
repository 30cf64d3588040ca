"""The rules of rank, written down as a table."""

import itertools

import pytest

from shared.identity.model import Role
from shared.identity.ranks import GRANTABLE, Change, may_grant, outranks, refusal, sufficient

V, U, R, A, S = Role.VIEWER, Role.USER, Role.AUDITOR, Role.TENANT_ADMIN, Role.SYSTEM_ADMIN

#                  on: viewer user auditor tenant_admin system_admin
ACTS_ON = {
    V: (False, False, False, False, False),
    U: (False, False, False, False, False),
    R: (False, False, False, False, False),
    A: (True, True, True, True, False),
    S: (True, True, True, True, False),
}
GRANTS = ACTS_ON
"""The same: what may be acted on may be granted, and system_admin by nobody."""
CHANGES: tuple[Change, ...] = ("profile", "role", "status", "deletion", "unlock")


@pytest.mark.parametrize("actor", Role)
def test_who_acts_on_whom(actor: Role) -> None:
    assert tuple(outranks(actor, target) for target in Role) == ACTS_ON[actor]


@pytest.mark.parametrize("actor", Role)
def test_who_grants_what(actor: Role) -> None:
    assert tuple(may_grant(actor, granted) for granted in Role) == GRANTS[actor]


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_to_another_follows_the_table(change: Change) -> None:
    for actor, target in itertools.product(Role, Role):
        assert refusal(actor, target, [change]) == (None if outranks(actor, target) else "role")


@pytest.mark.parametrize("actor", Role)
def test_of_oneself_only_the_profile(actor: Role) -> None:
    for change in CHANGES:
        if actor not in (A, S):
            assert refusal(actor, actor, [change], oneself=True) == "role"
        else:
            assert refusal(actor, actor, [change], oneself=True) == (None if change == "profile" else "self")
    if actor in (A, S):
        assert refusal(actor, actor, ["profile", "role"], granted=V, oneself=True) == "self"


def test_a_role_change_needs_both_roles_in_reach() -> None:
    for actor, target, granted in itertools.product(Role, Role, Role):
        expected = outranks(actor, target) and (granted == target or may_grant(actor, granted))
        assert (refusal(actor, target, ["role"], granted=granted) is None) == expected


def test_nobody_can_raise_anyone_above_the_own_rank() -> None:
    for actor, target, granted in itertools.product(Role, Role, Role):
        if refusal(actor, target, ["role"], granted=granted) is None:
            assert granted.rank <= actor.rank
            assert granted in GRANTABLE


def test_a_grant_out_of_reach_is_refused_for_the_role() -> None:
    assert refusal(A, V, ["role"], granted=S) == "role"


@pytest.mark.parametrize(
    ("target", "change", "granted", "lowest"),
    [
        (V, "status", None, A),
        (A, "deletion", None, A),
        (S, "profile", None, None),
        (V, "role", A, A),
        (V, "role", S, None),
        (R, "role", R, A),
    ],
)
def test_the_lowest_role_that_may(target: Role, change: Change, granted: Role | None, lowest: Role | None) -> None:
    assert sufficient(target, [change], granted=granted) == lowest


def test_asking_for_nothing_still_needs_rank() -> None:
    assert refusal(A, S, []) == "role"
    assert refusal(R, V, []) == "role"
    assert refusal(A, A, [], oneself=True) is None
