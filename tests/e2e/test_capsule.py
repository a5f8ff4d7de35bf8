"""Capsules: a failed run as one file, replayed by another account that has nothing but the file."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.account import Who
from tests.busybox_image import busybox
from tests.installed import CiEnv
from tests.oci_builder import Item, d, f, image, link, tar, write_layout
from tests.project import Project, leftovers, project
from tests.real_registry import RealRegistry

NAMES = ("chmod", "chown", "date", "env", "find", "grep", "id", "ln", "mkdir", "mkfifo", "mv", "rm", "sleep", "touch")
FAILING = """
build:
  steps:
    - name: prepare
      run: |
        echo prepared >state
        rm -r /opt/old && mkdir /opt/old && echo new >/opt/old/file
        rm /etc/gone
        mkdir /made && chmod 0700 /made && ln -s ../etc/motd /made/link && ln state /workspace/same
    - name: test
      run: |
        cat state sub/kept /opt/old/* /etc/motd
        test ! -e /etc/gone && echo gone
        find /made /opt | while read name; do stat -c '%n %a %u %g %s %F' "$name"; done
        echo left >left
        exit 7
    - {name: never, run: "true"}
"""
OTHER = """
other: {steps: [{name: big, run: "cat /bin/busybox >/copy"}]}
"""


def layers(motd: str = "hello\n") -> Sequence[Sequence[Item]]:
    more = [link(f"bin/{name}", "busybox") for name in NAMES]
    base = [*busybox(), *more, d("etc"), f("etc/motd", motd), f("etc/gone"), d("opt"), d("opt/old"), f("opt/old/was")]
    return (base, [f("etc/second", "layer")])


def pushed(registry: RealRegistry, path: Path, name: str, motd: str = "hello\n") -> str:
    """Push an image of two layers as `name`, and return its reference."""
    layout = path / f"layout-{os.urandom(4).hex()}"
    write_layout(layout, {"x": image([tar(items) for items in layers(motd)], config={"Env": ["PATH=/bin"]})})
    return registry.push(layout, f"{name}:1")


def given(capsule: Path, to: CiEnv) -> Path:
    """Give a file to another account, in its home."""
    copied = to.home / capsule.name
    shutil.copy(capsule, copied)
    os.chown(copied, to.account.uid, to.account.gid)
    return copied


def wipe(ci_env: CiEnv) -> None:
    """Remove everything that an account has."""
    plain = os.geteuid() == 0 or ci_env.account.who == "user-nosub"
    namespace = () if plain else ("unshare", "--map-root-user", "--map-auto")
    for path in ci_env.home.iterdir():
        subprocess.run([*namespace, "rm", "-rf", str(path)], check=True, timeout=60)


def pack(made: Project, run: str, *arguments: str) -> Path:
    """Pack a run outside of everything that the account has."""
    inside = made.ci_env.home / "packed.cienv"
    called = made.call("capsule", "pack", run, "-o", str(inside), *arguments)
    assert called.code == 0, called.err
    outside = made.ci_env.home.with_name(f"packed-{os.urandom(4).hex()}.cienv")
    shutil.move(inside, outside)
    return outside


@pytest.mark.parametrize(("one", "other"), [("root", "user"), ("user", "user-nosub"), ("user-nosub", "root")])
def test_replayed_by_another(
    one: Who, other: Who, ci_env: Callable[[Who], CiEnv], registry: RealRegistry, tmp_path: Path
) -> None:
    maker, actor = ci_env(one), ci_env(other)
    name = f"capsule-{os.urandom(4).hex()}"
    reference = pushed(registry, tmp_path, name)
    made = project(maker, FAILING + OTHER, image=reference, files={"sub/kept": "kept\n"})
    run = made.run("build", code=1)
    said = "\n".join(run.lines("test"))
    capsule = pack(made, run.id)
    assert capsule.stat().st_size < 100_000

    wipe(maker)
    pushed(registry, tmp_path, name, motd="another\n")
    mine = given(capsule, actor)
    called = actor.run("replay", str(mine), cwd=actor.home)
    assert called.returncode == 0, called.stderr + called.stdout
    assert called.stdout.startswith("same failure: exit status 7 and the same output both times\n")
    assert "  | hello\n" in called.stderr
    assert "  | gone\n" in called.stderr
    assert said.startswith("prepared\nkept\nnew\nhello\ngone\n")
    assert leftovers(actor) == []
    assert actor.run("runs", "ls").stdout == ""
    assert actor.run("image", "ls").stdout == ""

    opened = actor.run("replay", str(mine), "--shell", "--after", stdin="cat /workspace/left /workspace/state\n")
    assert "\nleft\nprepared\n" in opened.stdout.replace("\r", ""), opened.stderr
