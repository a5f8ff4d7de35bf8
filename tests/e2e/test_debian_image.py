"""A pipeline on a Debian image from a registry, as a newcomer would try it, by every account."""

from __future__ import annotations

import re
import shutil

from tests.installed import CiEnv
from tests.project import Project, leftovers, project

FILE = "examples/c-debian/ci-env.yml"
ALL = {"deps": "cached", "build": "cached", "test": "cached"}
PACKAGES = """
only:
  steps:
    - name: pack
      run: |
        mkdir -p tiny/DEBIAN tiny/usr/share/tiny
        printf 'Package: tiny\\nVersion: 1\\nArchitecture: all\\nMaintainer: x <x@example.org>\\nDescription: x\\n' \\
          >tiny/DEBIAN/control
        printf '#!/bin/sh\\nset -e\\nchown 1:1 /usr/share/tiny/file\\nid tiny||useradd -r tiny\\n' >tiny/DEBIAN/postinst
        chmod 755 tiny/DEBIAN/postinst
        echo content >tiny/usr/share/tiny/file
        dpkg-deb --root-owner-group --build tiny /tiny.deb
    - name: install
      run: |
        dpkg -i /tiny.deb
        apt-get check
        cat /usr/share/tiny/file
        getent passwd tiny | cut -d: -f1
    - name: remove
      run: apt-get remove --yes tiny; test ! -e /usr/share/tiny
    - name: apt
      run: |
        apt-get install --yes /tiny.deb
        cat /usr/share/tiny/file
"""


def test_a_c_program(actor: CiEnv, debian_image: str) -> None:
    made = Project(actor, actor.project("c-debian"))
    arguments = ("-f", FILE, "--image", debian_image)
    first = made.call("run", *arguments, "--format", "plain")
    assert first.code == 0, first
    assert re.search(r"^layer sha256:[0-9a-f]{12}: done, .* MiB in ", first.err, re.MULTILINE), first.err
    run = made.run(*arguments)
    assert run.steps == ALL
    assert made.run(*arguments, "--offline").steps == ALL
    assert made.run(*arguments, "--pull").steps == ALL

    source = made.root / "examples/c-debian/src/main.c"
    whole = source.read_text()
    source.write_text(f"{whole}/* touched */\n")
    said = made.call("explain", *arguments, "build").out
    assert "  - the inputs changed\n      changed  examples/c-debian/src/main.c\n" in said
    assert made.run(*arguments).steps == {"deps": "cached", "build": "passed", "test": "passed"}

    tests = made.root / "examples/c-debian/tests/run.sh"
    tests.write_text(f"{tests.read_text()}\necho 'a check fails' >&2\nexit 1\n")
    failed = made.run(*arguments, code=1)
    assert failed.steps == {"deps": "cached", "build": "cached", "test": "failed"}
    replay = made.call("replay")
    assert replay.code == 0
    assert replay.out.startswith("same failure: exit status 1 and the same output both times\n")
    shutil.rmtree(made.root)
    assert Project(actor, actor.home).replay(failed.id)["verdict"] == "same"
    assert leftovers(actor) == []

    _install_packages(project(actor, PACKAGES, image=debian_image))
    assert leftovers(actor) == []


def _install_packages(made: Project) -> None:
    """Have dpkg and apt change owners and make users, as far as the account has ids; a pull more would cost 10 s."""
    run = made.run("--offline")
    assert run.lines("install")[-2:] == ["content", "tiny"]
    assert set(made.run().steps.values()) == {"cached"}
