"""The generated page docs/data-inventory.md: what of every stored item is personal."""

from shared.privacy.inventory import KINDS
from shared.privacy.inventory_kind import Kind
from shared.storage.containers import CONTAINERS

_HEAD = """\
# What is stored, and what of it is personal

Every field of every item that the app stores has one level. *Public*: it says nothing of a person beyond opaque ids.
*Personal*: it names a person, leads to one, or is text that people wrote; *clear* as it is, *sealed* under the person's
key, or *hashed* with a key. *Secret*: it opens something (hashes of passwords and tokens, wrapped keys, sealed
secrets).
Lists do not count in a path, `*` is any one name, `**` whatever is below. Beside these an item has the store's own
`_etag`, `_ts` and `ttl`. What becomes of it when a person is erased: [privacy.md](privacy.md#what-goes).

Which attributes an event has, and which of its fields are sealed, is in [events.md](events.md); attributes are public,
those of producers are for what is not personal. This page is generated: `make docs`.
"""
_FORMS = ("clear", "sealed", "hashed")


def inventory_page() -> str:
    """Every kind of item by container, with its fields by level."""
    text = _HEAD
    for container in CONTAINERS:
        text += f"\n## `{container}`\n"
        for kind in KINDS:
            if kind.container.name == container:
                text += _section(kind)
    return text


def _section(kind: Kind) -> str:
    by_level: dict[str, list[str]] = {}
    for path, level, form in kind.fields():
        by_level.setdefault(f"personal, {form}" if form else level, []).append(f"`{path}`")
    lines = [
        f"- {level}: {', '.join(by_level[level])}\n"
        for level in (*(f"personal, {form}" for form in _FORMS), "secret", "public")
        if level in by_level
    ]
    name = "" if kind.name in ("", "*") else f"**`{kind.name}`** "
    return f"\n{name}{kind.about}\n\n{''.join(lines)}"
