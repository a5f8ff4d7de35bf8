"""A capsule as a file: an OCI image layout (image-layout.md) in a tar archive, compressed by zstd.

Each member begins a frame and its content begins another, so that one can be read without all before it. Owns the
archive, and no meaning of what is in it. Reading is strict: files of the layout at their names and nothing else, each
once, no links, nothing after the end.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Collection, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ci_env.capsules.file_write import DIRECTORIES, LAYOUT, MAX_BLOB_BYTES
from ci_env.capsules.frames import frame_length
from ci_env.capsules.reading import Pieces
from ci_env.digest import Digest
from ci_env.errors import ConfigError, IntegrityError
from ci_env.files import explained
from ci_env.frozen import dataclass
from ci_env.oci.decompress import decompress
from ci_env.oci.document import MAX_DOCUMENT_BYTES, Descriptor, Index, parse_document
from ci_env.oci.tar_header import BLOCK, Header, parse_header, shown
from ci_env.oci.tar_write import END, padding
from ci_env.oci.verify import Reader

if TYPE_CHECKING:
    from typing import Self

_BLOB = re.compile(rb"blobs/sha256/([0-9a-f]{64})\Z")
_DOCUMENTS = (b"oci-layout", b"index.json")
_MAX_MEMBERS = 10_000
_PIECE = 2**20


@dataclass(frozen=True, slots=True)
class _Member:
    start: int
    """of the frame of its content"""
    length: int
    """of that frame, compressed"""
    size: int
    """of its content, as its header says"""


class CapsuleFile:
    """The blobs of a capsule. Implements ImageSource; a context manager, which keeps the file open."""

    def __init__(self, path: Path) -> None:
        """ConfigError unless there is such a file; its members are looked at, their content is not."""
        self.path = path
        if not path.is_file():
            raise ConfigError(f"there is no capsule {path}", hint="`ci-env capsule pack RUN` makes one")
        with explained("read", path):
            self._file: BinaryIO = open(path, "rb")  # noqa: SIM115  # closed when the block ends
            try:
                self._members = dict(self._find_members())
            except BaseException:
                self._file.close()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def size(self) -> int:
        return os.fstat(self._file.fileno()).st_size

    def check(self, wanted: Collection[Digest] | None = None) -> int:
        """Compare blobs, without `wanted` all, with the digests that they are named by; return how many there are.

        IntegrityError for one that is something else.
        """
        blobs = {name: member for name, member in self._members.items() if name.startswith(b"blobs/")}
        if wanted is not None:
            blobs = {name: self._member(name) for name in map(_name, wanted)}
        for name, member in blobs.items():
            actual = hashlib.sha256()
            for piece in self._content(member):
                actual.update(piece)
            if actual.hexdigest() != name.rpartition(b"/")[2].decode():
                raise self._damaged(f"{name.decode()} has the digest {actual.hexdigest()}")
        return len(blobs)

    def root(self) -> bytes:
        """Return the manifest of the capsule."""
        if self._document(b"oci-layout") != LAYOUT:
            raise self._not_one("its layout has another version than 1.0.0")
        index = parse_document(self._document(b"index.json"), what=f"the index of {self.path}")
        if not isinstance(index, Index) or len(index.manifests) != 1:
            raise self._not_one("its index does not name one thing")
        return self.manifest(index.manifests[0])

    def manifest(self, descriptor: Descriptor) -> bytes:
        content = self._document(_name(descriptor.digest))
        if Digest.of(content) != descriptor.digest or len(content) != descriptor.size:
            raise self._damaged("its manifest is not what the index says")
        return content

    @contextmanager
    def blob(self, descriptor: Descriptor) -> Generator[Reader]:
        """Open a blob; whoever reads it compares it with the descriptor."""
        yield Pieces(self._content(self._member(_name(descriptor.digest))))

    def worth_retrying(self) -> bool:
        return False

    def _document(self, name: bytes) -> bytes:
        member = self._member(name)
        if member.size > MAX_DOCUMENT_BYTES:
            raise self._not_one(f"its {name.decode()} is larger than {MAX_DOCUMENT_BYTES // 2**20} MiB")
        return b"".join(self._content(member))

    def _member(self, name: bytes) -> _Member:
        try:
            return self._members[name]
        except KeyError as error:
            raise self._not_one(f"it has no {name.decode()}") from error

    def _find_members(self) -> Iterator[tuple[bytes, _Member]]:
        """Yield the files, by their names."""
        seen: set[bytes] = set()
        at = 0
        while True:
            head, after = self._header(at)
            if head is None:
                break
            name = head.name.rstrip(b"/") if head.type == b"5" else head.name
            self._check_member(head, name)
            if name in seen or len(seen) > _MAX_MEMBERS:
                raise self._not_one(f"it has {shown(name)} twice" if name in seen else "it has too many members")
            seen.add(name)
            length = self._frame_length(after) if head.size else 0
            if head.type != b"5":
                yield name, _Member(after, length, head.size)
            at = after + length
        if after != self.size:
            raise self._not_one("something follows its end")

    def _header(self, at: int) -> tuple[Header | None, int]:
        """Return the header in the frame at a place of the file, None for the archive's end; and where that ends."""
        length = self._frame_length(at)
        block = b"".join(self._plain(at, length, 2 * BLOCK))
        if block == END:
            return None, at + length
        try:
            return parse_header(block), at + length
        except ConfigError as error:
            raise self._not_one("it is cut off, or no archive at all") from error

    def _frame_length(self, at: int) -> int:
        try:
            with explained("read", self.path):
                return frame_length(self._file.fileno(), at)
        except ConfigError as error:
            raise self._not_one(error.message) from error

    def _content(self, member: _Member) -> Iterator[bytes]:
        """Yield the content of a member, without the padding that follows it in its frame."""
        if not member.size:
            return
        left = member.size
        whole = member.size + len(padding(member.size))
        for piece in self._plain(member.start, member.length, whole):
            if piece[left:].strip(b"\0"):
                raise self._not_one("something is hidden behind a part of it")
            yield piece[:left]
            left -= min(left, len(piece))

    def _plain(self, start: int, length: int, size: int) -> Iterator[bytes]:
        """Yield the content of a frame, which is to be at most `size` bytes; of a larger one, no more than a piece."""
        left = size
        stored = Pieces(self._pieces(start, length))
        try:
            for piece in decompress(stored):
                left -= len(piece)
                if left < 0:
                    raise self._not_one("a part of it is larger than it says")
                yield piece
        except ConfigError as error:
            raise self._not_one(error.message) from error

    def _pieces(self, start: int, length: int) -> Iterator[bytes]:
        """Yield a part of the file."""
        while length:
            with explained("read", self.path):
                piece = os.pread(self._file.fileno(), min(length, _PIECE), start)
            if not piece:
                raise self._not_one("it is cut off")
            start += len(piece)
            length -= len(piece)
            yield piece

    def _check_member(self, header: Header, name: bytes) -> None:
        is_file = header.type == b"0" and (name in _DOCUMENTS or _BLOB.match(name) is not None)
        if not is_file and not (header.type == b"5" and name in DIRECTORIES and header.size == 0):
            raise self._not_one(f"{shown(name)} is nothing that a capsule has")
        if not 0 <= header.size <= MAX_BLOB_BYTES:
            raise self._not_one(f"{shown(name)} claims a size of {header.size} bytes")

    def _not_one(self, why: str) -> ConfigError:
        return ConfigError(f"{self.path} is not a whole capsule: {why}", hint="ask for the file again")

    def _damaged(self, why: str) -> IntegrityError:
        return IntegrityError(f"{self.path} is damaged: {why}", hint="ask for the file again")


def _name(blob: Digest) -> bytes:
    return b"blobs/sha256/" + blob.hex.encode()
