"""How much a step has written to its layer, as it lies on the disk. Looks, changes nothing. Standard library only.

There is no counter for it where the filesystem has no project quota, so the tree is walked: as seldom as can be.
Between walks the filesystem's free space tells how much can have come since.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

_BLOCK = 512
_INODE_BYTES = 1024
"""what each name costs beside its blocks, so that empty files count too"""
_SHARE = 10
"""a walk may take one in so many parts of the time"""
_HURRIED_SHARE = 2
_LONG_PATH = 2000
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Disk:
    """What is written below `directory`, and whether that is more than `limit_bytes`."""

    PAUSE_MS = 100
    """between two looks"""

    def __init__(self, directory: str, limit_bytes: int) -> None:
        self._directory = directory
        self._limit_bytes = limit_bytes
        self._found_bytes = 0
        """by the last walk"""
        self._free = self._now_free()
        """then, in bytes and inodes"""
        self._walked_at = time.monotonic()
        self._took_s = 0.0

    def seems_over(self) -> bool:
        """Look whether it is too much by now; costs next to nothing where it cannot be."""
        since_s = time.monotonic() - self._walked_at
        free, inodes = (then - now for then, now in zip(self._free, self._now_free(), strict=True))
        at_most = self._found_bytes + max(free, 0) + max(inodes, 0) * _INODE_BYTES
        share = _HURRIED_SHARE if at_most > self._limit_bytes else _SHARE
        return since_s > self._took_s * share and self.is_over()

    def is_over(self) -> bool:
        """Walk."""
        self._walked_at, self._free = time.monotonic(), self._now_free()
        self._found_bytes = measure(self._directory, stop_at=self._limit_bytes)
        self._took_s = time.monotonic() - self._walked_at
        return self._found_bytes > self._limit_bytes

    def _now_free(self) -> tuple[int, int]:
        found = os.statvfs(self._directory)
        return found.f_bfree * found.f_frsize, found.f_ffree


def measure(directory: str, *, stop_at: int) -> int:
    """Return what all below `directory` takes, files with several names once; or some number above `stop_at`.

    What goes away meanwhile is not counted, and what cannot be looked into neither.
    """
    seen: set[int] = set()
    total = 0
    for entry, found in _walk(directory):
        total += _INODE_BYTES
        if found.st_nlink == 1 or entry.is_dir(follow_symlinks=False):
            total += found.st_blocks * _BLOCK
        elif found.st_ino not in seen:
            seen.add(found.st_ino)
            total += found.st_blocks * _BLOCK
        if total > stop_at:
            break
    return total


def _walk(directory: str) -> Iterator[tuple[os.DirEntry[str], os.stat_result]]:
    """Give everything below `directory`, however deep: a path too long for the kernel begins at a descriptor."""
    anchors = [os.open(directory, _DIRECTORY)]
    ahead = [(anchors[0], ".")]
    try:
        while ahead:
            anchor, path = ahead.pop()
            try:
                descriptor = os.open(path, _DIRECTORY, dir_fd=anchor)
            except OSError:
                continue
            if len(path) > _LONG_PATH:
                anchors.append(descriptor)
                anchor, path = descriptor, "."
            try:
                for entry in _entries(descriptor):
                    yield entry
                    if entry[0].is_dir(follow_symlinks=False):
                        ahead.append((anchor, f"{path}/{entry[0].name}"))
            finally:
                if descriptor != anchors[-1]:
                    os.close(descriptor)
    finally:
        for anchor in anchors:
            os.close(anchor)


def _entries(descriptor: int) -> Iterator[tuple[os.DirEntry[str], os.stat_result]]:
    with os.scandir(descriptor) as entries:
        for entry in entries:
            try:
                found = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            yield entry, found
