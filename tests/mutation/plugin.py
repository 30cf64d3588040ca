"""A pytest plugin for runs under mutmut: few examples, and the same each time."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "mutation", max_examples=25, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
