"""The program that measures: `python -I -m ci_env.store.measure`. Paths on stdin, their sizes in bytes on stdout.

A program of its own because it runs under the ids that layers are owned by (ports.Runner.as_owner). Sizes are what the
disk gives, a file with several names once for each path; what is not there, or goes meanwhile, has none.
"""

from __future__ import annotations

import os
import stat
import sys

_BLOCK = 512  # of st_blocks, whatever the filesystem's own (stat(2))


def size(path: bytes) -> int:
    """Return the size of `path` and of all below it."""
    total, pending, seen = 0, [path], set[int]()
    while pending:
        current = pending.pop()
        try:
            found = os.lstat(current)
            if stat.S_ISDIR(found.st_mode):
                pending += [os.path.join(current, name) for name in os.listdir(current)]
        except OSError:
            continue
        if found.st_nlink == 1 or stat.S_ISDIR(found.st_mode) or found.st_ino not in seen:
            total += found.st_blocks * _BLOCK
        seen.add(found.st_ino)
    return total


if __name__ == "__main__":
    paths = sys.stdin.buffer.read().split(b"\0")
    print(*(size(path) for path in paths if path))  # noqa: T201  # a program's answer
