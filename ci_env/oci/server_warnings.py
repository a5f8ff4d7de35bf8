"""What registries want people to know: `Warning: 299 - "TEXT"` (distribution-spec, "Warnings"), passed on as notes."""

from __future__ import annotations

import re

from ci_env.events import Emit, Note

_WARNING = re.compile(r'299 - "((?:[^"\\]|\\.)*)"')
_MAX_LENGTH = 500
_MAX_WARNINGS = 10  # for each registry


class ServerWarnings:
    """Shows each warning once, without what could control a terminal. One for each run."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._shown: dict[str, set[str]] = {}

    def take(self, registry: str, headers: list[str]) -> None:
        """Show the warnings in `registry`'s Warning headers that were not shown yet; others than 299 are for caches."""
        shown = self._shown.setdefault(registry, set())
        for quoted in (found for header in headers for found in _WARNING.findall(header)):
            text = "".join(letter for letter in re.sub(r"\\(.)", r"\1", quoted) if letter.isprintable())[:_MAX_LENGTH]
            if text and text not in shown and len(shown) < _MAX_WARNINGS:
                shown.add(text)
                self._emit(Note("warning", f"{registry} says: {text}"))
