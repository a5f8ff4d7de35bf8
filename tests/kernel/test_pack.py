"""Layers packed as archives: what is written for each kind of file, and what is refused (K1, K2, K4, K5, X8)."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from ci_env.errors import ConfigError, HostError
from ci_env.oci.layer import apply
from ci_env.oci.pack import pack
from ci_env.oci.packing import packed
from ci_env.oci.tar import Archive, Entry
from ci_env.oci.verify import read_all
from tests.deep_directory import deep
from tests.layer_directory import as_caller
from tests.layer_stack import Node, Stack
from tests.oci_builder import d, f, hard, link, opaque, wh


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    (tmp_path / "layer" / "root").mkdir(parents=True)
    return tmp_path / "layer"


def archive_of(layer: Path) -> bytes:
    with packed(as_caller, layer) as source:
        return read_all(source, limit=2**30)


def entries(content: bytes) -> dict[bytes, Entry]:
    return {entry.path: entry for entry in Archive([content])}


def whiteout(path: Path) -> None:
    os.mknod(path, stat.S_IFCHR, os.makedev(0, 0))


def test_each_kind_of_file(layer: Path) -> None:
    root = layer / "root"
    (root / "d").mkdir(mode=0o1777)
    (root / "d" / "file").write_text("content")
    (root / "d" / "file").chmod(0o4755)
    os.utime(root / "d" / "file", ns=(0, 1_234_567_890_123_456_789))
    (root / "d" / "link").symlink_to("../else/where")
    os.mkfifo(root / "d" / "pipe")
    found = entries(archive_of(layer))
    assert list(found) == [b"./", b"d/", b"d/file", b"d/link", b"d/pipe"]
    assert [entry.kind for entry in found.values()] == ["directory", "directory", "file", "symlink", "fifo"]
    assert (found[b"d/file"].mode, found[b"d/file"].size) == (0o4755, 7)
    assert found[b"d/file"].mtime_ns == 1_234_567_890_123_456_789
    assert found[b"d/link"].link == b"../else/where"
    assert (found[b"d/file"].uid, found[b"d/file"].gid) == (os.geteuid(), os.getegid())


def test_k1_a_file_named_as_a_whiteout_is_refused(layer: Path) -> None:
    (layer / "root" / "d").mkdir()
    (layer / "root" / "d" / ".wh.x").touch()
    with pytest.raises(ConfigError, match=r"d/\.wh\.x would mean that a file is not there") as caught:
        archive_of(layer)
    assert "name the file otherwise" in (caught.value.hint or "")


def test_k2_whiteouts_and_opaque_directories(layer: Path) -> None:
    (layer / "root" / "d").mkdir()
    whiteout(layer / "root" / "d" / "gone")
    whiteout(layer / "root" / "z")
    os.setxattr(layer / "root" / "d", "user.overlay.opaque", b"y")
    found = entries(archive_of(layer))
    assert list(found) == [b"./", b"d/", b"d/.wh..wh..opq", b"d/.wh.gone", b".wh.z"]
    assert all(entry.kind == "file" and entry.size == 0 for entry in list(found.values())[2:])


def test_k4_same_bytes_whatever_the_order_and_inodes(tmp_path: Path) -> None:
    names = [f"f{number}" for number in range(50)]
    contents: list[bytes] = []
    for order in (names, names[::-1]):
        layer = tmp_path / order[0]
        (layer / "root").mkdir(parents=True)
        for name in order:
            (layer / "root" / name).write_text(name)
            os.utime(layer / "root" / name, ns=(len(contents), 5))
        os.link(layer / "root" / "f0", layer / "root" / "other")
        os.utime(layer / "root", ns=(0, 7))
        contents.append(archive_of(layer))
    assert contents[0] == contents[1]
    assert entries(contents[0])[b"other"].link == b"f0"


def test_k5_a_file_that_changes_is_detected(layer: Path) -> None:
    file = layer / "root" / "file"
    file.write_bytes(bytes(2**22))

    def change(piece: bytes) -> None:
        os.truncate(file, 2**21)

    with pytest.raises(HostError, match="/file has changed while its layer was packed"):
        pack(layer, change)


def test_k5_a_directory_that_changes_is_detected(layer: Path) -> None:
    (layer / "root" / "file").write_bytes(b"x")

    def change(piece: bytes) -> None:
        if piece == b"x":
            (layer / "root" / "added").touch()

    with pytest.raises(HostError, match="has changed while its layer was packed"):
        pack(layer, change)


def test_x8_attributes_of_the_overlay(layer: Path) -> None:
    file = layer / "root" / "file"
    file.touch()
    os.setxattr(file, "user.overlay.origin", b"x")
    os.setxattr(file, "user.overlay.overlay.origin", b"set inside")
    os.setxattr(file, "user.note", b"a\0b\n")
    found = entries(archive_of(layer))[b"file"]
    assert found.xattrs == {b"user.overlay.origin": b"set inside", b"user.note": b"a\0b\n"}


def test_capabilities_lose_their_namespace(layer: Path) -> None:
    file = layer / "root" / "ping"
    file.touch()
    value = bytes.fromhex("0100000200200000000000000000000000000000")
    script = 'import os, sys; os.setxattr(sys.argv[1], "security.capability", bytes.fromhex(sys.argv[2]))'
    subprocess.run(["unshare", "-Ur", sys.executable, "-c", script, file, value.hex()], check=True, timeout=60)
    assert entries(archive_of(layer))[b"ping"].xattrs[b"security.capability"] == value


def test_sockets_are_left_out_and_told(layer: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        here = os.open(layer / "root", os.O_PATH)
        server.bind(f"/proc/self/fd/{here}/socket")  # its own name may be too long
        os.close(here)
    with packed(as_caller, layer) as source:
        content = read_all(source, limit=2**30)
    assert list(entries(content)) == [b"./"]
    assert source.warnings == ("socket socket is left out: an archive cannot hold it",)


def test_names(layer: Path) -> None:
    names = [b"\xff\xfe not text", b"new\nline", "ü".encode() * 60, b"x" * 255]
    for name in names:
        (layer / "root" / os.fsdecode(name)).symlink_to(os.fsdecode(name * 3))
    found = entries(archive_of(layer))
    assert {path: entry.link for path, entry in found.items() if path != b"./"} == {name: name * 3 for name in names}


def test_times_and_owners_that_headers_cannot_hold(layer: Path) -> None:
    for name, time_ns in (("old", -1_500_000_000), ("late", 2**33 * 10**9 + 1)):
        (layer / "root" / name).touch()
        os.utime(layer / "root" / name, ns=(0, time_ns))
    found = entries(archive_of(layer))
    assert found[b"old"].mtime_ns == -1_500_000_000
    assert found[b"late"].mtime_ns == (layer / "root" / "late").stat().st_mtime_ns


def test_deep_directories(layer: Path) -> None:
    with deep(layer / "root", 2000):
        assert len(entries(archive_of(layer))) == 2001
    with deep(layer / "root", 2100), pytest.raises(ConfigError, match="longer than 4096"):
        archive_of(layer)


def test_directories_of_the_host(layer: Path) -> None:
    root, host = layer / "root", layer / "host"
    (root / "usr").mkdir()  # a mount point
    (root / "workspace").mkdir()
    (host / "usr" / "bin").mkdir(parents=True)
    (host / "usr" / "bin" / "new").touch()
    (host / "etc").mkdir()
    whiteout(host / "etc" / "gone")
    os.setxattr(host / "etc", "user.overlay.opaque", b"y")
    found = entries(archive_of(layer))
    expected = [
        b"./",
        b"etc/",
        b"etc/.wh..wh..opq",
        b"etc/.wh.gone",
        b"usr/",
        b"usr/bin/",
        b"usr/bin/new",
        b"workspace/",
    ]
    assert list(found) == expected


def test_an_absent_layer(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="No such file or directory"):
        archive_of(tmp_path / "absent")


def test_a_program_that_dies(layer: Path) -> None:
    def die(argv: Sequence[str], /, *, stdin: int | None, stdout: int | None) -> int:
        return subprocess.run(["sh", "-c", "kill -9 $$"], stdout=stdout, check=False).returncode

    with pytest.raises(HostError, match="ended early"), packed(die, layer) as source:
        source.read(1)


def test_a_runner_that_cannot(layer: Path) -> None:
    def fail(argv: Sequence[str], /, *, stdin: int | None, stdout: int | None) -> int:
        raise HostError("no namespace here")

    with pytest.raises(HostError, match="no namespace here"), packed(fail, layer) as source:
        source.read(1)


def test_leaving_early_ends_the_program(layer: Path) -> None:
    (layer / "root" / "large").write_bytes(bytes(2**24))
    with packed(as_caller, layer) as source:
        assert source.read(512)


def test_other_owners_and_closed_directories(layer: Path) -> None:
    script = 'mkdir -p "$1/closed/in" && echo x > "$1/closed/in/file" && chmod 0 "$1/closed/in/file" "$1/closed/in"'
    subprocess.run(["sh", "-c", script, "sh", layer / "root"], check=True, timeout=60)

    def as_owner(argv: Sequence[str], /, *, stdin: int | None, stdout: int | None) -> int:
        return as_caller(["unshare", "-Ur", *argv], stdin=stdin, stdout=stdout)

    with packed(as_owner, layer) as source:
        found = entries(read_all(source, limit=2**30))
    assert found[b"closed/in/file"].size == 2
    assert (found[b"closed/in/file"].uid, found[b"closed/in/"].mode) == (0, 0)


def test_m8_one_id_is_packed_as_root(layer: Path) -> None:
    """Who has no subordinate ids owns all files of a layer; inside, they are root's."""
    (layer / "root" / "file").touch()
    argv = ["unshare", "-Ur", sys.executable, "-m", "ci_env.oci.pack", str(layer)]
    done = subprocess.run(argv, capture_output=True, check=True, timeout=60)
    size = int.from_bytes(done.stdout[:4], "big")
    assert json.loads(done.stdout[8 + size :]) == {"warnings": [], "redacted": 0}
    assert entries(done.stdout[4 : 4 + size])[b"file"].uid == 0


def test_what_an_image_says_survives(tmp_path: Path) -> None:
    base = [d("a", mode=0o700), f("a/f", "lower"), f("a/g"), d("lib"), f("lib/x")]
    top = [f("a/f", "upper"), wh("a/g"), hard("h", "a/f"), link("l", "nowhere"), d("lib"), opaque("lib"), f("lib/y")]
    first = Stack(tmp_path / "first", base, top)
    second = Stack(tmp_path / "second")
    for lower in first.lowers:
        layer = tmp_path / "layers" / lower.name
        layer.mkdir(parents=True)
        lower.rename(layer / "root")
        content = archive_of(layer)
        (layer / "root").rename(lower)
        second.add_tar(content)
    one, two = first.view(), second.view()
    assert {path: _facts(node) for path, node in one.items()} == {path: _facts(node) for path, node in two.items()}


def _facts(node: Node) -> Node:
    return replace(node, inode=0)


def test_apply_takes_what_pack_gives(layer: Path, tmp_path: Path) -> None:
    (layer / "root" / "f").write_text("x")
    (tmp_path / "again").mkdir()
    apply(Archive([archive_of(layer)]), tmp_path / "again", [], squash_ids=os.geteuid() != 0)
    assert (tmp_path / "again" / "f").read_text() == "x"
