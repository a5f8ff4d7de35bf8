"""Durable file writes. Owns the publish protocol of single files; must not know what is in them."""

from __future__ import annotations

import errno
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from ci_env.errors import HostError

_OUT_OF_SPACE = {errno.ENOSPC, errno.EDQUOT}
_LACKS_OPTION = (b"invalid option", b"unrecognized option", b"nknown option", b"Usage")
_UNWRITABLE = {errno.EROFS, errno.EACCES, errno.EPERM}


def atomic_write(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Put `content` at `path`, whole or not at all, also across a power cut.

    Temporary file in the same directory, fsync, rename, fsync of the directory. On failure nothing is left behind and
    what stood at `path` still stands.
    """
    _replace(path, content, mode, synced=True)
    sync_directory(path.parent)


def quick_write(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Put `content` at `path`, whole or not at all, but for a power cut.

    After one, `path` may hold the old, the new, nothing or part of it. For what its reader can check and make again.
    """
    _replace(path, content, mode, synced=False)


def _replace(path: Path, content: bytes, mode: int, *, synced: bool) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            if synced:
                os.fsync(file.fileno())
        os.rename(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def sync_directory(path: Path) -> None:
    """Make the names in `path` durable (fsync(2): a file's own fsync does not sync its directory entry)."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_filesystem(path: Path) -> None:
    """Make everything on the filesystem of `path` durable, by syncfs(2), which Python does not have but `sync` does.

    A sync of each file takes many times as long, and os.sync, which serves where `sync` cannot, waits for every other
    disk too.
    """
    with open(os.memfd_create("complaint"), "w+b") as complaint:
        quiet = [(os.POSIX_SPAWN_OPEN, descriptor, os.devnull, os.O_RDWR, 0) for descriptor in (0, 1)]
        actions = [*quiet, (os.POSIX_SPAWN_DUP2, complaint.fileno(), 2)]
        argv = ["sync", "-f", os.fspath(path)]
        try:  # in a group of its own, which the terminal's Ctrl-C does not reach
            process = os.posix_spawnp("sync", argv, {}, file_actions=actions, setpgroup=0)
        except (FileNotFoundError, PermissionError):  # no such program, or none that we may run
            os.sync()
            return
        code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        complaint.seek(0)
        said = complaint.read()
        if code > 0 and any(words in said for words in _LACKS_OPTION):
            os.sync()
        elif code:  # or killed: then nobody knows
            raise OSError(errno.EIO, os.strerror(errno.EIO), os.fspath(path))


@contextmanager
def explained(what: str, path: Path) -> Generator[None]:
    """Turn the operating system's refusals inside the block into a HostError that says `what` failed on `path`."""
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        name: object = error.filename or path  # an open file's is its number
        message = f"cannot {what} {os.fsdecode(name) if isinstance(name, bytes) else name}: {reason}"
        if error.errno in _OUT_OF_SPACE:
            raise HostError(message, hint="free some space, or point CI_ENV_HOME at a larger disk") from error
        if error.errno in _UNWRITABLE:
            raise HostError(message, hint="point CI_ENV_HOME at a directory of your own that is writable") from error
        hint = "the kernel's log (dmesg) says what is wrong with the disk" if error.errno == errno.EIO else None
        raise HostError(message, hint=hint) from error
