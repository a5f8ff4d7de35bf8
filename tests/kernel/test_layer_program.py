"""The unpack program and its other end: answers, errors, and owners that a user namespace does not have."""

from __future__ import annotations

import gzip
import hashlib
import io
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from ci_env.digest import Digest
from ci_env.errors import ConfigError, HostError, IntegrityError, RegistryError
from ci_env.oci import unpack as program
from ci_env.oci import unpacking
from ci_env.oci.layer import Applied
from ci_env.oci.verify import Reader
from tests.layer_directory import as_caller
from tests.oci_builder import Item, compress, d, entry, f, hard, header, tar, wh

SQUASH = os.geteuid() != 0
CONTENT = tar([d("etc"), f("etc/motd", "hello"), Item(b"dev/null", b"3", device=(1, 3))])


def unpack(content: bytes, destination: Path, *lowers: Path, source: Reader | None = None) -> Applied:
    stored = source or io.BytesIO(compress(content, "gzip"))
    destination.mkdir(exist_ok=True)
    return unpacking.unpack(as_caller, stored, destination, lowers, Digest.of(content), squash_ids=SQUASH)


def test_answer(tmp_path: Path) -> None:
    applied = unpack(CONTENT, tmp_path / "layer")
    assert (applied.entries, applied.size_bytes) == (3, 5)
    assert "device nodes" in applied.warnings[0]
    assert (tmp_path / "layer" / "etc" / "motd").read_text() == "hello"


def test_lowers_are_bottom_first(tmp_path: Path) -> None:
    unpack(tar([f("f", "bottom"), f("g")]), tmp_path / "one")
    unpack(tar([f("f", "middle"), wh("g")]), tmp_path / "two", tmp_path / "one")
    unpack(tar([hard("link", "f"), wh("g")]), tmp_path / "three", tmp_path / "one", tmp_path / "two")
    assert (tmp_path / "three" / "link").read_text() == "middle"
    assert not os.path.lexists(tmp_path / "three" / "g")


def test_sha512_diff_id(tmp_path: Path) -> None:
    digest = Digest.parse("sha512:" + hashlib.sha512(CONTENT).hexdigest())
    unpacking.unpack(as_caller, io.BytesIO(CONTENT), tmp_path, [], digest, squash_ids=SQUASH)
    assert (tmp_path / "etc" / "motd").exists()


def test_wrong_diff_id(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match=Digest.of(b"other")):
        unpacking.unpack(as_caller, io.BytesIO(CONTENT), tmp_path, [], Digest.of(b"other"), squash_ids=SQUASH)


def test_junk_after_the_end_counts(tmp_path: Path) -> None:
    content = CONTENT + b"junk" * 10_000
    assert unpack(content, tmp_path / "layer").entries == 3
    with pytest.raises(IntegrityError):
        unpacking.unpack(as_caller, io.BytesIO(content), tmp_path, [], Digest.of(CONTENT), squash_ids=SQUASH)


def test_damaged_archive(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not a valid tar archive") as caught:
        unpack(b"x" * 2048, tmp_path / "layer")
    assert caught.value.hint


def test_absent_destination(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="No such file or directory"):
        unpacking.unpack(as_caller, io.BytesIO(), tmp_path / "absent", [], Digest.of(b""), squash_ids=SQUASH)


class _Failing:
    """Gives a valid start, then fails."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def read(self, size: int, /) -> bytes:
        piece, self._content = self._content[:size], self._content[size:]
        if not piece:
            raise RegistryError("the connection broke")
        return piece


@pytest.mark.parametrize("size", [0, 600, len(CONTENT)])
def test_a_stream_that_fails_is_never_a_layer(tmp_path: Path, size: int) -> None:
    with pytest.raises(RegistryError, match="the connection broke"):
        unpack(CONTENT, tmp_path / "layer", source=_Failing(CONTENT[:size]))


def test_many_bytes_after_an_early_error_do_not_block(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        unpack(b"x" * 2**24, tmp_path / "layer", source=io.BytesIO(b"x" * 2**24))


def test_a_program_that_dies(tmp_path: Path) -> None:
    def die(argv: Sequence[str], /, *, stdin: int | None, stdout: int | None) -> int:
        return subprocess.run(["sh", "-c", "kill -9 $$"], stdin=stdin, stdout=stdout, check=False).returncode

    with pytest.raises(HostError, match="ended with status -9"):
        unpacking.unpack(die, io.BytesIO(CONTENT), tmp_path, [], Digest.of(CONTENT), squash_ids=SQUASH)


def test_m4_owners_that_the_namespace_does_not_have(tmp_path: Path) -> None:
    content = tar([f("mine"), f("theirs", uid=5)])
    argv = ["unshare", "-Ur", sys.executable, "-m", "ci_env.oci.unpack", "--destination", str(tmp_path)]
    done = subprocess.run(
        [*argv, "--diff-id", Digest.of(content)], input=content, capture_output=True, check=False, timeout=60
    )
    error = json.loads(done.stdout)["error"]
    assert done.returncode == 1
    assert done.stderr == b""
    assert error["kind"] == "host"
    assert "5:0, an owner that this user cannot give" in error["message"]
    assert "/etc/subuid" in error["hint"]


def test_a_full_disk(tmp_path: Path) -> None:
    content = tar([f("large", bytes(2**21))])
    (tmp_path / "content").write_bytes(content)
    (tmp_path / "full").mkdir()
    namespace = ["unshare", "-Urm"] if SQUASH else ["unshare", "-m"]
    script = 'mount -t tmpfs -o size=1m tmpfs "$1" && exec "$2" -m ci_env.oci.unpack --destination "$1" --diff-id "$3"'
    arguments = [str(tmp_path / "full"), sys.executable, Digest.of(content)]
    with open(tmp_path / "content", "rb") as stdin:
        done = subprocess.run(
            [*namespace, "sh", "-c", script, "sh", *arguments],
            stdin=stdin,
            capture_output=True,
            check=False,
            timeout=60,
        )
    error = json.loads(done.stdout)["error"]
    assert done.stderr == b""
    assert error["kind"] == "host"
    assert "No space left on device" in error["message"]
    assert "free some space" in error["hint"]


def test_x6_a_filesystem_without_attributes(tmp_path: Path) -> None:
    attribute = {b"SCHILY.xattr.user.note": b"1"}
    content = tar([Item(name, b"0", pax=attribute) for name in (b"one", b"two")])
    namespace = ["unshare", "-Urm"] if SQUASH else ["unshare", "-m"]
    script = 'mount -t ramfs ramfs "$1" && exec "$2" -m ci_env.oci.unpack --destination "$1" --diff-id "$3"'
    arguments = [str(tmp_path), sys.executable, Digest.of(content)]
    argv = [*namespace, "sh", "-c", script, "sh", *arguments]
    done = subprocess.run(argv, input=content, capture_output=True, check=True, timeout=60)
    assert json.loads(done.stdout)["warnings"] == ["attribute user.note is left out: the filesystem cannot hold it"]


class _Endless:
    """Gives a start, and then the same piece for ever."""

    def __init__(self, start: bytes, piece: bytes) -> None:
        self._pieces = itertools.chain([start], itertools.repeat(piece))

    def read(self, size: int, /) -> bytes:
        return next(self._pieces)


def test_z7_too_large(tmp_path: Path) -> None:
    """A few hundred bytes of gzip are a mebibyte; a second after the limit, at most, it is over."""
    source = _Endless(gzip.compress(header(Item(b"large", b"0", size=2**35))), gzip.compress(bytes(2**20)))
    began = time.process_time()
    with pytest.raises(ConfigError, match=r"larger than 0\.03125 GiB when unpacked"):
        program.unpack(source, tmp_path, [], Digest.of(b""), squash_ids=SQUASH, max_bytes=2**25)
    assert time.process_time() - began < 1


def test_z7_too_many_entries(tmp_path: Path) -> None:
    source = _Endless(entry(d("once")), entry(d("again")))
    with pytest.raises(ConfigError, match="more than 1000 entries"):
        program.unpack(source, tmp_path, [], Digest.of(b""), squash_ids=SQUASH, max_entries=1000)


def test_ctrl_c_leaves_no_traceback(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "ci_env.oci.unpack", "--squash-ids", "--destination", str(tmp_path)]
    argv += ["--diff-id", Digest.of(b"")]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as program:
        assert program.stdin is not None
        assert program.stderr is not None
        program.stdin.write(tar([f("started")], end=b""))
        program.stdin.flush()
        deadline = time.monotonic() + 20
        while not (tmp_path / "started").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        program.send_signal(signal.SIGINT)
        assert program.wait(20) == -signal.SIGINT
        assert program.stderr.read() == b""


def test_many_lowers_and_deep_directories(tmp_path: Path) -> None:
    path = "/".join("abcdefghijklmnopqrst")
    lowers: list[Path] = []
    for number in range(40):
        unpack(tar([f(f"{path}/f{number}")]), tmp_path / f"l{number}", *lowers)
        lowers.append(tmp_path / f"l{number}")
    assert (lowers[-1] / path / "f39").exists()
