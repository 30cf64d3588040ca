"""Secrets and what derives from them: token keys, blind index, and the boxes that hold personal data."""
