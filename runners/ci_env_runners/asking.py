"""What a visitor (visits.py) says that nobody attends: its end and the last of its output, within a time limit."""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from contextlib import ExitStack

from ci_env.ports import Answer, Exit
from ci_env_runners.attending import exit_of

_KEPT_BYTES = 4096
_PIECE = 65536


def hear(visitor: int, timeout_s: float) -> Answer:
    """Return how the visitor ended, and what it said. Takes over `visitor`; the visitor ends with it."""
    with socket.socket(fileno=visitor) as control, ExitStack() as pipes:
        control.settimeout(timeout_s)
        deadline = time.monotonic() + timeout_s
        try:
            told, streams, _, _ = socket.recv_fds(control, _PIECE, 3, socket.MSG_CMSG_CLOEXEC)
        except TimeoutError:
            return Answer(Exit(None, int(signal.SIGKILL), "timeout"), b"")
        for stream in streams:
            pipes.callback(os.close, stream)
        return _hear(control, streams[1:], deadline) if streams else Answer(_ended(told), b"")


def _hear(control: socket.socket, outputs: list[int], deadline: float) -> Answer:
    said = b""
    poll = select.poll()
    for output in outputs:
        os.set_blocking(output, False)
        poll.register(output, select.POLLIN)
    poll.register(control, select.POLLIN)
    while (left_s := deadline - time.monotonic()) > 0:
        ready = {descriptor for descriptor, _ in poll.poll(left_s * 1000)}
        for output in [output for output in outputs if output in ready]:
            piece = _read(output)
            said = (said + piece)[-_KEPT_BYTES:]
            if not piece:
                poll.unregister(output)
        if control.fileno() in ready:
            told = control.recv(_PIECE)
            for output in outputs:  # what is still in it; no more is awaited of others that it has started
                said = (said + _read(output))[-_KEPT_BYTES:]
            return Answer(_ended(told), said)
    return Answer(Exit(None, int(signal.SIGKILL), "timeout"), said)


def _read(output: int) -> bytes:
    try:
        return os.read(output, _PIECE)
    except BlockingIOError:
        return b""


def _ended(told: bytes) -> Exit:
    if not told:
        return Exit(None, int(signal.SIGKILL), "cancelled")
    return exit_of(told)
