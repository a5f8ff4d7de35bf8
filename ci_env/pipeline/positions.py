"""Where each part of a pipeline file was written, and what is wrong there. Owns how both are shown to people."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from ci_env.errors import ConfigError
from ci_env.frozen import dataclass

KeyPath = tuple[str | int, ...]
"""keys and list indexes from the top of the file, such as ("jobs", "test", "steps", 1, "timeout")"""

_MAX_SHOWN = 10
_MAX_FOUND = 100
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+\Z")


class Mark(NamedTuple):
    """A stretch of the text. Lines and columns count from 1; `start` and `end` are offsets in characters."""

    line: int
    column: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Positions:
    """What stands where in `text`, the content of `file`."""

    file: str
    text: str
    keys: Mapping[KeyPath, Mark]
    values: Mapping[KeyPath, Mark]

    def of_key(self, path: KeyPath) -> Mark:
        """Return where the key that `path` ends in stands; an entry of a list is where its value is."""
        return self.keys.get(path) or self.of_value(path)

    def of_value(self, path: KeyPath) -> Mark:
        """Return where the value stands; for one that is not there, where its nearest parent is."""
        while path and path not in self.values:
            path = path[:-1]
        return self.values[path]

    def of_part(self, path: KeyPath, part: str) -> Mark:
        """Return where `part` stands inside the text at `path`; the text itself where escapes hide it."""
        whole = self.of_value(path)
        start = self.text.find(part, whole.start, whole.end)
        if start < 0:
            return whole
        line_start = self.text.rfind("\n", 0, start) + 1
        line = whole.line + self.text.count("\n", whole.start, start)
        return Mark(line, start - line_start + 1, start, start + len(part))

    def show(self, mark: Mark) -> str:
        """Return `file:line:column`."""
        return f"{self.file}:{mark.line}:{mark.column}"


class Problems:
    """What is wrong with one file, collected so that a person sees all of it at once.

    Raises by itself once it is full: a file of 50 000 mistakes is not worth a suggestion for each.
    """

    def __init__(self, positions: Positions) -> None:
        self._positions = positions
        self._found: dict[tuple[Mark, str], None] = {}

    def at_key(self, path: KeyPath, message: str) -> None:
        self._add(self._positions.of_key(path), path, message)

    def at_value(self, path: KeyPath, message: str, *, part: str = "") -> None:
        """Note a problem of the value, or of `part` of it."""
        self._add(self._positions.of_part(path, part), path, message)

    def raise_any(self) -> None:
        """Raise one ConfigError that tells of all of them, in file order; none, nothing happens."""
        if not self._found:
            return
        (first, message), *others = sorted(self._found)
        lines = [message, *(f"{self._positions.show(mark)}: {text}" for mark, text in others[: _MAX_SHOWN - 1])]
        if len(others) >= _MAX_SHOWN:
            lines.append("and more")
        raise ConfigError("\n".join(lines), where=self._positions.show(first))

    def _add(self, mark: Mark, path: KeyPath, message: str) -> None:
        self._found[mark, f"{in_words(path)}: {message}" if path else message] = None
        if len(self._found) == _MAX_FOUND:
            self.raise_any()


def in_words(path: KeyPath) -> str:
    """Return `path` as people write it: `jobs.test.steps[1].timeout`."""
    return "".join(_part(part) for part in path).removeprefix(".")


def _part(part: str | int) -> str:
    if isinstance(part, int):
        return f"[{part}]"
    return f".{part}" if _PLAIN_KEY.match(part) else f".{shown(part)}"


def shown(text: str) -> str:
    """Return `text` in quotes, on one line, without control characters, and cut where it is long."""
    return repr(text if len(text) <= 60 else f"{text[:57]}...")
