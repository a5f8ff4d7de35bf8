"""The door of a run that goes on: a socket in the run's directory, at which others of the same user look at the run,
pause, resume and stop it, and join its steps. Opened by the first step that really runs; a cached run has none.

The store is closed to other users, and the kernel says who knocks. Owns the socket and the thread that serves it.
"""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from ci_env import codec
from ci_env.errors import CiEnvError
from ci_env.events import Emit, Note
from ci_env.execute.running import RunningStep
from ci_env.live.messages import Answer, Condition, Request, SeenStep, State
from ci_env.live.path import NAME, address
from ci_env.ports import Runner

_PATIENCE_S = 5
_MAX_BYTES = 1 << 22
_PIECE = 65536
_CREDENTIALS = struct.Struct("3i")
_WAITING = 16


class Door:
    """Answers requests, one after the other: none of them takes long."""

    def __init__(
        self, runner: Runner, stop: Callable[[bool], bool], is_stopping: Callable[[], bool], emit: Emit
    ) -> None:
        """`stop` ends the run, at once where it is given True; False from it: there is nothing left to stop."""
        self._runner = runner
        self._stop = stop
        self._is_stopping = is_stopping
        self._emit = emit
        self._is_paused = False
        self._steps: list[RunningStep] = []

    def begin(self, step: RunningStep) -> None:
        """Take note of a step."""
        self._steps.append(step)

    def serve(self, listener: socket.socket) -> None:
        """Answer until the listener is shut down."""
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, suppress(OSError):  # who has gone does not miss the answer
                connection.settimeout(_PATIENCE_S)
                self._serve_one(connection)

    def _serve_one(self, connection: socket.socket) -> None:
        if not _is_ours(connection):
            return
        try:
            request = codec.loads(Request, _line(connection))
        except (ValueError, RecursionError) as error:
            answer, descriptor = _refusal(f"this run's ci-env does not know what is asked for ({error})"), None
        else:
            try:
                answer, descriptor = self._answer(request)
            except CiEnvError as error:
                answer, descriptor = Answer(False, error.message, hint=error.hint, is_error=True), None
        content = codec.dumps(answer) + b"\n"
        if descriptor is None:
            connection.sendall(content)
            return
        try:
            socket.send_fds(connection, [content], [descriptor])
        finally:
            os.close(descriptor)

    def _answer(self, request: Request) -> tuple[Answer, int | None]:
        match request.verb:
            case "look":
                return Answer(True, "", self._state()), None
            case "pause":
                return self._pause(), None
            case "resume":
                return self._resume(), None
            case "stop" | "kill":
                return self._end(now=request.verb == "kill"), os.pidfd_open(os.getpid())
            case "exec":
                return self._join(request)

    def _state(self) -> State:
        steps = tuple(SeenStep(step.job, step.step, step.started_s, str(step.log), step.output) for step in self._steps)
        return State(self._condition(), os.getcwd(), steps)

    def _condition(self) -> Condition:
        if self._is_stopping():
            return "stopping"
        return "paused" if self._is_paused else "running"

    def _pause(self) -> Answer:
        if self._condition() != "running":
            return Answer(False, {"paused": "is paused already", "stopping": "is being stopped"}[self._condition()])
        self._is_paused = True
        self._runner.pause()
        self._emit(Note("info", "paused by `ci-env pause`; time limits stand still, `ci-env resume` goes on"))
        return Answer(True, "paused")

    def _resume(self) -> Answer:
        if self._condition() != "paused":
            return Answer(False, "is being stopped" if self._is_stopping() else "is not paused")
        self._is_paused = False
        self._runner.resume()
        self._emit(Note("info", "resumed"))
        return Answer(True, "resumed")

    def _end(self, *, now: bool) -> Answer:
        if self._is_stopping() and not now:
            return Answer(False, "is being stopped already")
        if not self._stop(now):
            return Answer(False, "is about to end")
        return Answer(True, "stopping")

    def _join(self, request: Request) -> tuple[Answer, int | None]:
        if request.visit is None:
            return _refusal("no command"), None
        if self._is_paused:
            return _refusal("it is paused, and so would be the command", "go on with it:\n$ ci-env resume"), None
        found = [step for step in self._steps if step.output is None and request.job in (None, step.job)]
        sandboxes = [step.sandbox for step in found if step.sandbox is not None]
        if len(sandboxes) == 1:
            return Answer(True, f"{found[0].job}/{found[0].step}"), self._runner.join(sandboxes[0], request.visit)
        if sandboxes:
            names = ", ".join(step.job for step in found)
            return _refusal(f"steps of several jobs run: {names}", "name one of these jobs after the run"), None
        whose = "no step of it" if request.job is None else f"no step of its job {request.job!r}"
        return _refusal(
            f"{whose} runs in a sandbox now", "`ci-env replay --shell` opens a shell where one has been"
        ), None


@contextmanager
def open_door(directory: Path, door: Door) -> Generator[None]:
    """Have `door` serve at the socket of the run's directory inside the block. OSError where there can be none."""
    with address(directory) as path, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(path)
        listener.listen(_WAITING)
        thread = threading.Thread(target=door.serve, args=(listener,), name="door", daemon=True)
        thread.start()
        try:
            yield
        finally:
            (directory / NAME).unlink(missing_ok=True)  # first: nobody comes any more
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def _is_ours(connection: socket.socket) -> bool:
    """Tell whether it is this user who asks, or root: unix(7), SO_PEERCRED."""
    _, uid, _ = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return uid in (0, os.geteuid())


def _line(connection: socket.socket) -> bytes:
    content = b""
    while not content.endswith(b"\n") and len(content) < _MAX_BYTES:
        piece = connection.recv(_PIECE)
        if not piece:
            break
        content += piece
    return content


def _refusal(message: str, hint: str | None = None) -> Answer:
    return Answer(False, message, hint=hint, is_error=True)
