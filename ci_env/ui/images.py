"""How images look on a terminal. Pure; owns columns and words, not where they are printed."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ci_env.ui.clean import clean
from ci_env.ui.sizes import size

if TYPE_CHECKING:
    from ci_env.oci.document import ImageConfig, Manifest
    from ci_env.store.images import ImageResult

_SIZE_WIDTH = len("1023.9 MiB")
_DIGEST_LENGTH = 12


def row(result: ImageResult, *, width: int, size_bytes: int | None, is_whole: bool) -> str:
    """Return an image as one line: name, beginning of its digest, platform, size, number of layers."""
    parts = (
        f"{clean(result.reference):{width}}",
        result.manifest.hex[:_DIGEST_LENGTH],
        clean(result.platform),
        f"{'' if size_bytes is None else size(size_bytes):>{_SIZE_WIDTH}}",
        _layers(len(result.chain)),
    )
    return "  ".join(parts) + ("" if is_whole else ", not whole")


def details(result: ImageResult, manifest: Manifest, config: ImageConfig) -> Iterator[str]:
    """Return an image as lines: what it is, what it runs, what it is made of."""
    total = sum(layer.size for layer in manifest.layers)
    yield f"image {clean(result.reference)}"
    yield f"  manifest    {result.manifest}"
    yield f"  platform    {config.platform}"
    yield f"  size        {size(total)} in {_layers(len(manifest.layers))}"
    yield f"  user        {clean(config.user) or 'root'}"
    yield f"  workdir     {clean(config.workdir) or '/'}"
    yield f"  entrypoint  {clean(shlex.join(config.entrypoint))}".rstrip()
    yield f"  command     {clean(shlex.join(config.command))}".rstrip()
    yield from (f"  env         {clean(assignment)}" for assignment in config.env)
    for diff_id, layer in zip(config.diff_ids, manifest.layers, strict=True):
        yield f"  layer       {diff_id}  {size(layer.size):>{_SIZE_WIDTH}}"


def _layers(count: int) -> str:
    return "1 layer" if count == 1 else f"{count} layers"
