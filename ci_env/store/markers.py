"""Markers of layers: what says that one is complete, and may be relied on. Owns the form of `layer.json`.

Without a good marker there is no layer. A power cut may take what was not synced; therefore a marker carries the
kernel's boot id until the layer is sealed, and that of another boot counts for nothing.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from ci_env import codec
from ci_env.files import atomic_write, explained, quick_write
from ci_env.frozen import dataclass

MARKER = "layer.json"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Marker:
    version: Literal[1]
    boot: str | None
    """None: all of the layer is on disk"""
    is_doubtful: bool = False
    """the disk has refused to take some of it: what is read may be something else once memory gets short"""


SEALED = Marker(1, None)


def boot_id() -> str:
    """Return what tells this start of the machine from others."""
    with explained("read", _BOOT_ID):
        return _BOOT_ID.read_text().strip()


def read(layer: Path, *, boot: str) -> tuple[Marker, float] | None:
    """Return a layer's marker and its mtime; None where there is none, or it is damaged or of another boot."""
    path = layer / MARKER
    with explained("read", path):
        try:
            with open(path, "rb") as file:
                content, last_use = file.read(), os.fstat(file.fileno()).st_mtime
            marker = codec.loads(Marker, content)
        except (FileNotFoundError, NotADirectoryError, ValueError, RecursionError):
            return None
    return (marker, last_use) if marker.boot in (None, boot) else None


def is_complete(layer: Path, *, boot: str) -> bool:
    """Tell whether the layer may be relied on, without using it."""
    found = read(layer, boot=boot)
    return found is not None and not found[0].is_doubtful


def write(layer: Path, marker: Marker) -> None:
    """Mark a layer's directory, but for a power cut."""
    with explained("write", layer):
        quick_write(layer / MARKER, codec.dumps(marker))


def write_sealed(layer: Path) -> None:
    """Mark a layer whose content is on disk; durable when it returns."""
    with explained("write", layer):
        atomic_write(layer / MARKER, codec.dumps(SEALED))
