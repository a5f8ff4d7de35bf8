"""What names of images were resolved to. Owns `images/`; must not ask a registry."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from ci_env.digest import Digest
from ci_env.frozen import dataclass
from ci_env.store.documents import Documents
from ci_env.store.home import Store


@dataclass(frozen=True, slots=True)
class Made:
    """How an image came here that has its name from nowhere else: no registry can give it again."""

    how: Literal["built", "imported"]
    at: str
    """RFC 3339"""
    again: str
    """the command that would do it again"""


@dataclass(frozen=True, slots=True)
class ImageResult:
    """An image in the store, and what of its config matters to a step."""

    version: Literal[1]
    reference: str
    """as written in the pipeline file"""
    manifest: Digest
    platform: str
    """os/architecture[/variant]"""
    chain: tuple[Digest, ...]
    """ids of its layers, bottom first"""
    env: tuple[str, ...]
    """NAME=value"""
    user: str
    """empty: root"""
    workdir: str
    """empty: /"""
    source: str | None = None
    """what a registry has it by: registry/repository@digest; None: it is in none, as far as is known"""
    made: Made | None = None
    """None: it is what its reference names elsewhere"""
    entrypoint: tuple[str, ...] | None = None
    """None, as `command`: an older ci-env has written this"""
    command: tuple[str, ...] | None = None


class Images:
    """Image results by a key of the caller's. That one is there says nothing of its layers."""

    def __init__(self, store: Store) -> None:
        self._results = Documents(store.images, ImageResult)

    def load(self, key: Digest) -> ImageResult | None:
        """Return the result; None where it is absent or damaged."""
        return self._results.load(key.hex)

    def save(self, key: Digest, result: ImageResult) -> None:
        """Put the result in the place of an older one."""
        self._results.save(key.hex, result)

    def all(self) -> Iterator[tuple[Digest, ImageResult]]:
        """Yield all results with their keys, in no order; looking is no use of them."""
        for name in self._results.names():
            result = self._results.look(name)
            if result is not None:
                yield Digest.parse(f"sha256:{name}"), result

    def remove(self, key: Digest) -> None:
        """Forget what a name means, if it is known. Layers and documents stay, until prune finds them unused."""
        self._results.remove(key.hex)
