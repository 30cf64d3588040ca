"""Authenticator apps of test accounts, and what a tenant's policy asks of them."""

from dataclasses import dataclass, field
from typing import Any

import httpx
from pyotp import TOTP

from shared.identity.factors import factor_key
from shared.identity.model import TENANT_ITEM
from shared.storage.containers import IDENTITY
from shared.storage.documents import Item, PatchSet
from shared.storage.errors import NotFound
from tests.app import PASSWORD, Account, App

MFA_BODIES = ("login_mfa", "mfa_confirm", "mfa_disable", "step_up")
"""Endpoints whose good call needs a factor, or one that waits."""


@dataclass
class Device:
    """An authenticator app with one account's secret."""

    app: App
    account: Account
    secret: str = field(repr=False)
    recovery_codes: list[str] = field(default_factory=list, repr=False)

    def code(self, steps: int = 0) -> str:
        """The code of now, or of so many time steps later."""
        return TOTP(self.secret).at(int(self.app.clock.now().timestamp()), counter_offset=steps)

    def wrong(self, count: int = 1) -> str:
        """A code that is none of those around now; `count` picks one."""
        near = {self.code(step) for step in range(-3, 4)}
        return [str(number) for number in range(918_273, 918_373) if str(number) not in near][count - 1]

    async def post(self, path: str, **body: Any) -> httpx.Response:
        return await self.send("POST", path, body)

    async def disable(self, code: str, password: str = PASSWORD) -> httpx.Response:
        body = {"password": password, "code": code}
        return await self.send("DELETE", "/v1/mfa", body)

    async def send(self, method: str, path: str, body: dict[str, Any]) -> httpx.Response:
        """A call of the account, a microsecond after whatever was before: events have an order then."""
        self.app.clock.advance(seconds=0.000001)
        return await self.app.client.request(method, path, json=body, headers=self.account.auth)

    async def challenge(self) -> str:
        """Show the password, be asked for the factor."""
        answer = await self.app.login(self.account.email)
        assert answer.json().keys() == {"mfa_required", "challenge", "enrollment_required"}, answer.text
        return str(answer.json()["challenge"])

    async def answer(self, challenge: str, code: str | None = None, **more: Any) -> httpx.Response:
        """Answer a challenge without a token."""
        self.app.clock.advance(seconds=0.000001)
        body = {"challenge": challenge} | ({} if code is None else {"code": code}) | more
        return await self.app.client.post("/v1/login/mfa", json=body)


async def begin(app: App, account: Account) -> Device:
    """A secret that waits to be confirmed."""
    app.clock.advance(seconds=0.000001)
    answer = await app.client.post("/v1/mfa/enroll", headers=account.auth)
    assert answer.status_code == 200, answer.text
    return Device(app, account, answer.json()["secret"])


async def enrolled(app: App, account: Account) -> Device:
    """An account with a factor, confirmed a minute ago by the code of a moment before."""
    device = await begin(app, account)
    answer = await device.post("/v1/mfa/confirm", code=device.code())
    assert answer.status_code == 200, answer.text
    device.recovery_codes = answer.json()["recovery_codes"]
    app.clock.advance(minutes=1)
    return device


async def require(app: App, account: Account, policy: str) -> None:
    """Set a tenant's policy behind the app's back: the endpoint for it is not what these tests are about."""
    await app.store.patch(
        IDENTITY, (account.tenant_id,), TENANT_ITEM, [PatchSet("settings", {"require_mfa": policy})], None
    )


async def stored_factor(app: App, account: Account) -> Item | None:
    try:
        return await app.store.read(IDENTITY, (account.tenant_id,), factor_key(account.id))
    except NotFound:
        return None


async def good_body(app: App, account: Account, name: str) -> dict[str, Any]:
    """The body of a call that succeeds, after everything that has to come before it."""
    if name == "mfa_confirm":
        return {"code": (await begin(app, account)).code()}
    device = await enrolled(app, account)
    if name == "login_mfa":
        return {"challenge": await device.challenge(), "code": device.code()}
    return {"code": device.code()} | ({"password": PASSWORD} if name == "mfa_disable" else {})
