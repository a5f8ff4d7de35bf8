"""Sandboxes for tests of the runner: a store, layers in it, and steps of a line each."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from ci_env.events import Usage
from ci_env.pipeline.model import NO_LIMITS, Limits, Network
from ci_env.ports import Bind, Exit, Process, Rootfs, Sandbox
from ci_env_runners import namespace
from ci_env_runners.namespace import NamespaceRunner

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Ran:
    exit: Exit
    """without what it has used"""
    output: str
    layer: Path
    """what the step has written, as a layer"""
    used: Usage | None = None

    def lines(self) -> list[str]:
        return self.output.splitlines()


class Place:
    """A store with a runner. Each step gets an upper of its own; `lowers` make it see what others wrote."""

    def __init__(self, store: Path, runner: NamespaceRunner) -> None:
        self.store = store
        self.runner = runner
        self._numbers = itertools.count()

    def layer(self) -> Path:
        """Return a new, empty layer."""
        layer = self.store / "layers" / str(next(self._numbers))
        (layer / "root").mkdir(parents=True)
        return layer

    def sandbox(
        self,
        what: str | Sequence[str],
        *,
        lowers: Sequence[Path] = (),
        host: bool = True,
        binds: Sequence[Bind] = (),
        env: Mapping[str, str] | None = None,
        user: str = "0",
        workdir: str = "/workspace",
        umask: int = 0o022,
        network: Network = "none",
        timeout_s: int | None = 60,
        limits: Limits = NO_LIMITS,
    ) -> Sandbox:
        """Return a sandbox for a script of `sh`, or an argv; on this machine's operating system, unless told."""
        number = next(self._numbers)
        upper, work = (
            self.store / "layers" / f"step-{os.getpid()}-{number}",
            self.store / "tmp" / f"work-{os.getpid()}-{number}",
        )
        for directory in (upper, work):
            directory.mkdir(parents=True)
        argv = ("sh", "-c", what) if isinstance(what, str) else tuple(what)
        surroundings = {"PATH": PATH} if env is None else env
        process = Process(argv, surroundings, user, workdir, umask, "ci-env", network, timeout_s, limits)
        return Sandbox(Rootfs(tuple(lowers), host, upper, work), tuple(binds), process)

    def execute(self, sandbox: Sandbox, output: Callable[[bytes], None] | None = None) -> Ran:
        pieces: list[bytes] = []
        done = self.runner.run(sandbox, output or pieces.append)
        text = b"".join(pieces).decode(errors="surrogateescape")
        return Ran(replace(done, used=None), text, sandbox.rootfs.upper, done.used)


@contextmanager
def new_place(store: Path) -> Generator[Place]:
    """Give a store at `store`; its files, whoever owns them, are gone afterwards."""
    (store / "mnt").mkdir(parents=True)
    with namespace.open(store) as runner:
        yield Place(store, runner)
    with namespace.open(store) as runner:  # another one: that of the test may have been cancelled, or be dead
        assert runner.as_owner(["rm", "-rf", str(store / "layers"), str(store / "tmp")]) == 0
    assert not os.listdir(store / "mnt")
