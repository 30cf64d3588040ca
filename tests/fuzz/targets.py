"""All targets: by name what is called with any bytes, and bytes that it takes, to begin from."""

from tests.fuzz.evidence_targets import EVIDENCE
from tests.fuzz.request_targets import REQUESTS

TARGETS = EVIDENCE | REQUESTS
