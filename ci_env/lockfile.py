"""What the names of images meant when the lockfile was written. Owns its form and where it is; asks no registry.

The lockfile lies beside its pipeline file and has its name: `ci-env.lock` beside `ci-env.yml`. It is JSON with sorted
keys, a line for each fact, so that a change is small and a conflict can be read.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from ci_env import codec
from ci_env.digest import Digest
from ci_env.errors import ConfigError
from ci_env.files import atomic_write, explained
from ci_env.frozen import dataclass
from ci_env.pipeline.image import parse_image

LOCKFILE_VERSION = 1
_MODE = 0o644
_MAX_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class LockedImage:
    """What one name meant."""

    date: str
    """RFC 3339, UTC"""
    index: Digest | None
    """of all platforms; None: the name stands for a single image"""
    manifests: Mapping[str, Digest]
    """by platform: os/architecture[/variant]"""

    def digest(self, platform: str) -> Digest | None:
        """Return what to ask for on `platform`; None if that is not known."""
        return self.manifests.get(platform) or self.index


@dataclass(frozen=True, slots=True)
class Lockfile:
    version: Literal[1]
    images: Mapping[str, LockedImage]
    """by the text of `image:`"""


EMPTY = Lockfile(1, {})


def read(path: Path) -> Lockfile | None:
    """Return the lockfile, None where there is none. ConfigError if it is no lockfile or of a newer version."""
    with explained("read", path):
        try:
            with open(path, "rb") as file:
                content = file.read(_MAX_BYTES + 1)
        except FileNotFoundError:
            return None
    try:
        if len(content) > _MAX_BYTES:
            raise ValueError(f"it is larger than {_MAX_BYTES >> 20} MiB")
        return codec.loads(Lockfile, content)
    except (ValueError, RecursionError) as error:
        hint = "take it from version control again, or remove it and run `ci-env lock`"
        raise ConfigError(f"{path} is not a lockfile of this ci-env: {str(error)[:200]}", hint=hint) from error


def write(path: Path, lockfile: Lockfile) -> None:
    """Put the lockfile in the place of an older one."""
    import json

    content = json.dumps(codec.encode(lockfile), indent=2, sort_keys=True, ensure_ascii=False)
    with explained("write", path):
        atomic_write(path, f"{content}\n".encode(), mode=_MODE)


def is_movable(text: str) -> bool:
    """Tell whether the image that `text` names can become another one without the pipeline file saying so.

    What lies on this machine is not pinned: its owner has it in his hands, and its digest is in every plan.
    """
    return parse_image(text).kind == "registry" and "@" not in text


def pinned(text: str, digest: Digest) -> str:
    """Return the name of just the image with this digest, where `text` would be looked for."""
    from ci_env.oci.reference import parse

    reference = parse(text)
    return f"{reference.registry}/{reference.repository}@{digest}"
