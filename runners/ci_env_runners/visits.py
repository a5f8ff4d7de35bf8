"""Commands that join a sandbox while its step runs. Owned by the monitor, which forks them: it stands in all namespaces
of the sandbox but the one of processes, and its children are in that one too (pid_namespaces(7)). So nothing has to be
entered, and a visitor is under the same limits as the step from its first instruction on. Standard library only.

A visitor has a control of its own. Out go the other sides of its streams (a terminal, or pipes for input, output and
errors), then one line of JSON as a sandbox's; in come signals for its process group, a letter each. It ends at once
with its control, and with the sandbox.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple, NoReturn

from ci_env_runners import syscalls
from ci_env_runners.control import not_started, tell
from ci_env_runners.identity import Identity, look_up
from ci_env_runners.ops import Spec
from ci_env_runners.process import Streams, become, guarded, open_terminal, send_descriptors

SIGNALS = {b"I": signal.SIGINT, b"Q": signal.SIGQUIT, b"T": signal.SIGTERM, b"H": signal.SIGHUP}
_ORDER_BYTES = 1 << 22
_LAST_MS = 100


class _Order(NamedTuple):
    control: socket.socket
    wanted: int
    """a file that says what"""
    doors: tuple[int, ...]


class _Visitor(NamedTuple):
    process: int
    ended: int
    """a descriptor that says so"""
    control: socket.socket


class Visits:
    """The visitors of one sandbox. None is let in before `open`: until then the root is the host's."""

    def __init__(self, spec: Spec, first_ended: int) -> None:
        """Begin; the descriptor `first_ended` says that PID 1 has ended."""
        self._spec = spec
        self._first_ended = first_ended
        self._groups: int | None = None
        """PID 1's control group namespace; None: nobody is let in yet"""
        self._waiting: list[_Order] = []
        self._visitors: list[_Visitor] = []
        self._leaving: set[int] = set()
        """descriptors of those whose control has ended"""

    def admit(self, control: socket.socket, order: int, *doors: int) -> None:
        """Let a visitor in as soon as there is a step. `order`, a file, says what it wants; by writing to `doors` it
        enters the sandbox's control groups. All are closed in time.
        """
        self._waiting.append(_Order(control, order, doors))
        if self._groups is not None:
            self._let_in(self._groups)

    def open(self, groups: int) -> None:
        """Let in those who wait, and from now on everybody at once."""
        self._groups = groups
        self._let_in(groups)

    def _let_in(self, groups: int) -> None:
        while self._waiting:
            order = self._waiting.pop(0)
            self._start(order, groups)
            for descriptor in (order.wanted, *order.doors):
                os.close(descriptor)

    def watched(self) -> Iterable[int]:
        """Return the descriptors that `tend` wants to know of."""
        for visitor in self._visitors:
            yield visitor.ended
            if visitor.ended not in self._leaving:
                yield visitor.control.fileno()

    def tend(self, ready: set[int]) -> None:
        """Pass on signals, and tell how visitors ended."""
        for visitor in tuple(self._visitors):
            if visitor.ended in ready:
                self._bury(visitor)
            elif visitor.control.fileno() in ready:
                self._signal(visitor)

    def close(self) -> None:
        """Bury them all, once PID 1 has ended and they with it."""
        for visitor in tuple(self._visitors):
            self._bury(visitor)

    def _start(self, order: _Order, groups: int) -> None:
        entered, entering = os.pipe()
        try:
            process = os.fork()
            if process == 0:
                os.close(entering)
                _visit(self._spec, order, groups, entered)
            self._visitors.append(_Visitor(process, os.pidfd_open(process), order.control))
            for door in order.doors:
                os.write(door, str(process).encode())
            os.write(entering, b".")
        except OSError as error:  # ENOMEM: PID 1 has ended; or its groups are gone with it
            tell(order.control, not_started(error))
            if order.control not in [visitor.control for visitor in self._visitors]:
                order.control.close()
        finally:
            os.close(entered)
            os.close(entering)

    def _signal(self, visitor: _Visitor) -> None:
        number = SIGNALS.get(_heard(visitor.control), signal.SIGKILL)
        if number == signal.SIGKILL:
            self._leaving.add(visitor.ended)
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(visitor.ended, number)
        with suppress(ProcessLookupError):  # it has no group yet; its number is not given away before it is buried
            os.killpg(visitor.process, number)

    def _bury(self, visitor: _Visitor) -> None:
        status = os.waitpid(visitor.process, 0)[1]
        is_killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        tell(visitor.control, {"status": status, "by_sandbox": is_killed and self._has_first_ended()})
        visitor.control.close()
        os.close(visitor.ended)
        self._leaving.discard(visitor.ended)
        self._visitors.remove(visitor)

    def _has_first_ended(self) -> bool:
        """Tell whether PID 1 ends, too: the kernel kills all others before it says so."""
        poll = select.poll()
        poll.register(self._first_ended, select.POLLIN)
        return bool(poll.poll(_LAST_MS))


def _heard(control: socket.socket) -> bytes:
    try:
        return control.recv(1)
    except ConnectionResetError:
        return b""


def _visit(spec: Spec, order: _Order, groups: int, entered: int) -> NoReturn:
    """Be a visitor: like the step, but for what it has been told to do otherwise."""

    def work() -> None:
        if not os.read(entered, 1):
            return  # the monitor has said why
        syscalls.setns(groups, syscalls.CLONE_NEWCGROUP)
        os.chdir("/")
        wanted = json.loads(os.pread(order.wanted, _ORDER_BYTES, 0))
        own = spec._replace(
            argv=tuple(wanted["argv"]),
            env=spec.env | wanted["env"],
            user=wanted["user"] or spec.user,
            workdir=wanted["workdir"] or spec.workdir,
            terminal=wanted["terminal"],
        )
        identity = look_up(own.user, ids=own.ids)
        become(own, identity, _streams(own, order.control, identity))

    guarded(order.control, work)


def _streams(spec: Spec, control: socket.socket, identity: Identity) -> Streams:
    if spec.terminal:
        terminal = open_terminal(control, identity)
        return terminal, terminal, terminal
    pipes = [os.pipe() for _ in range(3)]
    for end in (pipes[0][0], pipes[1][1], pipes[2][1]):
        os.fchmod(end, 0o666)  # another user, who may open it again as /dev/stdout
    send_descriptors(control, pipes[0][1], pipes[1][0], pipes[2][0])
    return pipes[0][0], pipes[1][1], pipes[2][1]
