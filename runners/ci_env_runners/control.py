"""What is said over a control: one message in, answers of a line each out. Standard library only."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Sequence
from contextlib import suppress

_LENGTH = struct.Struct("=I")


def receive(control: socket.socket) -> bytes:
    """Return the message that comes first: its length, then its bytes."""
    (length,) = _LENGTH.unpack(control.recv(_LENGTH.size, socket.MSG_WAITALL))
    return control.recv(length, socket.MSG_WAITALL)


def receive_with(control: socket.socket, most: int) -> tuple[bytes, list[int]]:
    """Return the message that comes first, and the descriptors sent with it, at most `most`."""
    header, descriptors, _, _ = socket.recv_fds(control, _LENGTH.size, most, socket.MSG_CMSG_CLOEXEC)
    (length,) = _LENGTH.unpack(header)
    return control.recv(length, socket.MSG_WAITALL), descriptors


def send_with(control: socket.socket, content: bytes, descriptors: Sequence[int]) -> None:
    """Send `content` as a message, with descriptors, which stay the caller's."""
    framed = message(content)
    socket.send_fds(control, [framed[: _LENGTH.size]], list(descriptors))
    control.sendall(framed[_LENGTH.size :])


def message(content: bytes) -> bytes:
    """Return `content` as `receive` expects it."""
    return _LENGTH.pack(len(content)) + content


def tell(control: socket.socket, answer: dict[str, object]) -> None:
    """Send an answer; one who has gone does not miss it."""
    with suppress(OSError):
        control.sendall(json.dumps(answer).encode() + b"\n")


def not_started(error: OSError) -> dict[str, object]:
    """Return the answer of who could not fork."""
    return {"failed": "start a process", "errno": error.errno or 0, "kind": "start"}
