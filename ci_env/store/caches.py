"""Mutable directories of steps. Owns `caches/`: a directory `HEX` for each, and beside it `HEX.used`, whose time is its
last use, since that of the directory is the steps'. Must not look into them.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from ci_env.digest import Digest
from ci_env.files import explained
from ci_env.store.home import Store
from ci_env.store.uses import Uses


class Caches:
    """Caches by their ids."""

    def __init__(self, store: Store, uses: Uses) -> None:
        self._root = store.caches
        self._uses = uses

    def directory(self, cache: Digest) -> Path:
        """Return the cache's directory, made where there is none, and kept until this command ends."""
        self._uses.hold(cache)
        directory = self._root / cache.hex
        with explained("make", directory):
            with suppress(FileExistsError):
                directory.mkdir()
                directory.chmod(0o755)  # it is the steps', whatever our umask
            directory.with_name(f"{cache.hex}.used").touch(mode=0o600)
        return directory
