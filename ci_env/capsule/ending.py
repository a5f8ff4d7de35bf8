"""How a process ended, in words that all views, verdicts and records share. Pure."""

from __future__ import annotations

from ci_env.capsule.record import Ended


def describe(ended: Ended | None, code: int | None, number: int | None, *, timeout_s: int | None = None) -> str:
    """Return `exit status 2`, `signal 9 (SIGKILL)`, `timeout after 30 s` or `cancelled`; empty where it did not run."""
    if ended is None:
        return ""
    if ended == "timeout":
        return "timeout" if timeout_s is None else f"timeout after {timeout_s} s"
    if ended == "cancelled":
        return "cancelled"
    if number is not None:
        return f"signal {number}{_name(number)}"
    return f"exit status {code}"


def _name(number: int) -> str:
    import signal  # costs a millisecond, which a run without such an ending need not pay

    known = {int(other): other.name for other in signal.Signals}
    return f" ({known[number]})" if number in known else ""
