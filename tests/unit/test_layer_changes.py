"""How two layers differ: every kind of difference, and none where only times do."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ci_env.oci.layer_changes import MAX_CHANGES, main
from tests.deep_directory import deep


def make(layer: Path) -> Path:
    (layer / "root/etc/deep").mkdir(parents=True)
    (layer / "root/etc/file").write_text("content")
    (layer / "root/etc/link").symlink_to("file")
    (layer / "root/etc/deep/er").write_text("x" * 3_000_000)
    (layer / "host/usr").mkdir(parents=True)
    (layer / "host/usr/tool").write_text("1")
    return layer


def changes(capfd: pytest.CaptureFixture[str], one: Path, other: Path) -> tuple[list[list[str]], int]:
    assert main([str(one), str(other)]) == 0
    answer = json.loads(capfd.readouterr().out)
    return answer["changes"], answer["count"]


def shift(path: Path) -> None:
    for directory, _, files in os.walk(path):
        for name in files:
            os.utime(Path(directory, name), (1, 1), follow_symlinks=False)


def swap(path: Path) -> None:
    path.unlink()
    path.mkdir()


CHANGES: list[tuple[Callable[[Path], object], list[list[str]]]] = [
    (shift, []),
    (lambda top: (top / "root/etc/file").write_text("CONTENT"), [["/etc/file", "content"]]),
    (lambda top: (top / "root/etc/file").write_text("longer content"), [["/etc/file", "content"]]),
    (lambda top: (top / "root/etc/deep/er").write_text("x" * 2_999_999 + "y"), [["/etc/deep/er", "content"]]),
    (lambda top: (top / "root/etc/file").chmod(0o755), [["/etc/file", "mode"]]),
    (lambda top: (top / "root/etc/deep").chmod(0o700), [["/etc/deep", "mode"]]),
    (lambda top: (top / "root/etc/file").unlink(), [["/etc/file", "removed"]]),
    (lambda top: (top / "root/etc/new").write_text(""), [["/etc/new", "added"]]),
    (lambda top: swap(top / "root/etc/file"), [["/etc/file", "kind"]]),
    (lambda top: (top / "host/usr/tool").write_text("2"), [["/usr/tool", "content"]]),
    (
        lambda top: (top / "root/etc/deep").rename(top / "root/etc/other"),
        [
            ["/etc/deep", "removed"],
            ["/etc/deep/er", "removed"],
            ["/etc/other", "added"],
            ["/etc/other/er", "added"],
        ],
    ),
]


@pytest.mark.parametrize(("change", "expected"), CHANGES)
def test_changes(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], change: Callable[[Path], object], expected: list[list[str]]
) -> None:
    one, other = make(tmp_path / "one"), make(tmp_path / "other")
    change(other)
    assert changes(capfd, one, other) == (expected, len(expected))


@pytest.mark.root
def test_what_hides_is_removed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    one, other = make(tmp_path / "one"), make(tmp_path / "other")
    for layer, name in ((one, "both"), (other, "both"), (other, "here"), (one, "there")):
        os.mknod(layer / "root/etc" / name, 0o20000, 0)
    (other / "root/etc/file").unlink()
    os.mknod(other / "root/etc/file", 0o20000, 0)
    os.chown(other / "root/etc/deep/er", 7, 8)
    assert changes(capfd, one, other) == (
        [["/etc/deep/er", "owner"], ["/etc/file", "removed"], ["/etc/here", "removed"], ["/etc/there", "added"]],
        4,
    )


def test_many_changes_are_counted(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    one, other = make(tmp_path / "one"), make(tmp_path / "other")
    for number in range(MAX_CHANGES + 5):
        (other / f"root/etc/{number}").touch()
    found, count = changes(capfd, one, other)
    assert (len(found), count) == (MAX_CHANGES, MAX_CHANGES + 5)


def test_names_that_are_not_utf_8(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    one, other = make(tmp_path / "one"), make(tmp_path / "other")
    (other / os.fsdecode(b"root/\xff")).touch()
    assert changes(capfd, one, other) == ([["/\udcff", "added"]], 1)


def test_deeper_than_a_path_can_be_long(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """As a step can leave it, one directory after the other; and on, where only one of them has any."""
    one, other = make(tmp_path / "one"), make(tmp_path / "other")
    descriptors = len(os.listdir("/proc/self/fd"))
    with deep(one / "root", 60, "d" * 100), deep(other / "root", 100, "d" * 100):
        found, count = changes(capfd, one, other)
    assert (len(found), count) == (40, 40)
    assert {(len(path) // 101, how) for path, how in found} == {(depth, "added") for depth in range(61, 101)}
    assert changes(capfd, one, other) == ([], 0)
    assert len(os.listdir("/proc/self/fd")) == descriptors
