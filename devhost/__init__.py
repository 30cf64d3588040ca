"""The local host: serves the real function app under Microsoft's own Python worker runtime (`python -m devhost`)."""
