"""Where the store is and what it is made of. Owns its directories, and nothing that lies in them."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from ci_env.errors import ConfigError, HostError
from ci_env.files import explained
from ci_env.frozen import dataclass
from ci_env.store.locks import shared

HOME = "CI_ENV_HOME"
_OF_ROOT = Path("/var/lib/ci-env")


@dataclass(frozen=True, slots=True)
class Store:
    """The store's directories; all are there, on one filesystem, and closed to other users."""

    root: Path
    """absolute and without symbolic links"""

    @property
    def blobs(self) -> Path:
        """Content, as `ALGORITHM/HEX` of its digest."""
        return self.root / "blobs"

    @property
    def layers(self) -> Path:
        return self.root / "layers"

    @property
    def steps(self) -> Path:
        """Results of steps."""
        return self.root / "steps"

    @property
    def images(self) -> Path:
        """What names of images were resolved to."""
        return self.root / "images"

    @property
    def pipelines(self) -> Path:
        """Pipeline files, parsed."""
        return self.root / "pipelines"

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    @property
    def caches(self) -> Path:
        return self.root / "caches"

    @property
    def tmp(self) -> Path:
        """Scratch directories of runs, and a lock file for each."""
        return self.root / "tmp"

    @property
    def locks(self) -> Path:
        return self.root / "locks"

    @property
    def mnt(self) -> Path:
        """Empty; where sandboxes mount, each in a mount namespace of its own."""
        return self.root / "mnt"

    def directories(self) -> tuple[Path, ...]:
        """Return all directories of a store, but for its root."""
        content = (self.blobs / "sha256", self.layers, self.steps, self.images, self.pipelines)
        return (self.blobs, *content, self.runs, self.caches, self.tmp, self.locks, self.mnt)


def locate(env: Mapping[str, str], uid: int) -> Path:
    """Return where the user's store is to be, there or not.

    An XDG_DATA_HOME that is empty or relative does not count (XDG Base Directory Specification); a CI_ENV_HOME like
    that is a ConfigError. HostError where a user has no home.
    """
    if HOME in env:
        if not os.path.isabs(env[HOME]):
            raise ConfigError(
                f"{HOME} is {env[HOME]!r}, which is not an absolute path", hint=f"correct or unset {HOME}"
            )
        return Path(env[HOME])
    if uid == 0:
        return _OF_ROOT
    data = env.get("XDG_DATA_HOME", "")
    return (Path(data) if os.path.isabs(data) else _home(env, uid) / ".local" / "share") / "ci-env"


def _home(env: Mapping[str, str], uid: int) -> Path:
    home = env.get("HOME", "")
    if os.path.isabs(home):
        return Path(home)
    import pwd

    try:
        return Path(pwd.getpwuid(uid).pw_dir)
    except KeyError as error:
        raise HostError(f"user {uid} has no home directory", hint=f"set {HOME} to a directory for the store") from error


def open_store(path: Path) -> Store:
    """Return the store at `path`, made where it is not there; safe while others do the same.

    HostError if it belongs to someone else, is open to others' writing, is no directory, cannot be written to, or lies
    on a filesystem without locks.
    """
    with explained("make the store at", path):
        _make_root(path)
        store = Store(path.resolve())
        for directory in store.directories():
            directory.mkdir(mode=0o700, exist_ok=True)
    with shared(store.locks / "probe.lock"):  # HostError where it cannot be
        return store


def _make_root(path: Path) -> None:
    """Make the directory, marked as nothing to be committed: git leaves out what has such a file (gitignore(5))."""
    try:
        path.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        _check(path)
    with suppress(FileExistsError), open(path / ".gitignore", "x") as file:
        file.write("*\n")


def _check(path: Path) -> None:
    status = path.stat()
    if not stat.S_ISDIR(status.st_mode):
        raise HostError(f"the store {path} is not a directory", hint=f"remove it, or point {HOME} elsewhere")
    if status.st_uid != os.geteuid():
        raise HostError(
            f"the store {path} belongs to user {status.st_uid}, but this is user {os.geteuid()}",
            hint=f"each user needs a store; point {HOME} at a directory of your own",
        )
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise HostError(f"others may write to the store {path}", hint=f"chmod 700 {path}")
