"""What all cases share: the registry, the images that begin there, and the accounts. Owns no verdict."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from tests.account import EVERYONE, Account, Who, account
from tests.base_image import base_image
from tests.corpus.case import Base, Setting
from tests.corpus.images import busybox_items, python_items
from tests.delegated import delegated
from tests.installed import CiEnv, Installed
from tests.oci_builder import f, image, tar, write_layout
from tests.real_registry import RealRegistry

_LOCK = threading.Lock()


class World:
    """Where cases are played. Images are made when the first case wants one."""

    def __init__(self, installed: Installed, shared: Path, registry: RealRegistry, scratch: Path) -> None:
        self._installed = installed
        self._shared = shared
        self._registry = registry
        self._scratch = scratch

    @contextmanager
    def player(self, who: Who) -> Generator[CiEnv]:
        """Give ci-env in the hands of an account with an empty home, which is removed afterwards.

        An ordinary user has control groups, as systemd gives them; the one without subordinate ids has neither.
        """
        home = self._shared / f"home-{os.urandom(6).hex()}"
        home.mkdir(mode=0o700)
        whom = self._account(who)
        os.chown(home, whom.uid, whom.gid)
        is_given = os.geteuid() == 0 and whom.who == "user"
        with delegated(whom.uid, whom.gid) if is_given else nullcontext(()) as into_groups:
            whom = replace(whom, become=(*into_groups, *whom.become))
            player = CiEnv(whom, self._installed.program, home)
            try:
                yield player
            finally:
                wipe(player)
                home.rmdir()

    @contextmanager
    def outside(self) -> Generator[Path]:
        """Give a directory that is nobody's home, for capsules on their way."""
        path = self._shared / f"way-{os.urandom(6).hex()}"
        path.mkdir(mode=0o755)
        try:
            yield path
        finally:
            shutil.rmtree(path)

    def push(self, setting: Setting, name: str) -> str:
        """Push the setting's image as the tag `name`; return its reference."""
        return self._push(self._layout(setting), setting.base, name)

    def push_other(self, setting: Setting, name: str) -> None:
        """Move the tag `name` to an image in which nothing can be run."""
        self._push(self._other(), setting.base, name)

    def _push(self, layout: Path, base: Base, name: str) -> str:
        with _LOCK:  # it writes the registry's policy file
            return self._registry.push(layout, f"{base}:{name}")

    def _layout(self, setting: Setting) -> Path:
        if setting.base == "debian":
            assert not setting.layer
            return base_image()
        layers = [self._layer(setting.base), *([tar(setting.layer)] if setting.layer else [])]
        return self._write(layers, setting.config)

    def _write(self, layers: list[bytes], config: Mapping[str, object]) -> Path:
        path = self._scratch / f"layout-{os.urandom(6).hex()}"
        settings: Mapping[str, object] = {"Env": ["PATH=/usr/bin:/bin"], **config}
        return write_layout(path, {"x": image(layers, config=settings, compression="zstd")})

    @functools.cache  # noqa: B019  # as long as the tests
    def _layer(self, base: Base) -> bytes:
        return tar(busybox_items() if base == "busybox" else python_items())

    @functools.cache  # noqa: B019  # as long as the tests
    def _other(self) -> Path:
        return self._write([tar([f("other", "quite another image\n")])], {})

    def _account(self, who: Who) -> Account:
        """Return the account; where only root could make it, the one that runs the tests."""
        candidates = (who,) if os.geteuid() == 0 else EVERYONE
        for candidate in candidates:
            try:
                return account(candidate, self._shared)
            except pytest.skip.Exception:
                continue
        raise AssertionError("nobody can run the corpus")


def wipe(player: CiEnv) -> None:
    """Remove all that an account has; some of it may belong to its subordinate ids."""
    plain = os.geteuid() == 0 or player.account.who == "user-nosub"
    namespace = () if plain else ("unshare", "--map-root-user", "--map-auto")
    for path in player.home.iterdir():
        subprocess.run([*namespace, "rm", "-rf", str(path)], check=True, timeout=120)
