"""The other side of a visitor (visits.py): the caller's streams or terminal joined to its own, signals passed on.

A visitor never gets a descriptor of the caller's: a directory or a terminal would be a way out of its sandbox.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import cast

from ci_env.errors import HostError
from ci_env.ports import Exit
from ci_env_runners import idmap
from ci_env_runners.ending import failure
from ci_env_runners.terminal import converse, read_piece, write_all
from ci_env_runners.visits import SIGNALS

_PIECE = 65536
_TICK_MS = 200


def attend(visitor: int) -> Exit:
    """Follow a visitor to its end, see ports.RunnerFactory."""
    with socket.socket(fileno=visitor) as control, _signals_passed_on(control):
        said, descriptors, _, _ = socket.recv_fds(control, _PIECE, 3, socket.MSG_CMSG_CLOEXEC)
        if len(descriptors) == 1:
            try:
                converse(descriptors[0], lambda: None)
            finally:
                os.close(descriptors[0])
            said = b""
        elif descriptors:
            said = _Relay(control, *descriptors).run()
        said += b"".join(iter(lambda: control.recv(_PIECE), b""))
    return exit_of(said)


def exit_of(said: bytes) -> Exit:
    """Return how a visitor ended by what was said of it; HostError where that is nothing."""
    if not said:
        raise HostError("the sandbox has ended without a word", hint="`ci-env ps` shows what runs")
    answer = cast("dict[str, object]", json.loads(said.partition(b"\n")[0]))
    if "failed" in answer:
        raise failure(answer, idmap.choose().mode)
    code = os.waitstatus_to_exitcode(cast("int", answer["status"]))
    if answer["by_sandbox"]:
        return Exit(None, -code, "cancelled")
    return Exit(code, None, "exit") if code >= 0 else Exit(None, -code, "signal")


@contextmanager
def _signals_passed_on(control: socket.socket) -> Generator[None]:
    letters = {int(number): letter for letter, number in SIGNALS.items()}

    def pass_on(number: int, _frame: object) -> None:
        with suppress(OSError):
            control.send(letters[number])

    before = {number: signal.signal(number, pass_on) for number in letters}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Relay:
    """Passes on input, output and errors through pipes, until the visitor has ended and its pipes are empty.

    What others whom it has started still write after that is lost. Owns the pipes.
    """

    def __init__(self, control: socket.socket, stdin: int, stdout: int, stderr: int) -> None:
        self._control = control
        self._stdin: int | None = stdin
        self._outputs = {stdout: 1, stderr: 2}
        self._typed = b""
        self._has_input = True
        for descriptor in (stdin, stdout, stderr):
            os.set_blocking(descriptor, False)

    def run(self) -> bytes:
        """Return what is said of the end."""
        said = b""
        try:
            while not said:
                ready = self._await()
                self._pass_input(ready)
                self._pass_outputs(ready)
                if self._control.fileno() in ready:
                    said = self._control.recv(_PIECE)
                    if not said:
                        break
            self._drain()
            return said
        finally:
            self._end_input()
            for source in self._outputs:
                os.close(source)

    def _await(self) -> dict[int, int]:
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        for source in self._outputs:
            poll.register(source, select.POLLIN)
        if self._stdin is not None:
            poll.register(self._stdin, select.POLLOUT if self._typed else 0)
            if self._has_input and not self._typed:
                poll.register(0, select.POLLIN)
        return dict(poll.poll(_TICK_MS))

    def _pass_input(self, ready: dict[int, int]) -> None:
        if 0 in ready:
            self._typed = read_piece(0) or b""
            self._has_input = self._typed != b""
        if self._stdin is not None and self._stdin in ready:
            try:
                self._typed = self._typed[os.write(self._stdin, self._typed) :]
            except BlockingIOError:
                return
            except BrokenPipeError:  # it reads no more
                self._typed, self._has_input = b"", False
        if not self._has_input and not self._typed:
            self._end_input()

    def _end_input(self) -> None:
        if self._stdin is not None:
            os.close(self._stdin)
            self._stdin = None

    def _pass_outputs(self, ready: dict[int, int]) -> None:
        for source in [source for source in self._outputs if source in ready]:
            piece = read_piece(source)
            if piece:
                write_all(self._outputs[source], piece)
            elif piece == b"":
                del self._outputs[source]
                os.close(source)

    def _drain(self) -> None:
        for source, target in self._outputs.items():
            while piece := read_piece(source):
                write_all(target, piece)
