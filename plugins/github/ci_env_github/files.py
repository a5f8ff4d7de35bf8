"""The files by which a step of GitHub Actions says something to the runner: outputs and the summary.

Format: actions/runner, FileCommandManager.cs. A value ends at the first line that is its delimiter, so that has to be
one that nobody who decides a part of the value can know.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

SUMMARY_LIMIT = 1024 * 1024
"""bytes; the runner drops a larger one as a whole"""
_DELIMITER_BYTES = 16
_CUT = "\n\n*This summary is longer than GitHub shows; the log has the rest.*\n"


def set_outputs(env: Mapping[str, str], outputs: Mapping[str, str]) -> None:
    """Set outputs of the step. Does nothing outside of GitHub Actions; OSError where the file cannot be written."""
    path = env.get("GITHUB_OUTPUT")
    if not path:
        return
    lines: list[str] = []
    for name, value in outputs.items():
        delimiter = f"ghadelimiter_{os.urandom(_DELIMITER_BYTES).hex()}"
        lines += [f"{name}<<{delimiter}", value, delimiter]
    _append(Path(path), "".join(f"{line}\n" for line in lines))


def add_summary(env: Mapping[str, str], markdown: str) -> None:
    """Add to the summary of the step, as much as there is room for. Likewise."""
    path = env.get("GITHUB_STEP_SUMMARY")
    if not path:
        return
    room = SUMMARY_LIMIT - (os.path.getsize(path) if os.path.exists(path) else 0)
    _append(Path(path), fitted(markdown, room))


def fitted(markdown: str, room: int) -> str:
    """Return the text, or its first lines and a word about the rest: at most `room` bytes of UTF-8."""
    if len(markdown.encode()) <= room:
        return markdown
    left = room - len(_CUT.encode()) - len("\n```````")
    kept: list[str] = []
    for line in markdown.splitlines():
        left -= len(line.encode()) + 1
        if left < 0:
            break
        kept.append(line)
    fences = [line for line in kept if line.startswith("```")]
    closing = f"\n{fences[-1].rstrip('abcdefghijklmnopqrstuvwxyz')}" if len(fences) % 2 else ""
    text = "\n".join(kept) + closing + _CUT
    return text if len(text.encode()) <= room else ""


def _append(path: Path, text: str) -> None:
    with path.open("a", encoding="utf-8", newline="") as file:
        file.write(text)
