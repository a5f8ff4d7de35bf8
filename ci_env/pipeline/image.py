"""The forms of `image:`. Owns which kind of image a text names; a registry's grammar is oci/reference.py's."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Kind = Literal["registry", "oci", "oci-archive", "host"]

_SCHEME = re.compile(r"(oci|oci-archive|docker-archive):(?P<rest>.*)\Z", re.DOTALL)
_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")


@dataclass(frozen=True, slots=True)
class ImageName:
    """Where an image is."""

    kind: Kind
    place: str
    """the reference in a registry, the directory or the file; empty for the host"""
    tag: str | None
    """chooses among the images of a directory or file; None: the only one"""


def parse_image(text: str) -> ImageName:
    """Return what `text` names; ValueError says why it names nothing. Registry references are returned unread."""
    if text == "host":
        return ImageName("host", "", None)
    match = _SCHEME.match(text)
    if match is None:
        return ImageName("registry", text, None)
    if match[1] == "docker-archive":
        raise ValueError("`docker-archive:` is not supported yet; `skopeo copy` makes an `oci-archive:` of it")
    place, tag = _split_tag(match["rest"])
    if not place:
        raise ValueError(f"`{match[1]}:` needs a path, as in `{match[1]}:build/image`")
    return ImageName("oci" if match[1] == "oci" else "oci-archive", place, tag)


def _split_tag(rest: str) -> tuple[str, str | None]:
    """Cut a tag off: what follows the last colon, unless that is a part of the path."""
    place, colon, tag = rest.rpartition(":")
    if not colon or "/" in tag:
        return rest, None
    if not _TAG.match(tag):
        raise ValueError(f"{tag!r} is not a tag (letters, digits, `_`, `.`, `-`; at most 128)")
    return place, tag
