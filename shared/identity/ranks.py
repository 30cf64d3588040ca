"""Who may do what to whom: the rules of rank, pure.

Nobody changes, deletes or invites at or above the own rank, except tenant_admins among themselves. Nobody changes the
own role or status, nor deletes or unlocks oneself: what an administrator does to the own account goes the way of every
user. Below tenant_admin nobody changes others at all. system_admin is granted by the operator's command line alone.
"""

from collections.abc import Iterable
from typing import Literal

from shared.identity.model import Role

type Change = Literal["profile", "role", "status", "deletion", "unlock"]
type Refusal = Literal["role", "self"]

GRANTABLE: tuple[Role, ...] = (Role.VIEWER, Role.USER, Role.AUDITOR, Role.TENANT_ADMIN)
"""Roles that can be given through the API."""


def outranks(actor: Role, other: Role) -> bool:
    """Whether `actor` may act on users of the role `other`."""
    if actor.rank < Role.TENANT_ADMIN.rank:
        return False
    return other.rank < actor.rank or actor == other == Role.TENANT_ADMIN


def may_grant(actor: Role, granted: Role) -> bool:
    """Whether `actor` may give the role `granted` to someone, or invite someone to it."""
    return granted in GRANTABLE and outranks(actor, granted)


def sufficient(target: Role, changes: Iterable[Change], *, granted: Role | None = None) -> Role | None:
    """The lowest role that may make `changes` to another user of the role `target`; None: no role may."""
    wanted = list(changes)
    return next((role for role in Role if refusal(role, target, wanted, granted=granted) is None), None)


def refusal(
    actor: Role, target: Role, changes: Iterable[Change], *, granted: Role | None = None, oneself: bool = False
) -> Refusal | None:
    """Why `actor` may not make `changes` to a user of the role `target`; None when that is allowed.

    `granted`: the role that the target would have after it. `oneself`: actor and target are one person.
    """
    if actor.rank < Role.TENANT_ADMIN.rank:
        return "role"
    if oneself:
        return "self" if any(change != "profile" for change in changes) else None
    if not outranks(actor, target):
        return "role"
    return None if granted is None or granted == target or may_grant(actor, granted) else "role"
