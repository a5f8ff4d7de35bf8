"""A sandbox from inside: makes its namespaces and its root, starts the step in it, tells how the step ended.

Three processes, one the parent of the next. The *monitor* stays outside the PID namespace, passes on what the caller
wants, and reaps. *PID 1* mounts, pivots, reaps orphans, and ends everything by ending itself (pid_namespaces(7)). The
*step* gives up its rights and becomes the user's command. None imports or looks up anything after the pivot: what lies
there is an image's (CVE-2019-14271). Standard library only.

Talks over one socket, the control: first the Spec comes in; then b"T" asks to end politely and b"K" at once, as does
its end; out goes one line of JSON, `{"status": wait status}` or `{"failed": what, "errno": number, "kind": ...}`.
"""

from __future__ import annotations

import array
import fcntl
import json
import os
import select
import signal
import socket
import struct
import termios
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

from ci_env_runners import syscalls
from ci_env_runners.control import not_started, receive, tell
from ci_env_runners.identity import Beyond, Identity, Unknown, look_up
from ci_env_runners.mounts import Failed, build
from ci_env_runners.ops import Spec, from_wire
from ci_env_runners.privileges import give_up

if TYPE_CHECKING:
    from collections.abc import Callable

_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1
_NOT_FOUND = 127
_NOT_EXECUTABLE = 126
_EVERYTHING = 1 << 20
_POLITE = {signal.SIGTERM}
_DEFAULTS = (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGHUP)
"""Python ignores or catches some of them, and what is ignored stays so across execve(2)"""


class _BadWorkdir(Exception):  # a result, told to whom it concerns
    def __init__(self, path: str, error: OSError) -> None:
        super().__init__(path)
        self.path = path
        self.errno = error.errno or 0


def monitor(control: socket.socket, output: int) -> NoReturn:
    """Run one sandbox to its end. The process that calls has been forked for it, and ends here."""
    try:
        spec = from_wire(json.loads(receive(control)))
        _unshare(spec.namespaces)
        alive, _kept_open = os.pipe()
        signal.pthread_sigmask(signal.SIG_BLOCK, _POLITE)  # kept for PID 1 until there is a step to pass it on to
        first = os.fork()
        if first == 0:
            os.close(_kept_open)
            _guarded(control, lambda: _first(spec, control, output, alive))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _POLITE)
        os.close(output)
        _watch(control, first)
    except Failed as failed:
        tell(control, {"failed": failed.what, "errno": failed.errno, "kind": "namespace"})
    except OSError as error:
        tell(control, not_started(error))
    finally:
        os._exit(0)


def _unshare(namespaces: int) -> None:
    try:
        syscalls.unshare(namespaces)
    except OSError as error:
        raise Failed("make the namespaces of a sandbox", error) from error


def _watch(control: socket.socket, first: int) -> None:
    """Pass on the caller's wishes until PID 1 has ended, and with it everything in its namespace."""
    ended = os.pidfd_open(first)
    poll = select.poll()
    poll.register(control, select.POLLIN)
    poll.register(ended, select.POLLIN)
    while True:
        ready = {descriptor for descriptor, _ in poll.poll()}
        if ended in ready:
            os.waitpid(first, 0)
            return
        wish = control.recv(1)
        signal.pidfd_send_signal(ended, signal.SIGTERM if wish == b"T" else signal.SIGKILL)
        if wish != b"T":
            poll.unregister(control)


def _guarded(control: socket.socket, work: Callable[[], None]) -> NoReturn:
    """Do the work of a forked process, tell what went wrong, and never return to the code of its parent."""
    try:
        work()
    except Failed as failed:
        tell(control, {"failed": failed.what, "errno": failed.errno, "kind": "mount", "call": failed.call})
    except _BadWorkdir as bad:
        tell(control, {"failed": f"use the working directory {bad.path}", "errno": bad.errno, "kind": "workdir"})
    except (Unknown, Beyond) as error:
        kind = "ids" if isinstance(error, Beyond) else "user"
        tell(control, {"failed": str(error), "errno": 0, "kind": kind})
    except OSError as error:
        call = str(error.filename or "")
        tell(control, {"failed": "start the step", "errno": error.errno or 0, "kind": "start", "call": call})
    except BaseException as error:
        tell(control, {"failed": f"{type(error).__name__}: {error}", "errno": 0, "kind": "bug"})
    finally:
        os._exit(0)


def _first(spec: Spec, control: socket.socket, output: int, alive: int) -> None:
    """Be PID 1: make the sandbox, start the step, outlive it, and tell how it ended.

    `alive` ends with the monitor: it may have been killed before this process could ask for a signal at its death.
    """
    syscalls.set_parent_death_signal(signal.SIGKILL)
    if select.select([alive], [], [], 0)[0]:
        return
    socket.sethostname(spec.hostname)
    build(spec.ops)
    if spec.has_own_network:
        _bring_up_loopback()
    identity = look_up(spec.user, ids=spec.ids)
    try:
        _have_workdir(spec.workdir, identity)
    except OSError as error:
        raise _BadWorkdir(spec.workdir, error) from error
    if spec.terminal:
        output = _open_terminal(control, identity)
    signal.signal(signal.SIGTERM, _pass_on)
    step = os.fork()
    if step == 0:
        _guarded(control, lambda: _become(spec, identity, output))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _POLITE)
    if not spec.terminal:  # a terminal would hang up as soon as the step closes its own, before it ends
        os.close(output)
    while True:
        ended, status = os.wait()
        if ended == step:
            tell(control, {"status": status})
            return


def _pass_on(number: int, _frame: object) -> None:
    """Be PID 1's signal handler: all others in its namespace get the signal."""
    with suppress(ProcessLookupError):
        os.kill(-1, number)


def _bring_up_loopback() -> None:
    """Set IFF_UP on `lo`: netdevice(7)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as any_socket:
        request = struct.pack("16sH22x", b"lo", 0)
        flags = struct.unpack("16sH22x", fcntl.ioctl(any_socket, _SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", flags | _IFF_UP))


def _have_workdir(path: str, identity: Identity) -> None:
    """Have the directory that the step starts in; where it is new, it belongs to the step's user."""
    flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
    try:
        os.close(syscalls.openat2(syscalls.AT_FDCWD, path, flags, 0, syscalls.RESOLVE_NO_MAGICLINKS))
    except FileNotFoundError:
        os.makedirs(path, 0o755)
        os.chown(path, identity.uid, identity.gid)


def _open_terminal(control: socket.socket, identity: Identity) -> int:
    """Make a terminal of this sandbox's own devpts, the step's user's; its other side goes to the caller."""
    master = os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    fcntl.ioctl(master, 0x40045431, struct.pack("i", 0))  # TIOCSPTLCK: unlock
    (number,) = struct.unpack("I", fcntl.ioctl(master, 0x80045430, struct.pack("I", 0)))  # TIOCGPTN
    slave = os.open(f"/dev/pts/{number}", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    os.fchown(slave, identity.uid, -1)
    control.sendmsg([b"\n"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [master]))])
    os.close(master)
    return slave


def _become(spec: Spec, identity: Identity, output: int) -> None:
    """Be the step: connect it, give up what it must not have, and execute it."""
    for number in _DEFAULTS:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _POLITE)
    os.setsid()
    if spec.terminal:
        fcntl.ioctl(output, termios.TIOCSCTTY, 0)
        os.dup2(output, 0)
    else:
        os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    _enter_workdir(spec.workdir)
    os.umask(spec.umask)
    env = {"HOME": identity.home, **spec.env}
    path = env.get("PATH", os.defpath)
    give_up(identity, has_many_ids=spec.ids > 1, seccomp=bytes.fromhex(spec.seccomp))
    os.closerange(3, _EVERYTHING)
    os._exit(_execute(spec.argv, env, path))


def _enter_workdir(path: str) -> None:
    """Change to it, and see that it lies below the root: a descriptor left open may lead out (CVE-2024-21626)."""
    directory = syscalls.openat2(
        syscalls.AT_FDCWD, path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, 0, syscalls.RESOLVE_NO_MAGICLINKS
    )
    os.fchdir(directory)
    os.close(directory)
    os.getcwd()


def _execute(argv: tuple[str, ...], env: dict[str, str], path: str) -> int:
    """Execute, or return the status that a shell would have had and say why."""
    program = argv[0]
    candidates = [program] if "/" in program else [f"{directory or '.'}/{program}" for directory in path.split(":")]
    status, reason = _NOT_FOUND, "not found in the image"
    for candidate in candidates:
        try:
            os.execve(candidate, argv, env)  # noqa: S606  # what this is for
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            status, reason = _NOT_EXECUTABLE, error.strerror or str(error)
    os.write(2, f"ci-env: cannot execute {program}: {reason}\n".encode(errors="surrogateescape"))
    return status
