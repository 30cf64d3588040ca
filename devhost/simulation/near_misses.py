"""What stays one event short of each pattern's default threshold, or just within what is usual: no alert is right."""

from devhost.simulation.attacks import swapped
from devhost.simulation.people import Client
from devhost.simulation.scene import Case, Play, Scene


def _outsider(scene: Scene) -> Client:
    return Client(f"192.0.2.{scene.number % 250 + 1}", scene.attacker.agent)


def four_guesses(scene: Scene) -> Case:
    """Four wrong passwords on one account."""
    account, client = scene.pool.one(), _outsider(scene)
    scene.guesses(account, client, 4, 120)
    return scene.case(attack=False, account=account, address=client.address)


def four_accounts(scene: Scene) -> Case:
    """One address fails on four accounts."""
    client, accounts = _outsider(scene), scene.pool.some(4)
    for turn, each in enumerate(accounts):
        scene.does(turn * 120, each, "login", client=client, expected=401)
    return scene.case(attack=False, address=client.address, accounts=accounts, absent=accounts)


def forgetful(scene: Scene) -> Case:
    """The owner types the password wrong four times, and right then."""
    account = scene.pool.one()
    scene.guesses(account, account.office, 4, 60)
    scene.does(300, account, "login", password=0)
    scene.signs_out(600, account)
    return scene.case(attack=False, account=account, address=account.office.address)


def four_roles(scene: Scene) -> Case:
    """The administrator changes four roles within the hour."""
    founder, others = scene.tenant.founder, scene.pool.staff(4)
    scene.signs_in(founder)
    for turn in range(4):
        other = others[turn % len(others)]
        scene.changes_role(turn * 480, other, swapped(scene.pool.roles[other]))
    scene.signs_out(1800, founder)
    return scene.case(attack=False, actor=founder, absent=others)


def four_denials(scene: Scene) -> Case:
    """A user is refused four times."""
    actor = scene.pool.one()
    scene.signs_in(actor)
    for turn in range(4):
        scene.does(turn * 120, actor, "list_users", expected=403)
    scene.signs_out(480, actor)
    return scene.case(attack=False, actor=actor)


def nine_deletions(scene: Scene) -> Case:
    """A user deletes nine documents."""
    actor = scene.pool.one()
    scene.signs_in(actor)
    scene.records(actor, "data.delete", "confidential", 9, 120)
    scene.signs_out(1100, actor)
    return scene.case(attack=False, actor=actor)


def forty_nine_records(scene: Scene) -> Case:
    """A user reads 49 health records in a quarter of an hour."""
    actor = scene.pool.one()
    scene.signs_in(actor)
    scene.records(actor, "data.read", "phi", 49, 15)
    scene.signs_out(780, actor)
    return scene.case(attack=False, actor=actor)


def at_the_third_try(scene: Scene) -> Case:
    """The owner, at the usual place, gets the present password wrong twice and then sets a new one."""
    account = scene.pool.last()
    scene.signs_in(account)
    for turn in range(2):
        scene.does(turn * 60, account, "change_password", expected=403)
    scene.does(180, account, "change_password", password=0, expected=204)
    scene.signs_out(300, account)
    return scene.case(attack=False, account=account, renewed={account})


NEAR_MISSES: tuple[tuple[str, Play], ...] = (
    ("brute_force", four_guesses),
    ("privilege_escalation", four_roles),
    ("credential_stuffing", four_accounts),
    ("account_takeover", forgetful),
    ("unauthorized_access", four_denials),
    ("mass_deletion", nine_deletions),
    ("bulk_data_access", forty_nine_records),
    ("suspicious_password_change", at_the_third_try),
)
"""One for each pattern, in the order in which they come."""
