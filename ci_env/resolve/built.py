"""What a build has left, as an image in the store like any other: its documents, under its name."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from ci_env.digest import Digest
from ci_env.errors import CiEnvError
from ci_env.events import Emit, Note
from ci_env.oci.assemble import Base, Built, PlainLayer, assemble
from ci_env.oci.document import Manifest, parse_config, parse_document
from ci_env.oci.packing import packed
from ci_env.oci.unpacking import AsOwner
from ci_env.store.blobs import Blobs
from ci_env.store.images import ImageResult, Images
from ci_env.store.layers import Layers

_PIECE = 2**20


def documents(manifest: Digest, blobs: Blobs) -> Base:
    """Return the documents of an image in the store; IntegrityError where one is gone."""
    content = blobs.read(manifest)
    document = parse_document(content, what=f"manifest {manifest}")
    assert isinstance(document, Manifest), "an index is no image, and only images are resolved"
    return Base(content, blobs.read(document.config.digest))


class PlainLayers:
    """Finds out what layers are as archives. What an image of the store says of one is not looked for again."""

    def __init__(self, layers: Layers, blobs: Blobs, images: Images, as_owner: AsOwner, emit: Emit) -> None:
        self._layers = layers
        self._blobs = blobs
        self._images = images
        self._as_owner = as_owner
        self._emit = emit

    def describe(self, layers: Sequence[Digest]) -> tuple[PlainLayer, ...]:
        """Return the digest and size of each layer as it is packed."""
        known = dict(self._known(frozenset(layers))) if layers else {}
        return tuple(known.get(layer) or self._pack(layer) for layer in layers)

    def _known(self, wanted: frozenset[Digest]) -> Iterator[tuple[Digest, PlainLayer]]:
        for _, result in self._images.all():
            if wanted.isdisjoint(result.chain):
                continue
            try:
                found = documents(result.manifest, self._blobs)
                manifest = parse_document(found.manifest, what="manifest")
                config = parse_config(found.config, layers=len(result.chain), what="config")
            except CiEnvError:  # an image that is damaged, which its own user is told of
                continue
            assert isinstance(manifest, Manifest)
            for layer, diff_id, descriptor in zip(result.chain, config.diff_ids, manifest.layers, strict=True):
                if diff_id == descriptor.digest:
                    yield layer, PlainLayer(diff_id, descriptor.size)

    def _pack(self, layer: Digest) -> PlainLayer:
        digest, size = hashlib.sha256(), 0
        with packed(self._as_owner, self._layers.directory(layer)) as archive:
            while piece := archive.read(_PIECE):
                digest.update(piece)
                size += len(piece)
        for warning in archive.warnings:
            self._emit(Note("warning", warning))
        return PlainLayer(Digest(f"sha256:{digest.hexdigest()}"), size)


def keep(base: Base | None, built: Built, chain: tuple[Digest, ...], layers: Layers, *, reference: str) -> ImageResult:
    """Put the documents of the image whose layers are `chain` into the store; return it, with no name yet."""
    manifest, config = assemble(base, built)
    layers.put_blob(config)
    facts = parse_config(config, layers=len(chain), what="the image's config")
    return ImageResult(
        version=1,
        reference=reference,
        manifest=layers.put_blob(manifest),
        platform=f"{built.platform.os}/{built.platform.architecture}",
        chain=chain,
        env=facts.env,
        user=facts.user,
        workdir=facts.workdir,
        entrypoint=facts.entrypoint,
        command=facts.command,
    )
