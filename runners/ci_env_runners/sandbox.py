"""From a Sandbox to the operations that make it. Pure: decides everything, touches nothing.

Sources for what is masked, read-only and given: the defaults of runc, docker and podman; OCI runtime-spec
config-linux.md "Default Filesystems" and "Default Devices".
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ci_env.errors import ConfigError
from ci_env.pipeline.model import DEFAULT_PIDS
from ci_env.ports import Bind, Process, Sandbox
from ci_env_runners import ops, syscalls
from ci_env_runners.hostfs import HostImage
from ci_env_runners.ops import Op, Spec
from ci_env_runners.secrets import PLACE

_NAMESPACES = (
    syscalls.CLONE_NEWNS
    | syscalls.CLONE_NEWPID
    | syscalls.CLONE_NEWUTS
    | syscalls.CLONE_NEWIPC
    | syscalls.CLONE_NEWCGROUP
)
_NOSUID = syscalls.MOUNT_ATTR_NOSUID
_NODEV = syscalls.MOUNT_ATTR_NODEV
_NOEXEC = syscalls.MOUNT_ATTR_NOEXEC
_RDONLY = syscalls.MOUNT_ATTR_RDONLY
_INERT = _NOSUID | _NODEV | _NOEXEC

_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_DEVICE_LINKS = {"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2", "ptmx": "pts/ptmx"}
_MASKED = (
    *("/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats"),
    *("/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats"),
    *("/sys/dev/block", "/sys/devices/virtual/powercap", "/sys/firmware", "/sys/fs/cgroup", "/sys/fs/selinux"),
    "/sys/kernel",
)
_MASKED_OF_EACH = (("/sys/devices/system/cpu", "cpu", "thermal_throttle"),)
_READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/pressure", "/proc/sys", "/proc/sysrq-trigger")
"""whoever likes may write to /proc/pressure, and has the kernel keep watch on the whole machine for it"""
_APT = "/etc/apt/apt.conf.d/zz-ci-env"
_APT_STAYS_ROOT = """\
// from ci-env: only root exists here, and apt looks whether it has really become another user
APT::Sandbox::User "root";
"""
"""for who has one id: the filter answers setresuid(2) with success, but no filter can answer getuid(2) with a number"""
_HOST_SERVICES = ("/nix/var/nix/daemon-socket", "/nix/var/nix/gc-socket")
"""sockets of the host's daemons in what is shown of it: a read-only mount does not keep anybody from connecting"""
_HOST_DIRECTORIES = {"root": 0o700, "home": 0o755, "tmp": 0o1777, "run": 0o755, "srv": 0o755, "var/tmp": 0o1777}
_SHOWN = 80
_PAGE = 4096
_CPU_LISTS = ("online", "possible", "present")
_LOCAL_NAMES = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\t{hostname}\n"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the plan of a sandbox needs to know of the host."""

    store: Path
    ids: int
    seccomp: bytes
    host_image: HostImage | None
    """for a rootfs with the host beneath"""
    host_layers: tuple[frozenset[str], ...]
    """for each lower layer, bottom first: the host's directories that it has written to"""
    host_names: str
    """further lines of /etc/hosts"""
    resolver: str | None
    """/etc/resolv.conf; None: that of the image"""
    controllers: frozenset[str]
    """of control groups: what holds a limit better than what one process can be given"""
    cpus_online: int = 0
    """processors that this machine tells of; 0: it does not"""


def plan(sandbox: Sandbox, around: Surroundings, *, terminal: bool) -> Spec:
    """Return the sandbox as operations and a process."""
    process = sandbox.process
    _refuse_null(process)
    has_own_network = process.network != "host"
    return Spec(
        ops=tuple(_ops(sandbox, around, has_own_network=has_own_network)),
        namespaces=_NAMESPACES | (syscalls.CLONE_NEWNET if has_own_network and sandbox.network is None else 0),
        hostname=process.hostname,
        reaches_nothing=process.network == "none",
        argv=process.argv,
        env=dict(process.env),
        user=process.user,
        workdir=process.workdir,
        umask=process.umask,
        ids=around.ids,
        seccomp=around.seccomp.hex(),
        terminal=terminal,
        secrets=tuple((secret.name, secret.variables) for secret in process.secrets),
        open_files=process.limits.open_files or 0,
        processes=0 if "pids" in around.controllers else process.limits.pids or DEFAULT_PIDS,
        data_bytes=0 if "memory" in around.controllers else process.limits.memory_bytes or 0,
        disk_bytes=process.limits.disk_bytes or 0,
        written=_below(sandbox.rootfs.upper, around),
        cpus=0 if process.machine is None else process.machine.cpus,
    )


def _refuse_null(process: Process) -> None:
    """Refuse text that execve(2) would end at a null character. ConfigError says which."""
    for what, texts in (("command", process.argv), ("environment", (*process.env, *process.env.values()))):
        for text in texts:
            if "\0" in text:
                raise ConfigError(f"a null character in the {what} of a step: {text[:_SHOWN]!r}")
    for secret in process.secrets:
        if secret.variables and b"\0" in secret.value:
            raise ConfigError(f"a null character in the secret {secret.name}, which an environment variable is to hold")


def upper_directories(sandbox: Sandbox, around: Surroundings) -> tuple[str, ...]:
    """Return the directories that must be there, and empty, for the overlays to write to: upper and work ones."""
    names = ["root", *(f"host/{name}" for name in _overlaid(around.host_image))]
    tops = (sandbox.rootfs.upper, sandbox.rootfs.work)
    changes = [bind.changes for bind in sandbox.binds if bind.changes is not None]
    return (
        *(f"{top}/{name}" for name in names for top in tops),
        *(f"{directory}/{name}" for directory in changes for name in ("upper", "work")),
    )


def _ops(sandbox: Sandbox, around: Surroundings, *, has_own_network: bool) -> Iterator[Op]:
    yield _overlay("/", "root", sandbox, around, _root_lowers(sandbox, around))
    if around.host_image is not None:
        yield from _host(around.host_image, sandbox, around)
    yield from _names(sandbox, around)
    yield from (_bind(bind, around) for bind in sandbox.binds)
    if sandbox.process.secrets:
        yield _secrets(sandbox.process)
    yield from _devices()  # from here on: what no link of an image and no bind of a user may lead to
    yield from _kernel_filesystems(has_own_network=has_own_network)
    yield from _processors(sandbox.process, around)
    yield from map(ops.Mask, _MASKED)
    yield from (ops.MaskOfEach(*names) for names in _MASKED_OF_EACH)
    yield from map(ops.ReadOnly, _READ_ONLY)


def _overlay(target: str, name: str, sandbox: Sandbox, around: Surroundings, lowers: tuple[str, ...]) -> Op:
    upper, work = (_below(path / name, around) for path in (sandbox.rootfs.upper, sandbox.rootfs.work))
    return ops.Overlay(target, lowers, upper, work)


def _root_lowers(sandbox: Sandbox, around: Surroundings) -> tuple[str, ...]:
    found = tuple(_below(layer / "root", around) for layer in sandbox.rootfs.lowers)
    return found or ("mnt/copies",)  # overlayfs wants one; it is empty


def _host(image: HostImage, sandbox: Sandbox, around: Surroundings) -> Iterator[Op]:
    for name, to in image.links:
        yield ops.Symlink(f"/{name}", to)
    for name in _overlaid(image):
        if name in image.mounted:
            yield ops.Copy(f"/{name}", name)
        beneath = f"copy:{name}" if name in image.mounted else f"/{name}"
        layers = zip(sandbox.rootfs.lowers, around.host_layers, strict=True)
        above = tuple(_below(layer / "host" / name, around) for layer, names in layers if name in names)
        yield _overlay(f"/{name}", f"host/{name}", sandbox, around, (beneath, *above))
    for name in (*image.shown, *(name for name in image.overlaid if name not in _overlaid(image))):
        yield ops.Bind(f"/{name}", f"/{name}", _NOSUID | _NODEV | _RDONLY, recursive=True)
    yield from map(ops.Mask, _HOST_SERVICES)
    for name, mode in _HOST_DIRECTORIES.items():
        yield ops.Directory(f"/{name}", mode)


def _overlaid(image: HostImage | None) -> tuple[str, ...]:
    """Return the directories to lay an overlay on: of those with mounts in them only /etc, which can be copied."""
    if image is None:
        return ()
    return tuple(name for name in image.overlaid if name not in image.mounted or name == "etc")


def _secrets(process: Process) -> Op:
    size = sum(len(secret.value) // _PAGE + 1 for secret in process.secrets) * _PAGE
    return ops.Filesystem("tmpfs", PLACE, _INERT, (("mode", "0700"), ("size", str(size))))


def _devices() -> Iterator[Op]:
    yield ops.Filesystem("tmpfs", "/dev", _NOSUID | _NOEXEC, (("mode", "0755"), ("size", "65536k")))
    for name in _DEVICES:
        yield ops.Bind(f"/dev/{name}", f"/dev/{name}", _NOSUID | _NOEXEC, recursive=False)
    for name, to in _DEVICE_LINKS.items():
        yield ops.Symlink(f"/dev/{name}", to)
    terminals = (("newinstance", ""), ("ptmxmode", "0666"), ("mode", "0620"))
    yield ops.Filesystem("devpts", "/dev/pts", _NOSUID | _NOEXEC, terminals)
    yield ops.Filesystem("tmpfs", "/dev/shm", _INERT, (("mode", "1777"), ("size", "65536k")))  # noqa: S108  # the step's own
    yield ops.Filesystem("mqueue", "/dev/mqueue", _INERT)


def _kernel_filesystems(*, has_own_network: bool) -> Iterator[Op]:
    yield ops.Filesystem("proc", "/proc", _INERT)
    if has_own_network:
        yield ops.Filesystem("sysfs", "/sys", _INERT | _RDONLY)
    else:  # the kernel shows a new sysfs only to who owns the network namespace
        yield ops.Bind("/sys", "/sys", _INERT | _RDONLY, recursive=True)


def _processors(process: Process, around: Surroundings) -> Iterator[Op]:
    """Show as many processors as the process is to be told of: where libc counts them (sysconf(3))."""
    if process.machine is None or process.machine.cpus_online == around.cpus_online or not around.cpus_online:
        return
    count = process.machine.cpus_online
    for name in _CPU_LISTS:
        yield ops.Text(f"/sys/devices/system/cpu/{name}", f"0-{count - 1}\n" if count > 1 else "0\n")
        yield ops.ReadOnly(f"/sys/devices/system/cpu/{name}")


def _names(sandbox: Sandbox, around: Surroundings) -> Iterator[Op]:
    hostname = sandbox.process.hostname
    local = _LOCAL_NAMES.format(hostname=hostname)
    if sandbox.process.host_names:  # not of ::1, which programs would try first, and where few servers listen
        local = f"127.0.0.1\t{' '.join(sandbox.process.host_names)}\n{local}"
    yield ops.Text("/etc/hosts", f"{around.host_names.rstrip()}\n{local}".lstrip())
    yield ops.Text("/etc/hostname", f"{hostname}\n")
    if around.resolver is not None:
        yield ops.Text("/etc/resolv.conf", around.resolver)
    if around.ids == 1 and not sandbox.rootfs.host:
        yield ops.Text(_APT, _APT_STAYS_ROOT, is_optional=True)


def _bind(bind: Bind, around: Surroundings) -> Op:
    if bind.changes is not None:
        upper, work = (_below(bind.changes / name, around) for name in ("upper", "work"))
        return ops.Overlay(bind.target, (_below(bind.source, around),), upper, work)
    attributes = _NOSUID | _NODEV | (0 if bind.writable else _RDONLY)
    return ops.Bind(_below(bind.source, around), bind.target, attributes, recursive=False)


def _below(path: Path, around: Surroundings) -> str:
    """Return the path relative to the store, where the launcher works: fsconfig(2) takes 255 bytes."""
    return os.path.relpath(path, around.store)
