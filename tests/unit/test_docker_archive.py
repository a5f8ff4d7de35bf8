"""Docker archives as sources of images: both forms, links, choice by name, and what is refused."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from ci_env.errors import CiEnvError, ConfigError
from ci_env.oci.docker_archive import DockerArchiveSource, open_docker_archive
from ci_env.oci.document import Manifest, parse_document
from ci_env.oci.verify import read_all
from tests.oci_builder import Item, f, hard, link, sha256, tar

LAYER = tar([f("file", "content")])
CONFIG = json.dumps(
    {"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": [sha256(LAYER)]}}
).encode()


def manifest(
    config: str = "c.json", layers: Sequence[str] = ("l.tar",), names: Sequence[str] | None = ("app:1",)
) -> Item:
    return f("manifest.json", json.dumps([{"Config": config, "RepoTags": names, "Layers": layers}]))


def opened(tmp_path: Path, items: Sequence[Item], name: str | None = None) -> DockerArchiveSource:
    file, spool = tmp_path / "image.tar", tmp_path / "spool"
    file.write_bytes(tar(items))
    spool.mkdir()
    return open_docker_archive(file, name, spool)


def contents(source: DockerArchiveSource) -> list[bytes]:
    """Return the config and the layers."""
    document = parse_document(source.root(), what="the manifest")
    assert isinstance(document, Manifest)
    found: list[bytes] = []
    for descriptor in (document.config, *document.layers):
        with source.blob(descriptor) as reader:
            found.append(read_all(reader, limit=2**20))
        assert sha256(found[-1]) == descriptor.digest
    return found


def test_plain(tmp_path: Path) -> None:
    source = opened(tmp_path, [f("c.json", CONFIG), f("l.tar", LAYER), manifest()])
    assert contents(source) == [CONFIG, LAYER]
    assert source.names == ("app:1",)


def test_layout_of_docker_25(tmp_path: Path) -> None:
    config, layer = (f"blobs/sha256/{sha256(blob)[7:]}" for blob in (CONFIG, LAYER))
    items = [
        f(config, CONFIG),
        f(layer, LAYER),
        f("index.json", "{}"),
        f("oci-layout", "{}"),
        manifest(config, [layer]),
    ]
    assert contents(opened(tmp_path, items)) == [CONFIG, LAYER]


def test_links_stand_for_layers_that_are_there(tmp_path: Path) -> None:
    items = [f("c.json", CONFIG), f("one/layer.tar", LAYER), link("two/layer.tar", "../one/layer.tar")]
    items += [hard("three.tar", "two/layer.tar"), manifest(layers=["two/layer.tar", "three.tar", "./one//layer.tar"])]
    assert contents(opened(tmp_path, items)) == [CONFIG, LAYER, LAYER, LAYER]


def test_compressed(tmp_path: Path) -> None:
    (tmp_path / "image.tgz").write_bytes(gzip.compress(tar([f("c.json", CONFIG), f("l.tar", LAYER), manifest()])))
    assert contents(open_docker_archive(tmp_path / "image.tgz", None, tmp_path)) == [CONFIG, LAYER]


@pytest.mark.parametrize("name", ["app:2", "docker.io/library/app:2"])
def test_choice(tmp_path: Path, name: str) -> None:
    images = [{"Config": f"{n}.json", "RepoTags": [f"app:{n}"], "Layers": ["l.tar"]} for n in (1, 2)]
    configs = [f("1.json", CONFIG), f("2.json", CONFIG + b" ")]
    items = [*configs, f("l.tar", LAYER), f("manifest.json", json.dumps(images))]
    assert contents(opened(tmp_path, items, name)) == [CONFIG + b" ", LAYER]


def test_no_choice(tmp_path: Path) -> None:
    images = [{"Config": "c.json", "RepoTags": [f"app:{n}"], "Layers": []} for n in (1, 2)]
    items = [f("c.json", CONFIG), f("manifest.json", json.dumps(images))]
    with pytest.raises(ConfigError, match="has 2 images") as caught:
        opened(tmp_path, items)
    assert f"docker-archive:{tmp_path}/image.tar:app:1" in (caught.value.hint or "")


def test_no_such_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no image is called 'other:1'") as caught:
        opened(tmp_path, [f("c.json", CONFIG), f("l.tar", LAYER), manifest()], "other:1")
    assert caught.value.hint == "it has app:1"


def test_no_name(tmp_path: Path) -> None:
    assert opened(tmp_path, [f("c.json", CONFIG), f("l.tar", LAYER), manifest(names=None)]).names == ()


@pytest.mark.parametrize(
    ("items", "complaint"),
    [
        ([f("index.json", "{}")], "it has no manifest.json"),
        ([f("manifest.json", "{}")], "not a list of images"),
        ([f("manifest.json", "[]")], "not a list of images"),
        ([f("manifest.json", "[1]")], "names no Config"),
        ([f("manifest.json", "[" * 100_000)], "not valid JSON"),
        ([f("manifest.json", '[{"Config": "c", "Layers": [1]}]')], "something other than names in Layers"),
        ([manifest()], "it has no c.json"),
        ([f("c.json", CONFIG), manifest()], "it has no l.tar"),
        ([f("c.json", CONFIG), manifest(layers=["../../etc/passwd"])], "it has no ../../etc/passwd"),
        ([f("c.json", CONFIG), manifest(layers=["/etc/passwd"])], "it has no /etc/passwd"),
        ([f("c.json", CONFIG), link("l.tar", "/etc/passwd"), manifest()], "it has no l.tar"),
        ([f("c.json", CONFIG), link("l.tar", "l.tar"), manifest()], "a link that leads nowhere"),
        ([link("manifest.json", "/etc/passwd")], "it has no manifest.json"),
    ],
)
def test_refused(tmp_path: Path, items: Sequence[Item], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        opened(tmp_path, items)


@pytest.mark.parametrize("content", [b"", b"x" * 1024, b"\x1f\x8b", tar([manifest()])[:700]])
def test_not_an_archive(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "image.tar").write_bytes(content)
    with pytest.raises(CiEnvError):
        open_docker_archive(tmp_path / "image.tar", None, tmp_path)


def test_absent(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no image archive"):
        open_docker_archive(tmp_path / "absent", None, tmp_path)
