"""Capsules: a failed run as one file, replayed by another account that has nothing but the file."""

from __future__ import annotations

import base64
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
    return registry.push(new_layout(path, motd), f"{name}:1")


def new_layout(path: Path, motd: str) -> Path:
    """Write an image to a new layout below `path`."""
    layout = path / f"layout-{os.urandom(4).hex()}"
    return write_layout(layout, {"x": image([tar(items) for items in layers(motd)], config={"Env": ["PATH=/bin"]})})


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


def test_by_way_of_a_registry(ci_env: Callable[[Who], CiEnv], registry: RealRegistry, tmp_path: Path) -> None:
    maker, actor = ci_env("user"), ci_env("root")
    reference = pushed(registry, tmp_path, f"base-{os.urandom(4).hex()}")
    made = project(maker, FAILING, image=reference, files={"sub/kept": "kept\n"})
    run = made.run(code=1)
    capsule = given(pack(made, run.id), maker)
    place = f"{registry.host}/failures-{os.urandom(4).hex()}:1"
    called = made.call("capsule", "push", str(capsule), place)
    assert called.code == 0, called.err
    assert called.out.startswith(f"oci://{place.removesuffix(':1')}@sha256:")
    wipe(maker)
    for name in (f"oci://{place}", called.out.strip()):
        replayed = actor.run("replay", "--json", name, cwd=actor.home)
        assert replayed.returncode == 0, replayed.stderr
    missing = actor.run("replay", f"oci://{registry.host}/nothing:1", cwd=actor.home)
    assert missing.returncode == 4
    other = actor.run("replay", f"oci://{reference}", cwd=actor.home)
    assert other.returncode == 2
    assert "is no capsule" in other.stderr


def test_what_no_registry_has_is_inside(ci_env: Callable[[Who], CiEnv], registry: RealRegistry, tmp_path: Path) -> None:
    maker, actor = ci_env("root"), ci_env("user")
    reference = pushed(registry, tmp_path, f"inside-{os.urandom(4).hex()}")
    made = project(maker, FAILING, image=reference, files={"sub/kept": "kept\n"})
    run = made.run(code=1)
    whole = given(pack(made, run.id, "--self-contained"), actor)
    layout = new_layout(maker.home, motd="never pushed\n")
    made.put("ci-env.yml", (made.root / "ci-env.yml").read_text().replace(reference, f"oci:{layout}"))
    imported = made.run(code=1)
    small = given(pack(made, imported.id), actor)
    wipe(maker)
    shutil.rmtree(
        registry.directory / "storage/docker/registry/v2/repositories" / reference.split("/")[1].split(":")[0]
    )
    for capsule in (whole, small):
        assert capsule.stat().st_size > 500_000  # busybox
        replayed = actor.run("replay", "--json", str(capsule), cwd=actor.home)
        assert replayed.returncode == 0, replayed.stderr


def test_secrets_are_asked_for(ci_env: Callable[[Who], CiEnv]) -> None:
    made = project(
        ci_env("root"),
        """
        build:
          secrets: [TOKEN]
          steps: [{name: test, run: "cp /run/secrets/TOKEN kept; base64 kept >encoded; exit 3"}]
        """,
    )
    value = os.urandom(12).hex()
    run = made.run(code=1, env={"TOKEN": value})
    left = made.ci_env.store / "runs" / run.id / "capsule.cienv"
    called = made.call("capsule", "pack", run.id, "-o", "x.cienv")
    assert called.code == 2
    assert "TOKEN" in called.err
    assert made.call("capsule", "pack", run.id, "-o", "x.cienv", env={"TOKEN": value}).code == 0
    for path in (left, made.root / "x.cienv"):
        plain = subprocess.run(["zstd", "-dcq", str(path)], capture_output=True, check=True, timeout=60).stdout
        assert b"TOKEN" in plain
        assert value.encode() not in plain
        assert base64.b64encode(value.encode()) not in plain
    asked = made.call("replay", str(left), env={"TOKEN": value})
    assert asked.code == 2
    assert "a capsule is given only what you name" in asked.err
    assert made.replay(str(left), "--without-secrets", code=6)["verdict"] == "different"
    given_by_name = made.call("replay", str(left), "--secret", "TOKEN", env={"TOKEN": value})
    assert given_by_name.code == 0, given_by_name.err
    shown = made.call("capsule", "show", str(left)).out
    assert "  - the values of the secrets TOKEN\n" in shown
    assert "  - 2 files that held a secret: the secret is blotted out in them\n" in shown
