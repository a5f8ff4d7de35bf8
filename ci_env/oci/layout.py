"""Images in OCI image layouts: a directory (image-layout.md), or a tar archive of one.

An archive is never unpacked to paths it names: its blobs are copied to a directory of ours under their checked digests.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from ci_env.digest import Digest
from ci_env.errors import ConfigError
from ci_env.files import explained
from ci_env.oci.document import MAX_DOCUMENT_BYTES, Descriptor, Index, parse_document, parse_json
from ci_env.oci.tar import Archive
from ci_env.oci.tar_header import shown
from ci_env.oci.verify import Reader

REF_NAME = "org.opencontainers.image.ref.name"
_PIECE = 2**20
_BLOB_PATH = re.compile(rb"blobs/(sha256|sha512)/([0-9a-f]{64,128})\Z")
_DOCUMENTS = (b"oci-layout", b"index.json")


class LayoutSource:
    """One image of a layout directory. Implements ImageSource."""

    def __init__(self, directory: Path, tag: str | None) -> None:
        """`tag` None: the only image there is, or the layout's index as a choice of platforms."""
        self._directory = directory
        self._tag = tag

    def root(self) -> bytes:
        """Return the image's index or manifest. ConfigError where there is no layout or no such tag."""
        self._check_version()
        content = self._document("index.json")
        index = parse_document(content, what=f"{self._directory}/index.json")
        if not isinstance(index, Index):
            raise ConfigError(f"{self._directory}/index.json is not an index")
        entries = index.manifests if self._tag is None else self._tagged(index)
        return self.manifest(entries[0]) if len(entries) == 1 else content

    def manifest(self, descriptor: Descriptor) -> bytes:
        with self.blob(descriptor) as reader:
            return reader.read(MAX_DOCUMENT_BYTES + 1)

    @contextmanager
    def blob(self, descriptor: Descriptor) -> Generator[Reader]:
        path = self._directory / "blobs" / descriptor.digest.algorithm / descriptor.digest.hex
        if not path.is_file():
            raise ConfigError(f"the image layout {self._directory} has no blob {descriptor.digest}")
        with explained("read", path), open(path, "rb") as file:
            yield file

    def worth_retrying(self) -> bool:
        return False

    def _tagged(self, index: Index) -> tuple[Descriptor, ...]:
        entries = tuple(entry for entry in index.manifests if entry.annotations.get(REF_NAME) == self._tag)
        if len(entries) == 1:
            return entries
        names = sorted({entry.annotations[REF_NAME] for entry in index.manifests if REF_NAME in entry.annotations})
        found = f"{len(entries)} images are" if entries else "no image is"
        raise ConfigError(
            f"{found} tagged {self._tag!r} in the image layout {self._directory}",
            hint=f"it has {', '.join(names)}" if names else "it has no tags: leave the tag out",
        )

    def _check_version(self) -> None:
        content = self._document("oci-layout")
        data = parse_json(content, what=f"{self._directory}/oci-layout")
        version = cast("dict[str, object]", data).get("imageLayoutVersion") if isinstance(data, dict) else None
        if not isinstance(version, str) or version.partition(".")[0] != "1":
            raise ConfigError(f"{self._directory} has the image layout version {json.dumps(version)}, not 1.0.0")

    def _document(self, name: str) -> bytes:
        path = self._directory / name
        if not path.is_file():
            raise ConfigError(f"{self._directory} is not an OCI image layout: it has no {name}")
        with explained("read", path), open(path, "rb") as file:
            return file.read(MAX_DOCUMENT_BYTES + 1)


def open_archive(file: Path, tag: str | None, spool: Path) -> LayoutSource:
    """Copy the blobs of an OCI archive to `spool`, an empty directory of the caller's, and return the image in it.

    ConfigError if `file` is not there or not such an archive.
    """
    if not file.is_file():
        raise ConfigError(f"there is no image archive {file}")
    with explained("read", file), open(file, "rb") as stream:
        archive = Archive(iter(lambda: stream.read(_PIECE), b""))
        for entry in archive:
            name = entry.path.removeprefix(b"./")
            if entry.kind == "file" and (name in _DOCUMENTS or _BLOB_PATH.match(name)):
                _copy(archive, _place(name, spool))
            elif entry.kind == "hardlink":
                raise ConfigError(f"{file} is not an OCI archive: {shown(entry.path)} is a link")
    return LayoutSource(spool, tag)


def _place(name: bytes, spool: Path) -> Path:
    """Return where to keep a member; its name is one of few, or made of letters and digits only."""
    match = _BLOB_PATH.match(name)
    if match is None:
        return spool / name.decode()
    try:
        digest = Digest.parse(b":".join(match.groups()).decode())
    except ValueError as error:
        raise ConfigError(f"not an OCI archive: {error}") from error
    directory = spool / "blobs" / digest.algorithm
    directory.mkdir(parents=True, exist_ok=True)
    return directory / digest.hex


def _copy(archive: Archive, path: Path) -> None:
    with explained("write", path), open(path, "wb") as target:
        while piece := archive.read(_PIECE):
            target.write(piece)
