"""The rules: small pure functions over evidence, each with its severity and its thresholds."""

from shared.compliance.rules import access, authentication, data, integrity, operations, reports
from shared.compliance.rules.model import Rule

RULES: dict[str, Rule] = {
    each.id: each for module in (integrity, authentication, access, data, operations, reports) for each in module.RULES
}
"""Every rule by its id."""
