"""What a sandbox's monitor does while the sandbox runs: wishes passed on, visitors let in, the disk watched; and the
account at the end.

Runs outside the PID namespace, as the parent of its PID 1. Standard library only.
"""

from __future__ import annotations

import os
import select
import signal
import socket
from contextlib import suppress

from ci_env_runners.attempts import Attempts
from ci_env_runners.control import tell
from ci_env_runners.disk import Disk
from ci_env_runners.ops import Spec
from ci_env_runners.visits import Visits

_VISITOR = 8
"""descriptors at most: its control, its order, and the doors of its control groups"""


def watch(control: socket.socket, first: int, spec: Spec, begun: socket.socket, attempts: Attempts | None) -> None:
    """Pass on the caller's wishes until PID 1 has ended, and with it everything in its namespace; then tell the rest.

    `begun` brings a byte once there is a step, with PID 1's control group namespace; `spec` is what visitors are like.
    `attempts` are those to get out of a network that leads nowhere.
    """
    _Watch(control, first, spec, begun, attempts).run()


class _Watch:
    def __init__(
        self, control: socket.socket, first: int, spec: Spec, begun: socket.socket, attempts: Attempts | None
    ) -> None:
        self._control = control
        self._first = first
        self._ended = os.pidfd_open(first)
        self._begun: socket.socket | None = begun
        """None: there is a step"""
        self._visits = Visits(spec, self._ended)
        self._disk = Disk(spec.written, spec.disk_bytes) if spec.disk_bytes else None
        self._attempts = attempts
        self._is_heard = True
        self._is_stopped = False

    def run(self) -> None:
        while True:
            ready = self._await()
            if self._ended in ready:
                self._visits.close()
                break
            if self._begun is not None and self._begun.fileno() in ready:
                self._begin(self._begun)
            if self._control.fileno() in ready:
                self._listen()
            self._visits.tend(ready)
            if not ready and self._disk is not None and self._disk.seems_over():
                signal.pidfd_send_signal(self._ended, signal.SIGKILL)
        _settle(self._control, self._first)
        if self._attempts is not None and self._attempts.are_more():
            tell(self._control, {"sent": "in vain"})
        if self._disk is not None and self._disk.is_over():
            tell(self._control, {"over": "disk"})

    def _await(self) -> set[int]:
        poll = select.poll()
        for descriptor in (self._ended, *self._visits.watched()):
            poll.register(descriptor, select.POLLIN)
        if self._begun is not None:
            poll.register(self._begun, select.POLLIN)
        if self._is_heard:
            poll.register(self._control, select.POLLIN)
        return {descriptor for descriptor, _ in poll.poll(None if self._disk is None else self._disk.PAUSE_MS)}

    def _begin(self, begun: socket.socket) -> None:
        """Do what had to wait until there is a step, unless PID 1 has ended before that."""
        _, descriptors, _, _ = socket.recv_fds(begun, 1, 1, socket.MSG_CMSG_CLOEXEC)
        begun.close()
        self._begun = None
        if descriptors:
            self._visits.open(descriptors[0])
            if self._is_stopped:
                self._signal_all(signal.SIGSTOP)

    def _listen(self) -> None:
        wish, descriptors, _, _ = socket.recv_fds(self._control, 1, _VISITOR, socket.MSG_CMSG_CLOEXEC)
        if wish == b"J":
            self._visits.admit(socket.socket(fileno=descriptors[0]), *descriptors[1:])
        elif wish in (b"S", b"C"):
            self._is_stopped = wish == b"S"
            if self._begun is None:
                self._signal_all(signal.SIGSTOP if self._is_stopped else signal.SIGCONT)
        else:
            self._is_heard = wish == b"T"
            signal.pidfd_send_signal(self._ended, signal.SIGTERM if wish == b"T" else signal.SIGKILL)

    def _signal_all(self, number: int) -> None:
        """Signal all in the PID namespace but PID 1, at once: a process inside can, this one would mean the host's."""
        with suppress(OSError):  # ENOMEM: PID 1 has ended
            process = os.fork()
            if process == 0:
                try:
                    os.kill(-1, number)
                finally:
                    os._exit(0)
            os.waitpid(process, 0)


def _settle(control: socket.socket, first: int) -> None:
    """Wait for PID 1, which has ended, and tell what it and all that it reaped have used."""
    _, _, usage = os.wait4(first, 0)
    cpu_ms = round((usage.ru_utime + usage.ru_stime) * 1000)
    tell(control, {"used": {"cpu_ms": cpu_ms, "peak_memory_bytes": usage.ru_maxrss << 10}})
