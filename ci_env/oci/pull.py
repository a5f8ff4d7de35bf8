"""Brings an image from a source to the place where layers are kept. Knows neither the source nor the store."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from typing import Protocol

from ci_env.digest import Digest
from ci_env.errors import ConfigError, IntegrityError
from ci_env.events import Emit, Note, Progress
from ci_env.frozen import dataclass
from ci_env.oci.ahead import ReadAhead
from ci_env.oci.document import (
    INDEX_TYPES,
    MANIFEST_TYPES,
    MAX_DOCUMENT_BYTES,
    Descriptor,
    ImageConfig,
    Index,
    Manifest,
    chain_ids,
    parse_config,
    parse_document,
)
from ci_env.oci.platform import Platform, best
from ci_env.oci.source import ImageSource
from ci_env.oci.verify import Reader, VerifyingReader, read_all

_MAX_INDEX_DEPTH = 4
_MAX_MANIFESTS = 100
_PROGRESS_INTERVAL_S = 0.1
_LAYERS_AHEAD = 2
_AHEAD_BYTES = 2**24  # of each of them, and of the one that is unpacked


Stream = Callable[[], AbstractContextManager[Reader]]
"""opens content, when it is needed"""


class LayerPlace(Protocol):
    """Where layers and documents of images are kept."""

    def has(self, layer: Digest) -> bool:
        """Tell whether the layer with this chain id is complete."""
        ...

    def reserve(self, layer: Digest) -> AbstractContextManager[bool]:
        """Keep others from beginning with a missing layer inside the block, without waiting; tell whether that is so.

        False: somebody else is at work on it, or it is there. The caller may unpack what it has reserved.
        """
        ...

    def unpack(self, layer: Digest, parents: tuple[Digest, ...], diff_id: Digest, stream: Stream) -> tuple[str, ...]:
        """Unpack `stream` as `layer`, over `parents` (bottom first); return warnings.

        Who finds another at work on it waits for him; `stream` is opened only if the layer is still missing then, and
        read to its end. All or nothing: if reading it raises, or its plain content does not have the digest `diff_id`,
        the error is passed on and nothing of it is ever seen as a layer.
        """
        ...

    def document(self, digest: Digest, fetch: Callable[[], bytes]) -> bytes:
        """Return a small blob: from here, or else from `fetch`, while others who want it wait for that."""
        ...

    def put_blob(self, content: bytes) -> Digest:
        """Keep a document; return its digest."""
        ...


@dataclass(frozen=True, slots=True)
class PulledImage:
    manifest: Digest
    config: ImageConfig
    chain: tuple[Digest, ...]
    """ids of the layers, bottom first"""


def pull(source: ImageSource, platform: Platform, place: LayerPlace, emit: Emit) -> PulledImage:
    """Have the image of `source` for `platform` in `place`: all layers that are not there yet, then its documents.

    RegistryError, ConfigError (not an image, not for this platform), IntegrityError. A failed pull leaves complete
    layers behind, for the next one.
    """
    content, manifest = _choose_manifest(source, source.root(), platform)
    fetch = partial(_read_blob, source, manifest.config, what="the image's config")
    config_content = place.document(manifest.config.digest, fetch)
    config = parse_config(config_content, layers=len(manifest.layers), what="the image's config")
    _check_platform(config.platform, platform)
    chain = chain_ids(config.diff_ids)
    layers = [_Layer(chain, number, config.diff_ids[number], one) for number, one in enumerate(manifest.layers)]
    with _Ahead(source, place) as ahead:
        for number, layer in enumerate(layers):
            ahead.begin(layers[number + 1 : number + 1 + _LAYERS_AHEAD])
            if not place.has(layer.id):
                _pull_layer(layer, source, place, emit, ahead)
    place.put_blob(config_content)
    return PulledImage(place.put_blob(content), config, chain)


@dataclass(frozen=True, slots=True)
class Identity:
    """What a name stands for."""

    index: Digest | None
    """None: a single image"""
    manifests: Mapping[str, Digest]
    """by platform; all that an index offers"""


def identify(source: ImageSource, platform: Platform) -> Identity:
    """Return what the image of `source` is, which must be there for `platform`; bring nothing. Raises as `pull`."""
    root = source.root()
    document = parse_document(root, what="what the name stands for")
    offers = [] if isinstance(document, Manifest) else list(_offers(source, document, platform, depth=1))
    content, manifest = _choose_manifest(source, root, platform)
    config = _read_blob(source, manifest.config, what="the image's config")
    _check_platform(parse_config(config, layers=len(manifest.layers), what="the image's config").platform, platform)
    others = {str(offer.platform): offer.digest for offer in reversed(offers) if offer.platform is not None}
    return Identity(Digest.of(root) if offers else None, {**others, str(platform): Digest.of(content)})


@dataclass(frozen=True, slots=True)
class _Layer:
    chain: tuple[Digest, ...]
    number: int
    diff_id: Digest
    descriptor: Descriptor

    @property
    def id(self) -> Digest:
        return self.chain[self.number]


class _Ahead:
    """Downloads of the next layers, begun while one is unpacked: a network's latency is paid once, not for each.

    Layers are unpacked one after another, each over those below it. A download is begun only of a layer that nobody
    else is at work on, and then nobody else begins: each blob is asked for once, whoever else pulls. Two pulls cannot
    wait for each other: to reserve waits for nobody, and who waits for a layer does so before those above it.
    """

    def __init__(self, source: ImageSource, place: LayerPlace) -> None:
        self._source = source
        self._place = place
        self._begun: dict[Digest, ExitStack] = {}
        self._readers: dict[Digest, ReadAhead] = {}

    def __enter__(self) -> _Ahead:
        return self

    def __exit__(self, *_: object) -> None:
        for stack in self._begun.values():
            stack.close()

    def begin(self, layers: Sequence[_Layer]) -> None:
        """Begin with those that are missing. From what lies on this machine nothing is gained by it."""
        if not self._source.worth_retrying():
            return
        for layer in layers:
            if layer.id not in self._begun and not self._place.has(layer.id):
                stack = self._begun[layer.id] = ExitStack()
                if stack.enter_context(self._place.reserve(layer.id)):
                    opened = self._source.blob(layer.descriptor)
                    self._readers[layer.id] = stack.enter_context(ReadAhead(opened, limit=_AHEAD_BYTES))

    @contextmanager
    def blob(self, layer: _Layer) -> Generator[Reader]:
        """Open the layer's content: what was begun, the first time that it is wanted."""
        begun = self._readers.pop(layer.id, None)
        if begun is not None:
            try:
                yield begun
            finally:
                begun.stop()
            return
        with self._source.blob(layer.descriptor) as stored:
            yield stored

    def done(self, layer: _Layer) -> None:
        """Give back what was reserved."""
        stack = self._begun.get(layer.id)
        if stack is not None:
            stack.close()


def _pull_layer(layer: _Layer, source: ImageSource, place: LayerPlace, emit: Emit, ahead: _Ahead) -> None:
    """Download and unpack one layer. Content damaged on its way gets one more try, from its first byte."""
    if not _try_layer(layer, place, emit, ahead, is_last_try=not source.worth_retrying()):
        _try_layer(layer, place, emit, ahead, is_last_try=True)
    ahead.done(layer)


def _try_layer(layer: _Layer, place: LayerPlace, emit: Emit, ahead: _Ahead, *, is_last_try: bool) -> bool:
    """Return whether it is there; False: its content was not what was promised, and this was not the last try."""
    descriptor = layer.descriptor
    what = f"layer {descriptor.digest.algorithm}:{descriptor.digest.hex[:12]}"
    opened: list[VerifyingReader] = []

    @contextmanager
    def stream() -> Generator[Reader]:
        with ahead.blob(layer) as stored:
            opened.append(VerifyingReader(stored, descriptor.digest, descriptor.size, what=what))
            yield _ProgressReader(opened[0], what, descriptor.size, emit)

    try:
        warnings = place.unpack(layer.id, layer.chain[: layer.number], layer.diff_id, stream)
    except IntegrityError:
        if any(verified.failed for verified in opened) and not is_last_try:
            return False
        raise
    for warning in warnings:
        emit(Note("warning", f"{what}: {warning}"))
    return True


def _choose_manifest(source: ImageSource, root: bytes, platform: Platform) -> tuple[bytes, Manifest]:
    document = parse_document(root, what="what the name stands for")
    if isinstance(document, Manifest):
        return root, document
    offers = list(_offers(source, document, platform, depth=1))
    chosen = best([offer.platform for offer in offers], platform)
    if chosen is None:
        names = sorted({str(offer.platform) for offer in offers if offer.platform}) or ["no platform at all"]
        raise ConfigError(
            f"the image is not there for {platform}, only for {', '.join(names)}",
            hint="choose another image or tag, or one of these by --platform",
        )
    content = _read_manifest(source, offers[chosen])
    document = parse_document(content, what=f"manifest {offers[chosen].digest}")
    if isinstance(document, Index):
        raise ConfigError(f"manifest {offers[chosen].digest} is an index, though its descriptor says otherwise")
    return content, document


def _offers(source: ImageSource, index: Index, platform: Platform, *, depth: int) -> Iterator[Descriptor]:
    """Yield the manifests of an index and of those nested in it. Entries of other types must be ignored (I2)."""
    if len(index.manifests) > _MAX_MANIFESTS:
        raise ConfigError(f"the image's index has more than {_MAX_MANIFESTS} entries")
    for descriptor in index.manifests:
        if descriptor.media_type in MANIFEST_TYPES:
            if descriptor.platform is None or descriptor.platform.os != "unknown":  # attestations
                yield descriptor
        elif descriptor.media_type in INDEX_TYPES and _may_hold(descriptor, platform):
            if depth == _MAX_INDEX_DEPTH:
                raise ConfigError(f"the image's indexes are nested more than {_MAX_INDEX_DEPTH} deep")
            document = parse_document(_read_manifest(source, descriptor), what=f"index {descriptor.digest}")
            if isinstance(document, Manifest):
                raise ConfigError(f"index {descriptor.digest} is a manifest, though its descriptor says otherwise")
            yield from _offers(source, document, platform, depth=depth + 1)


def _may_hold(descriptor: Descriptor, platform: Platform) -> bool:
    return descriptor.platform is None or descriptor.platform.architecture == platform.architecture


def _check_platform(actual: Platform, wanted: Platform) -> None:
    """Compare with what the image says of itself: a single image has no index to choose from."""
    if (actual.os, actual.architecture) != (wanted.os, wanted.architecture):
        raise ConfigError(
            f"the image is for {actual}, not for {wanted}", hint=f"choose another image or tag, or --platform {actual}"
        )


def _read_manifest(source: ImageSource, descriptor: Descriptor) -> bytes:
    what = f"manifest {descriptor.digest}"
    _check_document_size(descriptor, what)
    return _once_more(source, lambda: _verified(_Bytes(source.manifest(descriptor)), descriptor, what))


def _read_blob(source: ImageSource, descriptor: Descriptor, *, what: str) -> bytes:
    def read() -> bytes:
        with source.blob(descriptor) as stored:
            return _verified(stored, descriptor, what)

    _check_document_size(descriptor, what)
    return _once_more(source, read)


def _once_more(source: ImageSource, read: Callable[[], bytes]) -> bytes:
    """Return what `read` gives; content damaged on its way gets one more try."""
    try:
        return read()
    except IntegrityError:
        if not source.worth_retrying():
            raise
    return read()


def _check_document_size(descriptor: Descriptor, what: str) -> None:
    if descriptor.size > MAX_DOCUMENT_BYTES:
        raise ConfigError(f"{what} is larger than {MAX_DOCUMENT_BYTES // 2**20} MiB")


def _verified(stored: Reader, descriptor: Descriptor, what: str) -> bytes:
    reader = VerifyingReader(stored, descriptor.digest, descriptor.size, what=what)
    return read_all(reader, limit=descriptor.size + 1)


class _Bytes:
    """Reads from memory."""

    def __init__(self, content: bytes) -> None:
        self._left = content

    def read(self, size: int, /) -> bytes:
        piece, self._left = self._left[:size], self._left[size:]
        return piece


class _ProgressReader:
    """Passes content on and tells how far it is, at most ten times per second."""

    def __init__(
        self, source: Reader, what: str, total: int, emit: Emit, *, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._source = source
        self._what = what
        self._total = total
        self._done = 0
        self._emit = emit
        self._now = now
        self._next = now()

    def read(self, size: int, /) -> bytes:
        piece = self._source.read(size)
        self._done += len(piece)
        if not piece:
            self._emit(Progress(self._what, self._done, self._total, finished=True))
        elif self._now() >= self._next:
            self._next = self._now() + _PROGRESS_INTERVAL_S
            self._emit(Progress(self._what, self._done, self._total, finished=False))
        return piece
