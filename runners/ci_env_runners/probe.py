"""What this host can do for the runner, for `ci-env doctor`: each ability, what its lack costs and how it is had.

Owns the words, and what is required. Tries nothing itself: that is trials.py and delegation.py, through host.py.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ci_env.ports import Ability
from ci_env_runners import idmap, refusal
from ci_env_runners.delegation import CONTROLLERS
from ci_env_runners.host import Host, examine
from ci_env_runners.measures import in_force

if TYPE_CHECKING:
    from ci_env_runners.trials import Failure

_NO_STEP = "no step can run"
_NEEDED_IDS = 65536
_FIRST = "get user namespaces first"
_REAL_ROOT = "root is a user namespace's here; run ci-env as the host's root, or as an ordinary user"
_CONTAINER = "if this is a container, start it with more rights (docs/doctor.md)"


def abilities(store: Path | None = None) -> tuple[Ability, ...]:
    """Try what this host can do, in 0.1 s. Never raises: what cannot be tried is missing, and its detail says why.

    What depends on a filesystem is tried on that of `store`, which need not exist yet; None: of temporary files.
    """
    found = judge(examine(store))
    can_run = not any(ability.required and ability.state == "missing" for ability in found)
    return (*found, _in_force()) if can_run else found


def judge(host: Host) -> tuple[Ability, ...]:
    """Return what `host` can do, most important first."""
    return (
        _user_namespaces(host),
        _apparmor_permission(host),
        _other_namespaces(host),
        _kernel_filesystems(host),
        _mount_api(host),
        _overlay(host),
        _idmapped_mounts(host),
        _subordinate_ids(host),
        _seccomp(host),
        _openat2(host),
        _nat(host),
        _tun(host),
        _control_groups(host),
    )


def _in_force() -> Ability:
    """Return the measures that each step would be under, as they are in the record; for limits see control groups."""
    return _found("measures in force", ", ".join(in_force(idmap.choose().mode)), required=False)


def explain_user_namespace_refusal(error: int) -> tuple[str, str]:
    """Return why making a user namespace, or using its rights, failed with errno `error`; and the fix.

    For the runner as well, so that its HostError and `ci-env doctor` say the same. Lines of the fix that begin with
    `$ ` are commands.
    """
    return refusal.explain(error, refusal.read_restrictions())


def _user_namespaces(host: Host) -> Ability:
    name, failure = "user namespaces", host.failure("user_namespace")
    if failure is None:
        return _found(name, "made one and used its rights")
    what, error = failure
    reason, fix = refusal.explain(error, host.restrictions) if error else ("", _CONTAINER)
    return Ability(name, "missing", ": ".join(filter(None, (f"cannot {what}", reason))), _NO_STEP, fix, required=True)


def _apparmor_permission(host: Host) -> Ability:
    name = "AppArmor permission"
    if not refusal.is_restricted_by_apparmor(host.restrictions):
        return _found(name, "no restriction of user namespaces")
    if host.failure("user_namespace") is None:
        return _found(name, "user namespaces are restricted, but a profile allows them here")
    program = host.restrictions.program
    detail = f"no profile allows {program} user namespaces"
    return Ability(name, "missing", detail, _NO_STEP, refusal.apparmor_fix(program), required=True)


def _other_namespaces(host: Host) -> Ability:
    found = "made: mount, pid, network, uts, ipc, cgroup"
    fix = f"use a kernel with CONFIG_NAMESPACES=y, and look at user.max_*_namespaces; {_CONTAINER}"
    return _judge(host, "other namespaces", "namespaces", found=found, cost=_NO_STEP, fix=fix)


def _kernel_filesystems(host: Host) -> Ability:
    found = "mounted new ones in new namespaces"
    fix = f"unmount what lies over files in /proc and /sys; {_CONTAINER}"
    return _judge(host, "proc and sysfs", "proc", found=found, cost=_NO_STEP, fix=fix)


def _mount_api(host: Host) -> Ability:
    found = "fsopen, move_mount and mount_setattr work"
    fix = f"use Linux 5.12 or newer; {_CONTAINER}"
    return _judge(host, "mount API", "mount_api", found=found, cost=_NO_STEP, fix=fix)


def _overlay(host: Host) -> Ability:
    failure = host.failure("overlay")
    fix = "put the store (CI_ENV_HOME) on ext4, xfs, btrfs, or with Linux 6.6 on tmpfs; Linux must be 5.11 or newer"
    if failure and failure[1] == errno.ENODEV:
        fix = "load the module:\n$ sudo modprobe overlay"
    if failure and failure[1] in (errno.EACCES, errno.EROFS, errno.ENOSPC, errno.EDQUOT):
        fix = "point CI_ENV_HOME at a directory of your own that is writable and has space"
    found = f"mounted one with userxattr on {host.place}"
    return _judge(host, "overlay", "overlay", found=found, cost=_NO_STEP, fix=fix)


def _idmapped_mounts(host: Host) -> Ability:
    name = "idmapped mounts"
    if not host.is_root:
        return _found(name, "not needed: only root uses them", required=False)
    fix = "put the store (CI_ENV_HOME) on ext4, xfs, btrfs, or with Linux 6.3 on tmpfs"
    if host.failure("idmapped_mount") == host.failure("id_map"):
        fix = _REAL_ROOT
    found = f"mapped the ids of a mount on {host.place}"
    return _judge(host, name, "idmapped_mount", found=found, cost=_NO_STEP, fix=fix)


def _subordinate_ids(host: Host) -> Ability:
    name = "subordinate ids"
    if host.is_root:
        found = "not needed: root maps ids itself"
        return _judge(host, name, "id_map", found=found, cost=_NO_STEP, fix=_REAL_ROOT)
    failure = host.failure("subordinate_ids")
    if failure:
        return Ability(name, "missing", _detail(host, failure), _ONE_ID, _subordinate_ids_fix(host, failure), False)
    if host.subordinate_ids < _NEEDED_IDS:
        detail = f"{host.subordinate_ids} ids in /etc/subuid and /etc/subgid"
        cost = f"images that use ids above {host.subordinate_ids} cannot be unpacked"
        return Ability(name, "degraded", detail, cost, _more_ids(host), required=False)
    return _found(name, f"newuidmap and newgidmap mapped {host.subordinate_ids} ids", required=False)


_ONE_ID = (
    "inside, all users are one: files belong to root whoever made them, and root is emulated (chown and the like "
    "succeed without doing anything), which serves dpkg, apt-get and most builds"
)


def _subordinate_ids_fix(host: Host, failure: Failure) -> str:
    if failure == host.failure("user_namespace"):
        return _FIRST
    if not host.subordinate_ids:
        return _more_ids(host)
    if failure[1] == errno.ENOENT:
        return "install the package uidmap (Debian, Ubuntu) or shadow-utils (others):\n$ sudo apt-get install uidmap"
    return (
        "newuidmap and newgidmap need to be setuid root or to have the file capabilities cap_setuid and cap_setgid, "
        f"on a filesystem without nosuid; {_CONTAINER}:\n$ sudo chmod u+s $(command -v newuidmap newgidmap)"
    )


def _more_ids(host: Host) -> str:
    ids = f"{host.first_free_id}-{host.first_free_id + _NEEDED_IDS - 1}"
    return f"have root give you a range:\n$ sudo usermod --add-subuids {ids} --add-subgids {ids} {host.user}"


def _seccomp(host: Host) -> Ability:
    fix = f"use a kernel with CONFIG_SECCOMP_FILTER=y; {_CONTAINER}"
    return _judge(host, "seccomp filters", "seccomp", found="loaded a filter", cost=_NO_STEP, fix=fix)


def _openat2(host: Host) -> Ability:
    fix = f"use Linux 5.6 or newer; {_CONTAINER}"
    return _judge(host, "openat2", "openat2", found="resolved a path", cost=_NO_STEP, fix=fix)


def _nat(host: Host) -> Ability:
    name, cost = "network: nat", "no `network: nat`"
    if host.nat.problem and host.failure("nftables") is None:
        return Ability(name, "missing", host.nat.problem, cost, host.nat.fix, required=False)
    found = f"{host.nat.carrier} carries packets" if host.nat.carrier else "this host routes packets"
    fix = f"load the module; {_CONTAINER}:\n$ sudo modprobe nf_tables"
    return _judge(host, name, "nftables", found=found, cost=cost, fix=fix, required=False)


def _tun(host: Host) -> Ability:
    if not host.nat.carrier and not host.nat.problem:
        return _found("/dev/net/tun", "not needed: this host routes packets", required=False)
    failure = host.failure("tun")
    fix = "allow everyone to open it, as most distributions do:\n$ sudo chmod 0666 /dev/net/tun"
    if failure and failure[1] in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        fix = f"load the module; {_CONTAINER}:\n$ sudo modprobe tun"
    found = "made a network device"
    return _judge(host, "/dev/net/tun", "tun", found=found, cost="no `network: nat`", fix=fix, required=False)


def _control_groups(host: Host) -> Ability:
    name, delegation = "control groups", host.delegation
    versions = {"none": "not mounted", "hybrid": "v1 and v2"}
    version = versions.get(delegation.version, delegation.version)
    detail = f"{version}; may limit: {', '.join(delegation.limits) or 'nothing'}"
    if delegation.limits == CONTROLLERS:
        return _found(name, detail, required=False)
    lacking = ", ".join(name for name in CONTROLLERS if name not in delegation.limits)
    cost = f"limits that hold in part only, or not at all (docs/isolation.md): {lacking}"
    state: Literal["missing", "degraded"] = "degraded" if delegation.limits else "missing"
    return Ability(name, state, detail, cost, _control_groups_fix(host), required=False)


def _control_groups_fix(host: Host) -> str:
    if host.delegation.version != "v2":
        return "boot with the kernel parameter systemd.unified_cgroup_hierarchy=1"
    command = "$ systemd-run --user --scope --property=Delegate=yes ci-env …"
    return f"run ci-env where systemd delegates a group to you; {_CONTAINER}:\n{command}"


def _judge(host: Host, name: str, trial: str, *, found: str, cost: str, fix: str, required: bool = True) -> Ability:
    """Return the ability that `trial` tells of; `found` is its detail where it did not fail."""
    failure = host.failure(trial)
    if failure is None:
        return _found(name, found, required=required)
    if failure == host.failure("user_namespace"):
        fix = _FIRST
    return Ability(name, "missing", _detail(host, failure), cost, fix, required)


def _found(name: str, detail: str, *, required: bool = True) -> Ability:
    return Ability(name, "found", detail, "", "", required)


def _detail(host: Host, failure: Failure) -> str:
    if failure == host.failure("user_namespace"):
        return "not tried: needs user namespaces"
    what, error = failure
    return f"cannot {what}: {os.strerror(error)}" if error else f"cannot {what}"
