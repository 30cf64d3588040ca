"""custom.*: events whose names are the producers' own."""

import re
from typing import Annotated

from pydantic import StringConstraints

from shared.audit.model import FreeEvent
from shared.audit.registry import event_type

PREFIX = "custom."
CUSTOM_NAME = re.compile(r"[a-z][a-z0-9]*(?:[._-][a-z0-9]+)*")
MAX_NAME = 64

type CustomName = Annotated[str, StringConstraints(pattern=rf"^{CUSTOM_NAME.pattern}$", max_length=MAX_NAME)]


@event_type("custom.*", outcomes=("success", "failure", "denied", "error"))
class Custom(FreeEvent):
    """Whatever a producer wants in the trail under a name of its own: `custom.<name>`, the name in lower case (words of
    letters and digits, joined by `.`, `_` or `-`, at most 64 characters). All custom types are one class: they share
    severity and outcomes, and reports count them together."""

    named: CustomName

    def type_name(self, registered: str) -> str:
        """`custom.` and the producer's name."""
        return f"{PREFIX}{self.named}"
