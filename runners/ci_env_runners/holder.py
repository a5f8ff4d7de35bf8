"""Holds a network namespace that several sandboxes are in, and acts in it for the caller.

Runs as root of the run's ids. Takes its caller's wishes first, `program` and `versions`; tells that it is there, with a
descriptor of the namespace; then answers one order after another, each a JSON object, with a line of JSON. Ends with
its control, and with the launcher. Standard library only.

The program carries packets between the namespace and the one that it is started in, the host's. It is a child of this
process, and ends with it.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn, cast

from ci_env_runners import netlink, syscalls
from ci_env_runners.control import receive, tell
from ci_env_runners.loopback import accepts, bring_up_loopback

_NAME = b"ci-env-network"
_NAMESPACE = "/proc/self/ns/net"
_NO_DETECTION = "/proc/sys/net/ipv6/conf/default/accept_dad"
"""of duplicate addresses: a second's wait for each, in a network of one"""
_PATIENCE_S = 10
_PAUSE_S = 0.002
_MAX_SAID = 1 << 16
_TIME = re.compile(r"^[0-9.]+: ")


class _Unconnected(Exception):
    """The program has not done what it is for."""


def hold(control: socket.socket) -> NoReturn:
    """Make the namespace and serve until nobody asks any more. The process that calls has been forked for it."""
    try:
        syscalls.set_name(_NAME)
        wishes = json.loads(receive(control))
        if wishes["program"]:
            _hold_connected(control, wishes["program"], wishes["versions"])
        else:
            _make_namespace()
        _tell_namespace(control)
        while True:
            tell(control, _obey(json.loads(receive(control))))
    except _Unconnected as error:
        tell(control, {"failed": str(error), "errno": 0, "kind": "program"})
    except OSError as error:
        tell(control, {"failed": "make a network namespace", "errno": error.errno or 0, "kind": "namespace"})
    finally:
        os._exit(0)


def _make_namespace() -> None:
    syscalls.unshare(syscalls.CLONE_NEWNET)
    bring_up_loopback()


def _tell_namespace(control: socket.socket) -> None:
    namespace = os.open(_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
    socket.send_fds(control, [b"{}\n"], [namespace])
    os.close(namespace)


def _hold_connected(control: socket.socket, argv: list[str], versions: list[int]) -> None:
    """Make the namespace, and have a program that is started outside of it connect it."""
    said = os.memfd_create("said", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(said, _MAX_SAID)
    fcntl.fcntl(said, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW)  # a program that says too much is not heard any more
    start, go = os.pipe()
    program = _fork(lambda: _become(argv, start, said), control, go)
    _make_namespace()
    with suppress(OSError), open(_NO_DETECTION, "w") as file:
        file.write("0")
    door = _fork(lambda: _be_door(go), control, start)
    _await_routes(program, versions, said)
    os.kill(door, signal.SIGKILL)
    os.waitpid(door, 0)
    for descriptor in (start, go, said):
        os.close(descriptor)


def _fork(work: Callable[[], None], control: socket.socket, *others: int) -> int:
    """Return the id of a process that does this work, ends with this one, and has none of these descriptors."""
    holder = os.getpid()
    process = os.fork()
    if process == 0:
        try:
            syscalls.set_parent_death_signal(signal.SIGKILL)
            control.close()
            for descriptor in others:
                os.close(descriptor)
            if os.getppid() == holder:
                work()
        finally:
            os._exit(127)
    return process


def _be_door(go: int) -> None:
    """Have no rights, so that one who has few may look at this process (ptrace(2)) and find its namespace."""
    syscalls.set_capabilities(())
    syscalls.set_dumpable(dumpable=True)
    os.write(go, str(os.getpid()).encode())
    time.sleep(2 * _PATIENCE_S)


def _become(argv: list[str], start: int, said: int) -> None:
    """Be the program, once it is told of a process in the namespace to connect."""
    door = os.read(start, 16).decode()
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)  # pasta would not start with SIGPIPE ignored
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard, descriptor in enumerate((nothing, nothing, said)):
        os.dup2(descriptor, standard)
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"}
    os.execve(argv[0], [*argv, "--netns", f"/proc/{door}/ns/net"], environment)  # noqa: S606  # what this is for


def _await_routes(program: int, versions: list[int], said: int) -> None:
    """Wait until there are default routes."""
    deadline = time.monotonic() + _PATIENCE_S
    while not all(_has_route(version) for version in versions):
        if os.waitpid(program, os.WNOHANG)[0] or time.monotonic() > deadline:
            content = os.pread(said, _MAX_SAID, 0).rstrip(b"\0").decode(errors="replace")
            lines = [_TIME.sub("", line) for line in content.splitlines() if line and "syslog" not in line]
            raise _Unconnected("; ".join(lines) or "pasta gives no route")
        time.sleep(_PAUSE_S)


def _has_route(version: int) -> bool:
    """Tell whether the namespace has a default route: proc_net(5)."""
    with open("/proc/self/net/route" if version == 4 else "/proc/self/net/ipv6_route") as file:
        lines = [line.split() for line in file]
    if version == 4:
        return any(words[1] == words[7] == "00000000" for words in lines)
    return any(words[0] == "0" * 32 and words[1] == "00" and words[-1] != "lo" for words in lines)


def _obey(order: dict[str, object]) -> dict[str, object]:
    if "connect" in order:
        return {"connected": accepts(cast("int", order["connect"]))}
    try:
        with netlink.open_socket(cast("int", order["netlink"])) as opened:
            netlink.exchange(opened, [bytes.fromhex(sent) for sent in cast("list[str]", order["messages"])])
    except OSError as error:
        return {"failed": "set up the network of a step", "errno": error.errno or 0, "kind": "netlink"}
    return {"done": True}
