"""E-mail addresses: stored as typed, compared in one normal form.

Normal form: Unicode NFKC, case folded (the part before the @ too: providers that tell `A@` from `a@` are not to be
found, impostors who hope for it are), the domain in its ASCII form (IDNA). Plus tags stay: `a+x@example.com` is an
address of its own. Characters that only look alike (Cyrillic а) stay different.
"""

import functools
import unicodedata
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

MAX_LENGTH = 254


@functools.lru_cache(maxsize=4096)
def normal_email(email: str) -> str:
    """The form in which addresses are compared. ValueError when it is no address, or its normal form is none."""
    normal = _folded(email)
    # Compatibility forms can fold into an @, a space or a leading dot: the normal form has to be an address itself.
    return normal if email.isascii() else _folded(normal)


def _folded(email: str) -> str:
    from email_validator import EmailNotValidError, validate_email

    try:
        parts = validate_email(email, check_deliverability=False, allow_smtputf8=True)
    except EmailNotValidError as error:
        raise ValueError(str(error)) from None
    local = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", parts.local_part).casefold())
    return f"{local}@{parts.ascii_domain.lower()}"


def _check(email: str) -> str:
    try:
        normal_email(email)
    except ValueError:
        raise PydanticCustomError("email", "must be an e-mail address") from None
    return email


type Email = Annotated[
    str,
    StringConstraints(min_length=3, max_length=MAX_LENGTH),
    AfterValidator(_check),
    Field(json_schema_extra={"format": "idn-email"}),
]
"""An e-mail address as typed."""
