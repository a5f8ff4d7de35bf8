"""`ci-env image ls`, `inspect` and `rm`: what is in the store, without changing more than names."""

from __future__ import annotations

import argparse
import json
import sys
from typing import cast

from ci_env.cli.images.choice import find, find_one
from ci_env.cli.opened import this_store
from ci_env.digest import Digest, Json
from ci_env.errors import ConfigError, IntegrityError
from ci_env.oci.document import Manifest, parse_config, parse_document, parse_json
from ci_env.store.blobs import Blobs
from ci_env.store.home import Store
from ci_env.store.images import ImageResult, Images
from ci_env.store.markers import boot_id, is_complete
from ci_env.ui.images import details, row


def run(arguments: argparse.Namespace) -> None:
    """Do what is asked for."""
    store = this_store()
    images = Images(store)
    if arguments.action == "ls":
        _list(store, images, as_json=arguments.json)
    elif arguments.action == "inspect":
        _inspect(Blobs(store), find_one(images, arguments.image), as_json=arguments.json)
    else:
        _forget(images, arguments.images)


def _list(store: Store, images: Images, *, as_json: bool) -> None:
    blobs, boot = Blobs(store), boot_id()
    results = sorted((result for _, result in images.all()), key=lambda result: (result.reference, result.manifest))
    width = max((len(result.reference) for result in results), default=0)
    for result in results:
        size = _size(blobs, result)
        is_whole = size is not None and all(is_complete(store.layers / layer.hex, boot=boot) for layer in result.chain)
        if as_json:
            facts: dict[str, Json] = {"reference": result.reference, "manifest": result.manifest}
            facts |= {"platform": result.platform, "layers": len(result.chain), "size_bytes": size, "whole": is_whole}
            sys.stdout.write(json.dumps(facts) + "\n")
        else:
            sys.stdout.write(row(result, width=width, size_bytes=size, is_whole=is_whole) + "\n")


def _size(blobs: Blobs, result: ImageResult) -> int | None:
    """Return what the layers' archives took where the image comes from; None if its manifest is gone."""
    manifest = _manifest(blobs, result.manifest)
    return None if manifest is None else sum(layer.size for layer in manifest.layers)


def _manifest(blobs: Blobs, digest: Digest) -> Manifest | None:
    try:
        document = parse_document(blobs.read(digest), what="the image's manifest")
    except IntegrityError:
        return None
    return document if isinstance(document, Manifest) else None


def _inspect(blobs: Blobs, result: ImageResult, *, as_json: bool) -> None:
    manifest = _manifest(blobs, result.manifest)
    if manifest is None:
        raise IntegrityError(f"the manifest of {result.reference} is not in the store", hint="pull the image again")
    content = blobs.read(manifest.config.digest)
    config = parse_config(content, layers=len(manifest.layers), what="the image's config")
    if not as_json:
        sys.stdout.writelines(line + "\n" for line in details(result, manifest, config))
        return
    layers: list[dict[str, Json]] = [
        {"diff_id": diff_id, "chain_id": chain_id, "digest": layer.digest, "size_bytes": layer.size}
        for diff_id, chain_id, layer in zip(config.diff_ids, result.chain, manifest.layers, strict=True)
    ]
    facts: dict[str, Json] = {"reference": result.reference, "manifest": result.manifest, "platform": result.platform}
    facts |= {"layers": layers, "config": cast("Json", parse_json(content, what="the image's config"))}
    sys.stdout.write(json.dumps(facts, indent=2) + "\n")


def _forget(images: Images, names: list[str]) -> None:
    chosen = {key: result for name in names for key, result in _known(images, name)}
    for key, result in chosen.items():
        images.remove(key)
        sys.stdout.write(f"{result.reference}: removed\n")


def _known(images: Images, name: str) -> tuple[tuple[Digest, ImageResult], ...]:
    found = find(images, name)
    if not found:
        raise ConfigError(f"there is no image {name!r} in the store", hint="$ ci-env image ls")
    return found
