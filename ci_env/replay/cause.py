"""What kind of failure it was, in one word. Pure; owns the words, and how the two that nobody tells us are known.

That a command was missing, or the network, shows in the status and in what was written last only. A cause never makes
two failures the same: it can tell them apart, and says more than a status.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from ci_env.capsule.record import Ended
from ci_env.replay.normalise import normalise

Cause = Literal["exit", "signal", "timeout", "oom", "pids", "disk", "missing-command", "network", "cancelled"]

CUT: frozenset[Cause] = frozenset({"timeout", "oom", "signal"})
"""the process was stopped amid what it did, at a point that no two runs share"""
AT_LIMIT: frozenset[Cause] = frozenset({"timeout", "oom", "pids", "disk"})

_NOT_RUN = {
    127: re.compile(r"not found|No such file or directory|unknown command", re.IGNORECASE),
    126: re.compile(r"Permission denied|cannot execute|Exec format error|Is a directory|not executable", re.IGNORECASE),
}
_NETWORK = re.compile(
    r"Could(?: not|n't) resolve|Temporary failure (?:in name resolution|resolving)|Name or service not known"
    r"|Name does not resolve|nodename nor servname|getaddrinfo|ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ENETUNREACH"
    r"|Network is unreachable|No route to host|Connection (?:refused|timed out|reset by peer)|connection refused"
    r"|no such host|dial tcp|i/o timeout|TLS handshake timeout|Failed to establish a new connection|bad address '"
    r"|unable to resolve host|Failed to connect to|network unreachable"
)
_LAST_LINES = 30


def cause(ended: Ended, code: int | None, output: Sequence[str] | None) -> Cause:
    """Return what ended the step, by its last lines too where they are known."""
    if ended != "exit":
        return ended
    last = normalise((output or ())[-_LAST_LINES:])
    not_run = _NOT_RUN.get(code or 0)
    if not_run is not None and any(map(not_run.search, last)):
        return "missing-command"
    return "network" if code and any(map(_NETWORK.search, last)) else "exit"
