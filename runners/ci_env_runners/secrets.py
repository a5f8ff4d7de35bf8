"""Secrets inside a sandbox: files in memory that only the step's user can read. Runs inside, as PID 1, before the step.

Values come over the control in a message of their own: the Spec, which errors and tests show parts of, holds none.
Standard library only.
"""

from __future__ import annotations

import errno
import json
import os
import socket
from collections.abc import Mapping

from ci_env_runners import syscalls
from ci_env_runners.control import receive
from ci_env_runners.identity import Identity
from ci_env_runners.mounts import Failed
from ci_env_runners.ops import Spec

PLACE = "/run/secrets"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

Values = Mapping[str, bytes]


def receive_values(control: socket.socket) -> Values:
    """Return the values by name: what comes after a Spec that has secrets."""
    return {name: bytes.fromhex(value) for name, value in json.loads(receive(control)).items()}


def lay(values: Values, identity: Identity) -> None:
    """Write the files to what has been mounted for them, which nobody can write to afterwards. Failed if it cannot be.

    No link leads there, and where a cache of other jobs lies around it, they can have moved it away: then it is not a
    filesystem of its own, and gets nothing.
    """
    try:
        directory = syscalls.openat2(syscalls.AT_FDCWD, PLACE, _DIRECTORY, 0, syscalls.RESOLVE_NO_SYMLINKS)
        try:
            if os.fstat(directory).st_dev == os.stat("..", dir_fd=directory).st_dev:
                raise OSError(errno.ENODEV, os.strerror(errno.ENODEV), PLACE)
            for name, value in values.items():
                _write(directory, name, value, identity)
            os.fchown(directory, identity.uid, identity.gid)
            syscalls.mount_setattr(directory, "", syscalls.AT_EMPTY_PATH, syscalls.MOUNT_ATTR_RDONLY)
        finally:
            os.close(directory)
    except OSError as error:
        raise Failed(f"give the step its secrets in {PLACE}", error) from error


def with_variables(spec: Spec, values: Values) -> Spec:
    """Return `spec` with the variables in its environment that are to hold secrets."""
    given = {variable: os.fsdecode(values[name]) for name, variables in spec.secrets for variable in variables}
    return spec._replace(env={**spec.env, **given})


def _write(directory: int, name: str, value: bytes, identity: Identity) -> None:
    file = os.open(name, _NEW_FILE, 0o400, dir_fd=directory)
    try:
        view = memoryview(value)
        while view:
            view = view[os.write(file, view) :]
        os.fchown(file, identity.uid, identity.gid)
    finally:
        os.close(file)
