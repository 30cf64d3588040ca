"""What pages in Markdown lead to: links, headings, and the files that they name."""

import re
from pathlib import Path

CODE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(<?([^)>\s]+)>?\)")
_FENCE = re.compile(r"^( *)(```|~~~).*?^\1\2[ \t]*$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)
_PATH = re.compile(r"(?:tests|shared|functions|infra|tools|devhost|scripts|bench|docs)/[\w./-]+")


def pages(root: Path) -> list[Path]:
    """Every page of a project that is there to be read, in order."""
    alone = (root / name for name in ("README.md", "CHANGELOG.md", "SECURITY.md", "tests/infra/README.md"))
    return sorted([*(root / "docs").rglob("*.md"), *(page for page in alone if page.is_file())])


def without_code(text: str) -> str:
    """Markdown without what stands in fences and between backticks, where brackets are no links."""
    return CODE.sub("", _FENCE.sub("", text))


def broken_links(page: Path, text: str) -> list[str]:
    """Relative links of a page that lead nowhere, be it the file or the heading."""
    found = []
    for link in LINK.findall(without_code(text)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if target != page and not target.exists():
            found.append(link)
        elif anchor and target.suffix == ".md":
            named = text if target == page else target.read_text(encoding="utf-8")
            found += [link] if anchor not in anchors(named) else []
    return found


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings."""
    found: dict[str, int] = {}
    made = set()
    for heading in _HEADING.findall(_FENCE.sub("", text)):
        name = _slug(heading)
        made.add(f"{name}-{found[name]}" if name in found else name)
        found[name] = found.get(name, 0) + 1
    return made


def _slug(heading: str) -> str:
    """The anchor of a heading, as the hosting platforms make it."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").lower()
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")


def named_files(text: str) -> set[str]:
    """Files, folders and tests (`path::name`) of the project that a page names between backticks, each a path alone."""
    return {each for each in CODE.findall(text) if _PATH.fullmatch(each.partition("::")[0])}


def is_there(root: Path, named: str) -> bool:
    """Whether the file of `named_files` is there, and its test in it."""
    path, _, test = named.partition("::")
    if not (root / path).exists():
        return False
    return not test or bool(re.search(rf"def {re.escape(test)}\b", (root / path).read_text(encoding="utf-8")))
