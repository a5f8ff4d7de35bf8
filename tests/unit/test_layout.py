"""OCI image layouts and archives as sources of images."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from ci_env.errors import ConfigError, IntegrityError
from ci_env.events import Event
from ci_env.oci.layout import LayoutSource, open_archive
from ci_env.oci.platform import Platform
from ci_env.oci.pull import PulledImage, pull
from ci_env.oci.source import ImageSource
from tests.layer_directory import LayerDirectory
from tests.oci_builder import (
    INDEX_TYPE,
    MANIFEST_TYPE,
    Image,
    Item,
    d,
    descriptor,
    f,
    image,
    index,
    sha256,
    tar,
    write_layout,
)

AMD64 = Platform("linux", "amd64")
ONE = image([tar([d("etc"), f("etc/one")]), tar([f("etc/two")])], config={"Env": ["A=1"]})
TWO = image([tar([f("two")])], compression="zstd")
ARM = image([tar([f("arm")])], architecture="arm64")


def pulled(source: ImageSource, tmp_path: Path, *, platform: Platform = AMD64) -> PulledImage:
    events: list[Event] = []
    return pull(source, platform, LayerDirectory(tmp_path / "layers"), events.append)


def archive(layout: Path, path: Path, *, prefix: str = "") -> Path:
    with tarfile.open(path, "w") as file:
        for name in ("index.json", "blobs", "oci-layout"):
            file.add(layout / name, prefix + name)
    return path


def multi(tmp_path: Path, entries: list[dict[str, object]], *, extra: list[bytes]) -> LayoutSource:
    """Return a layout whose index.json has `entries` and whose blobs are ONE's, ARM's and `extra`."""
    layout = write_layout(tmp_path / "layout", {"one": ONE, "arm": ARM}, extra=extra)
    (layout / "index.json").write_bytes(index(entries))
    return LayoutSource(layout, None)


def entry(content: Image, **platform: str) -> dict[str, object]:
    more = {"platform": platform} if platform else {}
    return descriptor(MANIFEST_TYPE, content.manifest, **more)


@pytest.mark.parametrize("tag", ["one", None])
def test_directory(tmp_path: Path, tag: str | None) -> None:
    layout = write_layout(tmp_path / "layout", {"one": ONE})
    found = pulled(LayoutSource(layout, tag), tmp_path)
    assert (found.manifest, found.config.env) == (sha256(ONE.manifest), ("A=1",))
    assert (tmp_path / "layers" / found.chain[1].partition(":")[2] / "etc" / "two").exists()


def test_directory_with_several_images(tmp_path: Path) -> None:
    layout = write_layout(tmp_path / "layout", {"one": ONE, "two": TWO})
    assert pulled(LayoutSource(layout, "two"), tmp_path).manifest == sha256(TWO.manifest)
    with pytest.raises(ConfigError, match="no image is tagged 'three'") as caught:
        LayoutSource(layout, "three").root()
    assert caught.value.hint == "it has one, two"


@pytest.mark.parametrize("prefix", ["", "./"])
def test_archive(tmp_path: Path, prefix: str) -> None:
    file = archive(write_layout(tmp_path / "layout", {"one": ONE}), tmp_path / "image.tar", prefix=prefix)
    (tmp_path / "spool").mkdir()
    assert pulled(open_archive(file, "one", tmp_path / "spool"), tmp_path).manifest == sha256(ONE.manifest)


def test_archive_writes_nothing_but_blobs(tmp_path: Path) -> None:
    file = tmp_path / "evil.tar"
    items = [f("../out"), f("/abs"), f("blobs/sha256/../../../out"), Item(b"blobs", b"2", link=b"/tmp")]
    file.write_bytes(tar([*items, f("oci-layout", "{}")]))
    spool = tmp_path / "spool"
    spool.mkdir()
    open_archive(file, None, spool)
    assert [path.name for path in spool.iterdir()] == ["oci-layout"]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", [b"not a tar", b"", tar([f("etc/passwd")])])
def test_not_an_archive_of_an_image(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    (tmp_path / "spool").mkdir()
    with pytest.raises(ConfigError):
        open_archive(tmp_path / "file", None, tmp_path / "spool").root()


def test_absent(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no image archive"):
        open_archive(tmp_path / "absent", None, tmp_path)
    with pytest.raises(ConfigError, match="is not an OCI image layout: it has no oci-layout"):
        LayoutSource(tmp_path, None).root()


@pytest.mark.parametrize("version", ['{"imageLayoutVersion": "2.0.0"}', "{}", "[]", "nonsense"])
def test_version(tmp_path: Path, version: str) -> None:
    layout = write_layout(tmp_path / "layout", {"one": ONE})
    (layout / "oci-layout").write_text(version)
    with pytest.raises(ConfigError):
        LayoutSource(layout, None).root()


def test_absent_and_changed_blobs(tmp_path: Path) -> None:
    layout = write_layout(tmp_path / "layout", {"one": ONE})
    blob = layout / "blobs" / "sha256" / sha256(ONE.layers[1]).removeprefix("sha256:")
    blob.write_bytes(blob.read_bytes()[:-1] + b"\xee")
    with pytest.raises(IntegrityError, match=sha256(ONE.layers[1])):
        pulled(LayoutSource(layout, None), tmp_path)
    blob.unlink()
    (tmp_path / "again").mkdir()
    with pytest.raises(ConfigError, match="has no blob"):
        pulled(LayoutSource(layout, None), tmp_path / "again")


class TestIndexes:
    def test_i1_nested(self, tmp_path: Path) -> None:
        inner = index([entry(ARM, os="linux", architecture="arm64"), entry(ONE, os="linux", architecture="amd64")])
        outer = index([descriptor(INDEX_TYPE, inner)])
        source = multi(tmp_path, [descriptor(INDEX_TYPE, outer)], extra=[inner, outer])
        assert pulled(source, tmp_path).manifest == sha256(ONE.manifest)

    def test_i1_nested_too_deep(self, tmp_path: Path) -> None:
        documents = [index([entry(ONE)])]
        for _ in range(5):
            documents.append(index([descriptor(INDEX_TYPE, documents[-1])]))
        source = multi(tmp_path, [descriptor(INDEX_TYPE, documents[-1])], extra=documents)
        with pytest.raises(ConfigError, match="nested more than 4 deep"):
            pulled(source, tmp_path)

    def test_i1_too_many(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="more than 100 entries"):
            pulled(multi(tmp_path, [entry(ONE)] * 101, extra=[]), tmp_path)

    def test_i2_i3_unknown_types_and_attestations_are_passed_over(self, tmp_path: Path) -> None:
        unknown = descriptor("application/x", b"x", platform={"os": "linux", "architecture": "amd64"})
        attestation = entry(ARM, os="unknown", architecture="unknown")
        source = multi(tmp_path, [unknown, attestation, entry(ONE, os="linux", architecture="amd64")], extra=[])
        assert pulled(source, tmp_path).manifest == sha256(ONE.manifest)

    def test_i4_single_entry_without_a_platform(self, tmp_path: Path) -> None:
        wrapped = index([entry(ONE)])
        source = multi(tmp_path, [descriptor(INDEX_TYPE, wrapped)], extra=[wrapped])
        assert pulled(source, tmp_path).manifest == sha256(ONE.manifest)

    def test_i5_no_match_lists_what_there_is(self, tmp_path: Path) -> None:
        entries = [entry(ARM, os="linux", architecture="arm64"), entry(ONE, os="linux", architecture="amd64")]
        with pytest.raises(ConfigError, match=r"not there for linux/s390x, only for linux/amd64, linux/arm64"):
            pulled(multi(tmp_path, entries, extra=[]), tmp_path, platform=Platform("linux", "s390x"))

    def test_i7_image_for_another_platform(self, tmp_path: Path) -> None:
        layout = write_layout(tmp_path / "layout", {"arm": ARM})
        with pytest.raises(ConfigError, match="the image is for linux/arm64, not for linux/amd64"):
            pulled(LayoutSource(layout, None), tmp_path)

    def test_index_that_is_a_manifest(self, tmp_path: Path) -> None:
        source = multi(tmp_path, [descriptor(INDEX_TYPE, ONE.manifest)] * 2, extra=[])
        with pytest.raises(ConfigError, match="though its descriptor says otherwise"):
            pulled(source, tmp_path)
