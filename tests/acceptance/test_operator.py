"""The operator's command line, as an operator runs it, and what it leaves in the trail."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from shared.core.clock import SystemClock
from shared.core.settings import Settings
from shared.identity.model import Role
from shared.identity.operations import NewAdmin
from shared.wiring import Services, build_services
from tests.app import PASSWORD, ROOT, Account, App, assert_problem

ADMIN = ("system-admin", "--email", "root@example.com", "--first-name", "Some", "--last-name", "Operator")


def run(data: Path, *arguments: str, typed: str = "", code: int = 0, **environment: str) -> str:
    """What a command prints; its exit code is checked, and that it shows no password."""
    done = subprocess.run(  # noqa: S603 - our own module
        [sys.executable, "-m", "tools.operator", *arguments],
        cwd=ROOT,
        env={**os.environ, "KRAFTD_DATA": str(data), **environment},
        input=typed,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert not typed.strip() or typed.strip() not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return (done.stdout or done.stderr).strip()


async def services_of(data: Path) -> Services:
    return await build_services(Settings(kraftd_data=str(data)), clock=SystemClock())


async def test_a_system_admin_is_made_with_a_password_from_the_terminal(tmp_path: Path) -> None:
    said = run(tmp_path, *ADMIN, typed=PASSWORD + "\n")
    assert said.startswith("system administrator ")
    services = await services_of(tmp_path)
    try:
        entry = await services.directory.find("root@example.com")
        assert entry is not None
        assert (entry.tenant_id, f"system administrator {entry.user_id}") == ("platform", said)
    finally:
        await services.close()
    assert run(tmp_path, *ADMIN, typed=PASSWORD + "\n", code=1) == "operator: this e-mail has an account"


@pytest.mark.parametrize(
    ("arguments", "typed", "says"),
    [
        (ADMIN, "short\n", "password: "),
        (ADMIN, "password1234\n", "password: "),
        (ADMIN, "\n", "password: "),
        ((*ADMIN[:2], "no e-mail", *ADMIN[3:]), PASSWORD, "--email: "),
        ((*ADMIN[:4], "a\nb", *ADMIN[5:]), PASSWORD, "--first-name: "),
        (("suspend-tenant", "01890a5d-ac96-774b-bcce-b302099a8057"), "", "There is no tenant of that id."),
        (("suspend-tenant", "../x"), "", "There is no tenant of that id."),
        (("suspend-tenant", "platform"), "", "The platform's own tenant cannot be suspended"),
    ],
)
def test_what_cannot_be_done_says_why(tmp_path: Path, arguments: tuple[str, ...], typed: str, says: str) -> None:
    assert run(tmp_path, *arguments, typed=typed, code=1).startswith(f"operator: {says}")


def test_wrong_usage_and_wrong_settings(tmp_path: Path) -> None:
    assert "usage" in run(tmp_path, "make-me-king", code=2)
    assert run(tmp_path, "rotate-keys", code=1, SESSION_DAYS="x").startswith("operator: SESSION_DAYS: ")


def test_keys_are_rotated_in_files_of_their_own(tmp_path: Path) -> None:
    assert "new version v2" in run(tmp_path, "rotate-keys")
    assert "new version v3" in run(tmp_path, "rotate-keys")
    files = sorted(path.name for path in (tmp_path / "secrets").iterdir())
    assert files == ["index.v1", "tokens.v1", "tokens.v2", "tokens.v3"]
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "secrets").iterdir()} == {0o600}
    assert len({path.read_bytes() for path in (tmp_path / "secrets").iterdir()}) == 4


def test_secrets_in_memory_are_not_rotated(tmp_path: Path) -> None:
    assert run(tmp_path, "rotate-keys", code=1, KRAFTD_DATA=":memory:") == (
        "operator: secrets in memory cannot be rotated"
    )


async def test_a_suspended_tenant_cannot_act_and_a_resumed_one_can(app: App, ada: Account, grace: Account) -> None:
    key = await app.client.post("/v1/admin/api-keys", json={"name": "x", "scopes": ["alerts:read"]}, headers=ada.auth)
    program = {"Authorization": f"Bearer {key.json()['key']}"}
    assert await app.services.operations.set_tenant_status(ada.tenant_id, "suspended")
    assert not await app.services.operations.set_tenant_status(ada.tenant_id, "suspended")
    for headers in (ada.auth, program):
        assert_problem(await app.client.get("/v1/alerts", headers=headers), 401, "invalid_token")
    assert_problem(await app.login(ada.email), 401, "invalid_credentials")
    assert (await app.client.get("/v1/alerts", headers=grace.auth)).status_code == 200

    assert await app.services.operations.set_tenant_status(ada.tenant_id, "active")
    for headers in (ada.auth, program):
        assert (await app.client.get("/v1/alerts", headers=headers)).status_code == 200
    events = await app.events(ada.tenant_id, "config.change")
    assert sorted((e["reason"], e["severity"], e["actor"]["kind"], e["source"]["id"]) for e in events) == [
        ("active", "high", "system", "operator"),
        ("suspended", "high", "system", "operator"),
    ]


async def test_a_system_admin_is_in_the_trail_and_nobody_becomes_one_over_http(app: App, ada: Account) -> None:

    user_id = await app.services.operations.make_system_admin(
        NewAdmin("root@example.com", PASSWORD, "Some", "Operator")
    )
    assert (await app.login("root@example.com")).status_code == 200
    (event,) = await app.events("platform", "auth.register")
    assert (event["reason"], event["severity"], event["target"]["id"]) == ("system_admin", "high", user_id)
    bob = await app.join(ada, "bob@example.com", Role.USER)
    for body in ({"role": "system_admin"}, {"tenant_id": "platform"}):
        answer = await app.client.put(f"/v1/admin/users/{bob.id}", json=body, headers=ada.auth)
        assert_problem(answer, 422, "invalid_request", next(iter(body)))
    invited = await app.client.post(
        "/v1/admin/invitations", json={"email": "x@example.com", "role": "system_admin"}, headers=ada.auth
    )
    assert_problem(invited, 422, "invalid_request", "role")
