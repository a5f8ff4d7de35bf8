"""Small results by name, one JSON file each, made again where they are lost. Must not know what is in them.

A file is `{"sha256": HEX, "document": DOCUMENT}`, the digest that of DOCUMENT's bytes as they stand. So a file need not
be synced: what a power cut, a full disk or a newer version leaves is absent to its reader, never half understood.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from ci_env import codec
from ci_env.files import explained, quick_write
from ci_env.store.uses import note_use

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")

_HEAD, _MIDDLE, _TAIL = b'{"sha256":"', b'","document":', b"}\n"
_HEX_LENGTH = 64


class Documents(Generic[T]):
    """Documents of one kind, as `NAME.json` in one directory. Safe to use from several threads and processes."""

    def __init__(self, directory: Path, kind: type[T]) -> None:
        self._directory = directory
        self._kind = kind

    def load(self, name: str) -> T | None:
        """Return the document; None where it is absent, or damaged or of another version, which drops the file.

        Counts as a use of it.
        """
        path = self._path(name)
        with explained("read", path):
            try:
                with open(path, "rb") as file:
                    content, last_use = file.read(), os.fstat(file.fileno()).st_mtime
            except FileNotFoundError:
                return None
            document = self._understood(content)
            if document is None:
                path.unlink(missing_ok=True)
            else:
                note_use(path, last_use)
            return document

    def look(self, name: str) -> T | None:
        """Return the document, without using it and without dropping what is damaged."""
        path = self._path(name)
        with explained("read", path):
            try:
                return self._understood(path.read_bytes())
            except FileNotFoundError:
                return None

    def is_whole(self, name: str) -> bool:
        """Tell whether the file is as it was written, whatever kind of document it holds; one that is not there is."""
        path = self._path(name)
        with explained("read", path):
            try:
                _unsealed(path.read_bytes())
            except FileNotFoundError:
                return True
            except (ValueError, IsADirectoryError):
                return False
        return True

    def save(self, name: str, document: T) -> None:
        """Put the document in the place of what is there. Two that save at once: one of them is there, whole."""
        with explained("write", self._path(name)):
            quick_write(self._path(name), _sealed(codec.dumps(document)))

    def names(self) -> tuple[str, ...]:
        """Return the names of all documents, damaged ones too."""
        with explained("read", self._directory):
            found = os.listdir(self._directory)
        return tuple(name.removesuffix(".json") for name in found if name.endswith(".json") and name[0] != ".")

    def remove(self, name: str) -> None:
        """Remove the document, there or not."""
        with explained("remove", self._path(name)):
            self._path(name).unlink(missing_ok=True)

    def _understood(self, content: bytes) -> T | None:
        try:
            return codec.loads(self._kind, _unsealed(content))
        except (ValueError, RecursionError):  # the latter: JSON nested a thousand deep
            return None

    def _path(self, name: str) -> Path:
        return self._directory / f"{name}.json"


def _sealed(document: bytes) -> bytes:
    return b"".join((_HEAD, hashlib.sha256(document).hexdigest().encode(), _MIDDLE, document, _TAIL))


def _unsealed(content: bytes) -> bytes:
    """Return the document of a file; ValueError unless it is as it was written."""
    document = content[len(_HEAD) + _HEX_LENGTH + len(_MIDDLE) : -len(_TAIL)]
    if content != _sealed(document):
        raise ValueError("not as it was written")
    return document
