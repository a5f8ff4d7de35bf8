"""A sandbox that runs, as its caller holds it: the control to talk over, and its control group. Owns both."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from ci_env.errors import HostError
from ci_env_runners.cgroup import Group

_PIECE = 65536


@dataclass(frozen=True, slots=True, eq=False)
class Running:
    control: socket.socket
    group: Group
    have_thawed: Callable[[int], None]
    """has what a freezer holds let go when this process ends (Launcher.have_thawed)"""

    def wish(self, wish: bytes) -> None:
        """Ask for an end, politely (b"T") or at once (b"K"); a sandbox that has ended needs no asking."""
        with suppress(OSError):
            self.control.send(wish)
        if wish == b"K" and self.group.is_frozen:
            with suppress(HostError):
                self.group.freeze(frozen=False)  # what stands still cannot die

    def pause(self) -> None:
        """Have all inside stand still, but not beyond the end of this process.

        By the group's freezer, else by a signal that the monitor has sent.
        """
        with suppress(HostError, OSError), self.group.freezer() as freezer:  # it has just ended, with its group
            if freezer is not None:
                self.have_thawed(freezer)
            if not self.group.freeze(frozen=True):
                self.wish(b"S")

    def resume(self) -> None:
        """Have all inside go on."""
        with suppress(HostError):
            if not self.group.freeze(frozen=False):
                self.wish(b"C")

    def admit(self, control: socket.socket, order: int) -> None:
        """Have the monitor let in a visitor (visits.py), which enters the group."""
        with self.group.doors() as doors:
            socket.send_fds(self.control, [b"J"], [control.fileno(), order, *doors])

    def close(self) -> None:
        """End it at once, and wait until nothing of it is left."""
        with self.control:
            self.wish(b"K")
            while self.heard():  # to its end, which is that of everything inside
                pass
        self.group.remove()

    def heard(self) -> bytes:
        """Return a piece of what is said inside, nothing at the end: a wish that came too late is no error."""
        try:
            return self.control.recv(_PIECE)
        except ConnectionResetError:
            return b""
