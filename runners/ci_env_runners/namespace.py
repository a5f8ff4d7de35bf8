"""The runner `namespace`: steps in namespaces of their own, without a daemon and without root. Implements ports.Runner.

Owns the order of things from a Sandbox to an Exit. What is made is sandbox.py's decision, how it is entered child.py's.
"""

from __future__ import annotations

import json
import os
import select
import socket
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ci_env.errors import ConfigError
from ci_env.files import explained
from ci_env.frozen import replace
from ci_env.ports import Ability, Answer, Exit, GivenSecret, Process, Sandbox, Visit
from ci_env_runners.sandboxes import Sandboxes

if TYPE_CHECKING:
    from ci_env.digest import Digest
    from ci_env.pipeline.model import Limits, Network
    from ci_env.ports import SharedNetwork
    from ci_env_runners.cgroup import Group, Groups
    from ci_env_runners.ending import Reason
    from ci_env_runners.launch import Launcher
    from ci_env_runners.running import Running
    from ci_env_runners.sandbox import Surroundings

_PIECE = 65536
_TICK_MS = 500


@contextmanager
def open(store: Path) -> Generator[NamespaceRunner]:  # noqa: A001  # the port's name
    """Return a runner for rootfs in `store`; nothing is started before it is needed."""
    runner = NamespaceRunner(store)
    try:
        yield runner
    finally:
        runner.close()


def abilities(store: Path | None = None) -> tuple[Ability, ...]:
    """Probe this host."""
    from ci_env_runners import probe

    return probe.abilities(store)


def host_fingerprint() -> Digest:
    """Return the identity of this machine's operating system."""
    from ci_env_runners import hostfs

    return hostfs.fingerprint()


def attend(visitor: int) -> Exit:
    """Follow a visitor to its end, see ports.RunnerFactory."""
    from ci_env_runners import attending

    return attending.attend(visitor)


class NamespaceRunner:
    """Runs sandboxes through one launcher, which is started by the first call that needs it."""

    def __init__(self, store: Path) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._launcher: Launcher | None = None
        self._groups: Groups | None = None
        self._sandboxes = Sandboxes()
        self._told: set[str | None] = set()

    def run(self, sandbox: Sandbox, output: Callable[[bytes], None]) -> Exit:
        """Run to the end, see ports.Runner."""
        with self._connected(sandbox) as connected:
            return self._run(connected, output)

    def _run(self, sandbox: Sandbox, output: Callable[[bytes], None]) -> Exit:
        self._sandboxes.await_resumption()
        reader, writer = os.pipe()
        os.fchmod(writer, 0o666)  # the step, another user, may open it again as /dev/stdout
        with _closing(reader):
            with _closing(writer):
                running = self._start(sandbox, writer, terminal=False)
            with self._sandboxes.known(sandbox, running):
                return self._follow(running, reader, output, sandbox.process.timeout_s)

    def shell(self, sandbox: Sandbox) -> Exit:
        """Run with the caller's terminal, see ports.Runner."""
        with self._connected(sandbox) as connected:
            return self._shell(connected)

    def _shell(self, sandbox: Sandbox) -> Exit:
        from ci_env_runners.terminal import converse, receive_terminal

        with self._sandboxes.known(sandbox, self._start(sandbox, None, terminal=True)) as running:
            master, said = receive_terminal(running.control)
            if master is not None:
                with _closing(master):
                    converse(master, lambda: self._end_if_cancelled(running))
            said += b"".join(iter(running.heard, b""))
            return self._ended(running, said, "exit")

    @contextmanager
    def network(self, network: Network, allow: tuple[str, ...]) -> Generator[SharedNetwork]:
        """Give a network for several sandboxes, see ports.Runner."""
        from ci_env_runners.network import open_network

        with open_network(self._launched(), network, allow) as made:
            yield made

    @contextmanager
    def _connected(self, sandbox: Sandbox) -> Generator[Sandbox]:
        """Give the sandbox with a network of its own, if it needs more than a namespace."""
        process = sandbox.process
        if process.network != "nat" or sandbox.network is not None:
            yield sandbox
            return
        with self.network(process.network, process.allow) as made:
            yield replace(sandbox, network=made)

    def as_owner(self, argv: Sequence[str], *, stdin: int | None = None, stdout: int | None = None) -> int:
        """Run a program of ours, see ports.Runner. The host's root already owns what containers do."""
        from ci_env_runners.launch import run_directly

        is_late = self._sandboxes.is_cancelled

        def is_over() -> bool:
            """Tell whether it has been cancelled; what tidies up after that is not."""
            return not is_late and self._sandboxes.is_grace_over()

        with _stdin(stdin) as source:
            target = 1 if stdout is None else stdout
            if self._mode() == "root":
                return run_directly(argv, source, target, is_over)
            return self._launched().as_owner(argv, source, target, is_over)

    def is_owner_mapped(self) -> bool:
        """Tell whether all container ids exist on the host."""
        return self._mode() != "single"

    def cancel(self, *, now: bool) -> None:
        """End all that runs, see ports.Runner."""
        self._sandboxes.cancel(now=now)

    def pause(self) -> None:
        """Have all stand still, see ports.Runner."""
        self._sandboxes.pause()

    def resume(self) -> None:
        """Have all go on, see ports.Runner."""
        self._sandboxes.resume()

    def clock(self) -> float:
        """Return the time without pauses, see ports.Runner."""
        return self._sandboxes.clock.now()

    def join(self, sandbox: Sandbox, visit: Visit) -> int:
        """Start a visitor, see ports.Runner."""
        from ci_env_runners.visiting import order

        running = self._sandboxes.find(sandbox)
        if running is None:
            raise ConfigError("its step is about to begin, or has just ended", hint="try again")
        ours, theirs = socket.socketpair()
        with theirs, order(visit) as descriptor, suppress(OSError):  # it ends just now: who attends is told
            running.admit(theirs, descriptor)
        return ours.detach()

    def ask(self, sandbox: Sandbox, visit: Visit, *, timeout_s: float) -> Answer | None:
        """Have a visitor answer, see ports.Runner."""
        from ci_env_runners.asking import hear

        try:
            visitor = self.join(sandbox, visit)
        except ConfigError:
            return None
        return hear(visitor, timeout_s)

    def end(self, sandbox: Sandbox, *, now: bool) -> bool:
        """End one sandbox, see ports.Runner."""
        return self._sandboxes.end(sandbox, now=now)

    def weakness(self, limits: Limits) -> str | None:
        """Return which limits do not hold here, see ports.Runner."""
        from ci_env_runners.weakness import weakness

        self._launched()
        found = weakness(limits, self._grouped().controllers)
        with self._lock:
            is_new = found not in self._told
            self._told.add(found)
        return found if is_new else None

    def measures(self) -> tuple[str, ...]:
        """Return what is in force."""
        from ci_env_runners.measures import in_force

        return (*in_force(self._mode()), *(self._groups.measures() if self._groups else ()))

    def close(self) -> None:
        """End the launcher and all that it has started."""
        if self._launcher is not None:
            self._launcher.close()
            self._launcher = None
        if self._groups is not None:
            self._groups.close()
            self._groups = None

    def _mode(self) -> str:
        from ci_env_runners import idmap

        return self._launcher.ids.mode if self._launcher else idmap.choose().mode

    def _launched(self) -> Launcher:
        from ci_env_runners.launch import Launcher
        from ci_env_runners.owners import check_owners

        with self._lock:
            if self._launcher is None:
                launcher = Launcher(self._store)
                try:
                    check_owners(self._store, launcher.ids.mode)
                except BaseException:
                    launcher.close()
                    raise
                self._launcher = launcher
            return self._launcher

    def _grouped(self) -> Groups:
        from ci_env_runners.cgroup import Groups

        with self._lock:
            if self._groups is None:
                self._groups = Groups(self._store)
            return self._groups

    def _start(self, sandbox: Sandbox, output: int | None, *, terminal: bool) -> Running:
        from ci_env_runners.running import Running

        launcher = self._launched()  # says best what is wrong with a machine or a store
        groups = self._grouped()
        group = groups.make(_with_machine(sandbox.process, groups.controllers))
        try:
            return Running(self._ask_for(sandbox, output, group, terminal=terminal), group, launcher.have_thawed)
        except BaseException:
            group.remove()
            raise

    def _ask_for(self, sandbox: Sandbox, output: int | None, group: Group, *, terminal: bool) -> socket.socket:
        from ci_env_runners import ops
        from ci_env_runners.network import namespace_of
        from ci_env_runners.sandbox import plan, upper_directories

        launcher = self._launched()
        around = self._look_around(sandbox)
        for directory in upper_directories(sandbox, around):
            with explained("make", Path(directory)):
                os.makedirs(directory, exist_ok=True)
                os.chmod(directory, 0o755)  # noqa: S103  # it is a directory of the step's, whatever our umask
        spec = json.dumps(ops.to_wire(plan(sandbox, around, terminal=terminal))).encode()
        with group.doors() as doors:
            control = launcher.sandbox(spec, output, namespace_of(sandbox.network), doors)
        _hand_over(sandbox.process.secrets, control)
        return control

    def _look_around(self, sandbox: Sandbox) -> Surroundings:
        from ci_env_runners import hostfs
        from ci_env_runners.network import names_in
        from ci_env_runners.sandbox import Surroundings
        from ci_env_runners.seccomp import step_filter

        ids = self._launched().ids
        is_connected = sandbox.process.network == "host"
        host_names, resolver = (
            (_read("/etc/hosts"), _read("/etc/resolv.conf")) if is_connected else names_in(sandbox.network)
        )
        return Surroundings(
            store=self._store,
            ids=ids.ids,
            seccomp=step_filter(os.uname().machine, emulates_root=ids.mode == "single"),
            host_image=hostfs.find() if sandbox.rootfs.host else None,
            host_layers=tuple(_host_names(layer) for layer in sandbox.rootfs.lowers) if sandbox.rootfs.host else (),
            host_names=host_names,
            resolver=resolver,
            controllers=self._grouped().controllers,
            cpus_online=_cpus_online(),
        )

    def _follow(self, running: Running, reader: int, output: Callable[[bytes], None], timeout_s: int | None) -> Exit:
        """Pass on what the step writes until it, and everything that it has started, has ended."""
        clock = self._sandboxes.clock
        deadline = None if timeout_s is None else clock.now() + timeout_s
        said = b""
        reason: Reason = "exit"
        poll = select.poll()
        poll.register(reader, select.POLLIN)
        poll.register(running.control, select.POLLIN)
        open_ends = 2
        while open_ends:
            for descriptor, _ in poll.poll(_TICK_MS):
                piece = os.read(reader, _PIECE) if descriptor == reader else running.heard()
                if not piece:
                    poll.unregister(descriptor)
                    open_ends -= 1
                elif descriptor == reader:
                    output(piece)
                else:
                    said += piece
            if deadline is not None and clock.now() >= deadline and not said:
                reason, deadline = "timeout", None
                running.wish(b"K")
            self._end_if_cancelled(running)
        return self._ended(running, said, reason)

    def _end_if_cancelled(self, running: Running) -> None:
        """Kill what has been asked to end and has not done so in time."""
        if self._sandboxes.is_grace_over():
            running.wish(b"K")

    def _ended(self, running: Running, said: bytes, reason: Reason) -> Exit:
        from ci_env_runners.ending import ended

        account = running.group.account()
        why = "cancelled" if self._sandboxes.is_wished_away(running) else reason
        return ended(said, why, self._launched().ids.mode, account)


def _with_machine(process: Process, controllers: frozenset[str]) -> Limits:
    """Return the limits of a group: with less memory where the machine that is to be found has less than this one."""
    limits, machine = process.limits, process.machine
    if machine is None or "memory" not in controllers or not 0 < machine.memory_bytes < _memory_bytes():
        return limits
    least = min(machine.memory_bytes, limits.memory_bytes or machine.memory_bytes)
    return replace(limits, memory_bytes=least)


def _memory_bytes() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _cpus_online() -> int:
    return max(os.sysconf("SC_NPROCESSORS_ONLN"), 0)


def _hand_over(secrets: Sequence[GivenSecret], control: socket.socket) -> None:
    """Send the values of secrets; who does not listen has said why."""
    from ci_env_runners.control import message

    if secrets:
        values = {secret.name: secret.value.hex() for secret in secrets}
        with suppress(BrokenPipeError, ConnectionResetError):
            control.sendall(message(json.dumps(values).encode()))


def _host_names(layer: Path) -> frozenset[str]:
    try:
        return frozenset(os.listdir(layer / "host"))
    except FileNotFoundError:
        return frozenset()


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="surrogateescape")
    except OSError:
        return ""


@contextmanager
def _closing(descriptor: int) -> Generator[None]:
    try:
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _stdin(given: int | None) -> Generator[int]:
    if given is not None:
        yield given
        return
    descriptor = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
