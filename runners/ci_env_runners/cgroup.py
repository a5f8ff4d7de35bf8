"""Control groups of sandboxes: a group for each, in every hierarchy that helps. Owns the files of both versions.

A group is made before its sandbox and removed after it, by the same process. What a killed one has left is removed by
the next: `Groups` holds a lock file in the store as long as it lives, and the names of its groups lead to that. Never
by a process id, which may be another's by then.

Sources: the kernel's Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/{memory,pids,freezer-subsystem}.rst,
Documentation/scheduler/sched-bwc.rst.
"""

from __future__ import annotations

import errno
import fcntl
import itertools
import os
import re
import signal
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from ci_env.errors import HostError
from ci_env.files import explained
from ci_env.frozen import dataclass
from ci_env.pipeline.model import DEFAULT_PIDS, Limits
from ci_env_runners.cgroup_home import Home, find_homes
from ci_env_runners.delegation import CONTROLLERS

_PATIENCE_S = 5
_PAUSE_S = 0.01
_PERIOD_US = 100_000
_LEAST_QUOTA_US = 1000
_PAGE = 4096
_NAME = re.compile(r"ci-env-([0-9a-f]+\.[0-9a-f]+)-([0-9a-f]{12})-[0-9]+\Z")
Limit = Literal["oom", "pids"]


@dataclass(frozen=True, slots=True)
class Account:
    """What the kernel has noted of a group."""

    cpu_ms: int | None
    peak_memory_bytes: int | None
    reached: Limit | None
    """a limit, of this group or of one above it, at which something has failed or been killed"""


NO_ACCOUNT = Account(None, None, None)


class Groups:
    """The groups of one runner. Safe to use from several threads; `close` once all of them are removed."""

    def __init__(self, store: Path) -> None:
        """Look where groups can be made, and remove those that a crash has left."""
        self._store = store
        self._homes = find_homes()
        self._id = os.urandom(6).hex()
        self._lock = _hold(self._lock_file(self._id)) if self._homes else None
        self._numbers = itertools.count()
        self._tag = _tag(store)
        self.controllers = frozenset(name for home in self._homes for name in home.controllers)
        """what groups have here"""
        self._reap()

    def make(self, limits: Limits) -> Group:
        """Return a new group that holds `limits`, as far as there are controllers for them."""
        return Group(self._homes, f"ci-env-{self._tag}-{self._id}-{next(self._numbers)}", limits)

    def measures(self) -> tuple[str, ...]:
        """Return what groups hold here, as names of isolation measures: `cgroup-v2-memory`."""
        found = (
            f"cgroup-{one.version}-{name}" for one in self._homes for name in CONTROLLERS if name in one.controllers
        )
        return tuple(sorted(found))

    def close(self) -> None:
        if self._lock is not None:
            self._lock_file(self._id).unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = None

    def _lock_file(self, run: str) -> Path:
        return self._store / "tmp" / f"groups-{run}.lock"

    def _reap(self) -> None:
        left = [directory for home in self._homes for directory in home.directory.iterdir() if self._is_left(directory)]
        for directory in left:
            _thaw(directory)
        for directory in left:
            with suppress(HostError):  # somebody else may be at it; the next start tries again
                _remove(directory)

    def _is_left(self, directory: Path) -> bool:
        found = _NAME.match(directory.name)
        return found is not None and found[1] == self._tag and not _is_held(self._lock_file(found[2]))


class Group:
    """One group, as a directory in each hierarchy: in none where none can be made."""

    def __init__(self, homes: Sequence[Home], name: str, limits: Limits) -> None:
        self._homes: dict[Path, Home] = {}
        self.is_frozen = False
        try:
            for home in homes:
                settings = _v1_settings(home, limits) if home.version == "v1" else _v2_settings(home, limits)
                if home.controllers == _LIMITING_ONLY and not settings:
                    continue  # a hierarchy for nothing: of v1, where each costs a directory
                directory = home.directory / name
                _make(directory)
                self._homes[directory] = home
                for file, value in settings.items():
                    _set(directory / file, value)
        except BaseException:
            self.remove()
            raise

    @contextmanager
    def doors(self) -> Generator[list[int]]:
        """Give a descriptor for each directory: who writes a process id there has that process enter."""
        found: list[int] = []
        try:
            found.extend(os.open(one / "cgroup.procs", os.O_WRONLY | os.O_CLOEXEC) for one in self._homes)
            yield found
        finally:
            for door in found:
                os.close(door)

    def freeze(self, *, frozen: bool) -> bool:
        """Stop all that is in the group, or let it go on; False where this machine cannot. What is killed while v1 has
        it frozen dies only once it is let go."""
        for directory, home in self._homes.items():
            if home.version == "v2":
                _set(directory / "cgroup.freeze", "1" if frozen else "0")
            elif "freezer" in home.controllers:
                _set(directory / "freezer.state", "FROZEN" if frozen else "THAWED")
            else:
                continue
            self.is_frozen = frozen
            return True
        return False

    @contextmanager
    def freezer(self) -> Generator[int | None]:
        """Give the file by which a freezer of version 1 lets go, as a descriptor; None where nothing needs that."""
        found = next((one for one, home in self._homes.items() if _is_v1_freezer(home)), None)
        descriptor = None if found is None else os.open(found / "freezer.state", os.O_WRONLY | os.O_CLOEXEC)
        try:
            yield descriptor
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def account(self) -> Account:
        """Return what the group has used, and at which limit it failed."""
        cpu_ms, peak, reached = None, None, None
        for directory, home in self._homes.items():
            if "memory" in home.controllers:
                peak = _number(directory / _PEAK[home.version])
            cpu_ms = _cpu_ms(directory, home) if cpu_ms is None else cpu_ms
            reached = _reached(directory, home) if reached != "oom" else reached
        return Account(cpu_ms, peak, reached)

    def remove(self) -> None:
        """Remove it, ending what is still in it. HostError where that does not end."""
        if self.is_frozen:
            self.freeze(frozen=False)  # of v1 even what is killed stays, otherwise
        for directory in self._homes:
            _remove(directory)


def _is_v1_freezer(home: Home) -> bool:
    return home.version == "v1" and "freezer" in home.controllers


def _tag(store: Path) -> str:
    """Return what is this store's alone among those whose groups may lie side by side."""
    found = os.stat(store)
    return f"{found.st_dev:x}.{found.st_ino:x}"


def _make(directory: Path) -> None:
    try:
        os.mkdir(directory)
    except OSError as error:
        hint = "the groups above it may limit how many there are (cgroup.max.descendants)"
        raise HostError(f"cannot make {directory}: {os.strerror(error.errno or 0)}", hint=hint) from error


_LIMITING_ONLY = frozenset({"cpu"})
_PEAK = {"v1": "memory.max_usage_in_bytes", "v2": "memory.peak"}


def _v2_settings(home: Home, limits: Limits) -> Mapping[str, str]:
    """Return what to write: memory and swap together have the limit, as swap has none."""
    found: dict[str, str] = {}
    if "pids" in home.controllers:
        found["pids.max"] = str(limits.pids or DEFAULT_PIDS)
    if "memory" in home.controllers and limits.memory_bytes is not None:
        found |= {"memory.swap.max": "0", "memory.max": str(limits.memory_bytes)}
    if "cpu" in home.controllers and limits.cpus_milli is not None:
        found["cpu.max"] = f"{_quota_us(limits.cpus_milli)} {_PERIOD_US}"
    return found


def _v1_settings(home: Home, limits: Limits) -> Mapping[str, str]:
    """Return what to write, in this order: that of both kinds of memory must not be below that of one."""
    found: dict[str, str] = {}
    if "pids" in home.controllers:
        found["pids.max"] = str(limits.pids or DEFAULT_PIDS)
    if "memory" in home.controllers and limits.memory_bytes is not None:
        limit = str(limits.memory_bytes)
        found |= {"memory.limit_in_bytes": limit, "memory.memsw.limit_in_bytes": limit}
    if "cpu" in home.controllers and limits.cpus_milli is not None:
        found |= {"cpu.cfs_period_us": str(_PERIOD_US), "cpu.cfs_quota_us": str(_quota_us(limits.cpus_milli))}
    return found


def _quota_us(cpus_milli: int) -> int:
    return max(cpus_milli * _PERIOD_US // 1000, _LEAST_QUOTA_US)


_MAY_LACK = ("memory.swap.max", "memory.memsw.limit_in_bytes")
"""not there where the kernel does not account for swap, which is then not limited"""
_STRICTER_ABOVE = {"cpu.cfs_quota_us": errno.EINVAL}
"""v1 refuses a share that is larger than that of a group above, which holds anyway"""


def _set(file: Path, value: str) -> None:
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, value.encode())
        finally:
            os.close(descriptor)
    except OSError as error:
        if (error.errno == errno.ENOENT and file.name in _MAY_LACK) or error.errno == _STRICTER_ABOVE.get(file.name):
            return
        raise HostError(f"cannot write {value} to {file}: {os.strerror(error.errno or 0)}") from error


def _cpu_ms(directory: Path, home: Home) -> int | None:
    """Return the processor time, which v2 has for every group, and v1 with the controller cpuacct."""
    if home.version == "v2":
        taken_us = _counts(directory / "cpu.stat").get("usage_usec")
        return None if taken_us is None else round(taken_us / 10**3)
    taken_ns = _number(directory / "cpuacct.usage") if "cpuacct" in home.controllers else None
    return None if taken_ns is None else round(taken_ns / 10**6)


def _reached(directory: Path, home: Home) -> Limit | None:
    memory = "memory.events" if home.version == "v2" else "memory.oom_control"
    if "memory" in home.controllers and _counts(directory / memory).get("oom_kill"):
        return "oom"
    if "pids" in home.controllers and _counts(directory / "pids.events").get("max"):
        return "pids"
    return None


def _counts(file: Path) -> Mapping[str, int]:
    """Return the numbers of a file of lines `name number`; none where there is none."""
    lines = (line.partition(" ") for line in _read(file).splitlines())
    return {name: int(number) for name, _, number in lines if number.isdecimal()}


def _number(file: Path) -> int | None:
    text = _read(file).strip()
    return int(text) if text.isdecimal() else None


def _read(file: Path) -> str:
    """Return what the kernel says, nothing where it lacks the file. By the bare calls: each step waits for some."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(descriptor, _PAGE).decode()
    finally:
        os.close(descriptor)


def _remove(directory: Path) -> None:
    """Remove a group; a process that has just ended is in it for a moment still."""
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            os.rmdir(directory)
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno != errno.EBUSY or time.monotonic() > deadline:
                raise HostError(f"cannot remove {directory}: {os.strerror(error.errno or 0)}") from error
            _kill(directory)
            time.sleep(_PAUSE_S)
        else:
            return


def _kill(directory: Path) -> None:
    """Kill what is in a group: with v2 at once, with v1 what is seen now."""
    with suppress(OSError):
        (directory / "cgroup.kill").write_text("1")
        return
    for process in _processes(directory):
        with suppress(OSError):
            os.kill(process, signal.SIGKILL)


def _thaw(directory: Path) -> None:
    """Let what is in a group go on, so that it can die: with v1 it must."""
    with suppress(OSError):
        (directory / "freezer.state").write_text("THAWED")


def _processes(directory: Path) -> Iterator[int]:
    with suppress(OSError):
        yield from map(int, (directory / "cgroup.procs").read_text().split())


def _hold(file: Path) -> int:
    """Return a descriptor that locks `file`, made for it. Who cleans up may have removed it before it was locked."""
    with explained("lock", file):
        file.parent.mkdir(mode=0o700, exist_ok=True)
        while True:
            lock = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX)
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(lock), os.stat(file)):
                    return lock
            os.close(lock)


def _is_held(file: Path) -> bool:
    try:
        lock = os.open(file, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False
