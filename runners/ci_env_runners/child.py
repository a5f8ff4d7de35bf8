"""A sandbox from inside: makes its namespaces and its root, starts the step in it, tells how the step ended.

Three processes, one the parent of the next. The *monitor* stays outside the PID namespace, passes on what the caller
wants, and reaps. *PID 1* mounts, pivots, reaps orphans, and ends everything by ending itself (pid_namespaces(7)). The
*step* gives up its rights and becomes the user's command. None imports or looks up anything after the pivot: what lies
there is an image's (CVE-2019-14271). Standard library only.

Talks over one socket, the control: first the Spec comes in, and the values of its secrets if it has any; then b"T"
asks to end politely and b"K" at once, as does its end; b"S" and b"C" have all inside stop and go on; b"J" brings a
visitor (visits.py) as two descriptors. Out go lines of JSON, `{"status": wait status}` or
`{"failed": what, "errno": number, "kind": ...}`, and in the end what the monitor knows: `{"used": ...}`, and
`{"over": "disk"}` where that was too much.
"""

from __future__ import annotations

import json
import os
import signal
import socket
from contextlib import suppress
from typing import NoReturn

from ci_env_runners import syscalls
from ci_env_runners.attempts import Attempts
from ci_env_runners.control import not_started, receive_with, tell
from ci_env_runners.identity import Identity, look_up
from ci_env_runners.loopback import bring_up_loopback
from ci_env_runners.monitor import watch
from ci_env_runners.mounts import Failed, build
from ci_env_runners.ops import Spec, from_wire
from ci_env_runners.process import POLITE, BadWorkdir, become, guarded, open_terminal
from ci_env_runners.secrets import Values, lay, receive_values, with_variables

_MAX_DOORS = 8


def monitor(control: socket.socket, output: int, network: int | None = None) -> NoReturn:
    """Run one sandbox to its end. The process that calls has been forked for it, and ends here."""
    try:
        content, doors = receive_with(control, _MAX_DOORS)
        spec = from_wire(json.loads(content))
        values: Values = receive_values(control) if spec.secrets else {}
        spec = with_variables(spec, values)
        _unshare(spec.namespaces & ~syscalls.CLONE_NEWCGROUP)
        if network is not None:
            syscalls.setns(network, syscalls.CLONE_NEWNET)
            os.close(network)
        let_in, entrance = os.pipe()
        begun, beginning = socket.socketpair()
        signal.pthread_sigmask(signal.SIG_BLOCK, POLITE)  # kept for PID 1 until there is a step to pass it on to
        first = os.fork()
        if first == 0:
            begun.close()
            for descriptor in (entrance, *doors):
                os.close(descriptor)
            guarded(control, lambda: _first(spec, values, control, output, let_in, beginning))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, POLITE)
        os.close(output)
        beginning.close()
        attempts = Attempts() if spec.reaches_nothing else None
        _enter(doors, first)
        os.write(entrance, b".")
        watch(control, first, spec, begun, attempts)
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


def _enter(doors: list[int], first: int) -> None:
    """Have PID 1 enter its control groups. The kernel takes some 10 ms, in which it is busy mounting."""
    for door in doors:
        try:
            with suppress(ProcessLookupError):  # it has ended, and said why
                os.write(door, str(first).encode())
        except OSError as error:
            raise Failed("put a sandbox into its control group", error) from error
        os.close(door)


def _first(
    spec: Spec, values: Values, control: socket.socket, output: int, let_in: int, beginning: socket.socket
) -> None:
    """Be PID 1: make the sandbox, start the step, outlive it, and tell how it ended.

    `let_in` says when this process is in its control groups, or ends with the monitor: that may have been killed before
    this process could ask for a signal at its death. What is told to `beginning` is that there is a step, and its root
    the root of this mount namespace.
    """
    syscalls.set_parent_death_signal(signal.SIGKILL)
    socket.sethostname(spec.hostname)
    build(spec.ops)
    if spec.namespaces & syscalls.CLONE_NEWNET:
        bring_up_loopback()
    identity = look_up(spec.user, ids=spec.ids)
    if values:
        lay(values, identity)
    try:
        _have_workdir(spec.workdir, identity)
    except OSError as error:
        raise BadWorkdir(spec.workdir, error) from error
    if spec.terminal:
        output = open_terminal(control, identity)
    if not os.read(let_in, 1):
        return
    _unshare(spec.namespaces & syscalls.CLONE_NEWCGROUP)  # only now: its root is the group that one is in
    signal.signal(signal.SIGTERM, _pass_on)
    traffic = _open_traffic()
    step = os.fork()
    if step == 0:
        guarded(control, lambda: become(spec, identity, (_stdin(spec, output), output, output)))
    _say_begun(beginning)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, POLITE)
    if not spec.terminal:  # a terminal would hang up as soon as the step closes its own, before it ends
        os.close(output)
    while True:
        ended, status = os.wait()
        if ended == step:
            tell(control, {"status": status, **_traffic(traffic)})
            return


def _open_traffic() -> int | None:
    """Open what the kernel notes of this process's traffic with disks, and of what it has reaped.

    Of a process that is not dumpable the file is nobody's. So for a moment it is, while nobody else is inside.
    """
    syscalls.set_dumpable(dumpable=True)
    try:
        return os.open("/proc/self/io", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:  # CONFIG_TASK_IO_ACCOUNTING=n
        return None
    finally:
        syscalls.set_dumpable(dumpable=False)


def _traffic(file: int | None) -> dict[str, int]:
    if file is None:
        return {}
    noted = dict(line.split(b": ") for line in os.pread(file, 4096, 0).splitlines())
    return {"read_bytes": int(noted[b"read_bytes"]), "written_bytes": int(noted[b"write_bytes"])}


def _say_begun(beginning: socket.socket) -> None:
    """Tell the monitor, with this process's control group namespace, which it cannot get at by itself."""
    groups = os.open("/proc/self/ns/cgroup", os.O_RDONLY | os.O_CLOEXEC)
    socket.send_fds(beginning, [b"."], [groups])
    os.close(groups)
    beginning.close()


def _pass_on(number: int, _frame: object) -> None:
    """Be PID 1's signal handler: all others in its namespace get the signal."""
    with suppress(ProcessLookupError):
        os.kill(-1, number)


def _stdin(spec: Spec, terminal: int) -> int:
    return terminal if spec.terminal else os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)


def _have_workdir(path: str, identity: Identity) -> None:
    """Have the directory that the step starts in; where it is new, it belongs to the step's user."""
    flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
    try:
        os.close(syscalls.openat2(syscalls.AT_FDCWD, path, flags, 0, syscalls.RESOLVE_NO_MAGICLINKS))
    except FileNotFoundError:
        os.makedirs(path, 0o755)
        os.chown(path, identity.uid, identity.gid)
