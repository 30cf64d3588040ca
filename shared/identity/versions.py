"""Versions of what can be changed: see `shared/storage/versions.py`."""

from shared.storage.versions import check_version, entity_tag

__all__ = ["check_version", "entity_tag"]
