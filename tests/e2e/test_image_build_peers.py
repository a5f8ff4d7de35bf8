"""Images built here beside those of buildah, and in the hands of podman."""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Generator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from tests.account import Who
from tests.dockerfile_project import (
    built,
    ok,
    prepared,
    tree,
    view,
)
from tests.installed import CiEnv
from tests.layer_stack import Node
from tests.project import Project

RICH = """
    FROM localhost/base:1 AS tools
    RUN mkdir -p /out/deep && echo made >/out/deep/file && ln -s deep/file /out/link && chmod 750 /out/deep
    RUN chown 33:44 /out/deep/file

    FROM localhost/base:1
    WORKDIR /srv/app
    COPY src/main src/script ./
    COPY --chown=web:web --chmod=640 src/main /owned/by/web
    COPY src /srv/tree
    COPY src/ /srv/existing/
    COPY src/*.txt /srv/texts/
    COPY --from=tools /out /srv/out
    COPY link /srv/followed
    ADD files.tar.gz /srv/unpacked/
    RUN rm /etc/group && echo x >>/srv/app/main && mkdir /made
    ENV A=b
"""


@pytest.mark.root
def test_the_tree_that_buildah_builds(ci_env: Callable[[Who], CiEnv], tmp_path: Path) -> None:
    if shutil.which("buildah") is None:
        pytest.skip("needs buildah (Debian package buildah)")
    made = prepared(ci_env("root"))
    for path in ("src/a.txt", "src/b.txt"):
        made.put(path, path)
    made.put("src/script", "#!/bin/sh\n")
    (made.root / "src/script").chmod(0o755)
    (made.root / "src/sub").chmod(0o750)
    (made.root / "src/sub/up").symlink_to("../main")
    (made.root / "link").symlink_to("src/main")
    with tarfile.open(made.root / "files.tar.gz", "w:gz") as archive:
        archive.add(made.root / "src/sub", "packed")
    made.put("Dockerfile", RICH)
    ok(made, "import", "oci:../layout:1", "localhost/base:1")
    built(made, "-t", "localhost/ours:1")
    ours = view(made, "localhost/ours:1", tmp_path)
    theirs = buildah(made, tmp_path)
    assert told(ours) == told(theirs)
    assert {"owned/by/web", "srv/out/deep/file", "srv/unpacked/packed/deep", "srv/tree/sub/up"} <= ours.keys()


def told(view: Mapping[str, Node]) -> dict[str, Node]:
    """Return the tree without times: docker's are those of the build."""
    return {path: replace(node, mtime_ns=0, inode=0, links=0) for path, node in view.items()}


def buildah(made: Project, path: Path) -> dict[str, Node]:
    """Return the tree that buildah builds of the same files."""
    policy = path / "policy.json"
    policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    program = ["buildah", "--root", path / "b", "--runroot", path / "r", "--storage-driver", "vfs"]

    def call(*arguments: object) -> str:
        argv = list(map(str, [*program, *arguments]))
        done = subprocess.run(argv, cwd=made.root, capture_output=True, text=True, check=False, timeout=180)
        assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    shutil.copytree(made.ci_env.home / "layout", path / "layout")  # a path that is fit to be a name
    pulled = call("pull", "--signature-policy", policy, f"oci:{path}/layout:1").splitlines()[-1]
    call("tag", pulled, "localhost/base:1")
    bud = ["bud", "--signature-policy", policy, "--isolation", "chroot", "--pull-never", "--format", "oci"]
    call(*bud, "-t", "localhost/theirs:1", "-f", "Dockerfile", ".")
    call("push", "--signature-policy", policy, "localhost/theirs:1", f"oci:{path}/theirs:x")
    return tree(path / "theirs", "x", path)


@pytest.fixture
def short() -> Generator[Path]:
    """Give a directory with a short name: podman's may have 50 characters."""
    with tempfile.TemporaryDirectory(prefix="p", dir="/tmp") as directory:
        yield Path(directory)


@pytest.mark.root
def test_loaded_by_podman(ci_env: Callable[[Who], CiEnv], short: Path, tmp_path: Path) -> None:
    if shutil.which("podman") is None:
        pytest.skip("needs podman (Debian package podman)")
    made = prepared(ci_env("root"))
    built(made, "-t", "team/app:1")
    ok(made, "export", "team/app:1", f"docker-archive:{tmp_path}/image.tar")
    policy = tmp_path / "policy.json"
    policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    podman = ["podman", "--root", short / "root", "--runroot", short / "run", "--storage-driver", "vfs"]
    podman += ["--events-backend", "file", "--cgroup-manager", "cgroupfs"]

    def call(*arguments: object) -> str:
        argv = list(map(str, [*podman, *arguments]))
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=180)
        assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    call("load", "--signature-policy", policy, "-i", tmp_path / "image.tar")
    (found,) = json.loads(call("inspect", "docker.io/team/app:1"))
    assert found["Config"]["Cmd"] == ["cat", "greeting"]
    assert len(found["RootFS"]["Layers"]) == 4
    history = json.loads(call("history", "--format", "json", "docker.io/team/app:1"))
    assert any("COPY" in entry["CreatedBy"] for entry in history)
