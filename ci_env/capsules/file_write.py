"""Writes a capsule's file (file.py says how it is made), whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ci_env.capsules.frames import Compressor, stored
from ci_env.digest import Digest
from ci_env.errors import ConfigError
from ci_env.files import explained, sync_directory
from ci_env.frozen import dataclass
from ci_env.oci.document import OCI_INDEX, OCI_MANIFEST
from ci_env.oci.tar import Entry, Kind
from ci_env.oci.tar_header import BLOCK
from ci_env.oci.tar_write import END, header, padding
from ci_env.oci.verify import Reader

if TYPE_CHECKING:
    from typing import Self

LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
DIRECTORIES = (b"blobs", b"blobs/sha256")
MAX_BLOB_BYTES = 8 * 2**30 - 1  # what the size field of a ustar header holds
_PIECE = 2**20


class TooLarge(ConfigError):
    """The capsule may not get as large as it would with this."""


@dataclass(frozen=True, slots=True)
class Added:
    """A blob that is in the file."""

    digest: Digest
    size: int


class CapsuleWriter:
    """Takes the blobs of a capsule, each once. A context manager.

    Leaving it with an error leaves nothing, and what stood at the file's name stays. ConfigError where no file can be.
    """

    def __init__(self, path: Path, *, max_bytes: int | None = None) -> None:
        """`max_bytes`: how large the file may get, give or take a few hundred."""
        if path.is_dir() or not path.absolute().parent.is_dir():
            why = "is a directory" if path.is_dir() else "is in no directory"
            raise ConfigError(f"cannot write the capsule {path}: it {why}", hint="name a file in an existing directory")
        self._path = path
        self._temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
        self._limit_bytes = self._max_bytes = max_bytes
        self._names: set[str] = set()

    def __enter__(self) -> Self:
        with explained("write", self._path):
            self._file: BinaryIO = open(self._temporary, "wb")  # closed when the block ends
            self._put("oci-layout", LAYOUT)
            for name in DIRECTORIES:
                _compress(_header(name.decode() + "/", "directory", 0), self._write)
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            with explained("write", self._path), self._file:
                if kind is None:
                    _compress(END, self._write)
                    self._file.flush()
                    os.fsync(self._file.fileno())
                    self._temporary.rename(self._path)
                    sync_directory(self._path.absolute().parent)
        finally:
            self._temporary.unlink(missing_ok=True)

    def add(self, content: bytes) -> None:
        """Add a small blob. TooLarge leaves it out."""
        with explained("write", self._path):
            self._put(_name(Digest.of(content)), content)

    def add_all(self, source: Reader) -> Added:
        """Add all of `source`. Raises what reading it raises; that, as TooLarge, leaves it out."""
        start = self._file.tell()
        digest, size = hashlib.sha256(), 0
        with explained("write", self._path):
            try:
                self._file.write(stored(bytes(BLOCK)))  # the name is known at the end
                frame = Compressor(self._write)
                while piece := source.read(_PIECE):
                    digest.update(piece)
                    size += len(piece)
                    frame.put(piece)
                if size > MAX_BLOB_BYTES:
                    raise TooLarge(f"a part of the capsule has {size} bytes, and can have {MAX_BLOB_BYTES}")
                frame.put(padding(size))
                frame.end()
            except BaseException:
                self._take_back(start)
                raise
            added = Added(Digest(f"sha256:{digest.hexdigest()}"), size)
            if not size or _name(added.digest) in self._names:
                self._take_back(start)
                self._put(_name(added.digest), b"")
            else:
                self._name_last(start, added)
        return added

    @contextmanager
    def room(self, content: bytes) -> Generator[None]:
        """Keep room in the file for a blob like `content`, which is added after the block."""
        if self._limit_bytes is not None:
            pieces: list[bytes] = []
            _compress(content, pieces.append)
            self._max_bytes = self._limit_bytes - sum(map(len, pieces)) - BLOCK
        yield
        self._max_bytes = self._limit_bytes

    def finish(self, manifest: bytes, kind: str) -> None:
        """Add the manifest, and the index that names it, whatever the size."""
        self._max_bytes = None
        self.add(manifest)
        entry = {"mediaType": OCI_MANIFEST, "digest": Digest.of(manifest), "size": len(manifest), "artifactType": kind}
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}
        with explained("write", self._path):
            self._put("index.json", json.dumps(index, separators=(",", ":")).encode())

    def _name_last(self, start: int, added: Added) -> None:
        """Write the header of the member that begins at `start`."""
        end = self._file.tell()
        self._file.seek(start)
        self._file.write(stored(_header(_name(added.digest), "file", added.size)))
        self._file.seek(end)
        self._names.add(_name(added.digest))

    def _put(self, name: str, content: bytes) -> None:
        if name in self._names:
            return
        start = self._file.tell()
        try:
            _compress(_header(name, "file", len(content)), self._write)
            if content:
                _compress(content + padding(len(content)), self._write)
        except TooLarge:
            self._take_back(start)
            raise
        self._names.add(name)

    def _write(self, piece: bytes) -> None:
        self._file.write(piece)
        if self._max_bytes is not None and self._file.tell() > self._max_bytes:
            raise TooLarge(
                f"the capsule would be larger than {self._limit_bytes} bytes", hint="allow more by --max-size"
            )

    def _take_back(self, start: int) -> None:
        self._file.seek(start)
        self._file.truncate()


def _compress(content: bytes, write: Callable[[bytes], object]) -> None:
    frame = Compressor(write)
    frame.put(content)
    frame.end()


def _name(blob: Digest) -> str:
    return f"blobs/sha256/{blob.hex}"


def _header(name: str, kind: Kind, size: int) -> bytes:
    mode = 0o755 if kind == "directory" else 0o644
    return header(Entry(name.encode(), kind, mode, 0, 0, 0, size, b"", (0, 0), {}))
