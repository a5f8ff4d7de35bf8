"""What the core asks of a runner and of an adapter, and the data it hands them. Owns no implementation.

Runners and adapters are found through the entry points `ci_env.runners` and `ci_env.adapters`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal, Protocol

from ci_env.digest import Digest
from ci_env.events import Emit, Usage
from ci_env.frozen import dataclass
from ci_env.pipeline.model import NO_LIMITS, Limits, Network


@dataclass(frozen=True, slots=True)
class Rootfs:
    """A stack of layers that an overlay joins. All of them lie in the store; the caller owns them.

    A layer is a directory that holds `root`, the difference of `/` in overlay's own format (whiteout = character device
    0:0, opaque = user.overlay.opaque), and with `host` also `host/NAME`, the same for each of the machine's own
    directories that a step has written to.
    """

    lowers: tuple[Path, ...]
    """bottom first"""
    host: bool
    """this machine's operating system lies beneath `lowers`, read-only"""
    upper: Path
    """an empty directory, which becomes a layer: takes what the process writes"""
    work: Path
    """an empty directory on the same filesystem as `upper`"""


@dataclass(frozen=True, slots=True)
class Bind:
    """A directory of the store, seen at `target` inside."""

    source: Path
    target: str
    writable: bool
    changes: Path | None = None
    """an empty directory that takes what is written, on the filesystem of `source`, which then stays as it is"""


@dataclass(frozen=True, slots=True)
class GivenSecret:
    """A secret with its value, which nothing but the process may get to know."""

    name: str
    """of its file in /run/secrets, which only the process's user can read"""
    value: bytes
    variables: tuple[str, ...]
    """of the environment, which hold it too"""

    def __repr__(self) -> str:
        return f"GivenSecret({self.name!r})"


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine that a process is to find in place of this one, as far as this one can be like it."""

    cpus: int
    """processors that the process may use; at most those that there are"""
    cpus_online: int
    """processors that the system tells of"""
    memory_bytes: int
    """at most so much may the process have, where a control group can see to it; 0: not known"""


@dataclass(frozen=True, slots=True)
class Process:
    """The process to run inside, with all of its surroundings: of the caller's only hard limits and niceness stay."""

    argv: tuple[str, ...]
    """argv[0] without a slash is looked up in env's PATH inside the rootfs"""
    env: Mapping[str, str]
    """complete, but for HOME: where absent, the user's home by the rootfs's /etc/passwd, else /"""
    user: str
    """`user[:group]`, names or numbers, by the rootfs's /etc/passwd and /etc/group"""
    workdir: str
    """absolute; made, owned by the user, where it does not exist"""
    umask: int
    hostname: str
    network: Network
    timeout_s: int | None
    limits: Limits = NO_LIMITS
    allow: tuple[str, ...] = ()
    """`host:port`, all that the network `nat` lets through; empty: everything"""
    secrets: tuple[GivenSecret, ...] = ()
    host_names: tuple[str, ...] = ()
    """further names of 127.0.0.1"""
    machine: Machine | None = None
    """None: this one as it is"""


class SharedNetwork(Protocol):
    """A network that several sandboxes of one runner are in. Safe to use from several threads."""

    def can_connect(self, port: int) -> bool:
        """Tell whether something inside accepts TCP connections at `port` of 127.0.0.1 or ::1, within a second.

        HostError where the network has ended.
        """
        ...


@dataclass(frozen=True, slots=True)
class Sandbox:
    rootfs: Rootfs
    binds: tuple[Bind, ...]
    process: Process
    network: SharedNetwork | None = None
    """made for the network and the `allow` of `process`; None: one of the sandbox's own"""


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended: exactly one of `code` and `signal` is set."""

    code: int | None
    signal: int | None
    reason: Literal["exit", "signal", "timeout", "cancelled", "oom", "pids", "disk"]
    """all but the first two: ended by the runner or the kernel, or failed at a limit, whatever the status says"""
    used: Usage | None = None
    """None: not measured"""
    hint: str = ""
    """what may be behind a failure, for people; empty: nothing is known"""


@dataclass(frozen=True, slots=True)
class Visit:
    """A command that joins a sandbox while its process runs. None: as for that process."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    """added to the process's, or in place of it"""
    user: str | None
    workdir: str | None
    """must be there"""
    has_terminal: bool
    """it gets a terminal of the sandbox's own; else pipes"""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command said that was asked something."""

    exit: Exit
    said: bytes
    """the last of its output and errors, merged"""


@dataclass(frozen=True, slots=True)
class Ability:
    """One thing a host can or cannot do, for `ci-env doctor`."""

    name: str
    state: Literal["found", "missing", "degraded"]
    detail: str
    """what was found"""
    cost: str
    """what its absence costs; empty when found"""
    fix: str
    """how to get it; empty when found"""
    required: bool
    """without it no step can run"""


class Runner(Protocol):
    """Runs processes in sandboxes. Safe to use from several threads; closed once, by its owner.

    Whatever a call started has ended when it returns or raises, and nothing of it is left on the host: no process,
    mount, cgroup or temporary file. Where isolation cannot be had, HostError names the failed probe and the fix.
    """

    def run(self, sandbox: Sandbox, output: Callable[[bytes], None]) -> Exit:
        """Run to the end; `output` gets stdout and stderr, merged, in the caller's thread, in pieces as they come."""
        ...

    def shell(self, sandbox: Sandbox) -> Exit:
        """Run with the caller's terminal: a pty of its own inside, the window size followed, Ctrl-C passed on."""
        ...

    def network(self, network: Network, allow: tuple[str, ...]) -> AbstractContextManager[SharedNetwork]:
        """Give a network for sandboxes that end before the block does; see Process for what `allow` is.

        HostError where this host cannot have such a network, RegistryError where a name in `allow` is not to be found.
        """
        ...

    def as_owner(self, argv: Sequence[str], *, stdin: int | None = None, stdout: int | None = None) -> int:
        """Run a program of ours on the host, outside any sandbox, under the ids that layers are owned by.

        It sees the host's files and may chown to, read and remove what container users own. Returns its exit status.
        `stdin` and `stdout` are descriptors that stay the caller's; None: /dev/null and inherited. Interrupted where
        `cancel` has ended it: after the grace period, as it is not asked politely. What is run after that is not ended.
        """
        ...

    def is_owner_mapped(self) -> bool:
        """Tell whether all container ids exist on the host; if not, everything is owned by one id."""
        ...

    def cancel(self, *, now: bool) -> None:
        """End all that runs: ask politely and kill after a grace period, or kill `now`. Later calls end at once."""
        ...

    def pause(self) -> None:
        """Have all that runs stand still, and start no more sandboxes, until `resume` or `cancel`."""
        ...

    def resume(self) -> None:
        """Have all go on."""
        ...

    def clock(self) -> float:
        """Return seconds since some moment, without those of pauses: what time limits are measured by."""
        ...

    def join(self, sandbox: Sandbox, visit: Visit) -> int:
        """Start a command in all namespaces of `sandbox`, which runs, and with no more rights than its process.

        Returns a descriptor, the caller's, for `RunnerFactory.attend`, in whatever process of the same user. The
        command ends with that descriptor, and with the sandbox. ConfigError where the sandbox has ended.
        """
        ...

    def ask(self, sandbox: Sandbox, visit: Visit, *, timeout_s: float) -> Answer | None:
        """Have a command join as `join` does, with nothing to read and no terminal; it is killed after `timeout_s`.

        None where `sandbox` does not run, or not yet.
        """
        ...

    def end(self, sandbox: Sandbox, *, now: bool) -> bool:
        """Ask all in one sandbox to end, or kill them `now`; the reason of its exit is then `cancelled`.

        Tells whether there was something to end: it may not run yet, or not any more.
        """
        ...

    def weakness(self, limits: Limits) -> str | None:
        """Return in words which of `limits` do not hold on this machine as they should, and why.

        None where all hold, and where the same has been returned before.
        """
        ...

    def measures(self) -> tuple[str, ...]:
        """Return the isolation measures in force, as short names, for the record."""
        ...


class RunnerFactory(Protocol):
    """What an entry point of `ci_env.runners` names."""

    def open(self, store: Path) -> AbstractContextManager[Runner]:
        """Return a runner for rootfs whose directories lie below `store`."""
        ...

    def attend(self, visitor: int) -> Exit:
        """Join this process's streams, or its terminal, to a command of `Runner.join`, pass on signals, to its end.

        Takes over `visitor`. The reason is `cancelled` where the command has ended with its sandbox.
        """
        ...

    def abilities(self, store: Path | None = None) -> tuple[Ability, ...]:
        """Probe this host, filesystems on that of `store`; never raises."""
        ...

    def host_fingerprint(self) -> Digest:
        """Return the identity of this machine's operating system, as `Rootfs.host` shows it. Asked by every run."""
        ...


class Adapter(Protocol):
    """Publishes a run to a CI service. What an entry point of `ci_env.adapters` names."""

    def detect(self, env: Mapping[str, str]) -> bool:
        """Tell whether the process runs inside this service."""
        ...

    def context(self, env: Mapping[str, str]) -> Mapping[str, str]:
        """Return facts about the run for the record, without secrets."""
        ...

    def hide(self, secrets: Sequence[bytes]) -> str:
        """Return what has the service itself hide these values, once its log has it; whole lines, or nothing."""
        ...

    def reporter(self, env: Mapping[str, str], write: Callable[[str], None]) -> Emit:
        """Return a view that writes the service's log format through `write`, one or more whole lines at a time."""
        ...
