"""The launcher as its caller sees it: started when first needed, asked for sandboxes and programs, ended with the run.

Owns the launcher process and the sockets to it. Knows nothing of what is asked for.
"""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import cast

from ci_env.errors import HostError, Interrupted
from ci_env_runners import idmap
from ci_env_runners.control import send_with

_REQUESTS = 3
"""the launcher's descriptor of its socket"""
_START = "import sys; sys.path.append(sys.argv[1]); from ci_env_runners.launcher import start; start(sys.argv[2:])"
_PACKAGES = str(Path(__file__).parent.parent)
_TICK_MS = 500
_DIED = "the process that starts sandboxes has died"
_DIED_HINT = "see the kernel's log for why (out of memory?), and run again"


class Launcher:
    """A launcher process. Safe to use from several threads; `close` ends it and all that it has started."""

    def __init__(self, store: Path) -> None:
        """Start it. HostError where this host refuses something; nothing is left then."""
        self.ids = idmap.choose()
        self._lock = threading.Lock()
        self._requests, theirs = socket.socketpair()
        with theirs:
            self._process = _spawn(theirs, [self.ids.mode, str(store), str(self.ids.first), str(self.ids.ids)])
        try:
            self._set_up(store)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End it, and wait until it has ended."""
        self._requests.close()
        if self._process:
            with suppress(
                ChildProcessError
            ):  # who ignores SIGCHLD has the kernel forget the status; it waits all the same
                os.waitpid(self._process, 0)
            self._process = 0

    def sandbox(
        self, spec: bytes, output: int | None, network: int | None = None, doors: Sequence[int] = ()
    ) -> socket.socket:
        """Start a sandbox and return its control; `output` is where the step writes. All descriptors stay the caller's.

        `network` is a network namespace to be in, `doors` are those of the control group to be in.
        """
        descriptor = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC) if output is None else output
        try:
            return self._ask(b"S", spec, [descriptor, *(() if network is None else (network,))], doors)
        finally:
            if output is None:
                os.close(descriptor)

    def network(self, wishes: Mapping[str, object]) -> socket.socket:
        """Start what holds a network (holder.py), and return its control, over which it tells that it is there."""
        return self._ask(b"N", json.dumps(wishes).encode(), [])

    def have_thawed(self, freezer: int) -> None:
        """Have what this freezer holds let go when this process ends, however it does; the descriptor stays ours."""
        with self._lock, suppress(OSError):  # it has died, and all that it started with it
            socket.send_fds(self._requests, [b"F"], [freezer])

    def as_owner(self, argv: Sequence[str], stdin: int, stdout: int, is_over: Callable[[], bool]) -> int:
        """Run a program under the owner's ids and return its exit status, 128+n where a signal ended it.

        It is ended, and Interrupted raised, as soon as `is_over`, which is asked twice a second.
        """
        with self._ask(b"O", json.dumps(list(argv)).encode(), [stdin, stdout]) as control:
            _await(control.fileno(), is_over)
            answer = _line(control)
        said = _answer(answer)
        if "failed" in said:
            raise _unable(str(said["failed"]), cast("int", said["errno"]))
        code = os.waitstatus_to_exitcode(cast("int", said["status"]))
        return code if code >= 0 else 128 - code

    def _ask(self, kind: bytes, content: bytes, descriptors: list[int], along: Sequence[int] = ()) -> socket.socket:
        control = self._open(kind, descriptors)
        with suppress(BrokenPipeError, ConnectionResetError):  # whoever does not listen has said why
            send_with(control, content, along)
        return control

    def _open(self, kind: bytes, descriptors: list[int]) -> socket.socket:
        ours, theirs = socket.socketpair()
        try:
            with self._lock, theirs:
                socket.send_fds(self._requests, [kind], [theirs.fileno(), *descriptors])
        except OSError as error:
            ours.close()
            raise HostError(_DIED, hint=_DIED_HINT) from error
        return ours

    def _set_up(self, store: Path) -> None:
        with self._requests.makefile("rb") as answers:
            answer = _answer(answers.readline())
            if "unshared" in answer:
                idmap.map_subordinate(self._process, self.ids)
                self._requests.send(b".")
                answer = _answer(answers.readline())
        if "failed" in answer:
            raise _refused(str(answer["failed"]), cast("int", answer["errno"]), store)


def _line(control: socket.socket) -> bytes:
    """Return what is said, nothing where nothing is: who ends without having listened resets the connection."""
    try:
        return control.makefile("rb").readline()
    except ConnectionResetError:
        return b""


def _await(descriptor: int, is_over: Callable[[], bool]) -> None:
    """Wait until there is something to read. Interrupted as soon as `is_over`."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    while not poll.poll(_TICK_MS):
        if is_over():
            raise Interrupted(signal.SIGTERM)


def run_directly(argv: Sequence[str], stdin: int, stdout: int, is_over: Callable[[], bool]) -> int:
    """Run a program as `Launcher.as_owner`, but as this user and outside of any namespace."""
    actions = [(os.POSIX_SPAWN_DUP2, stdin, 0), (os.POSIX_SPAWN_DUP2, stdout, 1)]
    process = os.posix_spawnp(argv[0], list(argv), _environment(), file_actions=actions)
    try:
        ended = os.pidfd_open(process)
        try:
            _await(ended, is_over)
        finally:
            os.close(ended)
    except BaseException:  # an interruption: what was started ends first
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        raise
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    return code if code >= 0 else 128 - code


def _environment() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"}


def _answer(line: bytes) -> dict[str, object]:
    if not line:
        raise HostError(_DIED, hint=_DIED_HINT)
    return cast("dict[str, object]", json.loads(line))


def _spawn(theirs: socket.socket, arguments: list[str]) -> int:
    argv = [sys.executable, "-I", "-S", "-c", _START, _PACKAGES, *arguments]
    actions = [(os.POSIX_SPAWN_DUP2, theirs.fileno(), _REQUESTS)]
    if theirs.fileno() == _REQUESTS:  # dup2(2) to itself would leave it to be closed at exec
        os.set_inheritable(_REQUESTS, True)
    # what the caller ignores or blocks would be ignored and blocked by steps too: both outlive execve(2)
    defaults = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
    try:
        return os.posix_spawn(
            sys.executable, argv, _environment(), file_actions=actions, setsigmask=(), setsigdef=defaults
        )
    except OSError as error:
        raise _unable("start the process that starts sandboxes", error.errno or 0) from error


def _unable(what: str, error: int) -> HostError:
    hint = "end other processes, or raise the limit (ulimit -u)" if error == errno.EAGAIN else None
    return HostError(f"cannot {what}: {os.strerror(error)}", hint=hint)


def _refused(what: str, error: int, store: Path) -> HostError:
    """Return why no sandbox can be made here, in the words of `ci-env doctor`."""
    if "namespace" in what:
        from ci_env_runners.probe import explain_user_namespace_refusal

        reason, fix = explain_user_namespace_refusal(error)
        return HostError(f"cannot isolate steps: cannot {what}: {reason}", hint=f"{fix}\n`ci-env doctor` tells more")
    hint = "`ci-env doctor` says what this host lacks, and how to get it"
    if "idmapped" in what and error == errno.EINVAL:
        place = f"put the store (CI_ENV_HOME, now {store}) on ext4, xfs, btrfs, or with Linux 6.3 on tmpfs"
        hint = f"{place}; or run as an ordinary user"
    return HostError(f"cannot isolate steps: cannot {what}: {os.strerror(error)}", hint=hint)
