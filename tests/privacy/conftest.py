"""The store under test of the guards: every adapter of the conformance suite."""

from tests.storage.conftest import harness, open_store

__all__ = ["harness", "open_store"]
