"""The digest of what a step has left: all of it counts, and none of it can be out of reach."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ci_env.oci.layer_digest import digest
from tests.deep_directory import deepen


def made(layer: Path) -> Path:
    for part in ("root/etc/deep", "root/empty", "host/usr"):
        (layer / part).mkdir(parents=True)
    (layer / "root/etc/file").write_text("one")
    (layer / "root/etc/deep/file").write_text("two")
    (layer / "root/link").symlink_to("etc")
    (layer / "host/usr/file").write_text("three")
    return layer


def test_is_of_what_is_there(tmp_path: Path) -> None:
    one, other = (made(tmp_path / name) for name in "ab")
    (other / "layer.json").write_text("the store's")
    os.utime(other / "root/etc/file", (0, 0))
    assert digest(os.fsencode(one)) == digest(os.fsencode(other))


def linked(path: Path, target: str) -> Path:
    path.symlink_to(target)
    return path


Change = Callable[[Path], object]
CHANGES: tuple[Change, ...] = (
    lambda layer: (layer / "root/etc/file").write_text("two"),
    lambda layer: (layer / "root/etc/file").chmod(0o600),
    lambda layer: (layer / "root/etc/file").rename(layer / "root/etc/elif"),
    lambda layer: (layer / "root/etc/deep/file").rename(layer / "root/empty/file"),
    lambda layer: (layer / "host/usr/file").unlink(),
    lambda layer: linked(layer / "root/other", "etd").rename(layer / "root/link"),
    lambda layer: (layer / "root/empty").rename(layer / "root/etc/empty"),
    lambda layer: os.setxattr(layer / "root/empty", "user.overlay.opaque", b"y"),
    lambda layer: os.mkfifo(layer / "root/fifo"),
)


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_is_seen(change: Change, tmp_path: Path) -> None:
    layer = made(tmp_path / "layer")
    before = digest(os.fsencode(layer))
    change(layer)
    assert digest(os.fsencode(layer)) != before


def test_deeper_than_a_path_can_be_long(tmp_path: Path) -> None:
    """As a step can leave it, one directory after the other."""
    top = made(tmp_path / "layer") / "root"
    before = digest(os.fsencode(top.parent))
    directory = deepen(os.open(top, os.O_RDONLY), 200, "d" * 100)
    descriptors = len(os.listdir("/proc/self/fd"))
    found = digest(os.fsencode(top.parent))
    assert found != before
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, 0o644, dir_fd=directory))
    assert digest(os.fsencode(top.parent)) != found
    assert len(os.listdir("/proc/self/fd")) == descriptors
    os.close(directory)
    shutil.rmtree(top)
