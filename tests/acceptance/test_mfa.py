"""The story of a second factor, as an HTTP client lives it, and the events that it leaves."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

from pyotp import TOTP

from tests.app import PASSWORD, PEER, Account, App, assert_problem
from tests.second_factors import require

STRANGER = {"kind": "anonymous", "id": None, "role": None}


class Person:
    """A client with a token, an authenticator app, and a look at the clock."""

    def __init__(self, app: App, account: Account) -> None:
        self.app = app
        self.account = account
        self.token = account.token
        self.secret = ""

    @property
    def me(self) -> dict[str, Any]:
        return {"kind": "user", "id": self.account.id, "role": "tenant_admin"}

    def code(self) -> str:
        """The next code of the authenticator app: half a minute goes by until it shows one."""
        self.app.clock.advance(seconds=30)
        return TOTP(self.secret).at(int(self.app.clock.now().timestamp()))

    async def send(self, method: str, path: str, body: Any = None) -> Any:
        self.app.clock.advance(seconds=1)
        headers = {"Authorization": f"Bearer {self.token}"}
        return await self.app.client.request(method, path, json=body, headers=headers)

    async def sign_in(self) -> Any:
        self.app.clock.advance(seconds=1)
        return await self.app.login(self.account.email)

    async def story(self) -> list[tuple[str, str, str | None]]:
        """What the trail tells since the registration: call by call, the sign-in behind what led to it."""
        events = await self.app.events(self.account.tenant_id)
        events.sort(key=lambda e: (e["recorded_at"], e["type"].startswith("auth."), e["type"]))
        told = ("auth.register", "consent.grant", "profile.view")
        return [(e["type"], e["outcome"], e["reason"]) for e in events if e["type"] not in told]


async def test_a_person_sets_up_a_factor_signs_in_with_it_and_removes_it(app: App, ada: Account) -> None:
    person = Person(app, ada)
    assert (await person.send("GET", "/v1/profile")).json()["mfa"] is False

    # Enroll: a secret, in base32 and as a QR code carries it. Nothing changes until a code confirms it.
    begun = (await person.send("POST", "/v1/mfa/enroll")).json()
    assert begun.keys() == {"secret", "otpauth_uri"}
    assert parse_qs(urlsplit(begun["otpauth_uri"]).query)["secret"] == [begun["secret"]]
    person.secret = begun["secret"]
    assert "access_token" in (await person.sign_in()).json()

    # Confirm: ten recovery codes, this once.
    confirmed = await person.send("POST", "/v1/mfa/confirm", {"code": person.code()})
    assert confirmed.status_code == 200
    codes = confirmed.json()["recovery_codes"]
    assert len(set(codes)) == 10
    assert (await person.send("GET", "/v1/profile")).json()["mfa"] is True

    # Sign in: the password is not enough any more. A wrong code is told, a code after it is taken.
    asked = (await person.sign_in()).json()
    assert asked == {"mfa_required": True, "challenge": asked["challenge"], "enrollment_required": False}
    answer = {"challenge": asked["challenge"]}
    assert_problem(
        await person.send("POST", "/v1/login/mfa", answer | {"code": f"{(int(person.code()) + 1) % 10**6:06}"}),
        401,
        "invalid_credentials",
    )
    code = person.code()
    tokens = await person.send("POST", "/v1/login/mfa", answer | {"code": code})
    assert tokens.status_code == 200
    assert tokens.json().keys() == {"access_token", "refresh_token", "token_type", "expires_in"}
    person.token = tokens.json()["access_token"]

    # Replay: neither the challenge nor the code is good a second time.
    assert_problem(await person.send("POST", "/v1/login/mfa", answer | {"code": code}), 401, "invalid_challenge")
    asked = (await person.sign_in()).json()
    again = {"challenge": asked["challenge"], "code": code}
    assert_problem(await person.send("POST", "/v1/login/mfa", again), 401, "invalid_credentials")

    # Without the telephone: a recovery code, once.
    recovery = {"challenge": asked["challenge"], "recovery_code": codes[0]}
    assert (await person.send("POST", "/v1/login/mfa", recovery)).status_code == 200
    recovery = {"challenge": (await person.sign_in()).json()["challenge"], "recovery_code": codes[0]}
    assert_problem(await person.send("POST", "/v1/login/mfa", recovery), 401, "invalid_credentials")

    # Step up, then remove the factor: with both proofs.
    assert (await person.send("POST", "/v1/step-up", {"code": person.code()})).status_code == 204
    wrong = {"password": "not my password", "code": person.code()}
    assert_problem(await person.send("DELETE", "/v1/mfa", wrong), 403, "wrong_password")
    right = {"password": PASSWORD, "code": person.code()}
    assert (await person.send("DELETE", "/v1/mfa", right)).status_code == 204
    assert "access_token" in (await person.sign_in()).json()

    assert await person.story() == [
        ("mfa.enroll", "success", "started"),
        ("auth.login", "success", None),
        ("mfa.enroll", "success", "confirmed"),
        ("mfa.challenge_issued", "success", None),
        ("mfa.challenge", "failure", "wrong_code"),
        ("auth.login", "failure", "mfa_failed"),
        ("mfa.challenge", "success", None),
        ("auth.login", "success", None),
        ("mfa.challenge_issued", "success", None),
        ("mfa.challenge", "failure", "replayed"),
        ("auth.login", "failure", "mfa_failed"),
        ("mfa.challenge", "success", None),
        ("mfa.recovery_used", "success", None),
        ("auth.login", "success", None),
        ("mfa.challenge_issued", "success", None),
        ("mfa.challenge", "failure", "wrong_code"),
        ("auth.login", "failure", "mfa_failed"),
        ("mfa.challenge", "success", None),
        ("mfa.disable", "failure", "wrong_password"),
        ("mfa.disable", "success", None),
        ("auth.login", "success", None),
    ]


async def test_who_must_have_a_factor_enrolls_before_anything_else(app: App, ada: Account) -> None:
    person = Person(app, ada)
    await require(app, ada, "all")

    # The password opens a session that enrolls, and nothing else.
    due = (await person.sign_in()).json()
    assert {name: due[name] for name in ("mfa_required", "challenge", "enrollment_required")} == {
        "mfa_required": True,
        "challenge": None,
        "enrollment_required": True,
    }
    person.token = due["access_token"]
    assert_problem(await person.send("GET", "/v1/profile"), 403, "mfa_enrollment_required")

    # Once enrolled, the same token is good for everything, and the factor stays.
    person.secret = (await person.send("POST", "/v1/mfa/enroll")).json()["secret"]
    assert (await person.send("POST", "/v1/mfa/confirm", {"code": person.code()})).status_code == 200
    assert (await person.send("GET", "/v1/profile")).json()["mfa"] is True
    kept = {"password": PASSWORD, "code": person.code()}
    assert_problem(await person.send("DELETE", "/v1/mfa", kept), 409, "mfa_required")

    assert await person.story() == [
        ("auth.login", "success", "mfa_enrollment"),
        ("access.denied", "denied", "mfa_enrollment"),
        ("mfa.enroll", "success", "started"),
        ("mfa.enroll", "success", "confirmed"),
        ("mfa.disable", "failure", "required"),
    ]


async def test_every_event_says_who_from_where_and_about_whom(app: App, ada: Account) -> None:
    person = Person(app, ada)
    person.secret = (await person.send("POST", "/v1/mfa/enroll")).json()["secret"]
    codes = (await person.send("POST", "/v1/mfa/confirm", {"code": person.code()})).json()["recovery_codes"]
    challenge = (await person.sign_in()).json()["challenge"]
    await person.send("POST", "/v1/login/mfa", {"challenge": challenge, "recovery_code": "aaaa-bbbb-cccc-dddd"})
    await person.send("POST", "/v1/login/mfa", {"challenge": challenge, "recovery_code": codes[0]})
    await person.send("DELETE", "/v1/mfa", {"password": PASSWORD, "code": person.code()})
    events = [e for e in await app.events(ada.tenant_id) if e["type"].startswith("mfa.")]
    events.sort(key=lambda e: (e["recorded_at"], e["type"]))
    assert [(e["type"], e["actor"] == person.me, e["severity"], e["attributes"]) for e in events] == [
        ("mfa.enroll", True, "info", {"factor": "totp", "sessions_ended": 0}),
        ("mfa.enroll", True, "info", {"factor": "totp", "sessions_ended": 0}),
        ("mfa.challenge_issued", False, "info", {"factor": "totp"}),
        ("mfa.challenge", False, "info", {"factor": "recovery"}),
        ("mfa.challenge", True, "info", {"factor": "recovery"}),
        ("mfa.recovery_used", True, "low", {"factor": "recovery", "remaining": 9}),
        ("mfa.disable", True, "medium", {"factor": "totp"}),
    ]
    for event in events:
        assert event["actor"] in (person.me, STRANGER)
        assert event["target"] == {"kind": "user", "id": ada.id}
        assert event["subjects"] == [ada.id]
        personal = event["personal"][ada.id]["data"]
        assert (personal["email"], personal["ip"]) == (ada.email, PEER[0])
        assert personal.keys() == {"email", "ip", "user_agent"}
