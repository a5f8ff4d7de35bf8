"""The machine's own operating system as an image: which directories it has, and a fingerprint of what is in them.

Nothing of /home, /root, /run, /srv or /tmp is part of it. What the kernel shows of a directory below a mount cannot be
a lower layer of a user namespace's overlay ("failed to clone lowerpath"), so directories with mounts in them are found
out here.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path

from ci_env.digest import Digest
from ci_env.frozen import dataclass

OVERLAID = ("usr", "etc", "opt", "bin", "sbin", "lib", "lib32", "lib64", "libx32")
"""written to by steps, in layers of their own; links where /usr is merged"""
SHOWN = ("nix", "gnu", "var/lib/dpkg", "var/lib/rpm", "var/lib/apk")
"""read-only: whole systems that lie elsewhere, and what the package managers know"""
_PACKAGES = ("var/lib/dpkg/status", "var/lib/rpm/rpmdb.sqlite", "var/lib/rpm/Packages", "lib/apk/db/installed")
_FOR_ALL = stat.S_IROTH | stat.S_IXOTH
_DEPTH = {"usr": 1, "usr/local": 3, "usr/lib": 1, "etc": 3, "opt": 2}
"""how deep the fingerprint looks; elsewhere at the directory itself"""


@dataclass(frozen=True, slots=True)
class HostImage:
    links: tuple[tuple[str, str], ...]
    """top-level names that are symbolic links, and where they lead"""
    overlaid: tuple[str, ...]
    shown: tuple[str, ...]
    mounted: tuple[str, ...]
    """those of `overlaid` that have mounts in them"""


def find() -> HostImage:
    """Return what this machine has."""
    links = tuple((name, os.readlink(f"/{name}")) for name in OVERLAID if os.path.islink(f"/{name}"))
    overlaid = tuple(name for name in OVERLAID if _is_directory(name))
    points = [line.split(" ")[4] for line in _mountinfo()]
    mounted = tuple(name for name in overlaid if any(point.startswith(f"/{name}/") for point in points))
    return HostImage(links, overlaid, tuple(name for name in SHOWN if _is_directory(name)), mounted)


def fingerprint(root: str = "") -> Digest:
    """Return the identity of the operating system, in some milliseconds: from names, sizes and times, not contents.

    Covers what package managers record, the directories where things are installed by hand, those of /etc, and its own
    files. A file that is overwritten in place elsewhere goes unnoticed; where that matters, use an image. `root` is the
    directory that the system lies in, without a slash at its end.
    """
    digest = hashlib.sha256()
    walks = (_walk(f"{root}/{name}", _DEPTH.get(name, 0)) for name in dict.fromkeys((*OVERLAID, *SHOWN, *_DEPTH)))
    for path, found in chain(*walks, _files(f"{root}/etc")):
        facts = (
            path.removeprefix(root),
            stat.S_IFMT(found.st_mode),
            found.st_mtime_ns,
            found.st_size,
            found.st_uid,
            found.st_gid,
        )
        digest.update(repr(facts).encode(errors="surrogateescape"))
    for name in _PACKAGES:
        try:
            digest.update(Path(f"{root}/{name}").read_bytes())
        except OSError:
            digest.update(b"-")
    return Digest(f"sha256:{digest.hexdigest()}")


def _walk(path: str, depth: int) -> Iterator[tuple[str, os.stat_result]]:
    """Yield `path` and the directories below it, down to `depth`, but not below those that some may not read.

    What is in them no step sees, whoever runs it, and a fingerprint must not depend on who takes it.
    """
    try:
        found = os.lstat(path)
        yield path, found
        if not depth or not stat.S_ISDIR(found.st_mode) or found.st_mode & _FOR_ALL != _FOR_ALL:
            return
        with os.scandir(path) as entries:
            names = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    except OSError:
        return
    for name in names:
        yield from _walk(f"{path}/{name}", depth - 1)


def _files(path: str) -> Iterator[tuple[str, os.stat_result]]:
    """Yield what is directly in `path`; what goes meanwhile is not there."""
    try:
        names = sorted(os.listdir(path))
    except OSError:
        return
    for name in names:
        with suppress(FileNotFoundError):
            yield f"{path}/{name}", os.lstat(f"{path}/{name}")


def _is_directory(name: str) -> bool:
    return os.path.isdir(f"/{name}") and not os.path.islink(f"/{name}")


def _mountinfo() -> list[str]:
    return Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines()
