"""One-time codes (RFC 6238: HMAC-SHA-1, 30 seconds, 6 digits) and recovery codes. Nothing is stored here.

A code that is one step early or late still counts: clocks of telephones differ, and people take a while to type. Which
step it was is told, so that whoever keeps it can refuse to take a code twice.
"""

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, StringConstraints, WithJsonSchema
from pydantic_core import PydanticCustomError

ISSUER = "Kraftd Audit"
STEP_SECONDS = 30
DRIFT_STEPS = 1
RECOVERY_CODES = 10
_SECRET_BYTES = 20
_RECOVERY_CHARACTERS = 28
"""140 bits: a plain hash of what has 112 or more is enough. Codes of 16 characters were given out before."""
_GROUP = 4

type RandomBytes = Callable[[int], bytes]


def new_secret(random_bytes: RandomBytes = secrets.token_bytes) -> str:
    """A secret of 160 bits, in base32, as authenticator apps take it."""
    return base64.b32encode(random_bytes(_SECRET_BYTES)).decode()


def otpauth_uri(secret: str, email: str) -> str:
    """What a QR code shows to an authenticator app."""
    from pyotp import TOTP

    return TOTP(secret).provisioning_uri(name=email, issuer_name=ISSUER)


def matching_step(secret: str, code: str, now: datetime) -> int | None:
    """The time step that a code of six digits belongs to, the present one or one next to it; None: it is wrong.

    Takes the same time whatever the code. Should it fit several steps, the latest is told.
    """
    from pyotp import TOTP

    generator, present = TOTP(secret), int(now.timestamp()) // STEP_SECONDS
    found: int | None = None
    for step in range(present - DRIFT_STEPS, present + DRIFT_STEPS + 1):
        if hmac.compare_digest(generator.generate_otp(step), code):
            found = step
    return found


def new_recovery_codes(random_bytes: RandomBytes = secrets.token_bytes) -> list[str]:
    """Ten codes of 140 bits each, grouped for reading: `abcd-efgh-ijkl-mnop-qrst-uvwx-yz23`."""
    texts = [base64.b32encode(random_bytes(_SECRET_BYTES)).decode().lower() for _ in range(RECOVERY_CODES)]
    return [_grouped(text[:_RECOVERY_CHARACTERS]) for text in texts]


def _grouped(text: str) -> str:
    return "-".join(text[start : start + _GROUP] for start in range(0, len(text), _GROUP))


def recovery_hash(code: str) -> str:
    """What is stored of a recovery code. It is random, so a plain hash is enough."""
    return hashlib.sha256(_plain(code).encode()).hexdigest()


def matching_hash(hashes: Sequence[str], code: str) -> str | None:
    """Which of the stored hashes a recovery code has, if any; all are looked at."""
    typed = recovery_hash(code)
    found: str | None = None
    for each in hashes:
        if hmac.compare_digest(each, typed):
            found = each
    return found


def _plain(code: str) -> str:
    return re.sub(r"[\s-]", "", code).lower()


def _six_digits(text: str) -> str:
    code = re.sub(r"\s", "", text)
    if not re.fullmatch(r"[0-9]{6}", code):
        raise PydanticCustomError("one_time_code", "must be six digits")
    return code


def _recovery_code(text: str) -> str:
    code = _plain(text) if text.isascii() else ""
    if not re.fullmatch(r"[a-z2-7]{16}([a-z2-7]{12})?", code):
        raise PydanticCustomError("recovery_code", "must be a recovery code: 28 letters and digits")
    return code


_RECOVERY_SCHEMA = r"^[ -]*[A-Za-z2-7]([ -]*[A-Za-z2-7]){15}(([ -]*[A-Za-z2-7]){12})?[ -]*$"

type OneTimeCode = Annotated[
    str,
    StringConstraints(max_length=20),
    AfterValidator(_six_digits),
    WithJsonSchema({"type": "string", "maxLength": 20, "pattern": r"^ *[0-9]( *[0-9]){5} *$"}),
]
"""A code as typed, spaces anywhere; six digits."""

type RecoveryCode = Annotated[
    str,
    StringConstraints(max_length=64),
    AfterValidator(_recovery_code),
    WithJsonSchema({"type": "string", "maxLength": 64, "pattern": _RECOVERY_SCHEMA}),
]
"""A recovery code as typed, in any case, with or without spaces and hyphens."""
