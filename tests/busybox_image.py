"""What a root file system needs to run a line of sh: busybox, and the names it goes by."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.oci_builder import Item, d, f, link

_BUSYBOX = Path("/bin/busybox")
_NAMES = ("sh", "cat", "test", "ls", "stat")


def busybox() -> Sequence[Item]:
    """Return the entries of a layer; skips the test where there is no static busybox."""
    if not _BUSYBOX.exists():
        pytest.skip("needs busybox (Debian package busybox-static)")
    return [
        d("bin"),
        f("bin/busybox", _BUSYBOX.read_bytes(), mode=0o755),
        *(link(f"bin/{n}", "busybox") for n in _NAMES),
    ]
