"""Putting the services of accounts and access together."""

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from shared.core.ids import IdFactory
from shared.core.settings import Settings

if TYPE_CHECKING:  # cold start
    from shared.audit.outbox import Outbox
    from shared.identity.access import Access
    from shared.identity.directory import Directory
    from shared.identity.lockout import Lockout, LockoutRules
    from shared.identity.passwords import Passwords
    from shared.identity.session_life import SessionLife
    from shared.identity.sessions import Sessions
    from shared.identity.throttle import Limit, Limited
    from shared.privacy.boxes import PersonalBox
    from shared.privacy.secret_boxes import SecretBoxes
    from shared.privacy.secrets import SecretsPort


def identity_services(
    settings: Settings,
    common: dict[str, Any],
    ids: IdFactory,
    outbox: "Outbox",
    directory: "Directory",
    passwords: "Passwords",
    index: Any,
    secrets: "SecretsPort",
    *,
    box: "PersonalBox",
) -> dict[str, Any]:
    """The services of accounts and access, by their names in `Services`."""
    from shared.identity.access import Access
    from shared.identity.access_reviews import AccessReviews
    from shared.identity.account_operations import AccountOperations
    from shared.identity.confirmation import Confirmation
    from shared.identity.consents import Consents, Policy
    from shared.identity.lockout import Lockout
    from shared.identity.operations import Operations
    from shared.identity.own_account import OwnAccount
    from shared.identity.rejections import Rejections
    from shared.identity.service import Identity
    from shared.identity.session_life import SessionLife
    from shared.identity.sessions import SessionLimits, Sessions
    from shared.identity.throttle import Throttle
    from shared.identity.tokens import AccessTokens
    from shared.privacy.guards import Guards
    from shared.privacy.secret_boxes import SecretBoxes

    tokens = AccessTokens(secrets, common["clock"], timedelta(minutes=settings.access_token_minutes))
    lives = SessionLimits(timedelta(days=settings.session_days), timedelta(hours=settings.session_idle_hours))
    sessions = Sessions(tokens, common["clock"], ids, lives)
    policy = Policy(settings.terms_version, settings.privacy_version)
    rejections = Rejections(
        outbox=outbox,
        index=index,
        terms_version=policy.terms_version,
        privacy_version=policy.privacy_version,
        **common,
    )
    guards = Guards(common["store"], index, common["clock"])
    lockout = Lockout(outbox=outbox, rules=_lockout_rules(settings), **common)
    access = Access(tokens=tokens, directory=directory, rejections=rejections, **common)
    life = SessionLife(outbox=outbox, access=access, sessions=sessions, **common)
    boxes = SecretBoxes(secrets, index)
    Confirmation(outbox=outbox, directory=directory, ids=ids, **common)  # the outbox holds on to it
    factors = _second_factors({**common, "outbox": outbox}, ids, passwords, sessions, life, access, boxes, lockout)
    accounts: dict[str, Any] = {"outbox": outbox, "directory": directory, "passwords": passwords, "ids": ids, **common}
    accounts["policy"] = policy
    identity = Identity(lockout=lockout, sessions=sessions, challenges=factors["challenges"], **accounts)
    joining: dict[str, Any] = {"identity": identity, "passwords": passwords, "sessions": sessions}
    return {
        **factors,
        **_administration(common, ids, outbox, directory, access, joining),
        "guards": guards,
        "access_reviews": AccessReviews(
            outbox=outbox,
            guards=guards,
            box=box,
            ids=ids,
            retention_days=settings.cosmos_db_ttl_days,
            **common,
        ),
        "throttle": Throttle(guards, rejections, _limits(settings)),
        "access": access,
        "rejections": rejections,
        "session_life": life,
        "own_account": OwnAccount(outbox=outbox, lockout=lockout, passwords=passwords, sessions=life, **common),
        "account_operations": AccountOperations(index=index, outbox=outbox, directory=directory, ids=ids, **common),
        "operations": Operations(index=index, secrets=secrets, boxes=boxes, **accounts),
        "identity": identity,
        "consents": Consents(outbox=outbox, policy=policy, **common),
    }


def _limits(settings: Settings) -> "dict[Limited, Limit]":
    from shared.identity.throttle import Limit

    return {
        "login": Limit(settings.login_rate_per_minute, 60),
        "refresh": Limit(settings.refresh_rate_per_minute, 60),
        "register": Limit(settings.register_rate_per_hour, 3600),
    }


def _lockout_rules(settings: Settings) -> "LockoutRules":
    from shared.identity.lockout import LockoutRules

    window, locked = timedelta(minutes=settings.lockout_window_minutes), timedelta(minutes=settings.lockout_minutes)
    return LockoutRules(settings.lockout_failures, window, locked)


def _administration(
    common: dict[str, Any],
    ids: IdFactory,
    outbox: "Outbox",
    directory: "Directory",
    access: "Access",
    joining: dict[str, Any],
) -> dict[str, Any]:
    from shared.identity.api_keys import ApiKeys
    from shared.identity.invitations import Invitations
    from shared.identity.joining import Joining
    from shared.identity.members import Members
    from shared.identity.sources import Sources
    from shared.identity.tenant_settings import TenantSettings

    checked: dict[str, Any] = {**common, "outbox": outbox, "access": access}
    return {
        "members": Members(directory=directory, **checked),
        "invitations": Invitations(directory=directory, ids=ids, **checked),
        "joining": Joining(outbox=outbox, directory=directory, ids=ids, **joining, **common),
        "api_keys": ApiKeys(ids=ids, **checked),
        "sources": Sources(outbox=outbox, **common),
        "tenant_settings": TenantSettings(common["store"], common["recorder"], outbox),
    }


def _second_factors(
    common: dict[str, Any],
    ids: IdFactory,
    passwords: "Passwords",
    sessions: "Sessions",
    life: "SessionLife",
    access: "Access",
    boxes: "SecretBoxes",
    lockout: "Lockout",
) -> dict[str, Any]:
    from shared.identity.challenges import Challenges
    from shared.identity.factors import Factors
    from shared.identity.mfa import Mfa

    shared: dict[str, Any] = {
        "factors": Factors(common["store"], boxes, common["clock"]),
        "counter": lockout,
        **common,
    }
    return {
        "challenges": Challenges(sessions=sessions, ids=ids, **shared),
        "mfa": Mfa(access=access, passwords=passwords, sessions=life, **shared),
    }
