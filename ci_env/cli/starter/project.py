"""What `ci-env init` finds in a directory. Reads only; looks no deeper than it is asked to."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import cast

_MAX_BYTES = 2**20


class Project:
    """The files of one directory. What cannot be read is as if it were not there: init only guesses from it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def has(self, *names: str) -> bool:
        """Tell whether at least one of `names` is there."""
        return any((self._directory / name).exists() for name in names)

    def present(self, *names: str) -> tuple[str, ...]:
        """Return those of `names` that are there."""
        return tuple(name for name in names if self.has(name))

    def named(self, pattern: str) -> tuple[str, ...]:
        """Return the paths that match the glob `pattern`, in order."""
        found = self._directory.glob(pattern)
        return tuple(sorted(str(path.relative_to(self._directory)) for path in found if path.is_file()))

    def text(self, name: str) -> str:
        """Return the content of `name`; nothing where there is none, or it is not text."""
        path = self._directory / name
        try:
            return path.read_text("utf-8") if path.is_file() and path.stat().st_size <= _MAX_BYTES else ""
        except (OSError, UnicodeDecodeError):
            return ""

    def toml(self, name: str) -> Mapping[str, object]:
        """Return the tables of a TOML file; none where it is not one."""
        try:
            return tomllib.loads(self.text(name))
        except tomllib.TOMLDecodeError:
            return {}

    def json(self, name: str) -> Mapping[str, object]:
        """Return the members of a JSON object; none where it is not one."""
        try:
            return table(json.loads(self.text(name) or "{}"))
        except (ValueError, RecursionError):
            return {}


def table(value: object) -> Mapping[str, object]:
    """Return `value` if it is a table with text as keys, else an empty one."""
    return cast("Mapping[str, object]", value) if isinstance(value, Mapping) else {}
