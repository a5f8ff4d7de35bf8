"""Images in a store of a test's own, unpacked and packed by the real programs, as the caller."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from ci_env.digest import Digest
from ci_env.oci.platform import Platform
from ci_env.oci.pull import PulledImage, pull
from ci_env.oci.source import ImageSource
from ci_env.oci.write import StoredImage
from ci_env.resolve.stored import stored_image
from ci_env.store.blobs import Blobs
from ci_env.store.home import open_store
from ci_env.store.layers import Layers
from ci_env.store.scratch import scratch
from tests.layer_directory import as_caller
from tests.layer_stack import Node, Stack

AMD64 = Platform("linux", "amd64")


class Images:
    """A store, its images pulled from anywhere."""

    def __init__(self, layers: Layers, blobs: Blobs, path: Path) -> None:
        self.layers = layers
        self._blobs = blobs
        self._path = path

    def pull(self, source: ImageSource) -> PulledImage:
        return pull(source, AMD64, self.layers, lambda _: None)

    def stored(self, manifest: Digest, chain: tuple[Digest, ...]) -> StoredImage:
        return stored_image(manifest, chain, self.layers, self._blobs, as_caller)

    def view(self, image: PulledImage) -> dict[str, Node]:
        """Return what an overlay of the image's layers shows, without inode numbers."""
        stack = Stack(self._path)
        stack.lowers = [self.layers.directory(layer) / "root" for layer in image.chain]
        return {path: replace(node, inode=0) for path, node in stack.view().items()}


@contextmanager
def new_images(path: Path) -> Generator[Images]:
    store = open_store(path)

    def discard(directory: Path) -> None:
        layers.discard(directory)

    with scratch(store, "run", discard) as directory:
        layers = Layers(store, directory, as_caller, lambda: os.geteuid() == 0)
        yield Images(layers, Blobs(store), directory)
