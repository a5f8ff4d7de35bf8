"""A tar archive of an image, as a file that is there whole or not at all. Knows no image format."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

from ci_env.errors import ConfigError
from ci_env.files import explained, sync_directory
from ci_env.oci.tar import Entry, Kind
from ci_env.oci.tar_write import END, header, padding

_PIECE = 2**20


class ArchiveFile:
    """Takes members in order; each name once, later ones are passed over. A context manager.

    Leaving it with an error leaves nothing, and what stood at the file's name stays.
    """

    def __init__(self, file: Path) -> None:
        """ConfigError where no file can be."""
        if file.is_dir() or not file.absolute().parent.is_dir():
            why = "is a directory" if file.is_dir() else "is in no directory"
            raise ConfigError(f"cannot write the archive {file}: it {why}", hint="name a file in an existing directory")
        self._file = file
        self._temporary = file.with_name(f".{file.name}.{os.getpid()}.part")
        self._names: set[str] = set()

    def __enter__(self) -> ArchiveFile:
        with explained("write", self._file):
            self._tar: BinaryIO = open(self._temporary, "wb")  # closed when the block ends
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            with explained("write", self._file), self._tar:
                if kind is None:
                    self._tar.write(END)
                    self._tar.flush()
                    os.fsync(self._tar.fileno())
                    self._temporary.rename(self._file)
                    sync_directory(self._file.absolute().parent)
        finally:
            self._temporary.unlink(missing_ok=True)

    def add(self, name: str, content: bytes) -> None:
        """Add a small file."""
        if self._begin(name, "file", len(content)):
            self._tar.write(content + padding(len(content)))

    def add_directory(self, name: str) -> None:
        self._begin(f"{name}/", "directory", 0)

    def add_file(self, name: str, file: Path) -> None:
        """Add the content of `file`."""
        with open(file, "rb") as source:
            size = os.fstat(source.fileno()).st_size
            if not self._begin(name, "file", size):
                return
            while piece := source.read(_PIECE):
                self._tar.write(piece)
        self._tar.write(padding(size))

    def _begin(self, name: str, kind: Kind, size: int) -> bool:
        """Write a member's header; return whether the name is new."""
        if name in self._names:
            return False
        self._names.add(name)
        mode = 0o755 if kind == "directory" else 0o644
        self._tar.write(header(Entry(name.encode(), kind, mode, 0, 0, 0, size, b"", (0, 0), {})))
        return True
