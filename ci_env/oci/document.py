"""The JSON documents of an image: index, manifest and config, parsed strictly from bytes into types. Pure.

Unknown keys are ignored, as the image spec asks (considerations.md#extensibility); everything that is used is checked.
ConfigError says what a document lacks. IntegrityError: an embedded copy that is not what its digest says.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from ci_env.digest import Digest
from ci_env.errors import ConfigError, IntegrityError
from ci_env.oci.platform import Platform

MAX_DOCUMENT_BYTES = 4 * 2**20  # distribution-spec: registries need not accept more, so nobody does
_MAX_BLOB_BYTES = 2**63 - 1
_HALF_OF_A_PAIR = re.compile(rb"\\u[dD][89a-fA-F]")

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
INDEX_TYPES = (OCI_INDEX, DOCKER_INDEX)
MANIFEST_TYPES = (OCI_MANIFEST, DOCKER_MANIFEST)
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"

_CONFIG_TYPES = (OCI_CONFIG, "application/vnd.docker.container.image.v1+json")
_LAYER_PREFIXES = (OCI_LAYER, "application/vnd.docker.image.rootfs.diff.tar")
_FOREIGN_MARKS = ("nondistributable", "image.rootfs.foreign")
_NOT_AN_IMAGE_HINT = "name a container image; charts, signatures and other artifacts have no root file system"


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A reference to a blob by content (descriptor.md)."""

    media_type: str
    digest: Digest
    size: int
    platform: Platform | None = None
    annotations: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Index:
    manifests: tuple[Descriptor, ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    config: Descriptor
    layers: tuple[Descriptor, ...]
    """bottom first"""


@dataclass(frozen=True, slots=True)
class Artifact:
    """A manifest of something else than an image (manifest.md#guidelines-for-artifact-usage)."""

    kind: str
    """its artifactType, else its config's type"""
    config: Descriptor
    layers: tuple[Descriptor, ...]
    """of any type"""


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """What a rootfs needs to know of an image's config (config.md)."""

    platform: Platform
    env: tuple[str, ...]
    """NAME=value"""
    user: str
    workdir: str
    entrypoint: tuple[str, ...]
    command: tuple[str, ...]
    diff_ids: tuple[Digest, ...]
    """of the uncompressed layers, bottom first"""


def parse_document(content: bytes, *, what: str) -> Index | Manifest:
    """Return the index or manifest that `content` is: by its mediaType, else by the keys it has."""
    data = _parse_object(content, what)
    media_type = _text(data, "mediaType", what) if "mediaType" in data else ""
    if data.get("schemaVersion") == 1:
        raise ConfigError(
            f"{what} has the docker image format of 2014 (schema 1), which is not supported",
            hint="push the image again with a current tool",
        )
    if data.get("schemaVersion") != 2:
        raise ConfigError(f"{what} is not an image: schemaVersion is {data.get('schemaVersion')!r}, not 2")
    if "manifests" in data and "layers" in data:
        raise ConfigError(f"{what} is not an image: it claims to be an index and a manifest at once")
    if media_type in INDEX_TYPES or (not media_type and "manifests" in data):
        return _index(data, what)
    if media_type in MANIFEST_TYPES or (not media_type and "layers" in data):
        return _manifest(data, what)
    raise ConfigError(f"{what} is not an image: its type is {media_type!r}", hint=_NOT_AN_IMAGE_HINT)


def parse_artifact(content: bytes, *, what: str) -> Artifact:
    """Return the manifest that `content` is, whatever it is of."""
    data = _parse_object(content, what)
    media_type = _text(data, "mediaType", what) if "mediaType" in data else OCI_MANIFEST
    if data.get("schemaVersion") != 2 or media_type not in MANIFEST_TYPES or "manifests" in data:
        raise ConfigError(f"{what} is not a manifest")
    config = _descriptor(_object(data, "config", what), f"{what} config")
    layers = tuple(_descriptor(item, f"{what} layers[{i}]") for i, item in enumerate(_list(data, "layers", what)))
    return Artifact(_optional_text(data, "artifactType", what) or config.media_type, config, layers)


def parse_config(content: bytes, *, layers: int, what: str) -> ImageConfig:
    """Return the config of an image that has `layers` layers."""
    data = _parse_object(content, what)
    rootfs = _object(data, "rootfs", what)
    diff_ids = tuple(_digest(item, f"{what} rootfs.diff_ids") for item in _texts(rootfs, "diff_ids", what))
    if len(diff_ids) != layers:
        raise ConfigError(f"{what} lists {len(diff_ids)} diff_ids, but the manifest has {layers} layers")
    config = _optional_object(data, "config", what)
    return ImageConfig(
        platform=Platform(
            _text(data, "os", what), _text(data, "architecture", what), _optional_text(data, "variant", what) or None
        ),
        env=_checked_env(_texts(config, "Env", what), what),
        user=_plain_text(config, "User", what),
        workdir=_plain_text(config, "WorkingDir", what),
        entrypoint=_texts(config, "Entrypoint", what),
        command=_texts(config, "Cmd", what),
        diff_ids=diff_ids,
    )


def chain_ids(diff_ids: Sequence[Digest]) -> tuple[Digest, ...]:
    """Return the identity of each layer applied on all below it, bottom first (config.md#layer-chainid)."""
    chain: list[Digest] = []
    for diff_id in diff_ids:
        chain.append(Digest.of(f"{chain[-1]} {diff_id}".encode()) if chain else diff_id)
    return tuple(chain)


def parse_json(content: bytes, *, what: str) -> object:
    """Return JSON data; ConfigError if it is not UTF-8, has a key twice, or is over 4 MiB.

    A key twice has no defined meaning (RFC 8259 section 4), so two readers may see two different images; nor has half
    of a pair of surrogates (section 8.2), which no file and no environment can hold.
    """
    if len(content) > MAX_DOCUMENT_BYTES:
        raise ConfigError(f"{what} is larger than {MAX_DOCUMENT_BYTES // 2**20} MiB")
    try:
        data = cast("object", json.loads(content.decode(), object_pairs_hook=_unique))
        if _HALF_OF_A_PAIR.search(content):
            _check_encodable(data)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{what} is not valid JSON: {error}") from error
    return data


def _check_encodable(data: object) -> None:
    try:
        json.dumps(data, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise ValueError("it has half of a pair of surrogates") from error


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = next(name for name, _ in pairs if sum(name == other for other, _ in pairs) > 1)
        raise ValueError(f"key {twice!r} is there twice")
    return found


def _index(data: Mapping[str, object], what: str) -> Index:
    return Index(
        tuple(_descriptor(item, f"{what} manifests[{i}]") for i, item in enumerate(_list(data, "manifests", what)))
    )


def _manifest(data: Mapping[str, object], what: str) -> Manifest:
    config = _descriptor(_object(data, "config", what), f"{what} config")
    if "artifactType" in data or config.media_type not in _CONFIG_TYPES:
        kind = data.get("artifactType") or config.media_type
        raise ConfigError(f"{what} is not an image, but an artifact of type {kind!r}", hint=_NOT_AN_IMAGE_HINT)
    layers = tuple(_descriptor(item, f"{what} layers[{i}]") for i, item in enumerate(_list(data, "layers", what)))
    for layer in layers:
        _check_layer_type(layer, what)
    return Manifest(config, layers)


def _check_layer_type(layer: Descriptor, what: str) -> None:
    if any(mark in layer.media_type for mark in _FOREIGN_MARKS):
        raise ConfigError(
            f"{what} has a layer that registries may not distribute ({layer.media_type}), which is not supported",
            hint="use an image whose layers are all in the registry",
        )
    if not layer.media_type.startswith(_LAYER_PREFIXES) or layer.media_type.endswith("+encrypted"):
        raise ConfigError(f"{what} has a layer of type {layer.media_type!r}, which is not a tar archive")


def _descriptor(item: object, what: str) -> Descriptor:
    if not isinstance(item, dict):
        raise ConfigError(f"{what} is not a descriptor")
    data = cast("dict[str, object]", item)
    size = data.get("size")
    if type(size) is not int or not 0 <= size <= _MAX_BLOB_BYTES:
        raise ConfigError(f"{what} has no valid size: {size!r}")
    descriptor = Descriptor(
        media_type=_text(data, "mediaType", what),
        digest=_digest(_text(data, "digest", what), what),
        size=size,
        platform=_platform(_object(data, "platform", what), what) if data.get("platform") is not None else None,
        annotations=_annotations(data, what),
    )
    if "data" in data:
        _check_embedded(descriptor, _text(data, "data", what), what)
    return descriptor


def _check_embedded(descriptor: Descriptor, text: str, what: str) -> None:
    """Check `data` (descriptor.md#embedded-content), although the blob itself is what gets used."""
    try:
        content = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise ConfigError(f"{what} has embedded data that is not base64") from error
    actual = hashlib.new(descriptor.digest.algorithm, content).hexdigest()
    if len(content) != descriptor.size or actual != descriptor.digest.hex:
        raise IntegrityError(
            f"{what} embeds {len(content)} bytes with digest {descriptor.digest.algorithm}:{actual}, "
            f"not the {descriptor.size} bytes of {descriptor.digest}"
        )


def _platform(data: Mapping[str, object], what: str) -> Platform:
    variant = _optional_text(data, "variant", what)
    return Platform(_text(data, "os", what), _text(data, "architecture", what), variant or None)


def _annotations(data: Mapping[str, object], what: str) -> Mapping[str, str]:
    found = _optional_object(data, "annotations", what)
    return {name: _text(found, name, f"{what} annotations") for name in found}


def _checked_env(env: tuple[str, ...], what: str) -> tuple[str, ...]:
    for assignment in env:
        if "=" not in assignment[1:] or "\0" in assignment:
            raise ConfigError(f"{what} has {assignment!r} in config.Env, which is not NAME=value")
    return env


def _parse_object(content: bytes, what: str) -> Mapping[str, object]:
    data = parse_json(content, what=what)
    if not isinstance(data, dict):
        raise ConfigError(f"{what} is not a JSON object")
    return cast("dict[str, object]", data)


def _object(data: Mapping[str, object], name: str, what: str) -> Mapping[str, object]:
    value = data.get(name)
    if not isinstance(value, dict):
        raise ConfigError(f"{what} has no object {name!r}")
    return cast("dict[str, object]", value)


def _optional_object(data: Mapping[str, object], name: str, what: str) -> Mapping[str, object]:
    """Return an object; an empty one for null or an absent one."""
    return {} if data.get(name) is None else _object(data, name, what)


def _list(data: Mapping[str, object], name: str, what: str) -> Sequence[object]:
    value = data.get(name)
    if not isinstance(value, list):
        raise ConfigError(f"{what} has no list {name!r}")
    return cast("list[object]", value)


def _text(data: Mapping[str, object], name: str, what: str) -> str:
    value = data.get(name)
    if not isinstance(value, str):
        raise ConfigError(f"{what} has no text {name!r}")
    return value


def _optional_text(data: Mapping[str, object], name: str, what: str) -> str:
    return "" if data.get(name) is None else _text(data, name, what)


def _plain_text(data: Mapping[str, object], name: str, what: str) -> str:
    text = _optional_text(data, name, what)
    if "\0" in text:
        raise ConfigError(f"{what} has a NUL character in {name}: {text!r}")
    return text


def _texts(data: Mapping[str, object], name: str, what: str) -> tuple[str, ...]:
    """Return a list of texts; none for an absent one or null, which Go writes for an empty slice."""
    items = _list(data, name, what) if data.get(name) is not None else ()
    if not all(isinstance(item, str) for item in items):
        raise ConfigError(f"{what} has something other than text in {name!r}")
    return cast("tuple[str, ...]", tuple(items))


def _digest(text: str, what: str) -> Digest:
    try:
        return Digest.parse(text)
    except ValueError as error:
        raise ConfigError(f"{what}: {error}") from error
