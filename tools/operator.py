"""`python -m tools.operator`: what only the operator of a deployment may do. Every command is in the audit trail.

It works on the store and the secrets that the settings name, as the app does; the embedded store has to be free, so
stop the app first. A password is read from the terminal, or from the first line of standard input.
"""

import argparse
import asyncio
import getpass
import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, StringConstraints, TypeAdapter, ValidationError

from shared.core.errors import KraftdError
from shared.core.settings import SettingsError, load_settings
from shared.core.text import Line, not_blank, printable
from shared.identity.account_operations import Order
from shared.identity.directory import EmailTaken
from shared.identity.operations import NewAdmin
from shared.identity.passwords import NewPassword
from shared.ledger.recount import Recount
from shared.ledger.shards import BrokenShard
from shared.privacy.emails import Email
from shared.privacy.secrets import LOCAL_ROOTS, ROOTS, RotatableSecrets
from shared.storage.errors import StoreError
from shared.wiring import Services, build_services
from tools._erasures import ListError, check_erasure, list_erasures, replay_erasures

type ReasonText = Annotated[
    str, StringConstraints(min_length=3, max_length=500), AfterValidator(printable), AfterValidator(not_blank)
]
type Command = Callable[[Services, argparse.Namespace], Awaitable[str]]
type _Add = Callable[[str, Command, str], argparse.ArgumentParser]


_VERIFYING = "five minutes, older ones go on verifying"
_AFTER = {
    "tokens": _VERIFYING,
    "ledger": _VERIFYING,
    "persons": "five minutes, run rewrap in an hour",
    "index": "15 minutes, run reindex then",
}


class _Refused(Exception):
    """A command that cannot be done as it was given; the message says why."""


async def _system_admin(services: Services, options: argparse.Namespace) -> str:
    admin = NewAdmin(
        _checked("--email", Email, options.email),
        _checked("password", NewPassword, _password()),
        _checked("--first-name", Line, options.first_name),
        _checked("--last-name", Line, options.last_name),
    )
    try:
        user_id = await services.operations.make_system_admin(admin, operator=options.operator)
    except EmailTaken:
        raise _Refused("this e-mail has an account") from None
    return f"system administrator {user_id}"


async def _suspend(services: Services, options: argparse.Namespace) -> str:
    done = await services.operations.set_tenant_status(options.tenant, "suspended", operator=options.operator)
    return f"tenant {options.tenant} {'suspended' if done else 'was suspended already'}"


async def _resume(services: Services, options: argparse.Namespace) -> str:
    done = await services.operations.set_tenant_status(options.tenant, "active", operator=options.operator)
    return f"tenant {options.tenant} {'resumed' if done else 'was active already'}"


async def _suspend_user(services: Services, options: argparse.Namespace) -> str:
    done = await services.account_operations.set_status(_account(options), "suspended", _order(options))
    return f"account {options.account} {'suspended' if done else 'was suspended already'}"


async def _resume_user(services: Services, options: argparse.Namespace) -> str:
    done = await services.account_operations.set_status(_account(options), "active", _order(options))
    return f"account {options.account} {'resumed' if done else 'was active already'}"


async def _unlock_user(services: Services, options: argparse.Namespace) -> str:
    done = await services.account_operations.unlock(_account(options), _order(options))
    return f"account {options.account} {'unlocked' if done else 'was not locked, and had no failures to forget'}"


async def _reset_mfa(services: Services, options: argparse.Namespace) -> str:
    done = await services.account_operations.reset_factor(_account(options), _order(options))
    return f"account {options.account} {'has no second factor any more' if done else 'had no second factor'}"


async def _check_erasure(services: Services, options: argparse.Namespace) -> str:
    options.email = None if options.email is None else _checked("--email", Email, options.email)
    return await check_erasure(services, options)


def _account(options: argparse.Namespace) -> str:
    return _checked("ACCOUNT", Email if "@" in options.account else Line, options.account)


def _order(options: argparse.Namespace) -> Order:
    reason = None if options.reason is None else _checked("--reason", ReasonText, options.reason)
    return Order(options.command, options.operator, reason)


async def _rotate(services: Services, options: argparse.Namespace) -> str:
    """Each secret that was named; of all of them, those that can be rotated."""
    if not isinstance(services.secrets, RotatableSecrets):
        raise _Refused("secrets in memory cannot be rotated")
    if "persons" in options.secret and services.settings.key_vault_uri is not None:
        raise _Refused("kraftd-persons is a key of the vault: rotate it there, then run rewrap")
    done = []
    for root in options.secret or ROOTS:
        if root == "index" and not options.secret:
            done.append("secret index stays as it is: reindex has to be run after it, so it is rotated by name only")
            continue
        try:
            version = await services.operations.rotate(root, operator=options.operator)
        except ValueError as refusal:
            raise _Refused(str(refusal)) from None
        done.append(f"secret {root} has a new version {version}; it is used within {_AFTER[root]}")
    return "\n".join(done)


async def _rewrap(services: Services, options: argparse.Namespace) -> str:
    """Which may be run while the app runs, and again after it was cut off."""
    done = await services.rewrapping.run(operator=options.operator, verify=options.verify)
    tried = "and unwrap" if options.verify else "and were not tried (--verify tries them)"
    said = f"{done.wrapped} keys of persons were wrapped anew, {done.current} were current {tried}"
    if done.damaged:
        raise _Refused(f"{said}; {done.damaged} do not unwrap and stay as they are (see person_key_damaged in the log)")
    if services.settings.key_vault_uri is None:
        newest = (await services.secrets.versions("persons"))[0].version
        if not await services.wrapper.is_current(newest):
            said += f"; the newest version {newest} is not in use yet: run rewrap again an hour after the rotation"
    return said


async def _reindex(services: Services, options: argparse.Namespace) -> str:
    """The step of a rotation that is due. Which may be run while the app runs, and again after it was cut off."""
    try:
        done = await services.operations.index_rotation.reindex(operator=options.operator)
    except ValueError as refusal:
        raise _Refused(str(refusal)) from None
    if done.is_sweep:
        return f"{done.removed} entries under the old version were removed; the rotation is over"
    said = f"{done.moved} e-mails have an entry under the new version, {done.current} had one already"
    said += f", {done.sealed} second factors and webhooks were sealed anew"
    if done.contended:
        raise _Refused(f"{said}; {done.contended} are claimed by others (see email_contended in the log): run it again")
    return f"{said}; run it again in 15 minutes"


async def _drop_index(services: Services, options: argparse.Namespace) -> str:
    rotation = services.operations.index_rotation
    written_until = await rotation.written_until()
    needed_until = None
    if written_until is not None and not options.early:
        needed_until = written_until + timedelta(days=services.settings.cosmos_db_ttl_days + 31)
    try:
        await rotation.drop(options.version, needed_until, operator=options.operator)
    except ValueError as refusal:
        raise _Refused(str(refusal)) from None
    return f"version {options.version} of the secret index is not used any more; disable it in 15 minutes"


async def _recount_rollups(services: Services, options: argparse.Namespace) -> str:
    """Every month of the tenant, or the one that was named."""
    wrong = []
    try:
        heads = await services.shards.heads(options.tenant)
        months = [head.period for head in heads if options.month in (None, head.period)]
        if not months:
            raise _Refused("nothing of it was sealed")
        for month in months:
            if options.write:
                wrong += await services.operations.recount_rollups(options.tenant, month, operator=options.operator)
            else:
                wrong += await Recount(services.store).shard(options.tenant, month)
    except BrokenShard as error:
        raise _Refused(f"the ledger is broken: {error}") from None
    said = "was counted anew" if options.write else "has other counts than its entries"
    return "\n".join(f"{day} {said}" for day in wrong) or "all counts are those of the entries"


def _operator(given: str | None) -> str:
    """The name under which a command is recorded: what was given, or who the operating system says is at work."""
    try:
        name = given if given is not None else getpass.getuser()
    except (OSError, KeyError):
        raise _Refused("--operator: say who you are, for the operating system does not know") from None
    return _checked("--operator", Line, name)


def _checked(name: str, kind: Any, value: str) -> str:
    try:
        return str(TypeAdapter(kind).validate_python(value))
    except ValidationError as error:
        raise _Refused(f"{name}: {error.errors(include_input=False)[0]['msg']}") from None


def _password() -> str:
    if sys.stdin.isatty():
        first, again = getpass.getpass("Password: "), getpass.getpass("Again: ")
        if first != again:
            raise _Refused("password: the two are not the same")
        return first
    return sys.stdin.readline().rstrip("\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.operator", description="Operate a deployment.")
    parser.add_argument("--operator", metavar="NAME", help="who gives the command (default: the user of this system)")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, run: Command, text: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text)
        made.set_defaults(run=run, command=name)
        return made

    _add_accounts(add)
    _add_records(add)
    _add_keys(add)
    return parser


def _add_accounts(add: _Add) -> None:
    """Commands about organizations and their people."""
    admin = add("system-admin", _system_admin, "make an account with the role system_admin in the tenant platform")
    for option in ("--email", "--first-name", "--last-name"):
        admin.add_argument(option, required=True)
    for name, run, text in (
        ("suspend-tenant", _suspend, "let nobody of a tenant act any more, at once"),
        ("resume-tenant", _resume, "let a suspended tenant act again"),
    ):
        add(name, run, text).add_argument("tenant", help="id of the tenant")
    for name, run, text in (
        ("suspend-user", _suspend_user, "let one account, whatever its role, act no more, at once"),
        ("resume-user", _resume_user, "let a suspended account act again"),
        ("unlock-user", _unlock_user, "forget an account's failed sign-ins, and the lock that they led to"),
        ("reset-mfa", _reset_mfa, "remove an account's second factor and recovery codes, and end its sessions"),
    ):
        user = add(name, run, text)
        user.add_argument("account", metavar="ACCOUNT", help="e-mail or id of the account")
        user.add_argument("--reason", metavar="TEXT", help="why, for its organization to read in the trail")


def _add_records(add: _Add) -> None:
    """Commands about what is stored of them."""
    recount = add(
        "recount-rollups", _recount_rollups, "count what is sealed of a tenant again, and say where it differs"
    )
    recount.add_argument("tenant", help="id of the tenant")
    recount.add_argument("--month", metavar="YYYY-MM", help="this month only")
    recount.add_argument("--write", action="store_true", help="put the stored counts right")
    for name, run, text in (
        ("erasures-list", list_erasures, "append the erasures that a file does not list yet to it; keep it apart"),
        ("replay-erasures", replay_erasures, "after a restore: erase again whom such a file lists"),
    ):
        listed = add(name, run, text)
        listed.add_argument("file", metavar="FILE", help="one JSON object in each line")
    listed.add_argument(
        "--begin-only", action="store_true", help="leave all of it to the app, which in Azure alone may rewrite events"
    )
    check = add("check-erasure", _check_erasure, "look for a person in every copy that the app knows")
    check.add_argument("tenant", help="id of the tenant")
    check.add_argument("subject", help="id of the person")
    check.add_argument("--email", help="the person's e-mail, by which more is found; it is not kept")


def _add_keys(add: _Add) -> None:
    """Commands about secrets and keys."""
    rotate = add("rotate-keys", _rotate, "add a version of each secret that can be rotated, or of the named ones")
    rotate.add_argument(
        "secret", nargs="*", choices=LOCAL_ROOTS, metavar="SECRET", help=f"one of {', '.join(LOCAL_ROOTS)}"
    )
    add("reindex", _reindex, "after rotate-keys index: do the next step of the rotation")
    drop = add("drop-index", _drop_index, "look for nothing under the oldest version of the secret index any more")
    drop.add_argument("version", help="the oldest version that is kept")
    drop.add_argument(
        "--early", action="store_true", help="although events of it may be there, which nobody finds then"
    )
    rewrap = add("rewrap", _rewrap, "wrap the keys of all persons under the newest version of the key that wraps them")
    rewrap.add_argument("--verify", action="store_true", help="try also those that are wrapped under it already")


async def _run(options: argparse.Namespace) -> str:
    options.operator = _operator(options.operator)
    services = await build_services(load_settings())
    try:
        done: str = await options.run(services, options)
        return done
    finally:
        await services.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Exit code 0 when it is done, 1 when it was refused or could not be done, 2 for wrong usage."""
    options = _parser().parse_args(arguments)
    try:
        sys.stdout.write(asyncio.run(_run(options)) + "\n")
    except (_Refused, ListError, SettingsError) as refusal:
        return _failed(str(refusal))
    except KraftdError as error:
        return _failed("; ".join(f"{e.field}: {e.message}" for e in error.errors) or error.detail or str(error))
    except StoreError as error:
        return _failed(f"the store failed: {type(error).__name__}: {error}")
    return 0


def _failed(message: str) -> int:
    sys.stderr.write(f"operator: {message}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
