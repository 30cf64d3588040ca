"""The rules: small pure functions over evidence, each with its severity and its thresholds."""

from shared.compliance.rules import access, authentication, data, integrity, operations
from shared.compliance.rules.model import Rule

RULES: dict[str, Rule] = {
    each.id: each for each in (*integrity.RULES, *authentication.RULES, *access.RULES, *data.RULES, *operations.RULES)
}
"""Every rule by its id."""
