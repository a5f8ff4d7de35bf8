"""What installed distributions offer under a name of ours: `entry_points.txt`, read without importlib.metadata.

That module costs 40 to 50 ms to import, a third of what a cached run may take; this costs 1 ms for 40 distributions.
Format: packaging.python.org, "Entry points specification" and "Recording installed projects".
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Sequence

from ci_env.frozen import dataclass

_FOLDER = re.compile(r"(?P<name>[^-]+)-(?P<version>[^-]+)\.(dist-info|egg-info)\Z")
_ENTRY = re.compile(r"(?P<name>[^=\s][^=]*?)\s*=\s*(?P<module>[\w.]+)\s*(:\s*(?P<attribute>[\w.]+)\s*)?(\[.*\]\s*)?\Z")


@dataclass(frozen=True, slots=True)
class EntryPoint:
    name: str
    module: str
    attribute: str
    """of the module; empty: the module itself"""
    distribution: str
    """who offers it"""


@dataclass(frozen=True, slots=True)
class _Distribution:
    name: str
    version: str
    folder: str


def find(group: str, path: Sequence[str] | None = None) -> tuple[EntryPoint, ...]:
    """Return what is offered as `group`, in the order of `path` (default: sys.path), which is whom an import finds.

    Lines of another form and files that cannot be read count as absent.
    """
    installed = _installed(sys.path if path is None else path)
    return tuple(entry for distribution in installed for entry in _offered(distribution, group))


def version(name: str, path: Sequence[str] | None = None) -> str:
    """Return the version of the installed distribution `name`; `unknown` where it is not installed."""
    installed = _installed(sys.path if path is None else path)
    return next((found.version for found in installed if found.name == _normal(name)), "unknown")


def _installed(path: Sequence[str]) -> Iterator[_Distribution]:
    """Yield each distribution once: the first on `path` hides those of the same name."""
    seen: set[str] = set()
    for directory in filter(None, path):
        for folder in _folders(directory):
            match = _FOLDER.match(folder)
            if match and _normal(match["name"]) not in seen:
                seen.add(_normal(match["name"]))
                yield _Distribution(_normal(match["name"]), match["version"], os.path.join(directory, folder))


def _folders(directory: str) -> list[str]:
    try:
        return sorted(name for name in os.listdir(directory) if name.endswith(("dist-info", "egg-info")))
    except OSError:
        return []  # not there, not ours to read, or a zip archive


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _offered(distribution: _Distribution, group: str) -> Iterator[EntryPoint]:
    is_ours = False
    for line in _lines(os.path.join(distribution.folder, "entry_points.txt")):
        if line.startswith("["):
            is_ours = line == f"[{group}]"
        match = _ENTRY.match(line) if is_ours else None
        if match:
            yield EntryPoint(match["name"], match["module"], match["attribute"] or "", distribution.name)


def _lines(file: str) -> list[str]:
    try:
        with open(file, encoding="utf-8", errors="replace") as text:
            return [line.strip() for line in text]
    except OSError:
        return []
