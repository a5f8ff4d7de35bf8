"""Pushes images to registries: what is there already by its name alone, the manifest last."""

from __future__ import annotations

from pathlib import Path

from ci_env.events import Emit
from ci_env.oci.document import Descriptor
from ci_env.oci.reference import Reference
from ci_env.oci.repository import Repository, Session
from ci_env.oci.upload import Upload, abandon
from ci_env.oci.write import WrittenImage


class RegistryTarget:
    """A tag in a registry. Implements write.Target; `repository` stays the caller's."""

    is_plain = False

    def __init__(
        self, repository: Repository, tag: str, spool: Path, emit: Emit, *, source: Reference | None = None
    ) -> None:
        """`source`: where the image was pulled from; the same registry need not be sent what it has there."""
        self._repository = repository
        self._tag = tag
        self._emit = emit
        self._source = source.repository if source and source.registry == repository.registry else None
        self._begun: Session | None = None
        """an upload that a registry began where it was to mount a layer"""
        self.spool = spool

    def has(self, layer: Descriptor) -> bool:
        """Tell whether the repository has the layer, or has it now from the one that the image was pulled from."""
        if self._repository.has(layer.digest):
            return True
        if self._source is None:
            return False
        begun = self._repository.mount(layer.digest, self._source)
        if begun is None:
            return self._repository.has(layer.digest)
        self.close()
        self._begun = begun
        return False

    def put(self, file: Path, blob: Descriptor) -> None:
        """Upload `file`."""
        if self._repository.has(blob.digest):
            return
        begun, self._begun = self._begun, None
        with open(file, "rb") as content:
            Upload(self._repository, content, blob, self._emit).run(begun)

    def finish(self, image: WrittenImage) -> None:
        """Give the image its name."""
        self._repository.put_manifest(image.manifest, image.manifest_descriptor.media_type, self._tag)

    def close(self) -> None:
        """Give up what was begun and not used."""
        if self._begun is not None:
            abandon(self._repository, self._begun)
            self._begun = None
