"""Writes images as `docker save` does: plain layers, the config, and `manifest.json` that names them.

github.com/moby/docker-image-spec, "Combined Image JSON + Filesystem Changeset Format".
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from ci_env.oci.archive_write import ArchiveFile
from ci_env.oci.document import OCI_CONFIG, Descriptor
from ci_env.oci.write import WrittenImage


class DockerArchiveTarget:
    """A docker archive with one image. Implements write.Target."""

    is_plain = True

    def __init__(self, archive: ArchiveFile, name: str | None, spool: Path) -> None:
        self._archive = archive
        self._name = name
        self.spool = spool

    def has(self, layer: Descriptor) -> bool:  # noqa: ARG002  # a new file has nothing
        return False

    def put(self, file: Path, blob: Descriptor) -> None:
        self._archive.add_file(_member(blob), file)

    def finish(self, image: WrittenImage) -> None:
        self._archive.add("manifest.json", manifest_json(image, self._name, _member))
        if self._name and image.layers:  # what docker before 1.10 looked for
            repository, _, tag = self._name.rpartition(":")
            self._archive.add("repositories", json.dumps({repository: {tag: image.layers[-1].digest.hex}}).encode())


@contextmanager
def docker_archive(file: Path, name: str | None, spool: Path) -> Generator[DockerArchiveTarget]:
    """Give a target that becomes `file` when the block ends without an error. `name`: `repository:tag`, as docker shows
    it."""
    with ArchiveFile(file) as archive:
        yield DockerArchiveTarget(archive, name, spool)


def manifest_json(image: WrittenImage, name: str | None, member: Callable[[Descriptor], str]) -> bytes:
    """Return what names the image's parts in an archive; `member` gives the name of each."""
    layers = [member(layer) for layer in image.layers]
    document = [{"Config": member(image.config_descriptor), "RepoTags": [name] if name else [], "Layers": layers}]
    return json.dumps(document).encode()


def _member(blob: Descriptor) -> str:
    return f"{blob.digest.hex}.json" if blob.media_type == OCI_CONFIG else f"{blob.digest.hex}.tar"
