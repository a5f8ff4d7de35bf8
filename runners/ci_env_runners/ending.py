"""How a sandbox ended, from what its PID 1 said (child.py): an Exit, or the error that explains why there was none."""

from __future__ import annotations

import errno
import json
import os
import signal
from pathlib import Path
from typing import Literal, cast

from ci_env.errors import ConfigError, HostError
from ci_env.events import Usage
from ci_env.ports import Exit
from ci_env_runners.cgroup import NO_ACCOUNT, Account

Reason = Literal["exit", "timeout", "cancelled"]
Limit = Literal["oom", "pids", "disk"]
_LIMITS = {
    "max_mnt_namespaces": "mount",
    "max_pid_namespaces": "PID",
    "max_net_namespaces": "network",
    "max_uts_namespaces": "UTS",
    "max_ipc_namespaces": "IPC",
    "max_cgroup_namespaces": "cgroup",
}
_UNSUITABLE = (errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.EEXIST)
_UNSUITABLE_HINT = (
    "the image has something else there; its /dev, /proc and /sys must be directories, and its /etc/hosts a file"
)
_SHELL_SIGNAL = 128
_NO_NETWORK = "the step tried to reach a network and has none; `network: nat` gives it one"
_FOREIGN = (
    "a program was ended for a system call (SIGSYS), as those for another architecture are: 32-bit ones do not run here"
)
_SINGLE = "only root exists inside, as this user has no subordinate ids: `ci-env doctor` says how to get them"


def ended(said: bytes, reason: Reason, mode: str, account: Account = NO_ACCOUNT) -> Exit:
    """Return how the step ended. PID 1 said nothing where it was killed with its namespace.

    Only its first line counts: what could not become the step says so itself, and then ends like one.
    """
    lines = [cast("dict[str, object]", json.loads(line)) for line in said.splitlines() if line.strip()]
    answer = next((line for line in lines if "status" in line or "failed" in line), None)
    if answer is not None and "failed" in answer:
        raise failure(answer, mode)
    limit: Limit | None = "disk" if any("over" in line for line in lines) else account.reached
    used = _used(lines, account)
    if answer is None:
        if reason == "exit" and limit is None:
            raise HostError("a sandbox ended without a word", hint="see the kernel's log for why (out of memory?)")
        why = (limit or reason) if reason == "exit" else reason
        return Exit(None, int(signal.SIGKILL), why, used, _hint(lines, -signal.SIGKILL))
    code = os.waitstatus_to_exitcode(cast("int", answer["status"]))
    number = -code if code < 0 else None
    return Exit(code if code >= 0 else None, number, _reason(reason, code, limit), used, _hint(lines, code))


def _reason(reason: Reason, code: int, limit: Limit | None) -> Literal[Reason, Limit, "signal"]:
    """Return why it ended as it did. To have come to a limit and to have got along with that is no failure."""
    if reason != "exit":
        return reason
    if limit is not None and (code != 0 or limit == "disk"):
        return limit
    return "signal" if code < 0 else "exit"


def _hint(lines: list[dict[str, object]], code: int) -> str:
    """Return what may be behind a failure: a call that the filter kills for, or a network that is not there."""
    if code in (-signal.SIGSYS, _SHELL_SIGNAL + signal.SIGSYS):
        return _FOREIGN
    return _NO_NETWORK if code != 0 and any("sent" in line for line in lines) else ""


def _used(lines: list[dict[str, object]], account: Account) -> Usage | None:
    """Return what was used, by its control group where that knows, else by what its monitor knows."""
    told = next((cast("dict[str, int]", line["used"]) for line in lines if "used" in line), None)
    if told is None:
        return None
    traffic = next((line for line in lines if "read_bytes" in line), dict[str, object]())
    cpu_ms, peak = account.cpu_ms, account.peak_memory_bytes
    return Usage(
        cpu_ms=told["cpu_ms"] if cpu_ms is None else cpu_ms,
        peak_memory_bytes=told["peak_memory_bytes"] if peak is None else peak,
        read_bytes=cast("int | None", traffic.get("read_bytes")),
        written_bytes=cast("int | None", traffic.get("written_bytes")),
    )


def failure(answer: dict[str, object], mode: str) -> Exception:
    """Return the error that what failed inside comes to, in a run whose ids are of the kind `mode` (idmap.py)."""
    what, error, kind = str(answer["failed"]), cast("int", answer["errno"]), answer["kind"]
    if kind == "user":
        return ConfigError(what, hint="`user:` takes names and numbers of the image's /etc/passwd and /etc/group")
    if kind == "ids":
        return HostError(what, hint=_SINGLE if mode == "single" else "use a user with a smaller id")
    if kind == "bug":
        return RuntimeError(f"in a sandbox: {what}")
    reason = os.strerror(error) if error else "for no known reason"
    call = f" ({answer['call']})" if answer.get("call") else ""
    if kind == "workdir":
        return ConfigError(f"cannot {what}: {reason}", hint="`workdir:` must lead to a directory of the rootfs")
    if kind == "namespace" or answer.get("call") == "unshare":
        return _refused(what, reason)
    if kind == "start" and error == errno.EAGAIN:
        return HostError(f"cannot {what}: {reason}", hint="end other processes, or raise the limit (ulimit -u)")
    if kind == "mount" and error in _UNSUITABLE:
        return ConfigError(f"cannot {what}: {reason}", hint=_UNSUITABLE_HINT)
    return HostError(f"cannot {what}: {reason}{call}", hint="`ci-env doctor` says what this host lacks")


def _refused(what: str, reason: str) -> HostError:
    """Return why a namespace was not to be had: a limit of 0 is named, whatever else it may be is for doctor."""
    for file, kind in _LIMITS.items():
        if _is_zero(file):
            setting = f"user.{file}"
            fix = f"allow {kind} namespaces:\n$ sudo sysctl -w {setting}=15000"
            return HostError(f"cannot {what}: {setting} is 0", hint=f"{fix}\n`ci-env doctor` tells more")
    return HostError(f"cannot {what}: {reason} (unshare)", hint="`ci-env doctor` says what this host lacks")


def _is_zero(file: str) -> bool:
    try:
        return Path("/proc/sys/user", file).read_text().strip() == "0"
    except OSError:
        return False
