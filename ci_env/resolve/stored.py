"""Images as the store has them, for those who write them elsewhere. Asks no registry."""

from __future__ import annotations

import functools

from ci_env.digest import Digest
from ci_env.errors import ConfigError
from ci_env.oci.document import Manifest, parse_document
from ci_env.oci.packing import packed
from ci_env.oci.unpacking import AsOwner
from ci_env.oci.write import StoredImage
from ci_env.store.blobs import Blobs
from ci_env.store.layers import Layers


def stored_image(
    manifest: Digest, chain: tuple[Digest, ...], layers: Layers, blobs: Blobs, as_owner: AsOwner
) -> StoredImage:
    """Return the image whose layers are `chain`, all of them there. IntegrityError if a document is not."""
    content = blobs.read(manifest)
    document = parse_document(content, what=f"manifest {manifest}")
    if not isinstance(document, Manifest):
        raise ConfigError(f"{manifest} in the store is an index, not an image", hint="pull the image again")
    pack = [functools.partial(packed, as_owner, layers.directory(layer)) for layer in chain]
    return StoredImage(content, blobs.read(document.config.digest), pack)
