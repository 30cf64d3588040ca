"""The attacks: what each of the eight patterns is there to find, as calls and events. Default thresholds are met."""

from devhost.simulation.people import Person
from devhost.simulation.scene import Case, Play, Scene

PASSING, FEW = 2, 12
"""Accounts deleted in a mass deletion, where a tenant has at least so many people."""


def guessing(scene: Scene) -> Case:
    """24 passwords are tried on one account; from the eleventh on it is locked."""
    victim, client = scene.pool.one(), scene.attacker
    scene.guesses(victim, client, 24, 22)
    return scene.case(attack=True, account=victim, address=client.address)


def list_of_passwords(scene: Scene) -> Case:
    """One address tries a password each on accounts of up to two tenants, and on unknown ones."""
    client, after = scene.attacker, 0
    others = [pool for pool in scene.pools if pool is not scene.pool and not pool.tenant.clean]
    attacked = [scene.pool, *others][:2]
    accounts = [each for pool in attacked for each in pool.some(4 if len(attacked) > 1 else 6)]
    for each in accounts:
        scene.does(after, each, "login", client=client, expected=401)
        after += 40
    for turn in range(2):
        text = f"nobody{turn}.c{scene.number}@example.net"
        scene.does(after, scene.tenant.founder, "login", client=client, text=text, expected=401)
        after += 40
    return scene.case(attack=True, address=client.address, accounts=tuple(accounts))


def guessed(scene: Scene) -> Case:
    """The seventh password is the right one, and the attacker sets another."""
    victim, client = scene.pool.last(), scene.attacker
    scene.guesses(victim, client, 6, 40)
    scene.does(240, victim, "login", client=client, password=0)
    scene.does(300, victim, "view_profile", client=client, counts=False)
    scene.does(360, victim, "change_password", client=client, password=0, expected=204)
    _suspend(scene, victim)
    also = ("brute_force", "suspicious_password_change")
    return scene.case(attack=True, account=victim, address=client.address, gone={victim}, also=also)


def new_device(scene: Scene) -> Case:
    """Somebody knows the password, signs in from where the account was never used, and sets another."""
    victim, client = scene.pool.last(), scene.attacker
    scene.does(0, victim, "login", client=client, password=0)
    scene.does(300, victim, "change_password", client=client, password=0, expected=204)
    _suspend(scene, victim)
    also = ("suspicious_password_change",)
    return scene.case(attack=True, account=victim, address=client.address, gone={victim}, also=also)


def _suspend(scene: Scene, victim: Person) -> None:
    """What the administrator does about it, half an hour later."""
    founder = scene.tenant.founder
    scene.signs_in(founder, after=1800)
    scene.does(1860, founder, "suspend_user", target=victim, counts=False)
    scene.signs_out(1920, founder)


def own_role(scene: Scene) -> Case:
    """A user asks to be administrator, and is refused."""
    actor = scene.pool.one()
    scene.signs_in(actor)
    scene.does(0, actor, "change_role", target=actor, text="tenant_admin", expected=403)
    scene.signs_out(60, actor)
    return scene.case(attack=True, actor=actor)


def burst(scene: Scene) -> Case:
    """The administrator changes five roles within the hour."""
    founder, others = scene.tenant.founder, scene.pool.staff(5)
    scene.signs_in(founder)
    for turn in range(5):
        other = others[turn % len(others)]
        scene.changes_role(turn * 480, other, swapped(scene.pool.roles[other]))
    scene.signs_out(2000, founder)
    return scene.case(attack=True, actor=founder, absent=others)


def grant(scene: Scene) -> Case:
    """The administrator makes another one."""
    founder, other = scene.tenant.founder, scene.pool.last()
    scene.signs_in(founder)
    scene.changes_role(0, other, "tenant_admin")
    scene.signs_out(60, founder)
    return scene.case(attack=True, actor=founder, gone={other})


def probing(scene: Scene) -> Case:
    """A user asks six times for what is not theirs."""
    actor = scene.pool.one()
    scene.signs_in(actor)
    for turn in range(6):
        scene.does(turn * 60, actor, "list_users", expected=403)
    scene.signs_out(420, actor)
    return scene.case(attack=True, actor=actor)


def audit_log(scene: Scene) -> Case:
    """A user wants to read the trail."""
    actor = scene.pool.one()
    scene.signs_in(actor)
    scene.does(0, actor, "search_trail", expected=403)
    scene.signs_out(60, actor)
    return scene.case(attack=True, actor=actor)


def cross_tenant(scene: Scene) -> Case:
    """An administrator asks for a user of another tenant."""
    founder = scene.tenant.founder
    other = next(pool.tenant.founder for pool in scene.pools if pool is not scene.pool)
    scene.signs_in(founder)
    scene.does(0, founder, "view_user", target=other, expected=404)
    scene.signs_out(60, founder)
    return scene.case(attack=True, actor=founder)


def documents(scene: Scene) -> Case:
    """The administrator deletes twelve documents and, where there are enough people, two accounts."""
    founder = scene.tenant.founder
    scene.signs_in(founder)
    scene.records(founder, "data.delete", "confidential", 12, 60)
    enough = len(scene.tenant.people) >= FEW
    gone = [scene.pool.last() for _ in range(PASSING)] if enough else []
    for turn, other in enumerate(gone):
        scene.does(750 + turn * 60, founder, "delete_user", target=other, text="no longer here", expected=204)
    scene.signs_out(1000, founder)
    return scene.case(attack=True, actor=founder, gone=gone, absent=gone)


def reading(scene: Scene) -> Case:
    """A user reads sixty health records within minutes."""
    actor = scene.pool.one()
    scene.signs_in(actor)
    scene.records(actor, "data.read", "phi", 60, 8)
    scene.signs_out(540, actor)
    return scene.case(attack=True, actor=actor)


def export(scene: Scene) -> Case:
    """A user exports eighty card holders' records at once."""
    actor = scene.pool.one()
    scene.signs_in(actor)
    scene.records(actor, "data.export", "cardholder", 1, 0, count=80)
    scene.signs_out(60, actor)
    return scene.case(attack=True, actor=actor)


def stolen_session(scene: Scene) -> Case:
    """Whoever has a user's token tries thrice to set another password, not knowing the present one."""
    victim, client = scene.pool.one(), scene.attacker
    scene.signs_in(victim)
    for turn in range(3):
        scene.does(turn * 60, victim, "change_password", client=client, expected=403)
    scene.signs_out(300, victim)
    return scene.case(attack=True, account=victim, address=client.address)


def swapped(role: str) -> str:
    """The other of the two roles that change without anybody becoming an administrator."""
    return "viewer" if role == "user" else "user"


PLAYS: tuple[tuple[str, Play], ...] = (
    ("brute_force", guessing),
    ("privilege_escalation", burst),
    ("credential_stuffing", list_of_passwords),
    ("unauthorized_access", cross_tenant),
    ("account_takeover", guessed),
    ("privilege_escalation", own_role),
    ("mass_deletion", documents),
    ("unauthorized_access", probing),
    ("bulk_data_access", reading),
    ("privilege_escalation", grant),
    ("suspicious_password_change", stolen_session),
    ("unauthorized_access", audit_log),
    ("account_takeover", new_device),
    ("bulk_data_access", export),
)
"""In the order in which they come; one administrator's are not next to each other."""
NEEDS_ANOTHER_TENANT = frozenset({"cross_tenant"})
PATTERNS: tuple[str, ...] = tuple(sorted({pattern for pattern, _ in PLAYS}))
"""The ids of all patterns."""
NAMES: tuple[str, ...] = tuple(play.__name__ for _, play in PLAYS)
"""The names of all attacks."""
