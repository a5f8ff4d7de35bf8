"""Which image a word means, and what the store says of all its images."""

from __future__ import annotations

from pathlib import Path

import pytest

from ci_env.cli.images.choice import find, find_one
from ci_env.digest import Digest
from ci_env.errors import ConfigError
from ci_env.store.home import open_store
from ci_env.store.images import ImageResult, Images

ONE, TWO = Digest("sha256:" + "ab" * 32), Digest("sha256:" + "abababcd" * 8)


def result(name: str, manifest: Digest) -> ImageResult:
    return ImageResult(1, name, manifest, "linux/amd64", (), (), "", "")


@pytest.fixture
def images(tmp_path: Path) -> Images:
    images = Images(open_store(tmp_path / "store"))
    images.save(Digest.of(b"1"), result("debian:12", ONE))
    images.save(Digest.of(b"2"), result("oci:dir", TWO))
    images.save(Digest.of(b"3"), result("ghcr.io/team/app", TWO))
    return images


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("debian:12", "debian:12"),
        ("docker.io/library/debian:12", "debian:12"),
        ("oci:dir", "oci:dir"),
        ("ghcr.io/team/app:latest", "ghcr.io/team/app"),
        (ONE, "debian:12"),
        (ONE.hex[:12], "debian:12"),
    ],
)
def test_one(images: Images, text: str, name: str) -> None:
    assert find_one(images, text).reference == name


def test_two_names_of_one_image(images: Images) -> None:
    assert find_one(images, "abababcd").manifest == TWO
    assert {item.reference for _, item in find(images, "abababcd")} == {"oci:dir", "ghcr.io/team/app"}


@pytest.mark.parametrize("text", ["debian:13", "ffffff", "ababa", "sha256:", ""])
def test_none(images: Images, text: str) -> None:
    with pytest.raises(ConfigError, match="there is no image"):
        find_one(images, text)


def test_several(images: Images) -> None:
    with pytest.raises(ConfigError, match="'ababab' may be 2 images") as caught:
        find_one(images, "ababab")
    assert caught.value.hint == f"choose one by its digest: {ONE.hex[:12]}, {TWO.hex[:12]}"


def test_a_name_is_forgotten(images: Images) -> None:
    for key, _ in find(images, "abababcd"):
        images.remove(key)
        images.remove(key)
    assert [item.reference for _, item in images.all()] == ["debian:12"]


def test_damaged_results_are_not_listed(images: Images, tmp_path: Path) -> None:
    for file in (tmp_path / "store" / "images").iterdir():
        file.write_bytes(b"{}")
    assert list(images.all()) == []
