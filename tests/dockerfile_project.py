"""A project with a Dockerfile, and what `ci-env image build` makes of it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TypedDict

from ci_env.oci.layout import LayoutSource
from tests.busybox_image import busybox
from tests.installed import CiEnv
from tests.layer_stack import Node
from tests.oci_builder import d, f, image, link, tar, write_layout
from tests.project import Called, Project, Run, project
from tests.stored_images import new_images

BASE = "team/base:1"
ACCOUNTS = [
    d("etc"),
    f("etc/passwd", "root:x:0:0::/root:/bin/sh\nweb:x:33:44::/srv:/bin/sh\n"),
    f("etc/group", "root:x:0:\nweb:x:44:\n"),
    *(f(f"etc/{name}") for name in ("hosts", "hostname", "resolv.conf")),  # what every builder makes, in its own way
    *(d(name) for name in ("dev", "proc", "sys", "run", "srv")),
    d("tmp", mode=0o1777),
]
BUSYBOX_NAMES = ("mkdir", "chmod", "chown", "id", "rm", "ln", "sleep")
LOOK = 'look: {steps: [{name: look, run: "cat /srv/app/greeting; id -u", user: "0"}]}\n'
SMALL = """
    FROM team/base:1
    ARG WHO=nobody
    ENV GREETING=hello
    WORKDIR /srv/app
    COPY --chown=web src/ ./
    RUN echo "$GREETING $WHO" >greeting && cat main
    USER web
    CMD ["cat", "greeting"]
"""


class Config(TypedDict):
    created: str
    config: dict[str, object]
    rootfs: dict[str, list[str]]
    history: list[dict[str, object]]


def prepared(actor: CiEnv) -> Project:
    """Give a project with a Dockerfile and some files, and the base image in the store."""
    base = tar([*busybox(), *(link(f"bin/{name}", "busybox") for name in BUSYBOX_NAMES), *ACCOUNTS])
    config = {"Env": ["PATH=/bin"], "Cmd": ["sh"], "Labels": {"from": "base"}}
    actor.own(write_layout(actor.home / "layout", {"1": image([base], config=config)}))
    files = {"src/main": "the program\n", "src/sub/deep": "deep\n", "other": "other\n"}
    made = project(actor, LOOK, files=files)
    made.put("Dockerfile", SMALL)
    ok(made, "import", "oci:../layout:1", BASE)
    return made


def ok(made: Project, *arguments: str, env: Mapping[str, str] | None = None) -> str:
    called = made.call("image", *arguments, env=env)
    assert called.code == 0, called.err
    return called.out


def built(made: Project, *arguments: str, code: int = 0, env: Mapping[str, str] | None = None) -> Run:
    """Build, offline; return what the build's run said."""
    called = made.call("image", "build", "--offline", "--format", "json", *arguments, env=env)
    assert called.code == code, f"{called.code}: {called.err}{called.out[-4000:]}"
    return Run(tuple(json.loads(line) for line in called.out.splitlines()))


def refused(made: Project, *arguments: str) -> Called:
    called = made.call("image", "build", "--offline", *arguments)
    assert called.code == 2, called
    return called


def config(made: Project, name: str) -> Config:
    shown = json.loads(ok(made, "inspect", name, "--json"))
    found: Config = shown["config"]
    return found


def view(made: Project, name: str, path: Path) -> dict[str, Node]:
    """Return the tree of an image of the store, by way of an export."""
    target = made.ci_env.home / f"exported-{os.urandom(4).hex()}"
    ok(made, "export", name, f"oci:{target}:x")
    return tree(target, "x", path)


def tree(layout: Path, tag: str, path: Path) -> dict[str, Node]:
    with new_images(path / f"store-{os.urandom(4).hex()}") as images:
        return images.view(images.pull(LayoutSource(layout, tag)))
