"""How large parts of the store are. Runs the program measure.py under the ids that layers are owned by."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ci_env.errors import HostError

if TYPE_CHECKING:
    from ci_env.oci.unpacking import AsOwner


def measure(as_owner: AsOwner, paths: Sequence[Path]) -> Mapping[Path, int]:
    """Return the bytes that each path takes on disk, with all below it; 0 for what is not there."""
    with open(os.memfd_create("paths"), "w+b") as asked, open(os.memfd_create("sizes"), "w+b") as answer:
        asked.write(b"\0".join(os.fsencode(path) for path in paths))
        asked.flush()
        asked.seek(0)
        as_owner([sys.executable, "-I", "-m", "ci_env.store.measure"], stdin=asked.fileno(), stdout=answer.fileno())
        answer.seek(0)
        sizes = [int(number) for number in answer.read().split()]
    if len(sizes) != len(paths):
        raise HostError("the program that measures the store ended without an answer")
    return dict(zip(paths, sizes, strict=True))
