"""A place for layers, for tests of pulling: a directory per layer, unpacked by the real program, as the caller."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ci_env.digest import Digest
from ci_env.oci import unpacking
from ci_env.oci.pull import Stream


def as_caller(argv: Sequence[str], /, *, stdin: int | None, stdout: int | None) -> int:
    return subprocess.run(argv, stdin=stdin, stdout=stdout, check=False, timeout=120).returncode


class LayerDirectory:
    """Implements pull.LayerPlace."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        self.blobs: dict[Digest, bytes] = {}
        self.unpacked: list[Digest] = []

    def layer(self, layer: Digest) -> Path:
        return self.path / layer.hex

    def has(self, layer: Digest) -> bool:
        return self.layer(layer).exists()

    @contextmanager
    def reserve(self, layer: Digest) -> Generator[bool]:
        yield not self.has(layer)

    def unpack(self, layer: Digest, parents: tuple[Digest, ...], diff_id: Digest, stream: Stream) -> tuple[str, ...]:
        temporary = self.path / "tmp"
        temporary.mkdir()
        try:
            lowers = [self.layer(parent) for parent in parents]
            squash = os.geteuid() != 0
            with stream() as content:
                applied = unpacking.unpack(as_caller, content, temporary, lowers, diff_id, squash_ids=squash)
            temporary.rename(self.layer(layer))
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        self.unpacked.append(layer)
        return applied.warnings

    def document(self, digest: Digest, fetch: Callable[[], bytes]) -> bytes:
        return self.blobs.get(digest) or fetch()

    def put_blob(self, content: bytes) -> Digest:
        digest = Digest("sha256:" + hashlib.sha256(content).hexdigest())
        self.blobs[digest] = content
        return digest

    def complete(self) -> set[str]:
        """Return the names of all that is there, unfinished things too."""
        return set(os.listdir(self.path))
