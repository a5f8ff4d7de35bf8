"""The images that a capsule need not hold, since a registry has them: which those are, and how they come back."""

from __future__ import annotations

import os
from collections.abc import Collection, Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ci_env.capsule.form import Base, base_of
from ci_env.digest import Digest
from ci_env.errors import ConfigError
from ci_env.events import Emit
from ci_env.frozen import dataclass
from ci_env.oci.document import Descriptor, Manifest, chain_ids, parse_config, parse_document
from ci_env.oci.platform import Platform
from ci_env.oci.reference import Reference, parse
from ci_env.oci.verify import Reader
from ci_env.store.blobs import Blobs
from ci_env.store.images import Images
from ci_env.store.layers import Layers

if TYPE_CHECKING:
    from ci_env.oci.registries import Registries


@dataclass(frozen=True, slots=True)
class Known:
    """An image of the store that was pulled from a registry."""

    base: Base
    chain: tuple[Digest, ...]
    manifest: bytes
    config: bytes


def find_bases(images: Images, blobs: Blobs, wanted: Collection[Digest]) -> tuple[Known, ...]:
    """Return pulled images whose layers are all `wanted`, until no further one has a layer more; largest first."""
    candidates = sorted(_pulled(images, blobs, wanted), key=lambda known: (-len(known.chain), known.base.reference))
    chosen: list[Known] = []
    covered: set[Digest] = set()
    for known in candidates:
        if not covered.issuperset(known.chain):
            chosen.append(known)
            covered.update(known.chain)
    return tuple(chosen)


def _pulled(images: Images, blobs: Blobs, wanted: Collection[Digest]) -> Iterator[Known]:
    for _, result in images.all():
        if result.source is None or not result.chain or not set(wanted).issuperset(result.chain):
            continue
        if not blobs.has(result.manifest):
            continue
        manifest = blobs.read(result.manifest)
        document = parse_document(manifest, what="the image's manifest")
        if isinstance(document, Manifest) and blobs.has(document.config.digest):
            config = blobs.read(document.config.digest)
            yield Known(base_of(result.source, manifest, config), result.chain, manifest, config)


@dataclass(frozen=True, slots=True)
class Named:
    """An image that a capsule names, its documents checked."""

    reference: Reference
    manifest: bytes
    config_digest: Digest
    config: bytes
    platform: Platform
    chain: tuple[Digest, ...]


def check_base(base: Base, manifest: bytes, config: bytes) -> Named:
    """Return what the documents of an image say. ConfigError where they are no image's."""
    document = parse_document(manifest, what=f"the manifest of {base.reference}")
    if not isinstance(document, Manifest) or document.config.digest != base.config.digest:
        raise ConfigError(f"the capsule's manifest of {base.reference!r} is none, or not that of its config")
    facts = parse_config(config, layers=len(document.layers), what=f"the config of {base.reference}")
    try:
        reference = parse(base.reference)
    except ValueError as error:
        raise ConfigError(f"the capsule names an image that cannot be: {error}") from error
    return Named(reference, manifest, base.config.digest, config, facts.platform, chain_ids(facts.diff_ids))


def bring(named: Named, layers: Layers, emit: Emit) -> None:
    """Have the layers of an image in the store, pulled by their digests if they are not.

    RegistryError where the registry does not have it any more.
    """
    from ci_env.oci.pull import pull

    pull(_Source(named, emit), named.platform, layers, emit)


class _Source:
    """An image whose documents are known, and whose layers a registry has. Implements ImageSource.

    No registry is asked before a layer is wanted.
    """

    def __init__(self, named: Named, emit: Emit) -> None:
        self._named = named
        self._emit = emit
        self._known: Registries | None = None

    def root(self) -> bytes:
        return self._named.manifest

    def manifest(self, descriptor: Descriptor) -> bytes:
        raise ConfigError(f"the capsule has no manifest {descriptor.digest}")

    @contextmanager
    def blob(self, descriptor: Descriptor) -> Generator[Reader]:
        if descriptor.digest == self._named.config_digest:
            from io import BytesIO

            yield BytesIO(self._named.config)
            return
        with self._registries().image(self._named.reference) as image, image.blob(descriptor) as content:
            yield content

    def worth_retrying(self) -> bool:
        return True

    def _registries(self) -> Registries:
        if self._known is None:
            from ci_env.oci.registries import Registries

            self._known = Registries(os.environ, self._emit)
        return self._known
