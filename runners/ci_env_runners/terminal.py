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
from collections.abc import Generator
from contextlib import contextmanager

_PIECE = 65536
_END_OF_INPUT = b"\x04"
_AGAIN_MS = 200


def receive_terminal(control: socket.socket) -> tuple[int | None, bytes]:
    """Return the terminal's other side that a sandbox sends first; None, and what it said instead, where it failed."""
    content, descriptors, _, _ = socket.recv_fds(control, _PIECE, 1, socket.MSG_CMSG_CLOEXEC)
    return (descriptors[0], b"") if descriptors else (None, content)


def converse(master: int) -> None:
    """Pass on what is typed and what is shown, until the last process inside has let go of the terminal."""
    with _raw(0), _window_size_followed(master):
        poll = select.poll()
        poll.register(master, select.POLLIN)
        poll.register(0, select.POLLIN)
        has_input = True
        while True:
            ready = poll.poll(None if has_input else _AGAIN_MS)
            for descriptor, _ in ready:
                if descriptor == 0 and not _pass_on(0, master):
                    poll.unregister(0)
                    has_input = False
                if descriptor == master and not _pass_on(master, 1):
                    return
            if not has_input and not ready:
                os.write(master, _END_OF_INPUT)


def _pass_on(source: int, target: int) -> bool:
    """Pass a piece on; False at the end. Linux ends a terminal whose processes are gone with EIO (pty(7))."""
    try:
        piece = memoryview(os.read(source, _PIECE))
    except OSError:
        return False
    if not piece:
        return False
    while piece:
        piece = piece[os.write(target, piece) :]
    return True


@contextmanager
def _raw(descriptor: int) -> Generator[None]:
    if not os.isatty(descriptor):
        yield
        return
    before = termios.tcgetattr(descriptor)
    tty.setraw(descriptor)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSAFLUSH, before)


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
