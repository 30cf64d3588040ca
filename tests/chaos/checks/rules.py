"""What each call of the fleet has to leave in the trail: written from the contract and the catalogue of events alone.

Each call has the alternatives of an answer that says "done", and those of one that says "refused". An attempt in doubt
(no answer, or a 5xx) may have left any of them or nothing, but nothing in between: what belongs together is there, or
is not.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

type Told = tuple[str, str]
"""Type and outcome of an event."""
type Left = tuple[Told, ...]
"""The events of one attempt."""

NOTHING: Left = ()
LOCKED: Told = ("auth.account_locked", "success")
REJECTED: Told = ("auth.token_rejected", "denied")
AWAKE: Told = ("system.heartbeat", "success")
"""A key that had fallen silent sends events again: told beside them."""
DENIED: Left = (("access.denied", "denied"),)
CROSS_TENANT: Left = (("access.cross_tenant_denied", "denied"),)
LOGIN_FAILED: Left = (("auth.login", "failure"),)
WRONG_PASSWORD: Left = (("auth.password_change", "failure"),)


def _one(kind: str) -> tuple[Left, ...]:
    return (((kind, "success"),),)


@dataclass(frozen=True, slots=True)
class Rule:
    """`done`: what a 2xx may have left (none: it has to be refused); `refused`: by status, what a refusal may have.
    `signed_in`: the call carries a token, which may be refused (401; counted, and told once a minute). `idle`: what a
    2xx may have left instead of `done` where the log shows that there was nothing to change."""

    done: tuple[Left, ...]
    refused: Mapping[int, tuple[Left, ...]]
    signed_in: bool = True
    idle: tuple[Left, ...] = ()

    def acknowledgments(self, *, idle: bool) -> tuple[Left, ...]:
        """What a 2xx may have left. `idle`: of an attempt that had nothing to change."""
        return self.idle if idle and self.idle else self.done

    def refusals(self, status: int) -> tuple[Left, ...]:
        """What a refusal of this status may have left; what is only wrong (422) or out of date (412) leaves nothing."""
        if status in self.refused:
            return self.refused[status]
        if status == 401 and self.signed_in:
            return NOTHING, (REJECTED,)
        return (NOTHING,) if status in (409, 412, 422, 429) else ()

    @property
    def any(self) -> set[Left]:
        """All that an attempt in doubt may have left."""
        found = {NOTHING, *self.done, *self.idle, *(each for some in self.refused.values() for each in some)}
        return found | {(REJECTED,)} if self.signed_in else found


def _rule(kind: str, **refused: tuple[Left, ...]) -> Rule:
    return Rule(_one(kind), {int(status[1:]): left for status, left in refused.items()})


_UNKNOWN = {404: (DENIED,)}
RULES: Mapping[str, Rule] = {
    "register": Rule(
        ((("auth.register", "success"), ("consent.grant", "success"), ("consent.grant", "success")),),
        {409: ((("auth.register", "failure"),),), 422: (NOTHING, (("auth.register", "failure"),))},
        signed_in=False,
    ),
    "login": Rule(_one("auth.login"), {401: (LOGIN_FAILED,), 423: (LOGIN_FAILED,)}, signed_in=False),
    "refresh": Rule(
        _one("auth.token_refresh"),
        {401: (NOTHING, (("auth.token_refresh", "failure"),), (REJECTED,))},
        signed_in=False,
    ),
    "logout": _rule("auth.logout"),
    "profile": _rule("profile.view"),
    "profile_update": _rule("profile.update", _412=((("profile.update", "failure"),),)),
    "password": _rule("auth.password_change", **dict.fromkeys(("_403", "_412", "_422", "_423"), (WRONG_PASSWORD,))),
    "wrong_password": Rule((), dict.fromkeys((403, 423), (WRONG_PASSWORD,))),
    "denied": Rule((), {403: (DENIED,)}),
    "rejected": Rule((), {}),
    "invite": _rule("user.invite"),
    "user_list": _rule("user.list"),
    "user_view": Rule(_one("user.view"), _UNKNOWN),
    "user_update": Rule(_one("user.update"), _UNKNOWN),
    # Who changes nothing is shown the account, which is an event, too.
    "user_role": Rule(_one("user.role_change"), _UNKNOWN, idle=_one("user.view")),
    "user_delete": Rule(_one("user.delete"), _UNKNOWN),
    "cross_tenant": Rule((), {404: (CROSS_TENANT,)}),
    "unknown_id": Rule((), _UNKNOWN),
    "key_create": _rule("apikey.create"),
    "key_revoke": Rule(_one("apikey.revoke"), _UNKNOWN),
    "settings": Rule(_one("config.change"), {}, idle=(NOTHING,)),
    "search": _rule("audit.search"),
    "export": _rule("audit.export"),
    # A list of alerts shows nothing personal, and is no event of the catalogue.
    "alert_list": Rule((NOTHING,), {}),
    # One that is acknowledged already is a 409.
    "alert_update": Rule(_one("alert.update"), _UNKNOWN),
    "bundle": _rule("audit.export"),
    # Keys and checkpoints are public by intent.
    "ledger_key": Rule((NOTHING,), {}),
    # What was ordered and is being built at this moment may be ordered once more.
    "report_order": Rule((*_one("report.generate"), *_one("report.order")), {}, idle=(NOTHING, *_one("report.order"))),
    # One that is not ready is a 409.
    "report_read": Rule(_one("report.read"), _UNKNOWN),
}
"""`ingest` has a check of its own: many attempts are one delivery."""

OWN_WORK = frozenset(
    {
        *(("alert.raise", "success"), ("alert.update", "success"), ("report.generate", "success")),
        *(("system.start", "success"), ("system.heartbeat", "success"), ("system.error", "error")),
        *(("ledger.checkpoint", "success"), REJECTED),
    }
)
"""What the app tells of itself, that no call asked for: its causes are checked one by one (`causes`)."""


def fits(left: Counter[Told], allowed: set[Left]) -> bool:
    """Whether what an attempt left is one of the alternatives. An account may have been locked along with a failure."""
    plain = Counter({told: number for told, number in left.items() if told != LOCKED})
    locks = left[LOCKED]
    if locks > 1 or (locks and not any(told in plain for told in (*LOGIN_FAILED, *WRONG_PASSWORD))):
        return False
    return any(plain == Counter(each) for each in allowed)
