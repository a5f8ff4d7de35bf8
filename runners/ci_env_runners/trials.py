"""What this host can do, tried for real. A program: `python -m ci_env_runners.trials DIRECTORY`.

Prints a JSON object: each trial's name with null, or with what failed and the errno. A trial is a process of its own,
forked from this one, which stays single-threaded (unshare(2) of a user namespace needs that), and ends after
PATIENCE_S at the latest. Nothing outlives them but what is in DIRECTORY, which the caller makes and removes.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import traceback
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from ipaddress import IPv4Network
from pathlib import Path
from typing import NoReturn

from ci_env_runners import bpf, firewall, netlink, nftables, subordinate, syscalls

PATIENCE_S = 10
Failure = tuple[str, int]
"""what could not be done, after `cannot`, and the errno; 0: no system call said why"""

_SUBNET = IPv4Network("192.0.2.0/30")
_TUNSETIFF = 0x400454CA
_IFF_TAP_NO_PI = 0x1002


def main(directory: str) -> None:
    """Try everything and print how it went."""
    trials: Mapping[str, Callable[[], None]] = {
        "user_namespace": _enter_user_namespace,
        "namespaces": _make_other_namespaces,
        "proc": _mount_proc,
        "id_map": _map_ids_as_root,
        "subordinate_ids": _map_subordinate_ids,
        "overlay": lambda: _use_overlay(directory),
        "idmapped_mount": lambda: _make_idmapped_mount(directory),
        "mount_api": lambda: _use_mount_api(directory),
        "seccomp": _load_seccomp_filter,
        "openat2": _use_openat2,
        "nftables": _load_firewall,
        "tun": _make_tap_device,
    }
    json.dump({name: _attempt(trial) for name, trial in trials.items()}, sys.stdout)


class _Failed(Exception):
    """A result, not an error of ours."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure)
        self.failure = failure


@contextmanager
def _trying_to(what: str) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise _Failed((what, error.errno or 0)) from error


def _attempt(trial: Callable[[], None]) -> Failure | None:
    """Run `trial` in a child of its own; return how it failed."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        _report(trial, writer)
    os.close(writer)
    with open(reader, "rb") as pipe:
        answer = pipe.read()
    _, status = os.waitpid(child, 0)
    if os.waitstatus_to_exitcode(status) == -signal.SIGALRM:
        return f"finish within {PATIENCE_S} s", errno.ETIME
    return None if answer == b"null" else _failure(answer)


def _failure(answer: bytes) -> Failure:
    if not answer:
        return "finish the trial", 0
    what, error = json.loads(answer)
    return what, error


def _report(trial: Callable[[], None], writer: int) -> NoReturn:
    signal.alarm(PATIENCE_S)
    try:
        trial()
        os.write(writer, b"null")
    except _Failed as failed:
        os.write(writer, json.dumps(failed.failure).encode())
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(0)


def _enter_user_namespace() -> None:
    """Become uid 0 of a new user namespace, with a mount namespace that shows that its rights count."""
    uid, gid = os.geteuid(), os.getegid()
    with _trying_to("make a user namespace"):
        syscalls.unshare(syscalls.CLONE_NEWUSER)
    with _trying_to("map an id into a user namespace"):
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
        Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
    with _trying_to("make a mount namespace in a user namespace"):
        syscalls.unshare(syscalls.CLONE_NEWNS)


def _make_other_namespaces() -> None:
    _enter_user_namespace()
    kinds = {
        "pid": syscalls.CLONE_NEWPID,
        "network": syscalls.CLONE_NEWNET,
        "uts": syscalls.CLONE_NEWUTS,
        "ipc": syscalls.CLONE_NEWIPC,
        "cgroup": syscalls.CLONE_NEWCGROUP,
    }
    for kind, flag in kinds.items():
        with _trying_to(f"make a namespace of kind {kind}"):
            syscalls.unshare(flag)


def _mount_proc() -> None:
    """Mount proc for a new PID namespace and sysfs for a new network namespace."""
    _enter_user_namespace()
    with _trying_to("make PID and network namespaces"):
        syscalls.unshare(syscalls.CLONE_NEWPID | syscalls.CLONE_NEWNET)
    failure = _attempt(_mount_kernel_filesystems)  # a new PID namespace begins with the next child
    if failure:
        raise _Failed(failure)


def _mount_kernel_filesystems() -> None:
    for kind, target in (("proc", "/proc"), ("sysfs", "/sys")):
        with _trying_to(f"mount a new {kind}"):
            syscalls.mount(kind, target, kind)


def _use_overlay(directory: str) -> None:
    """Make a whiteout and an opaque directory, as the layers of the store have them."""
    with _trying_to(f"write to {directory}"):
        os.chdir(directory)
        for name in ("lower/replaced", "upper", "work", "merged"):
            os.makedirs(name)
        Path("lower/removed").touch()
    _enter_user_namespace()
    with _trying_to("mount an overlay in a user namespace"):
        options = "lowerdir=lower,upperdir=upper,workdir=work,userxattr"
        syscalls.mount("overlay", "merged", "overlay", 0, options)
    with _trying_to("write to an overlay"):
        os.unlink("merged/removed")
        os.rmdir("merged/replaced")
        os.mkdir("merged/replaced")
        os.getxattr("upper/replaced", "user.overlay.opaque")


def _map_ids_as_root() -> None:
    os.close(_user_namespace_with_ids())


def _user_namespace_with_ids() -> int:
    with _user_namespace_of_a_child() as child:
        with _trying_to("map 65536 ids into a user namespace"):
            for file in ("uid_map", "gid_map"):
                Path(f"/proc/{child}/{file}").write_text("0 100000 65536")
        return os.open(f"/proc/{child}/ns/user", os.O_RDONLY | os.O_CLOEXEC)


def _make_idmapped_mount(directory: str) -> None:
    namespace = _user_namespace_with_ids()
    with _trying_to(f"clone the mount of {directory}"):
        tree = syscalls.open_tree(syscalls.AT_FDCWD, directory, syscalls.OPEN_TREE_CLONE | syscalls.OPEN_TREE_CLOEXEC)
    with _trying_to("map the ids of a mount"):
        syscalls.mount_setattr(tree, "", syscalls.AT_EMPTY_PATH, syscalls.MOUNT_ATTR_IDMAP, 0, 0, namespace)


def _map_subordinate_ids() -> None:
    uid, gid = os.geteuid(), os.getegid()
    with _user_namespace_of_a_child() as child:
        for program, own_id, file in (("newuidmap", uid, subordinate.SUBUID), ("newgidmap", gid, subordinate.SUBGID)):
            ranges = subordinate.own(file)
            if not ranges:
                raise _Failed((f"find a range of {subordinate.user_name()} in {file}", 0))
            _map_ids(program, str(child), str(own_id), ranges[0])


def _map_ids(program: str, child: str, own_id: str, subordinate_ids: subordinate.Range) -> None:
    path = shutil.which(program)
    if path is None:
        raise _Failed((f"find {program}", errno.ENOENT))
    ids = (str(subordinate_ids.start), str(subordinate_ids.count))
    done = subprocess.run([path, child, "0", own_id, "1", "1", *ids], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise _Failed((f"map subordinate ids ({done.stderr.strip()})", 0))


@contextmanager
def _user_namespace_of_a_child() -> Generator[int]:
    """Give a child in a user namespace without a map; it is gone afterwards."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(PATIENCE_S)
        _report(lambda: _wait_in_user_namespace(writer), writer)
    os.close(writer)
    with open(reader, "rb", buffering=0) as pipe:
        answer = pipe.read(4096)
        try:
            if answer != b".":
                raise _Failed(_failure(answer))
            yield child
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def _wait_in_user_namespace(writer: int) -> None:
    with _trying_to("make a user namespace"):
        syscalls.unshare(syscalls.CLONE_NEWUSER)
    os.write(writer, b".")
    signal.pause()


def _use_mount_api(directory: str) -> None:
    """Make a filesystem, attach it, and change an attribute of it, without mount(2)."""
    _enter_user_namespace()
    with _trying_to("use fsopen and fsmount (Linux 5.2)"):
        filesystem = syscalls.fsopen("tmpfs")
        syscalls.fsconfig(filesystem, syscalls.FSCONFIG_CMD_CREATE, None, None)
        mount = syscalls.fsmount(filesystem)
    with _trying_to("use move_mount (Linux 5.2)"):
        syscalls.move_mount(mount, "", syscalls.AT_FDCWD, directory, syscalls.MOVE_MOUNT_F_EMPTY_PATH)
    with _trying_to("use mount_setattr (Linux 5.12)"):
        syscalls.mount_setattr(mount, "", syscalls.AT_EMPTY_PATH, syscalls.MOUNT_ATTR_RDONLY)


def _load_seccomp_filter() -> None:
    with _trying_to("load a seccomp filter"):
        syscalls.set_no_new_privs()
        syscalls.load_seccomp(bpf.assemble(bpf.ALLOW))


def _use_openat2() -> None:
    with _trying_to("use openat2 (Linux 5.6)"):
        os.close(syscalls.openat2(syscalls.AT_FDCWD, "/", os.O_PATH | os.O_CLOEXEC, 0, syscalls.RESOLVE_IN_ROOT))


def _load_firewall() -> None:
    """Have a table in a network namespace of this user's, with all that the tables of `network: nat` are made of."""
    _enter_user_namespace()
    with _trying_to("make a network namespace"):
        syscalls.unshare(syscalls.CLONE_NEWNET)
    with _trying_to("make a table of nftables"), netlink.open_socket(netlink.NETFILTER) as opened:
        chains = (firewall.inner((), (), ()), *firewall.outer("ci-env0", (_SUBNET,), ()))
        netlink.exchange(opened, nftables.new_table("ci-env", chains, owned=True))


def _make_tap_device() -> None:
    """Make a network device that is a descriptor; its name space is that of the process that opened it."""
    _enter_user_namespace()
    with _trying_to("make a network namespace"):
        syscalls.unshare(syscalls.CLONE_NEWNET)
    with _trying_to("open /dev/net/tun"):
        device = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    with _trying_to("make a tap device"):
        fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH22x", b"ci-env0", _IFF_TAP_NO_PI))


if __name__ == "__main__":
    main(sys.argv[1])
