"""How a process ended, in words that all views, verdicts and records share. Pure."""

from __future__ import annotations

from ci_env.capsule.record import Ended
from ci_env.pipeline.model import DEFAULT_PIDS, Limits


def describe(
    ended: Ended | None,
    code: int | None,
    number: int | None,
    *,
    timeout_s: int | None = None,
    limits: Limits | None = None,
) -> str:
    """Return `exit status 2`, `signal 9 (SIGKILL)`, `timeout after 30 s`, `cancelled` or `disk limit of 1GiB reached`.

    Empty where it did not run. `limits` are those that it had; None: not known.
    """
    if ended is None:
        return ""
    if ended == "timeout":
        return "timeout" if timeout_s is None else f"timeout after {timeout_s} s"
    if ended == "cancelled":
        return "cancelled"
    status = f"exit status {code}" if number is None else f"signal {number}{_name(number)}"
    if ended == "disk":
        return _limit("disk limit", None if limits is None else limits.disk_bytes)
    if ended == "oom":
        return f"{_memory(limits)}, {status}"
    if ended == "pids":
        return f"{_processes(limits)}, {status}"
    return status


def _memory(limits: Limits | None) -> str:
    """Return the limit's words, or those for memory that the machine lacked, or what is around ci-env."""
    if limits is not None and limits.memory_bytes is None:
        return "out of memory"
    return _limit("memory limit", None if limits is None else limits.memory_bytes)


def _processes(limits: Limits | None) -> str:
    if limits is None:
        return "limit of processes reached"
    return f"limit of {limits.pids or DEFAULT_PIDS} processes reached"


def _limit(what: str, size_bytes: int | None) -> str:
    from ci_env.pipeline.quantities import written_size  # only who reaches a limit pays for it

    return f"{what} reached" if size_bytes is None else f"{what} of {written_size(size_bytes)} reached"


def _name(number: int) -> str:
    import signal  # costs a millisecond, which a run without such an ending need not pay

    known = {int(other): other.name for other in signal.Signals}
    return f" ({known[number]})" if number in known else ""
