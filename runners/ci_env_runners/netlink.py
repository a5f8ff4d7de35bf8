"""Netlink messages, netlink(7): how they are framed, and their exchange with the kernel. Standard library only.

Messages are made where decisions are made, and sent by whoever is in the network namespace that they are for.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Sequence

ROUTE = 0
NETFILTER = 12
REQUEST = 0x01
ACK = 0x04
DUMP = 0x300
EXCL = 0x200
CREATE = 0x400
APPEND = 0x800
_NESTED = 0x8000
_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_ERROR = 2
_DONE = 3
_BUFFER = 1 << 16
_PATIENCE_S = 10


def attribute(kind: int, content: bytes) -> bytes:
    """Return an attribute, padded to the next multiple of four."""
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(content), kind) + content + bytes(-len(content) % 4)


def nested(kind: int, *attributes: bytes) -> bytes:
    """Return an attribute that holds others."""
    return attribute(kind | _NESTED, b"".join(attributes))


def text(kind: int, content: str) -> bytes:
    return attribute(kind, content.encode() + b"\0")


def message(kind: int, flags: int, *body: bytes) -> bytes:
    """Return a message without its number, which `exchange` gives it."""
    content = b"".join(body)
    return _HEADER.pack(_HEADER.size + len(content), kind, flags | REQUEST, 0, 0) + content


def open_socket(protocol: int) -> socket.socket:
    """Return a socket of the network namespace that this thread is in."""
    opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
    opened.settimeout(_PATIENCE_S)
    opened.bind((0, 0))
    return opened


def exchange(opened: socket.socket, messages: Sequence[bytes]) -> None:
    """Send `messages` at once, and wait until each that asks for it is acknowledged. OSError: the first refusal."""
    awaited = {number for number, sent in enumerate(messages) if _flags(sent) & ACK}
    opened.sendall(b"".join(_numbered(sent, number) for number, sent in enumerate(messages)))
    refusal = 0
    while awaited and not refusal:
        for kind, number, content in _split(opened.recv(_BUFFER)):
            if kind == _ERROR:
                refusal = refusal or -struct.unpack_from("=i", content)[0]
                awaited.discard(number)
    if refusal:
        raise OSError(refusal, os.strerror(refusal), "netlink")


def dump(opened: socket.socket, question: bytes) -> list[bytes]:
    """Send a request for a list, and return the bodies of what comes back."""
    opened.sendall(question)
    found: list[bytes] = []
    while True:
        for kind, _, content in _split(opened.recv(_BUFFER)):
            if kind == _DONE:
                return found
            if kind == _ERROR:
                error = -struct.unpack_from("=i", content)[0]
                raise OSError(error, os.strerror(error), "netlink")
            found.append(content)


def _flags(sent: bytes) -> int:
    return int(_HEADER.unpack_from(sent)[2])


def _numbered(sent: bytes, number: int) -> bytes:
    length, kind, flags, _, port = _HEADER.unpack_from(sent)
    return _HEADER.pack(length, kind, flags, number, port) + sent[_HEADER.size :]


def _split(received: bytes) -> list[tuple[int, int, bytes]]:
    """Return the kind, the number and the body of each message in a datagram."""
    found: list[tuple[int, int, bytes]] = []
    offset = 0
    while offset + _HEADER.size <= len(received):
        length, kind, _, number, _ = _HEADER.unpack_from(received, offset)
        found.append((kind, number, received[offset + _HEADER.size : offset + length]))
        offset += (length + 3) & ~3
    return found


def attributes(content: bytes) -> dict[int, bytes]:
    """Return the contents of attributes that follow one another, by kind."""
    found: dict[int, bytes] = {}
    offset = 0
    while offset + _ATTRIBUTE.size <= len(content):
        length, kind = _ATTRIBUTE.unpack_from(content, offset)
        if length < _ATTRIBUTE.size:
            break
        found[kind & ~_NESTED] = content[offset + _ATTRIBUTE.size : offset + length]
        offset += (length + 3) & ~3
    return found
