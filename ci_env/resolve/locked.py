"""Images by the lockfile: a name in it is asked for by digest, so that a tag that moves changes no run."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ci_env import lockfile
from ci_env.errors import ConfigError
from ci_env.events import Emit, Note
from ci_env.frozen import replace
from ci_env.plan.inputs import ResolvedImage
from ci_env.resolve.images import ImageResolver


class LockedImages:
    """Resolves images as the lockfile at `path` says, if it is there."""

    def __init__(self, path: Path, resolver: ImageResolver, emit: Emit) -> None:
        self._path = path
        self._resolver = resolver
        self._emit = emit
        self._found = lockfile.read(path)

    def require(self, images: Iterable[str]) -> None:
        """Raise ConfigError unless all `images` are locked."""
        missing = [text for text in dict.fromkeys(images) if lockfile.is_movable(text) and self._pinned(text) is None]
        if missing:
            what = f"lacks {', '.join(missing)}" if self._found else "is not there"
            raise ConfigError(f"{self._path} {what}, and --locked runs nothing else", hint="`ci-env lock` writes it")

    def resolve(self, text: str, *, at: str) -> ResolvedImage:
        """Return the image that `text` names, as `ImageResolver.resolve`."""
        name = self._pinned(text)
        if name is None:
            if self._found is not None and lockfile.is_movable(text):
                self._emit(Note("info", f"{self._path.name} does not have the image {text}; `ci-env lock` adds it"))
            return self._resolver.resolve(text, at=at)
        resolved = self._resolver.resolve(name, at=at)
        return replace(resolved, image=replace(resolved.image, reference=text))

    def _pinned(self, text: str) -> str | None:
        known = self._found.images.get(text) if self._found and lockfile.is_movable(text) else None
        digest = known.digest(str(self._resolver.platform)) if known else None
        return lockfile.pinned(text, digest) if digest else None
