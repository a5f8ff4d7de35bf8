"""The written form of a capsule: an OCI manifest whose config is the record of a run. Pure.

Owns media types, annotations and the version; docs/capsules.md is the promise that goes with them. Whoever reads one
meets the work of strangers: everything that is used is checked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Literal

from ci_env.digest import Digest
from ci_env.errors import ConfigError
from ci_env.frozen import dataclass
from ci_env.oci.document import OCI_LAYER, OCI_MANIFEST, Artifact, Descriptor, parse_artifact

ContentKind = Literal["log", "artifacts"]
VERSION = 1
KIND = f"application/vnd.ci-env.capsule.v{VERSION}+json"
RECORD = "application/vnd.ci-env.record.v1+json"
ROOT = "root"
MAX_RECORD_BYTES = 2**25
MAX_PARTS = 4096

_KIND = re.compile(r"application/vnd\.ci-env\.capsule\.v([1-9][0-9]{0,5})\+json\Z")
_CONTENT: Mapping[str, ContentKind] = {
    "application/vnd.ci-env.log.v1": "log",
    "application/vnd.ci-env.artifacts.v1.tar": "artifacts",
}
_BASE_MANIFEST = "application/vnd.ci-env.image-manifest.v1+json"
_BASE_CONFIG = "application/vnd.ci-env.image-config.v1+json"
_OURS = "vnd.ci-env."
_PART = re.compile(r"root\Z|host/(?!\.\.?\Z)[A-Za-z0-9._-]{1,255}\Z")
_NUMBER = re.compile(r"0\Z|[1-9][0-9]{0,15}\Z")


@dataclass(frozen=True, slots=True)
class LayerPart:
    """A directory of a layer, as an archive. Most layers have one part, `root`; on `image: host` also `host/NAME`."""

    layer: Digest
    """what the record calls the layer"""
    part: str
    is_source: bool
    """the layer holds files of the source, so nothing in it depends on what lies below"""
    redacted: int
    """how many of its files held a secret, which is not in the archive"""
    blob: Descriptor
    """the archive, not compressed"""


@dataclass(frozen=True, slots=True)
class Content:
    """What a step wrote, or a tar of its artifacts."""

    kind: ContentKind
    blob: Descriptor
    """with the digest that the record calls it by"""


@dataclass(frozen=True, slots=True)
class Base:
    """An image whose layers are not in the capsule, since a registry has them."""

    reference: str
    """registry/repository@digest"""
    manifest: Descriptor
    config: Descriptor


@dataclass(frozen=True, slots=True)
class Capsule:
    record: Descriptor
    bases: tuple[Base, ...]
    layers: tuple[LayerPart, ...]
    """each after those that lie below it"""
    contents: tuple[Content, ...]


def write(capsule: Capsule) -> bytes:
    """Return the manifest. Equal capsules give equal bytes."""
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": KIND,
        "config": _written(capsule.record, {}),
        "layers": [_written(blob, annotations) for blob, annotations in _blobs(capsule)],
    }
    return json.dumps(document, separators=(",", ":")).encode()


def read(manifest: bytes, *, what: str) -> Capsule:
    """Return the capsule that a manifest describes; ConfigError where it is none, or a newer ci-env has written it."""
    found = parse_artifact(manifest, what=what)
    _check_version(found, what)
    if len(found.layers) > MAX_PARTS:
        raise ConfigError(f"{what} is no capsule: it has more than {MAX_PARTS} parts")
    parts = list(found.layers)
    return Capsule(
        record=found.config,
        bases=tuple(_bases(parts, what)),
        layers=tuple(_layer_part(part, what) for part in parts if part.media_type == OCI_LAYER),
        contents=tuple(Content(_CONTENT[part.media_type], part) for part in parts if part.media_type in _CONTENT),
    )


def _check_version(found: Artifact, what: str) -> None:
    match = _KIND.match(found.kind)
    if match is None:
        raise ConfigError(f"{what} is no capsule, but of type {found.kind!r}", hint="`ci-env capsule pack` makes one")
    if int(match[1]) > VERSION:
        raise ConfigError(
            f"a newer ci-env wrote {what}: it has version {match[1]}, this one reads up to {VERSION}",
            hint="use a ci-env as new as the one that made it",
        )


def _blobs(capsule: Capsule) -> Iterator[tuple[Descriptor, Mapping[str, str]]]:
    for base in capsule.bases:
        yield base.manifest, {"image": base.reference}
        yield base.config, {"image": base.reference}
    for part in capsule.layers:
        marks = {"source": "1"} if part.is_source else {}
        marks |= {"redacted": str(part.redacted)} if part.redacted else {}
        yield part.blob, {"layer": part.layer, "part": part.part, **marks}
    for content in capsule.contents:
        yield content.blob, {}


def _written(blob: Descriptor, annotations: Mapping[str, str]) -> Mapping[str, object]:
    plain: dict[str, object] = {"mediaType": blob.media_type, "digest": blob.digest, "size": blob.size}
    return (
        {**plain, "annotations": {_OURS + name: text for name, text in annotations.items()}} if annotations else plain
    )


def layer_blob(digest: Digest, size: int) -> Descriptor:
    """Return the descriptor of a part of a layer."""
    return Descriptor(OCI_LAYER, digest, size)


def content_blob(kind: ContentKind, digest: Digest, size: int) -> Descriptor:
    """Return the descriptor of a log or of artifacts."""
    media_type = next(media_type for media_type, other in _CONTENT.items() if other == kind)
    return Descriptor(media_type, digest, size)


def base_of(reference: str, manifest: bytes, config: bytes) -> Base:
    """Return an image by its documents."""
    return Base(
        reference,
        Descriptor(_BASE_MANIFEST, Digest.of(manifest), len(manifest)),
        Descriptor(_BASE_CONFIG, Digest.of(config), len(config)),
    )


def record_blob(content: bytes) -> Descriptor:
    """Return the descriptor of a record."""
    return Descriptor(RECORD, Digest.of(content), len(content))


def _bases(parts: list[Descriptor], what: str) -> Iterator[Base]:
    manifests = [part for part in parts if part.media_type == _BASE_MANIFEST]
    configs = {_fact(part, "image", what): part for part in parts if part.media_type == _BASE_CONFIG}
    for manifest in manifests:
        reference = _fact(manifest, "image", what)
        if reference not in configs:
            raise ConfigError(f"{what} is damaged: it lacks the config of the image {reference!r}")
        yield Base(reference, manifest, configs[reference])


def _layer_part(blob: Descriptor, what: str) -> LayerPart:
    part = _fact(blob, "part", what)
    if not _PART.match(part):
        raise ConfigError(f"{what} has a layer with a part {part!r}, which no layer can have")
    return LayerPart(
        layer=_digest(blob, "layer", what),
        part=part,
        is_source=blob.annotations.get(f"{_OURS}source") == "1",
        redacted=_number(blob, "redacted", what) if f"{_OURS}redacted" in blob.annotations else 0,
        blob=blob,
    )


def _fact(blob: Descriptor, name: str, what: str) -> str:
    try:
        return blob.annotations[_OURS + name]
    except KeyError as error:
        raise ConfigError(f"{what} does not say the {name} of its part {blob.digest}") from error


def _digest(blob: Descriptor, name: str, what: str) -> Digest:
    try:
        return Digest.parse(_fact(blob, name, what))
    except ValueError as error:
        raise ConfigError(f"{what}: {name} of {blob.digest}: {error}") from error


def _number(blob: Descriptor, name: str, what: str) -> int:
    text = _fact(blob, name, what)
    if not _NUMBER.match(text):
        raise ConfigError(f"{what}: {name} of {blob.digest} is {text!r}, which is no number")
    return int(text)
