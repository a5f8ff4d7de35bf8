"""The documents of an image that was built here: what it stands on, its own layers and its configuration."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import cast

from ci_env.digest import Digest, Json
from ci_env.frozen import dataclass
from ci_env.oci.document import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, parse_json
from ci_env.oci.platform import Platform
from ci_env.oci.write import oci_type

_NOTHING: Mapping[str, Json] = {}


@dataclass(frozen=True, slots=True)
class Base:
    """The documents of an image in the store."""

    manifest: bytes
    config: bytes


@dataclass(frozen=True, slots=True)
class PlainLayer:
    """A layer as an archive that is not compressed."""

    diff_id: Digest
    size: int


@dataclass(frozen=True, slots=True)
class Built:
    """What a build has added to its base."""

    layers: tuple[PlainLayer, ...]
    config: Mapping[str, Json]
    """the `config` object, whole"""
    author: str | None
    history: tuple[tuple[str, bool], ...]
    """for each instruction: how it was written, and whether it made no layer"""
    platform: Platform
    created: str
    """RFC 3339, UTC"""


def assemble(base: Base | None, built: Built) -> tuple[bytes, bytes]:
    """Return the manifest and the config of the image. Equal arguments give equal bytes."""
    config = _encoded(_config(base, built))
    manifest: Json = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {"mediaType": OCI_CONFIG, "digest": Digest.of(config), "size": len(config)},
        "layers": [*_base_layers(base), *map(_descriptor, built.layers)],
    }
    return _encoded(manifest), config


def _config(base: Base | None, built: Built) -> Json:
    old = _read(base.config, "the base image's config") if base is not None else _NOTHING
    rootfs = cast("Mapping[str, Json]", old.get("rootfs", _NOTHING))
    platform = built.platform
    names = ("architecture", "os", "os.version", "os.features", "variant")
    about: dict[str, Json] = {name: old[name] for name in names if name in old}
    if base is None:
        about = {"architecture": platform.architecture, "os": platform.os}
        about |= {"variant": platform.variant} if platform.variant else {}
    return {
        "created": built.created,
        **({"author": built.author} if built.author else {}),
        **about,
        "config": built.config,
        "rootfs": {
            "type": "layers",
            "diff_ids": [*_items(rootfs.get("diff_ids")), *(layer.diff_id for layer in built.layers)],
        },
        "history": [*_items(old.get("history")), *(_said(built.created, *entry) for entry in built.history)],
    }


def _said(created: str, created_by: str, is_empty: bool) -> Json:
    entry: dict[str, Json] = {"created": created, "created_by": created_by, "comment": "ci-env"}
    return {**entry, "empty_layer": True} if is_empty else entry


def _base_layers(base: Base | None) -> list[Json]:
    """Return the base's layers, by OCI's names of their types."""
    if base is None:
        return []
    layers = _items(_read(base.manifest, "the base image's manifest").get("layers"))
    described = [cast("Mapping[str, Json]", layer) for layer in layers]
    return [{**layer, "mediaType": oci_type(str(layer["mediaType"]))} for layer in described]


def _descriptor(layer: PlainLayer) -> Json:
    return {"mediaType": OCI_LAYER, "digest": layer.diff_id, "size": layer.size}


def _items(value: Json) -> Sequence[Json]:
    return value if isinstance(value, list) else ()


def _read(content: bytes, what: str) -> Mapping[str, Json]:
    return cast("Mapping[str, Json]", parse_json(content, what=what))


def _encoded(value: Json) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
