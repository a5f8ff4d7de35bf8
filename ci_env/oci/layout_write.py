"""Writes images to OCI image layouts (image-layout.md): a directory, or a tar archive of one."""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from ci_env.errors import ConfigError
from ci_env.files import atomic_write, explained
from ci_env.oci.archive_write import ArchiveFile
from ci_env.oci.docker_archive_write import manifest_json
from ci_env.oci.document import MAX_DOCUMENT_BYTES, OCI_INDEX, Descriptor, parse_config, parse_json
from ci_env.oci.layout import REF_NAME
from ci_env.oci.write import WrittenImage

_VERSION = b'{"imageLayoutVersion":"1.0.0"}'
_MODE = 0o644


class LayoutTarget:
    """A layout directory: a new one, or one that gets another image. Implements write.Target."""

    is_plain = False

    def __init__(self, directory: Path, tag: str | None) -> None:
        """`tag` None: takes the place of the image without a tag.

        ConfigError if something else is there.
        """
        self._directory = directory
        self._tag = tag
        if directory.is_dir() and os.listdir(directory) and not (directory / "oci-layout").is_file():
            raise ConfigError(
                f"{directory} is not an OCI image layout, but it is not empty", hint="name a new directory"
            )
        with explained("write", directory):
            self.spool.mkdir(parents=True, exist_ok=True)

    @property
    def spool(self) -> Path:
        return self._directory / "blobs" / "sha256"

    def has(self, layer: Descriptor) -> bool:  # noqa: ARG002  # nobody vouches for what lies in a directory
        return False

    def put(self, file: Path, blob: Descriptor) -> None:
        """Move `file` to its name."""
        file.chmod(_MODE)
        file.rename(self.spool / blob.digest.hex)

    def finish(self, image: WrittenImage) -> None:
        """Put the manifest, and name it in the index."""
        with explained("write", self._directory):
            atomic_write(self.spool / image.manifest_descriptor.digest.hex, image.manifest, mode=_MODE)
            atomic_write(self._directory / "oci-layout", _VERSION, mode=_MODE)
            atomic_write(self._directory / "index.json", self._index(image), mode=_MODE)

    def _index(self, image: WrittenImage) -> bytes:
        file = self._directory / "index.json"
        if not file.is_file():
            return _index([_entry(image, self._tag)])
        with open(file, "rb") as opened:
            data = parse_json(opened.read(MAX_DOCUMENT_BYTES + 1), what=str(file))
        entries = cast("dict[str, object]", data).get("manifests") if isinstance(data, dict) else None
        if not isinstance(entries, list):
            raise ConfigError(f"{file} is not an index")
        others = [entry for entry in cast("list[object]", entries) if _tag(entry) != self._tag]
        return _index([*others, _entry(image, self._tag)])


class OciArchiveTarget:
    """A tar archive of a layout with one image. Implements write.Target.

    Has docker's `manifest.json` too, as `docker save` since version 25: docker reads nothing else, unless it has
    containerd's store.
    """

    is_plain = False

    def __init__(self, archive: ArchiveFile, tag: str | None, name: str | None, spool: Path) -> None:
        self._archive = archive
        self._tag = tag
        self._name = name
        self.spool = spool
        archive.add("oci-layout", _VERSION)
        archive.add_directory("blobs")
        archive.add_directory("blobs/sha256")

    def has(self, layer: Descriptor) -> bool:  # noqa: ARG002  # a new file has nothing
        return False

    def put(self, file: Path, blob: Descriptor) -> None:
        self._archive.add_file(f"blobs/sha256/{blob.digest.hex}", file)

    def finish(self, image: WrittenImage) -> None:
        self._archive.add(f"blobs/sha256/{image.manifest_descriptor.digest.hex}", image.manifest)
        self._archive.add(
            "manifest.json", manifest_json(image, self._name, lambda blob: f"blobs/sha256/{blob.digest.hex}")
        )
        self._archive.add("index.json", _index([_entry(image, self._tag)]))


@contextmanager
def oci_archive(file: Path, tag: str | None, name: str | None, spool: Path) -> Generator[OciArchiveTarget]:
    """Give a target that becomes `file` when the block ends without an error.

    `tag` is the image's name in the layout, `name` (`registry/repository:tag`) the one that docker gives it.
    """
    with ArchiveFile(file) as archive:
        yield OciArchiveTarget(archive, tag, name, spool)


def _entry(image: WrittenImage, tag: str | None) -> Mapping[str, object]:
    descriptor = image.manifest_descriptor
    platform = parse_config(image.config, layers=len(image.layers), what="the image's config").platform
    variant = {"variant": platform.variant} if platform.variant else {}
    return {
        "mediaType": descriptor.media_type,
        "digest": descriptor.digest,
        "size": descriptor.size,
        "platform": {"architecture": platform.architecture, "os": platform.os, **variant},
        **({"annotations": {REF_NAME: tag}} if tag else {}),
    }


def _tag(entry: object) -> str | None:
    annotations = cast("dict[str, object]", entry).get("annotations") if isinstance(entry, dict) else None
    tag = cast("dict[str, object]", annotations).get(REF_NAME) if isinstance(annotations, dict) else None
    return tag if isinstance(tag, str) else None


def _index(entries: list[object] | list[Mapping[str, object]]) -> bytes:
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    return json.dumps(document, separators=(",", ":")).encode()
