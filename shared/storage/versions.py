"""Versions of what can be changed, as `ETag` and `If-Match` name them (RFC 9110)."""

from shared.core.errors import VersionConflict
from shared.storage.documents import Item


def entity_tag(item: Item) -> str:
    """The version of an item as a strong entity tag. Stores spell their etags with or without the quotes."""
    etag: str = item["_etag"]
    return f'"{etag.strip(chr(34))}"'


def check_version(tag: str, if_match: frozenset[str] | None) -> None:
    """VersionConflict (412) unless the caller named this version, or none."""
    if if_match is not None and tag not in if_match:
        raise VersionConflict("version_conflict", "It was changed since you read it.")
