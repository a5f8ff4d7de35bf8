"""The launcher: a process of one run that forks each sandbox. Stays single-threaded, as entering namespaces demands.

It makes the user namespace that all sandboxes of the run share, and a mount namespace in which the store is owned by
that namespace's ids; then it serves requests from a socket until its other side is gone. A request is one byte with
descriptors: `S` (a sandbox: control, output, and the network namespace to join, if it is to have none of its own),
`O` (a program under the owner's ids: control, stdin, stdout) or `N` (a network: control). What follows goes over the
control, to the process forked for it (child.py, holder.py). `F` is for itself: the file by which a freezer lets go.
Everything it started ends with it: its children have asked for a signal at its death. Standard library only.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

from ci_env_runners import child, holder, syscalls
from ci_env_runners.control import not_started, receive, tell
from ci_env_runners.mounts import Failed

_IDMAP = syscalls.MOUNT_ATTR_IDMAP
_OOM_SCORE = 500
_MAX_DESCRIPTORS = 3
_REQUESTS = 3
_NAME, _COMMAND_LINE = b"ci-env", b"ci-env launcher"
_EVERYTHING = 1 << 20


def start(arguments: list[str]) -> NoReturn:
    """Be the launcher that the command line MODE STORE FIRST IDS asks for, with its socket as descriptor 3."""
    mode, store, first, ids = arguments
    syscalls.set_name(_NAME)
    syscalls.set_command_line(_COMMAND_LINE)  # or each step would read in that of its PID 1 where things lie here
    requests = socket.socket(fileno=_REQUESTS)
    requests.set_inheritable(False)
    os.closerange(_REQUESTS + 1, _EVERYTHING)
    main(requests, mode, store, int(first), int(ids))


def main(requests: socket.socket, mode: str, store: str, first: int, ids: int) -> NoReturn:
    """Set up as `mode` says, tell how that went, and serve.

    `root`: ids 0 to `ids` are the host's from `first` on, and the store's mount is mapped to them. `subordinate`: the
    caller maps them, once told that there is something to map. `single`: id 0 is the caller, and there is no other.
    """
    os.setsid()
    os.umask(0o022)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        _lower_oom_priority()
        {"root": _become_root, "subordinate": _await_ids, "single": _map_own_id}[mode](requests, store, first, ids)
        syscalls.set_dumpable(dumpable=False)
    except Failed as failed:
        tell(requests, {"failed": failed.what, "errno": failed.errno})
        os._exit(1)
    except OSError as error:
        tell(requests, {"failed": f"set up what starts sandboxes ({error.filename})", "errno": error.errno})
        os._exit(1)
    tell(requests, {})
    gc.disable()  # what follows is short-lived, and a collection would have a forked process copy all its memory
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the children: the kernel reaps them
    _serve(requests)


def _serve(requests: socket.socket) -> NoReturn:
    launcher = os.getpid()
    freezers: list[int] = []
    while True:
        kind, descriptors, _, _ = socket.recv_fds(requests, 1, _MAX_DESCRIPTORS, socket.MSG_CMSG_CLOEXEC)
        if not kind:
            _thaw(freezers)
            os._exit(0)
        if kind == b"F":
            freezers += descriptors
            continue
        try:
            process = os.fork()
        except OSError as error:
            tell(socket.socket(fileno=os.dup(descriptors[0])), not_started(error))
        else:
            if process == 0:
                _serve_one(requests, kind, descriptors, launcher)
        for descriptor in descriptors:
            os.close(descriptor)


def _thaw(freezers: list[int]) -> None:
    """Let go what stands still: its caller has been killed, and what a freezer of version 1 holds cannot die."""
    for freezer in freezers:
        with suppress(OSError):  # of a group that is gone
            os.write(freezer, b"THAWED")


def _serve_one(requests: socket.socket, kind: bytes, descriptors: list[int], launcher: int) -> NoReturn:
    try:
        syscalls.set_parent_death_signal(signal.SIGKILL)
        if os.getppid() != launcher:
            os._exit(1)  # it died first
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        requests.close()
        control = socket.socket(fileno=descriptors[0])
        if kind == b"S":
            child.monitor(control, *descriptors[1:])
        if kind == b"N":
            holder.hold(control)
        _run_as_owner(control, descriptors[1], descriptors[2])
    finally:
        os._exit(1)


def _run_as_owner(control: socket.socket, stdin: int, stdout: int) -> None:
    """Run a program of ours and tell its wait status."""
    argv = json.loads(receive(control))
    try:
        program = os.fork()
    except OSError as error:
        tell(control, not_started(error))
        return
    if program == 0:
        try:
            syscalls.set_parent_death_signal(signal.SIGKILL)
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
            os.dup2(stdin, 0)
            os.dup2(stdout, 1)
            os.execvpe(argv[0], argv, {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"})  # noqa: S606  # what this is for
        finally:
            os._exit(127)
    os.close(stdin)
    os.close(stdout)
    _end_with(control, program)
    tell(control, {"status": os.waitpid(program, 0)[1]})


def _end_with(control: socket.socket, program: int) -> None:
    """Wait until a program has ended, and have it end with its control."""
    ended = os.pidfd_open(program)
    poll = select.poll()
    for descriptor in (control.fileno(), ended):
        poll.register(descriptor, select.POLLIN)
    if ended not in {descriptor for descriptor, _ in poll.poll()}:
        signal.pidfd_send_signal(ended, signal.SIGKILL)
    os.close(ended)


def _lower_oom_priority() -> None:
    """Have the kernel end steps before what else this user runs. A container's higher score only root may lower."""
    with open("/proc/self/oom_score_adj", "r+") as file:
        if int(file.read()) < _OOM_SCORE:
            file.seek(0)
            file.write(str(_OOM_SCORE))


def _become_root(_requests: socket.socket, store: str, first: int, ids: int) -> None:
    """Enter a namespace whose ids are nobody's on the host, with the store mapped so that they own it from 0 on.

    The clone of a shared mount is a peer of it (mount_namespaces(7)), so it is made private before it is attached: or
    what is mounted in the store would appear on the host, and pivot_root(2) refuses a parent that is shared.
    """
    tree = _do("clone the store's mount", lambda: syscalls.open_tree(-1, store, 1 | syscalls.OPEN_TREE_CLOEXEC))
    namespace = _mapped_namespace(first, ids)
    _do(
        "map the ids of the store's mount (idmapped mount)",
        lambda: syscalls.mount_setattr(tree, "", syscalls.AT_EMPTY_PATH, _IDMAP, 0, syscalls.MS_PRIVATE, namespace),
    )
    _do("enter a user namespace", lambda: syscalls.setns(namespace, syscalls.CLONE_NEWUSER))
    os.close(namespace)
    _leave_host_mounts()
    attached = syscalls.MOVE_MOUNT_F_EMPTY_PATH
    _do("mount the store", lambda: syscalls.move_mount(tree, "", syscalls.AT_FDCWD, store, attached))
    os.close(tree)
    _do(
        "enter the store", lambda: os.chdir(store)
    )  # still as the host's root: the way to the store may be closed to others
    _become_first()


def _mapped_namespace(first: int, ids: int) -> int:
    """Return a user namespace with its ids mapped, made by a child that is gone afterwards."""
    ours, theirs = socket.socketpair()
    maker = os.fork()
    if maker == 0:
        try:
            syscalls.unshare(syscalls.CLONE_NEWUSER)
            theirs.send(b".")
            theirs.recv(1)
        except OSError as error:
            theirs.send(str(error.errno).encode())
        finally:
            os._exit(0)
    try:
        answer = ours.recv(16)
        if answer != b".":
            raise Failed("make a user namespace", OSError(int(answer or 0), "", "unshare"))
        for file in ("uid_map", "gid_map"):
            _write(f"/proc/{maker}/{file}", f"0 {first} {ids}", "map ids into a user namespace")
        return os.open(f"/proc/{maker}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        ours.close()
        theirs.close()
        os.kill(maker, signal.SIGKILL)
        os.waitpid(maker, 0)


def _await_ids(requests: socket.socket, store: str, _first: int, _ids: int) -> None:
    _do("enter the store", lambda: os.chdir(store))
    _do("make a user namespace", lambda: syscalls.unshare(syscalls.CLONE_NEWUSER))
    tell(requests, {"unshared": True})
    if not requests.recv(1):
        os._exit(1)
    _become_first()
    _leave_host_mounts()


def _map_own_id(_requests: socket.socket, store: str, _first: int, _ids: int) -> None:
    _do("enter the store", lambda: os.chdir(store))
    uid, gid = os.geteuid(), os.getegid()
    _do("make a user namespace", lambda: syscalls.unshare(syscalls.CLONE_NEWUSER))
    _write("/proc/self/setgroups", "deny", "map an id into a user namespace")
    _write("/proc/self/uid_map", f"0 {uid} 1", "map an id into a user namespace")
    _write("/proc/self/gid_map", f"0 {gid} 1", "map an id into a user namespace")
    _leave_host_mounts()


def _become_first() -> None:
    """Be id 0 of the namespace just entered, with no group of the host left."""
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


def _leave_host_mounts() -> None:
    _do("make a mount namespace", lambda: syscalls.unshare(syscalls.CLONE_NEWNS))
    flags = syscalls.MS_REC | syscalls.MS_SLAVE
    _do("make the host's mounts independent", lambda: syscalls.mount("none", "/", None, flags))


def _write(path: str, content: str, what: str) -> None:
    def write() -> int:
        with open(path, "w") as file:
            return file.write(content)

    _do(what, write)


def _do(what: str, action: Callable[[], int | None]) -> int:
    try:
        return action() or 0
    except OSError as error:
        raise Failed(what, error) from error
