"""Images from the store to layouts and archives, and back: the same trees, and what is the same bytes."""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Generator, Mapping
from pathlib import Path

import pytest

from ci_env.digest import Digest
from ci_env.errors import ConfigError
from ci_env.oci.docker_archive import open_docker_archive
from ci_env.oci.docker_archive_write import docker_archive
from ci_env.oci.layout import LayoutSource, open_archive
from ci_env.oci.layout_write import LayoutTarget, oci_archive
from ci_env.oci.pull import PulledImage
from ci_env.oci.source import ImageSource
from ci_env.oci.write import Target, write
from tests.oci_builder import Image, d, f, hard, image, link, opaque, sha256, tar, wh, write_layout
from tests.stored_images import Images, new_images

LAYERS = [
    tar(
        [
            d("etc", mode=0o750),
            f("etc/gone"),
            f("etc/kept", "kept", mode=0o4755),
            d("lib"),
            f("lib/x"),
            link("l", "lib"),
        ]
    ),
    tar([wh("etc/gone"), d("lib"), opaque("lib"), f("lib/y", bytes(200_000)), hard("h", "lib/y")]),
    tar([]),
]
CONFIG = {"Env": ["A=ü"], "Cmd": ["sh"], "Labels": {"a": "b"}}


@pytest.fixture
def images(tmp_path: Path) -> Generator[Images]:
    with new_images(tmp_path / "store") as made:
        yield made


@pytest.fixture
def others(tmp_path: Path) -> Generator[Images]:
    """Another store, to read what was written."""
    with new_images(tmp_path / "other-store") as made:
        yield made


def pulled(images: Images, tmp_path: Path, content: Image) -> PulledImage:
    layout = write_layout(tmp_path / f"source-{content.diff_ids[0][7:15]}", {"x": content})
    return images.pull(LayoutSource(layout, "x"))


def written(images: Images, pulled: PulledImage, target: Target) -> Digest:
    return write(images.stored(pulled.manifest, pulled.chain), target, lambda _: None)


def new_spool(tmp_path: Path, name: str) -> Path:
    (tmp_path / name).mkdir()
    return tmp_path / name


def put_and_read(form: str, images: Images, image: PulledImage, tmp_path: Path, name: str = "out") -> ImageSource:
    """Write the image in a form, and return what reads it."""
    file = tmp_path / f"{name}-{form}"
    spool = new_spool(tmp_path, f"{name}-spool")
    if form == "layout":
        written(images, image, LayoutTarget(file, "t"))
        return LayoutSource(file, "t")
    if form == "oci-archive":
        with oci_archive(file, "t", None, spool) as target:
            written(images, image, target)
        assert os.listdir(spool) == []
        return open_archive(file, "t", new_spool(tmp_path, f"{name}-in"))
    with docker_archive(file, "docker.io/library/app:1", spool) as docker_target:
        written(images, image, docker_target)
    return open_docker_archive(file, "app:1", new_spool(tmp_path, f"{name}-in"))


@pytest.mark.parametrize("form", ["layout", "oci-archive", "docker-archive"])
def test_round_trip(images: Images, others: Images, tmp_path: Path, form: str) -> None:
    first = pulled(images, tmp_path, image(LAYERS, config=CONFIG))
    second = others.pull(put_and_read(form, images, first, tmp_path))
    assert others.view(second) == images.view(first)
    assert len(second.chain) == 3
    assert (second.config.env, second.config.command) == (("A=ü",), ("sh",))
    third = images.pull(put_and_read(form, others, second, tmp_path, "again"))
    assert third.config.diff_ids == second.config.diff_ids


@pytest.mark.parametrize("form", ["layout", "oci-archive", "docker-archive"])
def test_the_same_bytes_each_time(images: Images, tmp_path: Path, form: str) -> None:
    first = pulled(images, tmp_path, image(LAYERS))
    for name in ("one", "two"):
        put_and_read(form, images, first, tmp_path, name)
    one, two = (content(tmp_path / f"{name}-{form}") for name in ("one", "two"))
    assert one == two


def content(path: Path) -> Mapping[str, bytes]:
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    return {str(file.relative_to(path)): file.read_bytes() for file in files}


def test_a_config_that_still_fits_is_kept(images: Images, others: Images, tmp_path: Path) -> None:
    """The second time all digests are those of archives that we make."""
    first = pulled(images, tmp_path, image(LAYERS, config=CONFIG))
    second = others.pull(put_and_read("layout", images, first, tmp_path))
    put_and_read("docker-archive", others, second, tmp_path, "again")
    with tarfile.open(tmp_path / "again-docker-archive") as archive:
        listing = archive.extractfile("manifest.json")
        assert listing is not None
        config = json.load(listing)[0]["Config"]
    index = json.loads((tmp_path / "out-layout" / "index.json").read_bytes())
    manifest = tmp_path / "out-layout" / "blobs" / index["manifests"][0]["digest"].replace(":", "/")
    assert json.loads(manifest.read_bytes())["config"]["digest"] == f"sha256:{config.removesuffix('.json')}"


def test_all_of_the_config_survives(images: Images, tmp_path: Path) -> None:
    first = pulled(images, tmp_path, image(LAYERS, config=CONFIG))
    source = put_and_read("layout", images, first, tmp_path)
    again = images.pull(source)
    assert again.config.diff_ids != first.config.diff_ids
    config = json.loads(images.stored(again.manifest, again.chain).config)
    assert config["config"] == CONFIG


def test_a_layout_takes_several_images(images: Images, tmp_path: Path) -> None:
    one, two = (pulled(images, tmp_path, image([tar([f(name)])])) for name in ("one", "two"))
    layout = tmp_path / "layout"
    written(images, one, LayoutTarget(layout, "a"))
    written(images, two, LayoutTarget(layout, "b"))
    written(images, two, LayoutTarget(layout, None))
    kept = written(images, two, LayoutTarget(layout, "a"))
    entries = json.loads((layout / "index.json").read_bytes())["manifests"]
    names = {
        entry.get("annotations", {}).get("org.opencontainers.image.ref.name"): entry["digest"] for entry in entries
    }
    assert names == {"a": kept, "b": kept, None: kept}
    assert len(entries) == 3


def test_a_directory_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    with pytest.raises(ConfigError, match="is not an OCI image layout, but it is not empty"):
        LayoutTarget(tmp_path, None)
    assert os.listdir(tmp_path) == ["mine"]


@pytest.mark.parametrize("name", ["absent/file", "."])
def test_an_archive_needs_a_place(tmp_path: Path, name: str) -> None:
    with (
        pytest.raises(ConfigError, match="cannot write the archive"),
        oci_archive(tmp_path / name, None, None, tmp_path),
    ):
        pass


def test_k1_a_failure_leaves_what_was_there(images: Images, tmp_path: Path) -> None:
    first = pulled(images, tmp_path, image(LAYERS))
    (images.layers.directory(first.chain[2]) / "root" / ".wh.x").touch()
    file, spool = tmp_path / "file", new_spool(tmp_path, "spool")
    file.write_text("before")
    with pytest.raises(ConfigError, match=r"\.wh\.x"), oci_archive(file, None, None, spool) as target:
        written(images, first, target)
    assert file.read_text() == "before"
    assert os.listdir(spool) == []
    with pytest.raises(ConfigError, match=r"\.wh\.x"):
        written(images, first, LayoutTarget(tmp_path / "layout", None))
    assert not (tmp_path / "layout" / "index.json").exists()
    assert sorted(path.name for path in tmp_path.glob("*file*")) == ["file"]


def test_a_layer_twice_is_in_an_archive_once(images: Images, others: Images, tmp_path: Path) -> None:
    first = pulled(images, tmp_path, image([tar([f("x")]), tar([]), tar([])]))
    source = put_and_read("docker-archive", images, first, tmp_path)
    assert others.view(others.pull(source)) == images.view(first)
    with tarfile.open(tmp_path / "out-docker-archive") as archive:
        assert len(set(archive.getnames())) == len(archive.getnames())


def test_gzip_header_is_fixed(images: Images, tmp_path: Path) -> None:
    put_and_read("layout", images, pulled(images, tmp_path, image(LAYERS)), tmp_path)
    blobs = [path.read_bytes() for path in (tmp_path / "out-layout" / "blobs" / "sha256").iterdir()]
    layers = [blob for blob in blobs if blob.startswith(b"\x1f\x8b")]
    assert len(layers) == 3
    assert all(layer[3:8] == bytes(5) for layer in layers)  # no flags, no time
    assert all(path.name == sha256(path.read_bytes())[7:] for path in (tmp_path / "out-layout/blobs/sha256").iterdir())
