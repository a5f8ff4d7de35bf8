"""Asks at the door of a run (door.py), from another process. Knows where the door is, and what its absence means."""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Callable
from pathlib import Path

from ci_env import codec
from ci_env.errors import HostError
from ci_env.live.messages import Answer, Request
from ci_env.live.path import NAME, address
from ci_env.store.locks import exclusive

_PATIENCE_S = 15
_OPENING_S = 2
_PAUSE_S = 0.05
_PIECE = 65536
_CLOSED = (errno.ENOENT, errno.ECONNREFUSED, errno.ENOTDIR)


def knock(directory: Path, request: Request) -> tuple[Answer, int | None] | None:
    """Return the answer of the run in `directory`, and a descriptor that came with it; None: it has no door now.

    That is so before its first step really runs, and after its last. HostError where it does not answer.
    """
    try:
        with address(directory) as path, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_PATIENCE_S)
            connection.connect(path)
            connection.sendall(codec.dumps(request) + b"\n")
            return _heard(connection)
    except TimeoutError as error:
        raise HostError(f"run {directory.name} does not answer", hint="its process may be stopped (Ctrl-Z)") from error
    except (BrokenPipeError, ConnectionResetError):  # it has ended while it was being asked
        return None
    except OSError as error:
        if error.errno in _CLOSED:
            return None
        raise


def knock_patiently(
    directory: Path, request: Request, is_going_on: Callable[[], bool]
) -> tuple[Answer, int | None] | None:
    """Ask again for a while as long as there is no door and the run goes on: it may open it just now."""
    deadline = time.monotonic() + _OPENING_S
    while (found := knock(directory, request)) is None and is_going_on() and time.monotonic() < deadline:
        time.sleep(_PAUSE_S)
    return found


def clear(directory: Path) -> None:
    """Remove the door that a run which was killed has left: nobody answers there."""
    door = directory / NAME
    if door.exists():
        with exclusive(directory / "lock", wait=False) as is_over:
            if is_over:
                door.unlink(missing_ok=True)


def _heard(connection: socket.socket) -> tuple[Answer, int | None] | None:
    content, descriptors, _, _ = socket.recv_fds(connection, _PIECE, 1, socket.MSG_CMSG_CLOEXEC)
    while content and not content.endswith(b"\n"):
        piece = connection.recv(_PIECE)
        if not piece:
            break
        content += piece
    if not content:
        return None
    try:
        return codec.loads(Answer, content), descriptors[0] if descriptors else None
    except (ValueError, RecursionError) as error:
        message = f"the answer of this run cannot be understood: {error}"
        raise HostError(message, hint="use the ci-env that runs it") from error
