"""The process that becomes a command inside a sandbox: its streams, its terminal, its directory, and no more rights
than it needs. Runs inside, forked by PID 1 or by the monitor; imports and looks up nothing that lies there. Standard
library only.
"""

from __future__ import annotations

import array
import fcntl
import os
import signal
import socket
import struct
import termios
from collections.abc import Callable
from typing import NoReturn

from ci_env_runners import syscalls
from ci_env_runners.control import tell
from ci_env_runners.identity import Beyond, Identity, Unknown
from ci_env_runners.mounts import Failed
from ci_env_runners.ops import Spec
from ci_env_runners.privileges import Limits, give_up

POLITE = {signal.SIGTERM}
"""signals that a sandbox's own processes hold back until there is a step to pass them on to"""
_NOT_FOUND = 127
_NOT_EXECUTABLE = 126
_EVERYTHING = 1 << 20
_DEFAULTS = (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGHUP)
"""Python ignores or catches some of them, and what is ignored stays so across execve(2)"""
_TIOCSPTLCK = 0x40045431
_TIOCGPTPEER = 0x5441

Streams = tuple[int, int, int]


class BadWorkdir(Exception):  # a result, told to whom it concerns
    def __init__(self, path: str, error: OSError) -> None:
        super().__init__(path)
        self.path = path
        self.errno = error.errno or 0


def guarded(control: socket.socket, work: Callable[[], None]) -> NoReturn:
    """Do the work of a forked process, tell what went wrong, and never return to the code of its parent."""
    try:
        work()
    except Failed as failed:
        tell(control, {"failed": failed.what, "errno": failed.errno, "kind": "mount", "call": failed.call})
    except BadWorkdir as bad:
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
        os._exit(1)  # what cannot be told, since the control is closed by now, is no success


def open_terminal(control: socket.socket, identity: Identity) -> int:
    """Make a terminal of this sandbox's own devpts, the user's; its other side goes to the caller.

    No path leads to it but the one through devpts, which nobody inside can move: /dev/ptmx is a link, which a step may
    have replaced (CVE-2025-52565 of runc).
    """
    flags = os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC
    master = syscalls.openat2(syscalls.AT_FDCWD, "/dev/pts/ptmx", flags, 0, syscalls.RESOLVE_NO_SYMLINKS)
    fcntl.ioctl(master, _TIOCSPTLCK, struct.pack("i", 0))  # unlock
    slave = fcntl.ioctl(master, _TIOCGPTPEER, flags)
    os.fchown(slave, identity.uid, -1)
    send_descriptors(control, master)
    os.close(master)
    return slave


def send_descriptors(control: socket.socket, *descriptors: int) -> None:
    """Give the caller the other sides of a command's streams."""
    control.sendmsg([b"\n"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))])


def become(spec: Spec, identity: Identity, streams: Streams) -> None:
    """Be the command of `spec`: connect it, give up what it must not have, and execute it."""
    for number in _DEFAULTS:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, POLITE)
    os.setsid()
    if spec.terminal:
        fcntl.ioctl(streams[0], termios.TIOCSCTTY, 0)
    for target, descriptor in enumerate(streams):
        os.dup2(descriptor, target)
    if spec.cpus:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: spec.cpus])
    _enter_workdir(spec.workdir)
    os.umask(spec.umask)
    env = {"HOME": identity.home, **spec.env}
    path = env.get("PATH", os.defpath)
    limits = Limits(spec.open_files, spec.processes, spec.data_bytes)
    give_up(identity, limits, has_many_ids=spec.ids > 1, seccomp=bytes.fromhex(spec.seccomp))
    os.closerange(3, _EVERYTHING)
    os._exit(_execute(spec.argv, env, path))


def _enter_workdir(path: str) -> None:
    """Change to it, and see that it lies below the root: a descriptor left open may lead out (CVE-2024-21626)."""
    flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
    try:
        directory = syscalls.openat2(syscalls.AT_FDCWD, path, flags, 0, syscalls.RESOLVE_NO_MAGICLINKS)
        os.fchdir(directory)
        os.close(directory)
        os.getcwd()
    except OSError as error:
        raise BadWorkdir(path, error) from error


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
        except ValueError as error:  # a command or an environment that no process can have
            status, reason = _NOT_EXECUTABLE, str(error)
    os.write(2, f"ci-env: cannot execute {program}: {reason}\n".encode(errors="surrogateescape"))
    return status
