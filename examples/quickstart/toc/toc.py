"""Print a table of contents of Markdown."""

import re
import sys
from collections.abc import Iterable, Iterator

_HEADING = re.compile(r"(#{1,6})\s+(.*?)\s*#*$")
_FENCE = re.compile(r"(```|~~~)")


def headings(lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    """Yield level and title of each heading outside code blocks."""
    in_code = False
    for line in lines:
        if _FENCE.match(line):
            in_code = not in_code
        elif not in_code and (found := _HEADING.match(line)):
            yield len(found[1]), found[2]


def anchor(title: str) -> str:
    """Return the name that a heading is linked by."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def table(lines: Iterable[str]) -> list[str]:
    """Return one list item for each heading, indented by its level."""
    return [f"{'  ' * (level - 1)}- [{title}](#{anchor(title)})" for level, title in headings(lines)]


def main() -> None:
    """Read Markdown from standard input."""
    print("\n".join(table(sys.stdin)))
