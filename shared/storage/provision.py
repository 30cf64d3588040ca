"""`python -m shared.storage.provision`: make the database and the containers of containers.py, or check them.

It may run any number of times, also at the same time: it surveys, changes what differs and surveys again until nothing
does. See docs/provisioning.md.
"""

import argparse
import asyncio
import contextlib
import json
import logging
import sys
from collections.abc import Sequence

from azure.core.exceptions import AzureError, ClientAuthenticationError
from azure.cosmos.exceptions import CosmosHttpResponseError

from shared.core.settings import Settings, SettingsError, load_settings
from shared.storage._cosmos_account import Survey, Wanted, change, survey
from shared.storage._cosmos_client import Account, Client
from shared.storage._cosmos_definition import Drift, Remedy, definition
from shared.storage._cosmos_throughput import Throughput
from shared.storage.containers import CONTAINERS, container_names

AS_DECLARED, DRIFTED, COULD_NOT_RUN = 0, 1, 2
ROUNDS = 4
_MAX_TEXT = 300
_NO_KEY = (
    "COSMOS_DB_KEY: is not set, and a managed identity cannot create databases or containers. In Azure the Bicep "
    "templates create them; here --check compares them, if the identity may read the account's metadata"
)
_REFUSED = {
    401: "the key or identity is not one of this account (or this machine's clock is wrong)",
    403: "the account does not let us: its firewall, its roles, or keys are disabled",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """0: all is as declared (now). 1: something is not. 2: it could not be found out, or not be done."""
    options = _parser().parse_args(arguments)
    logging.getLogger("azure").addHandler(logging.NullHandler())  # what matters we say ourselves, in a line
    try:
        settings = load_settings()
        account, wanted = _account(settings, check=options.check), _wanted(settings)
        return asyncio.run(_run(account, wanted, check=options.check, seconds=options.timeout))
    except SettingsError as error:
        return _failed(str(error))
    except TimeoutError:
        return _failed(f"the account did not answer within {options.timeout:g} seconds")
    except CosmosHttpResponseError as error:
        return _failed(_answer_of(error))
    except ClientAuthenticationError:
        return _failed("COSMOS_DB_KEY: is not set, and no identity could sign in")
    except AzureError as error:
        return _failed(f"COSMOS_DB_ENDPOINT: not reached: {type(error).__name__}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m shared.storage.provision",
        description="Create the database and containers of the app in the account of COSMOS_DB_ENDPOINT, or bring "
        "what differs in line. Nothing is ever deleted.",
        epilog="Exit codes: 0 as declared, 1 something is not, 2 it could not be found out or not be done.",
    )
    parser.add_argument("--check", action="store_true", help="change nothing; print what differs, one line each")
    parser.add_argument("--timeout", type=_seconds, default=300.0, help="seconds for all of it (default: %(default)g)")
    return parser


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds <= 3600:
        raise argparse.ArgumentTypeError("0 to 3600 seconds")
    return seconds


def _account(settings: Settings, *, check: bool) -> Account:
    if settings.cosmos_db_endpoint is None:
        raise SettingsError("COSMOS_DB_ENDPOINT: is not set; the embedded store needs no provisioning")
    if settings.cosmos_db_key is None and not check:
        raise SettingsError(_NO_KEY)
    return Account(
        settings.cosmos_db_endpoint,
        settings.cosmos_db_name,
        settings.cosmos_db_key.get_secret_value() if settings.cosmos_db_key else None,
        settings.azure_client_id,
        settings.cosmos_db_emulator,
    )


def _wanted(settings: Settings) -> Wanted:
    names = container_names(settings)
    definitions = [
        definition(each, ttl_days=settings.cosmos_db_ttl_days, name=names.get(each.name))
        for each in CONTAINERS.values()
    ]
    try:
        throughput = Throughput.of(settings.cosmos_db_throughput)
    except ValueError as error:
        raise SettingsError(f"COSMOS_DB_THROUGHPUT: {error}") from None
    return Wanted(settings.cosmos_db_name, definitions, throughput)


async def _run(account: Account, wanted: Wanted, *, check: bool, seconds: float) -> int:
    client = Client(account, seconds)
    try:
        async with asyncio.timeout(seconds):
            return await (_check(client, wanted) if check else _provision(client, wanted))
    finally:
        await client.close()


async def _check(client: Client, wanted: Wanted) -> int:
    seen = await survey(client, wanted)
    _note_what_is_unknown(seen)
    for each in seen.drifts:
        print(each)
    if not seen.drifts:
        print(f"as declared: {_whole(wanted)}")
    return DRIFTED if seen.drifts else AS_DECLARED


async def _provision(client: Client, wanted: Wanted) -> int:
    done: list[Drift] = []
    for _ in range(ROUNDS):
        seen = await survey(client, wanted)
        if any(each.remedy is Remedy.NONE for each in seen.drifts):
            return _left([each for each in seen.drifts if each.remedy is Remedy.NONE], "nothing was changed")
        ours = [each for each in seen.drifts if each.remedy in (Remedy.CREATE, Remedy.REPLACE)]
        if not ours:
            break
        await change(client, wanted, seen)
        done += [each for each in ours if each not in done]
    else:
        return _left(ours, "it does not stay as it is made; does something else provision, too?")
    _note_what_is_unknown(seen)
    if done or not seen.drifts:
        _show(wanted, done)
    return _left(seen.drifts, "to be changed by hand (portal, CLI or templates)") if seen.drifts else AS_DECLARED


def _show(wanted: Wanted, done: Sequence[Drift]) -> None:
    """What was done, a line for the database and for each container."""
    if not done:
        print(f"nothing to do: {_whole(wanted)}")
        return
    for kind, place in (("database", wanted.database), *(("container", each["id"]) for each in wanted.containers)):
        changes = [each for each in done if each.place == place]
        print(f"{kind:<9}  {place:<20}  {_what(changes)}")


def _what(changes: Sequence[Drift]) -> str:
    if not changes:
        return "unchanged"
    if any(each.remedy is Remedy.CREATE for each in changes):
        return "created"
    return "updated: " + "; ".join(f"{each.name}: was {each.found}, is {each.wanted}" for each in changes)


def _whole(wanted: Wanted) -> str:
    return f"database {wanted.database} and its {len(wanted.containers)} containers"


def _note_what_is_unknown(seen: Survey) -> None:
    if seen.capacity.serverless is None:
        print("provision: the throughput could not be checked: no data role allows to read it", file=sys.stderr)


def _left(remaining: Sequence[Drift], meaning: str) -> int:
    for each in remaining:
        print(f"provision: {each}", file=sys.stderr)
    print(f"provision: {meaning}", file=sys.stderr)
    return DRIFTED


def _answer_of(error: CosmosHttpResponseError) -> str:
    """What the account answered, in one line. Its own words only where they say what is wrong with ours."""
    status = error.status_code or 0
    said = _REFUSED.get(status) or (_words_of(error) if status == 400 else "try again")
    return f"the account answered {status}/{error.sub_status or 0}: {said}"


def _words_of(error: CosmosHttpResponseError) -> str:
    text = str(error.http_error_message or "")
    with contextlib.suppress(ValueError, KeyError, TypeError):  # a proxy's answer need not be JSON
        text = str(json.loads(text)["message"])
    return " ".join(text.split())[:_MAX_TEXT]


def _failed(message: str) -> int:
    print(f"provision: {message}", file=sys.stderr)
    return COULD_NOT_RUN


if __name__ == "__main__":
    sys.exit(main())
