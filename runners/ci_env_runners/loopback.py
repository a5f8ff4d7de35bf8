"""The interface `lo` of the network namespace that the process is in. Standard library only.

Imports nothing when used: inside, the interpreter's own files may be out of reach.
"""

from __future__ import annotations

import fcntl
import socket
import struct

_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1
_ADDRESSES = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))
_PATIENCE_S = 0.5


def bring_up_loopback() -> None:
    """Set IFF_UP on `lo`: netdevice(7)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as any_socket:
        request = struct.pack("16sH22x", b"lo", 0)
        flags = struct.unpack("16sH22x", fcntl.ioctl(any_socket, _SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", flags | _IFF_UP))


def accepts(port: int) -> bool:
    """Tell whether something accepts TCP connections at `port`, over IPv4 or IPv6."""
    return any(_connects(family, address, port) for family, address in _ADDRESSES)


def _connects(family: socket.AddressFamily, address: str, port: int) -> bool:
    """Tell whether a connection can be made. Not by create_connection, which imports a codec for its look-up."""
    try:
        with socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as probe:
            probe.settimeout(_PATIENCE_S)
            probe.connect((address, port))
    except OSError:
        return False
    return True
