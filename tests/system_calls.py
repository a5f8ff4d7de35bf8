"""System calls by number, as a program in a sandbox could make them that brings its own C library."""

from __future__ import annotations

import json
import platform

from ci_env_runners.seccomp.compile import table
from tests.attempts import PYTHON
from tests.sandboxes import Place

# `outcome` is 0 or the name of the error.
_PROGRAM = """
import ctypes, errno, json, os, socket
libc = ctypes.CDLL(None, use_errno=True)
def outcome(name, *arguments):
    result = libc.syscall(NUMBERS[name], *(ctypes.c_long(argument) for argument in arguments))
    return 0 if result >= 0 else errno.errorcode[ctypes.get_errno()]
def opened(*arguments):
    try:
        socket.socket(*arguments).close()
    except OSError as error:
        return errno.errorcode[error.errno]
    return 0
"""


def numbers() -> dict[str, int]:
    """Return the numbers of all calls that this machine has, by name."""
    machine = platform.machine()
    return {call.name: call.numbers[machine] for call in table() if machine in call.numbers}


def tried(place: Place, expression: str, *, user: str = "0", before: str = "") -> object:
    """Return what `expression` gives as JSON in a program that has executed `before`."""
    code = f"NUMBERS = {numbers()}\n{_PROGRAM}\n{before}\nprint(json.dumps({expression}))"
    done = place.execute(place.sandbox((PYTHON, "-c", code), user=user))
    assert done.exit.code == 0, done.output
    found: object = json.loads(done.output)
    return found
