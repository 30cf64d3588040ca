"""The metrics: one pure function over evidence for each figure of a control."""

from shared.compliance.metrics.handling import HANDLING
from shared.compliance.metrics.model import Measured
from shared.compliance.metrics.trail import TRAIL

METRICS: dict[str, Measured] = {each.id: each for each in (*TRAIL, *HANDLING)}
"""Every metric by its id."""
