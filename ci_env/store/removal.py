"""Removes what may belong to other ids. Must not decide what is removed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ci_env.errors import HostError

if TYPE_CHECKING:
    from ci_env.oci.unpacking import AsOwner


def remove(path: Path, as_owner: AsOwner) -> None:
    """Remove `path` and all below it, there or not; links are removed, not followed.

    What is the caller's goes at once; `rm` under the owners' ids gets the rest. HostError if something stays.
    """
    try:
        _remove_own(path)
    except FileNotFoundError:
        pass
    except (OSError, RecursionError):  # another id's, a closed directory, or a very deep one: rm can do them all
        as_owner(["rm", "-rf", "--", os.fspath(path)], stdin=None, stdout=None)
    if os.path.lexists(path):
        raise HostError(f"cannot remove {path}", hint="remove it as root; nothing refers to it")


def _remove_own(path: Path) -> None:
    if not path.is_dir() or path.is_symlink():
        path.unlink()
        return
    try:
        path.rmdir()  # most scratch directories are empty at their end
    except OSError:
        import shutil

        shutil.rmtree(path)
