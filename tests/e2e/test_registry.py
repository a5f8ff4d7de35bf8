"""Pulls from Debian's docker-registry, of images that skopeo pushed."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ci_env.errors import ConfigError, RegistryError
from ci_env.events import Event, Progress
from ci_env.oci.platform import Platform
from ci_env.oci.pull import PulledImage, pull
from ci_env.oci.reference import parse
from ci_env.oci.registries import Registries
from tests.layer_directory import LayerDirectory
from tests.oci_builder import Image, d, f, image, link, sha256, tar, wh, write_layout

AMD64 = Platform("linux", "amd64")
MUST_RUN = os.environ.get("CI_ENV_MUST_RUN") == "1"
BASE = tar([d("usr"), d("usr/lib"), link("lib", "usr/lib"), d("etc"), f("etc/gone"), f("etc/kept", "kept")])
TOP = tar([f("lib/new", "new"), wh("etc/gone")])


@dataclass(frozen=True)
class Registry:
    host: str
    directory: Path

    def push(self, layout: Path, tag: str, name: str, *arguments: str) -> None:
        """Push an image of an OCI layout with skopeo."""
        policy = self.directory / "policy.json"
        policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
        argv = ["skopeo", "--policy", str(policy), "--tmpdir", str(self.directory), "copy", "--quiet", *arguments]
        argv += ["--dest-tls-verify=false", f"oci:{layout}:{tag}", f"docker://{self.host}/{name}"]
        subprocess.run(argv, check=True, capture_output=True, timeout=60)

    def blob(self, digest: str) -> Path:
        value = digest.partition(":")[2]
        return self.directory / "data/docker/registry/v2/blobs/sha256" / value[:2] / value / "data"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Generator[Registry]:
    if not (shutil.which("docker-registry") and shutil.which("skopeo")):
        if MUST_RUN:
            pytest.fail("docker-registry and skopeo are not installed")
        pytest.skip("needs docker-registry and skopeo")
    directory = tmp_path_factory.mktemp("registry")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{probe.getsockname()[1]}"
    config = directory / "config.yml"
    storage = f"storage: {{filesystem: {{rootdirectory: {directory}/data}}}}"
    config.write_text(f"version: 0.1\nlog: {{level: error}}\n{storage}\nhttp: {{addr: '{host}'}}\n")
    with open(directory / "log", "wb") as log:
        server = subprocess.Popen(["docker-registry", "serve", str(config)], stdout=log, stderr=log)
    try:
        _wait_for(host, server, directory / "log")
        yield Registry(host, directory)
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(10)


def _wait_for(host: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(f"http://{host}/v2/", timeout=1):
                return
        except OSError:
            time.sleep(0.05)
    pytest.fail(f"docker-registry did not start: {log.read_text()}")


@pytest.fixture
def place(tmp_path: Path) -> LayerDirectory:
    return LayerDirectory(tmp_path / "layers")


def pull_from(registry: Registry, name: str, place: LayerDirectory, events: list[Event] | None = None) -> PulledImage:
    emit = (events if events is not None else []).append
    registries = Registries({}, emit, pause=lambda _: None)
    with registries.image(parse(f"{registry.host}/{name}")) as source:
        return pull(source, AMD64, place, emit)


def pushed(registry: Registry, tmp_path: Path, content: Image, name: str, *arguments: str) -> None:
    registry.push(write_layout(tmp_path / "layout", {"x": content}), "x", name, *arguments)


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
def test_pull(registry: Registry, tmp_path: Path, place: LayerDirectory, compression: str) -> None:
    kinds = {"gzip": image([BASE, TOP]), "zstd": image([BASE, TOP], compression="zstd")}
    content = kinds.get(compression) or image([BASE, TOP], compression="none")
    pushed(registry, tmp_path, content, f"team/{compression}:1")
    events: list[Event] = []
    pulled = pull_from(registry, f"team/{compression}:1", place, events)
    assert pulled.config.diff_ids == tuple(content.diff_ids)
    bottom, top = (place.layer(layer) for layer in pulled.chain)
    assert (bottom / "etc" / "kept").read_text() == "kept"
    assert (top / "usr" / "lib" / "new").read_text() == "new"
    assert not (top / "lib").exists()
    assert os.lstat(top / "etc" / "gone").st_rdev == 0
    assert sum(isinstance(event, Progress) and event.finished for event in events) == 2


def test_docker_schema_2(registry: Registry, tmp_path: Path, place: LayerDirectory) -> None:
    pushed(registry, tmp_path, image([BASE]), "team/docker:1", "--format", "v2s2")
    assert pull_from(registry, "team/docker:1", place).config.platform == AMD64


def test_by_digest(registry: Registry, tmp_path: Path, place: LayerDirectory) -> None:
    pushed(registry, tmp_path, image([BASE]), "team/digest:1")
    by_tag = pull_from(registry, "team/digest:1", place)
    assert pull_from(registry, f"team/digest@{by_tag.manifest}", place) == by_tag
    with pytest.raises(RegistryError, match="has no image"):
        pull_from(registry, f"team/digest:1@sha256:{'0' * 64}", place)


def test_layers_that_are_there_are_not_pulled(registry: Registry, tmp_path: Path, place: LayerDirectory) -> None:
    pushed(registry, tmp_path, image([BASE]), "team/base:1")
    (tmp_path / "second").mkdir()
    pushed(registry, tmp_path / "second", image([BASE, TOP]), "team/more:1")
    base = pull_from(registry, "team/base:1", place)
    more = pull_from(registry, "team/more:1", place)
    assert place.unpacked == [base.chain[0], more.chain[1]]


@pytest.mark.parametrize("name", ["team/absent:1", "team/digest:absent"])
def test_absent(registry: Registry, place: LayerDirectory, name: str) -> None:
    with pytest.raises(RegistryError, match=rf"has no image {registry.host}/{name}") as caught:
        pull_from(registry, name, place)
    assert caught.value.hint == "check the image's name and tag"


def test_another_platform(registry: Registry, tmp_path: Path, place: LayerDirectory) -> None:
    pushed(registry, tmp_path, image([BASE], architecture="arm64"), "team/arm:1")
    with pytest.raises(ConfigError, match="is for linux/arm64"):
        pull_from(registry, "team/arm:1", place)


def test_a_layer_that_the_registry_lost(registry: Registry, tmp_path: Path, place: LayerDirectory) -> None:
    only_here = image([tar([f("only", "here")])])
    pushed(registry, tmp_path, only_here, "team/lost:1")
    registry.blob(sha256(only_here.layers[0])).unlink()
    with pytest.raises(RegistryError):
        pull_from(registry, "team/lost:1", place)
    assert place.complete() == set()
