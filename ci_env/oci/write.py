"""Writes an image of the store to some other place. Knows neither the place nor the store.

The store keeps layers unpacked, so their archives are made again. Where one has another digest than the image's builder
gave it, the config says the new one, and the image's own digest changes with it; a place that already has a layer's
original archive keeps that, and if it has all of them the image stays what it was.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol, cast

from ci_env.digest import Digest
from ci_env.errors import ConfigError
from ci_env.events import Emit, Note, Progress
from ci_env.files import explained
from ci_env.frozen import dataclass, replace
from ci_env.oci.compress import Compression, Written, write_gzip, write_plain, write_zstd
from ci_env.oci.document import (
    OCI_CONFIG,
    OCI_LAYER,
    OCI_MANIFEST,
    Descriptor,
    Manifest,
    parse_config,
    parse_document,
    parse_json,
)
from ci_env.oci.packing import PackedLayer

_PROGRESS_BYTES = 2**24
_WRITERS = {None: write_plain, "gzip": write_gzip, "zstd": write_zstd}


@dataclass(frozen=True, slots=True)
class StoredImage:
    """An image whose layers are directories."""

    manifest: bytes
    """as it was pulled"""
    config: bytes
    pack: Sequence[Callable[[], AbstractContextManager[PackedLayer]]]
    """give the plain archive of each layer, bottom first"""


@dataclass(frozen=True, slots=True)
class WrittenImage:
    """The documents of an image, and what they name."""

    manifest: bytes
    manifest_descriptor: Descriptor
    config: bytes
    config_descriptor: Descriptor
    layers: tuple[Descriptor, ...]
    """bottom first"""


class Target(Protocol):
    """Where an image is written to. Nothing is to be seen there before `finish`."""

    @property
    def is_plain(self) -> bool:
        """Tell whether layers are to be uncompressed."""
        ...

    @property
    def spool(self) -> Path:
        """An existing directory to write blobs to before they are put."""
        ...

    def has(self, layer: Descriptor) -> bool:
        """Tell whether a layer is there already, or was brought there; its content is what its digest says."""
        ...

    def put(self, file: Path, blob: Descriptor) -> None:
        """Take `file`, which lies in `spool` and has the digest and size of `blob`."""
        ...

    def finish(self, image: WrittenImage) -> None:
        """Put the documents; now the image is there. Its layers have been put."""
        ...


def write(image: StoredImage, target: Target, emit: Emit, *, compression: Compression = "gzip") -> Digest:
    """Write `image` to `target`; return the digest of its manifest there.

    `compression` is that of layers whose archives are made again, unless the target wants plain ones.

    ConfigError for what no archive can hold; HostError, RegistryError of the target's. On failure `target` has some
    blobs that nothing names.
    """
    original = parse_document(image.manifest, what="the image's manifest")
    if not isinstance(original, Manifest) or len(original.layers) != len(image.pack):
        raise ConfigError("the image in the store is not whole", hint="pull it again")
    config = parse_config(image.config, layers=len(original.layers), what="the image's config")
    layers: list[Descriptor] = []
    diff_ids: list[Digest] = []
    for number, layer in enumerate(original.layers):
        if target.has(layer):
            layers.append(layer)
            diff_ids.append(config.diff_ids[number])
            continue
        form = None if target.is_plain else compression
        with image.pack[number]() as packed:
            written = _put_layer(packed, target, form, emit, what=f"layer {number + 1} of {len(original.layers)}")
        suffix = "" if form is None else f"+{form}"
        layers.append(Descriptor(OCI_LAYER + suffix, written.digest, written.size))
        diff_ids.append(written.diff_id)
    finished = _documents(image, original, tuple(layers), tuple(diff_ids), is_plain=target.is_plain)
    _put_document(finished.config, finished.config_descriptor, target)
    target.finish(finished)
    return finished.manifest_descriptor.digest


def _put_layer(packed: PackedLayer, target: Target, form: Compression | None, emit: Emit, *, what: str) -> Written:
    file = target.spool / "layer.part"
    with explained("write", file):
        try:
            with open(file, "wb") as opened:
                written = _WRITERS[form](_ProgressReader(packed, what, emit), opened.write)
            target.put(file, Descriptor(OCI_LAYER, written.digest, written.size))
        finally:
            file.unlink(missing_ok=True)
    for warning in packed.warnings:
        emit(Note("warning", f"{what}: {warning}"))
    return written


def _put_document(content: bytes, descriptor: Descriptor, target: Target) -> None:
    file = target.spool / "document.part"
    with explained("write", file):
        try:
            file.write_bytes(content)
            target.put(file, descriptor)
        finally:
            file.unlink(missing_ok=True)


def _documents(
    image: StoredImage,
    original: Manifest,
    layers: tuple[Descriptor, ...],
    diff_ids: tuple[Digest, ...],
    *,
    is_plain: bool,
) -> WrittenImage:
    config = _with_diff_ids(image.config, diff_ids)
    what = Descriptor(OCI_CONFIG, Digest.of(config), len(config))
    data = cast("dict[str, object]", parse_json(image.manifest, what="the image's manifest"))
    if layers == original.layers and not is_plain:
        media_type = cast("str", data.get("mediaType", OCI_MANIFEST))
        own = Descriptor(media_type, Digest.of(image.manifest), len(image.manifest))
        return WrittenImage(image.manifest, own, config, original.config, layers)
    layers = tuple(replace(layer, media_type=oci_type(layer.media_type)) for layer in layers)
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": _plain(what),
        "layers": [_plain(layer) for layer in layers],
        **({"annotations": data["annotations"]} if data.get("annotations") else {}),
    }
    manifest = json.dumps(document, separators=(",", ":")).encode()
    return WrittenImage(manifest, Descriptor(OCI_MANIFEST, Digest.of(manifest), len(manifest)), config, what, layers)


def _with_diff_ids(config: bytes, diff_ids: tuple[Digest, ...]) -> bytes:
    """Return `config` for layers with these digests; as it is where they are what it says."""
    if parse_config(config, layers=len(diff_ids), what="the image's config").diff_ids == diff_ids:
        return config
    data = cast("dict[str, object]", parse_json(config, what="the image's config"))
    data["rootfs"] = {"type": "layers", "diff_ids": list(diff_ids)}
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False).encode()


def oci_type(media_type: str) -> str:
    """Return the OCI name of a layer's type, which docker names otherwise."""
    if media_type.endswith(("gzip", "zstd")):
        return f"{OCI_LAYER}+{media_type[-4:]}"
    return OCI_LAYER


def _plain(descriptor: Descriptor) -> dict[str, object]:
    return {"mediaType": descriptor.media_type, "digest": descriptor.digest, "size": descriptor.size}


class _ProgressReader:
    """Passes content on and tells how much it was; how much it will be nobody knows."""

    def __init__(self, source: PackedLayer, what: str, emit: Emit) -> None:
        self._source = source
        self._what = what
        self._emit = emit
        self._done = 0
        self._next = _PROGRESS_BYTES

    def read(self, size: int, /) -> bytes:
        piece = self._source.read(size)
        self._done += len(piece)
        if not piece or self._done >= self._next:
            self._next = self._done + _PROGRESS_BYTES
            self._emit(Progress(self._what, self._done, None, finished=not piece))
        return piece
