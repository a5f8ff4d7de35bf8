"""The filter that every step runs under: which system calls it can make. Made beforehand (compile.py), read here."""

from __future__ import annotations

import functools
from pathlib import Path

from ci_env.errors import HostError
from ci_env.files import explained

MACHINES = ("x86_64", "aarch64")
"""as uname(2) names them"""


@functools.cache
def step_filter(machine: str, *, emulates_root: bool) -> bytes:
    """Return the filter, an array of `struct sock_filter`. HostError where there is none for this kind of machine.

    With `emulates_root`, calls that only fail because one id is mapped are answered with success: compile.py.
    """
    if machine not in MACHINES:
        message = f"there is no filter of system calls for {machine}, only for {' and '.join(MACHINES)}"
        raise HostError(message, hint="steps cannot be isolated on this machine")
    path = file_of(machine, emulates_root=emulates_root)
    with explained("read", path):
        return path.read_bytes()


def file_of(machine: str, *, emulates_root: bool) -> Path:
    """Return where the compiled filter is."""
    return Path(__file__).with_name(f"{machine}{'-one-id' if emulates_root else ''}.bpf")
