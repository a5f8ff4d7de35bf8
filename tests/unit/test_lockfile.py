"""The lockfile's form, what may be in it, and what becomes of one that is damaged."""

from __future__ import annotations

from pathlib import Path

import pytest

from ci_env import lockfile
from ci_env.cli import pipeline_file
from ci_env.digest import Digest
from ci_env.errors import ConfigError, HostError
from ci_env.lockfile import LockedImage, Lockfile

INDEX, AMD64, ARM64 = (Digest.of(name) for name in (b"index", b"amd64", b"arm64"))
LOCKED = Lockfile(
    1,
    {
        "debian:12": LockedImage("2026-11-25T02:17:45Z", INDEX, {"linux/amd64": AMD64, "linux/arm64/v8": ARM64}),
        "app:1": LockedImage("2026-11-25T02:17:45Z", None, {"linux/amd64": AMD64}),
    },
)
WRITTEN = f"""\
{{
  "images": {{
    "app:1": {{
      "date": "2026-11-25T02:17:45Z",
      "index": null,
      "manifests": {{
        "linux/amd64": "{AMD64}"
      }}
    }},
    "debian:12": {{
      "date": "2026-11-25T02:17:45Z",
      "index": "{INDEX}",
      "manifests": {{
        "linux/amd64": "{AMD64}",
        "linux/arm64/v8": "{ARM64}"
      }}
    }}
  }},
  "version": 1
}}
"""


def test_its_form(tmp_path: Path) -> None:
    path = tmp_path / "ci-env.lock"
    assert lockfile.read(path) is None
    lockfile.write(path, LOCKED)
    assert path.read_text() == WRITTEN
    assert lockfile.read(path) == LOCKED
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    ("pipeline", "expected"),
    [("ci-env.yml", "ci-env.lock"), ("ci/release.yaml", "ci/release.lock"), ("/a/file", "/a/file.lock")],
)
def test_its_place(pipeline: str, expected: str) -> None:
    assert pipeline_file.lockfile_of(Path(pipeline)) == Path(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("debian", True),
        ("debian:12", True),
        ("localhost:5000/team/app:1", True),
        (f"debian@{INDEX}", False),
        (f"debian:12@{INDEX}", False),
        ("host", False),
        ("oci:build/image:1", False),
        ("oci-archive:image.tar", False),
    ],
)
def test_what_can_move(text: str, expected: bool) -> None:
    assert lockfile.is_movable(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("debian", f"docker.io/library/debian@{INDEX}"),
        ("localhost:5000/team/app:1", f"localhost:5000/team/app@{INDEX}"),
    ],
)
def test_pinned(text: str, expected: str) -> None:
    assert lockfile.pinned(text, INDEX) == expected


def test_what_to_ask_for() -> None:
    many, one = LOCKED.images["debian:12"], LOCKED.images["app:1"]
    assert many.digest("linux/amd64") == AMD64
    assert many.digest("linux/s390x") == INDEX, "the index says what there is, and it cannot move"
    assert one.digest("linux/amd64") == AMD64
    assert one.digest("linux/s390x") is None


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"version": 2, "images": {}}', WRITTEN.replace("sha256:", "sha1:"), "[" * 10**5, " " * 2**21],
    ids=["empty", "torn", "list", "newer", "digest", "deep", "large"],
)
def test_a_damaged_one_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "ci-env.lock"
    path.write_text(content)
    with pytest.raises(ConfigError, match=f"{path} is not a lockfile") as caught:
        lockfile.read(path)
    assert "ci-env lock" in (caught.value.hint or "")


def test_a_directory_in_its_place(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="Is a directory"):
        lockfile.read(tmp_path)
