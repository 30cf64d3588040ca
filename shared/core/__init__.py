"""Errors, clock, ids and settings: standard library and pydantic only."""
