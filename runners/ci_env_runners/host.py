"""What is known of this host once everything has been tried. Owns how the trials are run; judges nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ci_env_runners import subordinate
from ci_env_runners.delegation import Delegation, read_delegation
from ci_env_runners.refusal import Restrictions, read_restrictions

if TYPE_CHECKING:
    from ci_env_runners.trials import Failure

_TIMEOUT_S = 120
_OCTAL_SPACE = "\\040"  # proc_pid_mountinfo(5)


@dataclass(frozen=True, slots=True)
class Nat:
    """How packets of `network: nat` go."""

    carrier: str
    """the program; empty: this host routes them itself, or nothing does"""
    problem: str
    """why they do not go; empty: they do"""
    fix: str


@dataclass(frozen=True, slots=True)
class Host:
    user: str
    is_root: bool
    place: str
    """where filesystems were tried, and the type of the one there"""
    restrictions: Restrictions
    delegation: Delegation
    subordinate_ids: int
    """how many the user has, of uids and of gids"""
    first_free_id: int
    """above all that are given to somebody"""
    nat: Nat
    failures: Mapping[str, Failure | None]
    """by trial; empty where the trials could not be run"""
    untried: Failure
    """why not, then"""

    def failure(self, trial: str) -> Failure | None:
        """Return how `trial` failed; None: it did not."""
        return self.failures.get(trial, self.untried)


def examine(store: Path | None) -> Host:
    """Try everything, filesystems on that of `store` or where nothing is said, of temporary files. Never raises."""
    place = _place(store)
    failures, untried = _run_trials(place)
    return Host(
        user=subordinate.user_name(),
        is_root=os.geteuid() == 0,
        place=f"{place} ({_filesystem_type(place)})",
        restrictions=read_restrictions(),
        delegation=read_delegation(),
        subordinate_ids=min(subordinate.count(subordinate.SUBUID), subordinate.count(subordinate.SUBGID)),
        first_free_id=max(subordinate.first_free(subordinate.SUBUID), subordinate.first_free(subordinate.SUBGID)),
        nat=_nat(),
        failures=failures,
        untried=untried,
    )


def _nat() -> Nat:
    from ci_env.errors import HostError
    from ci_env_runners import idmap, network, network_nat

    try:
        way = network_nat.choose(network.look_at_host(idmap.choose().mode), needs_names=True)
    except HostError as error:
        return Nat("", error.message, error.hint or "")
    except OSError as error:
        return Nat("", f"cannot look at this host's network: {error.strerror}", "run ci-env outside of the container")
    return Nat(way.program[0] if way.program else "", "", "")


def _place(store: Path | None) -> Path:
    """Return the directory to try filesystems in: the store's, or the nearest one above that exists."""
    if store is None:
        return Path(tempfile.gettempdir())
    above = (store / "tmp", store, *store.absolute().parents)
    return next(directory for directory in above if directory.is_dir())


def _run_trials(place: Path) -> tuple[Mapping[str, Failure | None], Failure]:
    try:
        with _directory(place) as directory:
            done = subprocess.run(
                [sys.executable, "-s", "-S", "-P", "-m", "ci_env_runners.trials", directory],
                env={"PYTHONPATH": str(Path(__file__).parent.parent), "PATH": os.environ.get("PATH", os.defpath)},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                timeout=_TIMEOUT_S,
            )
    except (OSError, subprocess.SubprocessError) as error:
        return {}, (f"try this: {error}", 0)
    try:
        return {name: found and (found[0], found[1]) for name, found in json.loads(done.stdout).items()}, ("", 0)
    except ValueError:
        _, _, last_line = done.stderr.strip().rpartition("\n")
        return {}, (f"try this: {last_line}", 0)


@contextmanager
def _directory(place: Path) -> Generator[str]:
    """Give a new directory in `place`; where none can be made, `place` itself, in which the trials then fail."""
    try:
        temporary = tempfile.TemporaryDirectory(prefix="ci-env-trial-", dir=place)
    except OSError:
        yield str(place)
        return
    with temporary as directory:
        yield directory


def _filesystem_type(place: Path) -> str:
    """Return the type of the filesystem mounted nearest above `place`."""
    found = ("", "unknown filesystem")
    for line in _mountinfo().splitlines():
        mount, _, filesystem = line.partition(" - ")
        point = mount.split(" ")[4].replace(_OCTAL_SPACE, " ")
        if place.resolve().is_relative_to(point) and len(point) >= len(found[0]):
            found = (point, filesystem.split(" ")[0])
    return found[1]


def _mountinfo() -> str:
    try:
        return Path("/proc/self/mountinfo").read_text(errors="surrogateescape")
    except OSError:
        return ""
