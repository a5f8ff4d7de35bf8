"""Why the kernel refuses a user namespace, and what to do about it. Owns the settings that forbid one, and their names.

Sources: user_namespaces(7) and unshare(2); Debian's and Arch's kernel patch (`unprivileged_userns_clone`); Ubuntu's
"Restricted unprivileged user namespaces" (23.10 and later).
"""

from __future__ import annotations

import errno
import os
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_CAP_SYS_ADMIN = 1 << 21
_SECCOMP_FILTER = "2"
_PERSISTENT = "to keep a setting, put it into a file in /etc/sysctl.d"


@dataclass(frozen=True, slots=True)
class Restrictions:
    """What may forbid user namespaces to this process."""

    max_user_namespaces: int | None
    unprivileged_userns_clone: int | None
    """None: not a setting of this kernel"""
    apparmor_restrict_unprivileged_userns: int | None
    """None: not a setting of this kernel"""
    is_privileged: bool
    """CAP_SYS_ADMIN in its user namespace"""
    is_filtered: bool
    """it runs under a seccomp filter, as in a container"""
    is_in_chroot: bool
    program: str
    """its executable, as AppArmor names it"""


def read_restrictions() -> Restrictions:
    """Return the restrictions in force. What cannot be read counts as absent."""
    status = dict(line.split(":", 1) for line in _read("/proc/self/status").splitlines() if ":" in line)
    return Restrictions(
        max_user_namespaces=_setting("user/max_user_namespaces"),
        unprivileged_userns_clone=_setting("kernel/unprivileged_userns_clone"),
        apparmor_restrict_unprivileged_userns=_setting("kernel/apparmor_restrict_unprivileged_userns"),
        is_privileged=bool(int(status.get("CapEff", "0"), 16) & _CAP_SYS_ADMIN),
        is_filtered=status.get("Seccomp", "").strip() == _SECCOMP_FILTER,
        is_in_chroot=all(line.split()[4] != "/" for line in _read("/proc/self/mountinfo").splitlines()),
        program=os.path.realpath(sys.executable),
    )


def explain(error: int, restrictions: Restrictions) -> tuple[str, str]:
    """Return why a user namespace, or the rights in it, were refused with `error`, and how to get them."""
    causes = list(_causes(error, restrictions))
    if not causes:
        return _unknown(error)
    fixes = [fix for _, fix in causes]
    if any("sysctl" in fix for fix in fixes):
        fixes.append(_PERSISTENT)
    return "; or ".join(reason for reason, _ in causes), "\n".join(fixes)


def is_restricted_by_apparmor(restrictions: Restrictions) -> bool:
    """Tell whether AppArmor takes an unprivileged process's rights in a new user namespace, unless a profile allows."""
    return restrictions.apparmor_restrict_unprivileged_userns == 1 and not restrictions.is_privileged


def apparmor_fix(program: str) -> str:
    """Return the commands that load an AppArmor profile which allows `program` user namespaces."""
    profile = f"abi <abi/4.0>,\\nprofile ci-env {program} flags=(unconfined) {{\\n  userns,\\n}}\\n"
    return (
        f"load an AppArmor profile that allows {program} user namespaces (docs/doctor.md says which Pythons that is):\n"
        f"$ printf {shlex.quote(profile)} | sudo tee /etc/apparmor.d/ci-env\n"
        "$ sudo apparmor_parser --replace /etc/apparmor.d/ci-env\n"
        "or allow them to every program:\n"
        "$ sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
    )


def _causes(error: int, restrictions: Restrictions) -> Iterator[tuple[str, str]]:
    if error == errno.ENOSPC:
        yield _limit(restrictions.max_user_namespaces)
    if error in (errno.EINVAL, errno.ENOSYS):
        yield "this kernel is built without user namespaces", "use a kernel with CONFIG_USER_NS=y"
    if error not in (errno.EPERM, errno.EACCES):
        return
    if restrictions.unprivileged_userns_clone == 0 and not restrictions.is_privileged:
        fix = "allow them:\n$ sudo sysctl -w kernel.unprivileged_userns_clone=1"
        yield "kernel.unprivileged_userns_clone is 0, so only root may make them", fix
    if is_restricted_by_apparmor(restrictions):
        reason = "kernel.apparmor_restrict_unprivileged_userns is 1, so AppArmor allows them to profiled programs only"
        yield reason, apparmor_fix(restrictions.program)
    if restrictions.is_filtered:
        yield "a seccomp filter is in force here, as in a container, and it may refuse them", _CONTAINER
    if restrictions.is_in_chroot:
        yield "this process is in a chroot, where the kernel refuses them", "run ci-env outside of the chroot"


_CONTAINER = (
    "run ci-env outside of the container, or start the container with more rights:\n"
    "$ docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined "
    "--security-opt systempaths=unconfined …"
)


def _limit(limit: int | None) -> tuple[str, str]:
    if limit == 0:
        return "user.max_user_namespaces is 0", "allow them:\n$ sudo sysctl -w user.max_user_namespaces=15000"
    reason = f"the limit user.max_user_namespaces ({limit} here) is reached here or in an outer user namespace"
    fix = "end what uses so many, or raise user.max_user_namespaces there"
    return f"{reason}, or they are nested 32 deep", fix


def _unknown(error: int) -> tuple[str, str]:
    reason = f"the kernel refuses them ({os.strerror(error)}), and no setting known to ci-env says why"
    return reason, "look into the kernel's log for a denial by a security module (SELinux, AppArmor, Landlock, seccomp)"


def _setting(name: str) -> int | None:
    text = _read(f"/proc/sys/{name}").strip()
    return int(text) if text.isdecimal() else None


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
