"""Threat detection: patterns over stored events, episodes, and the alerts that they raise."""

from shared.detection.handling import AlertService
from shared.detection.model import Parameters, Pattern
from shared.detection.registry import all_patterns
from shared.detection.service import DetectionService

__all__ = ["AlertService", "DetectionService", "Parameters", "Pattern", "all_patterns"]
