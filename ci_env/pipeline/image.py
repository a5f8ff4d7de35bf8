"""The forms of `image:`. Owns which kind of image a text names; a registry's grammar is oci/reference.py's."""

from __future__ import annotations

import re
from typing import Literal, cast

from ci_env.frozen import dataclass

Kind = Literal["registry", "oci", "oci-archive", "docker-archive", "dockerfile", "host"]

_SCHEME = re.compile(r"(oci|oci-archive|docker-archive|dockerfile):(?P<rest>.*)\Z", re.DOTALL)
_EXAMPLES = {"dockerfile": "ci/Dockerfile"}
_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")


@dataclass(frozen=True, slots=True)
class ImageName:
    """Where an image is."""

    kind: Kind
    place: str
    """the reference in a registry, the directory or the file (of a Dockerfile, that itself); empty for the host"""
    tag: str | None
    """chooses among the images of a directory or file, in a docker archive by `name[:tag]`; None: the only one"""


def parse_image(text: str) -> ImageName:
    """Return what `text` names; ValueError says why it names nothing. Registry references are returned unread."""
    if text == "host":
        return ImageName("host", "", None)
    match = _SCHEME.match(text)
    if match is None:
        return ImageName("registry", text, None)
    kind = cast("Kind", match[1])
    place, tag = _split(kind, match["rest"])
    if not place:
        raise ValueError(f"`{kind}:` needs a path, as in `{kind}:{_EXAMPLES.get(kind, 'build/image')}`")
    return ImageName(kind, place, tag)


def _split(kind: Kind, rest: str) -> tuple[str, str | None]:
    if kind == "dockerfile":
        return rest, None
    return _split_name(rest) if kind == "docker-archive" else _split_tag(rest)


def _split_name(rest: str) -> tuple[str, str | None]:
    """Cut an image's name off: what follows the first colon, since the name may have one too."""
    place, _, name = rest.partition(":")
    return place, name or None


def _split_tag(rest: str) -> tuple[str, str | None]:
    """Cut a tag off: what follows the last colon, unless that is a part of the path."""
    place, colon, tag = rest.rpartition(":")
    if not colon or "/" in tag:
        return rest, None
    if not _TAG.match(tag):
        raise ValueError(f"{tag!r} is not a tag (letters, digits, `_`, `.`, `-`; at most 128)")
    return place, tag
