"""The caller's terminal joined to a sandbox's: keys go in, output comes out, the window size follows.

The terminal is put back as it was, however the block ends. Without a terminal (a pipe, a file), standard input is
passed on as it comes and then ended as Ctrl-D would: again and again, since a program that has just set up its terminal
may have thrown away what was typed before.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import socket
import termios
import tty
from collections.abc import Callable, Generator
from contextlib import contextmanager

_PIECE = 65536
_END_OF_INPUT = b"\x04"
_TICK_MS = 200


def receive_terminal(control: socket.socket) -> tuple[int | None, bytes]:
    """Return the terminal's other side that a sandbox sends first; None, and what it said instead, where it failed."""
    content, descriptors, _, _ = socket.recv_fds(control, _PIECE, 1, socket.MSG_CMSG_CLOEXEC)
    return (descriptors[0], b"") if descriptors else (None, content)


def converse(master: int, tick: Callable[[], None]) -> None:
    """Pass on what is typed and what is shown, until all inside has ended and with it the terminal.

    Never waits for one of the two alone: a program that echoes stops reading until what it writes is read. `tick` is
    called several times a second.
    """
    os.set_blocking(master, False)
    with _raw(0), _window_size_followed(master):
        typed, has_input = b"", True
        while True:
            tick()
            ready = _ready(master, is_writing=bool(typed), is_reading=has_input and not typed)
            if 0 in ready:
                piece = read_piece(0)
                has_input, typed = piece != b"", piece or b""
            if ready.get(master, 0) & select.POLLOUT:
                typed = typed[_write_some(master, typed) :]
            if ready.get(master, 0) & ~select.POLLOUT:
                shown = read_piece(master)
                if shown == b"":
                    return
                write_all(1, shown or b"")
            if not has_input and not ready:
                typed = _END_OF_INPUT


def _ready(master: int, *, is_writing: bool, is_reading: bool) -> dict[int, int]:
    poll = select.poll()
    poll.register(master, select.POLLIN | (select.POLLOUT if is_writing else 0))
    if is_reading:
        poll.register(0, select.POLLIN)
    return dict(poll.poll(_TICK_MS))


def read_piece(source: int) -> bytes | None:
    """Return a piece, an empty one at the end; None where nothing is there yet after all.

    Linux ends a terminal whose processes are gone with EIO (pty(7)). A source that was closed, or is a directory,
    is at its end, too.
    """
    try:
        return os.read(source, _PIECE)
    except BlockingIOError:
        return None
    except OSError:
        return b""


def _write_some(target: int, content: bytes) -> int:
    """Write what there is room for; what nobody is left to read counts as written."""
    try:
        return os.write(target, content)
    except BlockingIOError:
        return 0
    except OSError:
        return len(content)


def write_all(target: int, content: bytes) -> None:
    """Write all of it, however slowly it is taken."""
    piece = memoryview(content)
    while piece:
        piece = piece[os.write(target, piece) :]


@contextmanager
def _raw(descriptor: int) -> Generator[None]:
    if not os.isatty(descriptor):
        yield
        return
    before = termios.tcgetattr(descriptor)
    tty.setraw(descriptor, termios.TCSADRAIN)  # what has been typed ahead is the shell's
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


@contextmanager
def _window_size_followed(master: int) -> Generator[None]:
    if not os.isatty(0):
        yield
        return

    def follow(*_: object) -> None:
        fcntl.ioctl(master, termios.TIOCSWINSZ, fcntl.ioctl(0, termios.TIOCGWINSZ, b"\0" * 8))

    follow()
    before = signal.signal(signal.SIGWINCH, follow)
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)
