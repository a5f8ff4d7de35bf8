"""Where two layers differ: the bytes around the first difference, and nothing that a step could make hang or escape."""

from __future__ import annotations

import json
import os
from base64 import b64decode
from pathlib import Path
from typing import TypedDict

import pytest

from ci_env.oci.layer_contrast import AFTER, BEFORE, MAX_CONTRASTS, main
from tests.deep_directory import deepen


def layers(top: Path) -> tuple[Path, Path]:
    pair = top / "one", top / "other"
    for layer in pair:
        (layer / "root/w").mkdir(parents=True)
        (layer / "host/etc").mkdir(parents=True)
    return pair


class Found(TypedDict):
    path: str
    how: str
    at: int
    before: str
    was: str
    now: str
    is_permuted: bool


class Answer(TypedDict):
    contrasts: list[Found]
    count: int
    times: int


def contrast(capfd: pytest.CaptureFixture[str], one: Path, other: Path) -> Answer:
    assert main([str(one), str(other)]) == 0
    answer: Answer = json.loads(capfd.readouterr().out)
    return answer


def test_bytes_far_into_a_file(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    one, other = layers(tmp_path)
    (one / "root/w/big").write_bytes(b"a" * 5_000_000 + b"1" * 2000)
    (other / "root/w/big").write_bytes(b"a" * 5_000_000 + b"2" * 2000)
    answer = contrast(capfd, one, other)
    (found,) = answer["contrasts"]
    assert (found["path"], found["how"], found["at"]) == ("/w/big", "content", 5_000_000)
    assert b64decode(found["before"]) == b"a" * BEFORE
    assert (b64decode(found["was"]), b64decode(found["now"])) == (b"1" * AFTER, b"2" * AFTER)
    assert "is_permuted" not in found  # it is too large to tell


@pytest.mark.parametrize(
    ("was", "now", "permuted"),
    [
        (b"a\nb\n", b"b\na\n", True),
        (b"a b c", b"c a b", True),
        (b"a" * 512 + b"b" * 512, b"b" * 512 + b"a" * 512, True),
        (b"a\nb\n", b"a\nc\n", False),
        (b"a\n", b"a\na\n", False),
        (b"ab", b"ba", False),
    ],
)
def test_orders(tmp_path: Path, capfd: pytest.CaptureFixture[str], was: bytes, now: bytes, permuted: bool) -> None:
    one, other = layers(tmp_path)
    (one / "root/w/f").write_bytes(was)
    (other / "root/w/f").write_bytes(now)
    (found,) = contrast(capfd, one, other)["contrasts"]
    assert found["is_permuted"] is permuted


def test_what_is_no_file(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    one, other = layers(tmp_path)
    secret = tmp_path / "secret"
    secret.write_text("not of the layer")
    os.mkfifo(one / "root/w/pipe")
    (other / "root/w/pipe").write_text("x")
    os.symlink(secret, one / "root/w/link")
    os.symlink(tmp_path, other / "root/w/link")
    os.symlink(tmp_path, one / "root/etc")
    (tmp_path / "conf").write_text("not of the layer")
    (one / "host/etc/conf").write_text("1")
    (other / "host/etc/conf").write_text("2")
    (other / os.fsdecode(b"root/w/\xff")).write_text("x")
    answer = contrast(capfd, one, other)
    found = {one["path"]: one for one in answer["contrasts"]}
    assert found["/w/pipe"]["how"] == "kind"
    assert b64decode(found["/w/link"]["was"]) == b"/secret"
    assert [b64decode(piece) for piece in (found["/etc/conf"]["was"], found["/etc/conf"]["now"])] == [b"1", b"2"]
    assert answer["count"] == len(found) == 5


def test_times_and_many(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    one, other = layers(tmp_path)
    for layer in (one, other):
        (layer / "root/w/same").write_text("x")
        os.utime(layer / "root/w/same", (1, 1 if layer == one else 2))
    assert contrast(capfd, one, other) == {"contrasts": [], "count": 0, "times": 1}
    for index in range(100):
        (other / f"root/w/{index}").write_text("x")
    answer = contrast(capfd, one, other)
    assert (len(answer["contrasts"]), answer["count"]) == (MAX_CONTRASTS, 100)


def test_deeper_than_a_path_can_be_long(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    one, other = layers(tmp_path)
    for layer, content in ((one, b"same 1"), (other, b"same 2")):
        lowest = deepen(os.open(layer / "root/w", os.O_RDONLY), 60, "d" * 100)
        for name, time in (("file", 0), ("untouched", 1 if layer == one else 2)):
            with open(os.open(name, os.O_WRONLY | os.O_CREAT, dir_fd=lowest), "wb") as file:
                file.write(b"" if time else content)
            os.utime(name, (time, time), dir_fd=lowest)
        os.close(lowest)
    answer = contrast(capfd, one, other)
    (found,) = answer["contrasts"]
    assert (found["path"], found["at"]) == (f"/w/{'/'.join(['d' * 100] * 60)}/file", 5)
    assert (b64decode(found["was"]), b64decode(found["now"])) == (b"1", b"2")
    assert answer["times"] == 1


def test_times_of_links_count_whatever_they_lead_to(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    one, other = layers(tmp_path)
    for layer in (one, other):
        for target in ("/", "/nowhere"):
            link = layer / "root/w" / f"to{target.replace('/', '-')}"
            link.symlink_to(target)
            os.utime(link, (1, 1 if layer == one else 2), follow_symlinks=False)
    assert contrast(capfd, one, other) == {"contrasts": [], "count": 0, "times": 2}
