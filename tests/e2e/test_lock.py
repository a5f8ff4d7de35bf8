"""`ci-env lock` and runs by it, against a real registry whose tags move."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.account import Who
from tests.base_image import base_image
from tests.installed import CiEnv
from tests.oci_builder import CONFIG_TYPE, LAYER_TYPE, MANIFEST_TYPE, compress, descriptor, f, index, sha256, tar
from tests.project import Project, project
from tests.real_registry import RealRegistry

PLATFORM = {"x86_64": "linux/amd64", "aarch64": "linux/arm64/v8"}[platform.machine()]
JOBS = """
old: {steps: [{name: which, run: cat /which}]}
"""


class Tag:
    """A tag in the registry that can be moved."""

    def __init__(self, registry: RealRegistry, path: Path) -> None:
        self._registry = registry
        self._path = path
        self.name = f"moving-{os.urandom(4).hex()}:1"
        self.reference = f"{registry.host}/{self.name}"
        self.manifests: dict[str, str] = {}

    def move(self, word: str) -> None:
        """Have the tag mean an image whose /which says `word`."""
        layout = self._path / word
        self.manifests[word] = with_file(base_image(), layout, word)
        self._registry.push(layout, self.name)


def with_file(base: Path, layout: Path, word: str) -> str:
    """Write to `layout` the image of the layout `base` with one more layer; return its manifest's digest."""
    blobs = layout / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    for blob in (base / "blobs" / "sha256").iterdir():
        (blobs / blob.name).symlink_to(blob)

    def read(digest: str) -> dict[str, dict[str, list[object]]]:
        found: dict[str, dict[str, list[object]]] = json.loads((blobs / digest.removeprefix("sha256:")).read_bytes())
        return found

    def write(content: bytes) -> bytes:
        (blobs / sha256(content).removeprefix("sha256:")).write_bytes(content)
        return content

    (entry,) = json.loads((base / "index.json").read_bytes())["manifests"]
    manifest = read(entry["digest"])
    config = read(str(manifest["config"]["digest"]))
    plain = tar([f("which", f"{word}\n")])
    config["rootfs"]["diff_ids"].append(sha256(plain))
    layer = write(compress(plain, "gzip"))
    layers: list[object] = [*manifest["layers"], descriptor(f"{LAYER_TYPE}+gzip", layer)]
    document = {**manifest, "config": descriptor(CONFIG_TYPE, write(json.dumps(config).encode())), "layers": layers}
    written = write(json.dumps(document).encode())
    (layout / "index.json").write_bytes(index([descriptor(MANIFEST_TYPE, written)]))
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return sha256(written)


@pytest.fixture
def tag(registry: RealRegistry, tmp_path: Path) -> Tag:
    made = Tag(registry, tmp_path)
    made.move("one")
    return made


def which(made: Project, *arguments: str) -> list[str]:
    return made.run("--no-cache", *arguments).lines("which")


def locked(made: Project) -> dict[str, dict[str, dict[str, str]]]:
    found: dict[str, dict[str, dict[str, str]]] = json.loads((made.root / "ci-env.lock").read_text())["images"]
    return found


def test_a_moved_tag_changes_no_locked_run(actor: CiEnv, tag: Tag) -> None:
    made = project(actor, JOBS, image=tag.reference)
    called = made.call("lock")
    assert called.code == 0, called
    assert called.out.splitlines() == [
        f"{tag.reference}: {tag.manifests['one'][:19]}, added",
        "ci-env.lock: 1 image",
    ]
    assert locked(made)[tag.reference]["manifests"] == {PLATFORM: tag.manifests["one"]}

    tag.move("two")
    assert which(made) == ["one"]
    assert which(made, "--pull") == ["one"], "what --pull asks for is what tags mean, and the lock has none"
    assert which(made, "--locked") == ["one"]
    assert set(made.run("--locked").steps.values()) == {"cached"}

    again = made.call("lock").out
    assert again.startswith(f"{tag.reference}: {tag.manifests['one'][:19]}, as it was\n")
    updated = made.call("lock", "--update", tag.reference).out
    assert updated.startswith(f"{tag.reference}: {tag.manifests['two'][:19]}, was {tag.manifests['one'][:19]} of 20")
    assert which(made, "--locked") == ["two"]


def test_without_a_lock_a_tag_stays_until_it_is_asked_for(ci_env: Callable[[Who], CiEnv], tag: Tag) -> None:
    made = project(ci_env("user"), JOBS, image=tag.reference)
    assert which(made) == ["one"]
    tag.move("two")
    assert which(made) == ["one"]
    assert which(made, "--pull") == ["two"]


def test_another_machine_gets_the_same(ci_env: Callable[[Who], CiEnv], tag: Tag) -> None:
    first = project(ci_env("user"), JOBS, image=tag.reference)
    first.call("lock")
    tag.move("two")
    second = project(ci_env("user"), JOBS, image=tag.reference)
    second.put("ci-env.lock", (first.root / "ci-env.lock").read_text())
    assert which(second) == ["one"]


def test_locked_refuses_what_is_not_locked(ci_env: Callable[[Who], CiEnv], tag: Tag) -> None:
    made = project(ci_env("user"), JOBS, image=tag.reference)
    called = made.call("run", "--locked")
    assert called.code == 2
    assert "ci-env.lock is not there, and --locked runs nothing else" in called.err
    made.call("lock")
    other = tag.reference.replace(":1", ":2")
    called = made.call("run", "--locked", "--image", other)
    assert called.code == 2
    assert f"ci-env.lock lacks {other}, and --locked runs nothing else\nhint: `ci-env lock` writes it\n" in called.err
    assert made.call("run", "--locked", "--pull").code == 2


def test_an_image_that_is_not_in_the_lock_is_noted(ci_env: Callable[[Who], CiEnv], tag: Tag) -> None:
    made = project(ci_env("user"), JOBS, image=tag.reference)
    made.put("ci-env.lock", '{"version": 1, "images": {}}')
    called = made.call("run", "--format", "plain")
    assert called.code == 0
    assert f"ci-env.lock does not have the image {tag.reference}; `ci-env lock` adds it" in called.out + called.err


def test_what_the_pipeline_does_not_name_goes_and_local_images_need_no_lock(
    ci_env: Callable[[Who], CiEnv], tag: Tag
) -> None:
    made = project(ci_env("user"), JOBS, image=tag.reference)
    made.call("lock")
    made.pipeline(JOBS, image="host")
    removed = made.call("lock").out
    assert removed == f"{tag.reference}: removed, as the pipeline does not name it\nci-env.lock: 0 images\n"
    made.pipeline("only: {steps: [{run: 'true'}]}", image="host")
    assert made.call("run", "--locked").code == 0


def test_wrong_names_and_damage(ci_env: Callable[[Who], CiEnv], tag: Tag) -> None:
    made = project(ci_env("user"), JOBS, image=tag.reference)
    called = made.call("lock", "--update", tag.reference + "x")
    assert called.code == 2
    assert f"did you mean `{tag.reference}`?" in called.err
    absent = tag.reference.replace(":1", ":absent")
    made.pipeline(JOBS, image=absent)
    called = made.call("lock")
    assert called.code == 4
    assert f"has no image {absent}" in called.err
    assert "ci-env.yml:5:3" in called.err
    assert not (made.root / "ci-env.lock").exists()
    made.put("ci-env.lock", "<<<<<<< HEAD\n")
    for verb in ("lock", "run", "explain"):
        called = made.call(verb)
        assert called.code == 2
        assert "ci-env.lock is not a lockfile" in called.err
