"""Which image of the store a word on the command line means."""

from __future__ import annotations

import re

from ci_env.digest import Digest
from ci_env.errors import ConfigError
from ci_env.oci.reference import parse
from ci_env.store.images import ImageResult, Images

_DIGEST = re.compile(r"(sha256:)?([0-9a-f]{6,64})\Z")


def find(images: Images, text: str) -> tuple[tuple[Digest, ImageResult], ...]:
    """Return the images that `text` means, with their keys: by name, by the same name in full, or by digest."""
    known = tuple(images.all())
    exact = tuple(item for item in known if item[1].reference == text)
    if exact:
        return exact
    full = _in_full(text)
    same = tuple(item for item in known if full is not None and _in_full(item[1].reference) == full)
    match = _DIGEST.match(text)
    if same or match is None:
        return same
    return tuple(item for item in known if item[1].manifest.hex.startswith(match[2]))


def find_one(images: Images, text: str) -> ImageResult:
    """Return the image that `text` means; ConfigError if there is none, or several."""
    found = {result.manifest: result for _, result in find(images, text)}
    if len(found) == 1:
        return next(iter(found.values()))
    if found:
        digests = ", ".join(sorted(digest.hex[:12] for digest in found))
        raise ConfigError(f"{text!r} may be {len(found)} images", hint=f"choose one by its digest: {digests}")
    raise ConfigError(f"there is no image {text!r} in the store", hint="$ ci-env image ls\n$ ci-env image pull REF")


def _in_full(name: str) -> str | None:
    try:
        return str(parse(name))
    except ValueError:
        return None
