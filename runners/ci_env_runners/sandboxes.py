"""The sandboxes of a runner that run, and what others than their own threads want of them: that they stand still, go
on, end. Knows nothing of how one is made.

Safe to use from several threads, and in a signal handler: nothing is locked.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ci_env_runners.pausing import Clock

if TYPE_CHECKING:
    from pathlib import Path

    from ci_env.ports import Sandbox
    from ci_env_runners.running import Running

GRACE_S = 10
_PAUSE_S = 0.05


class Sandboxes:
    """Those that run now."""

    def __init__(self) -> None:
        self.clock = Clock()
        """stands still while they do"""
        self.is_cancelled = False
        self._kill_at = 0.0
        self._running: dict[Path, Running] = {}
        """by the directory that the sandbox writes to"""
        self._dismissed: set[Running] = set()
        """those that have been asked to end"""

    @contextmanager
    def known(self, sandbox: Sandbox, running: Running) -> Generator[Running]:
        """Have wishes reach the sandbox inside the block; it has ended after it, and nothing of it is left."""
        self._running[sandbox.rootfs.upper] = running
        if self.clock.is_stopped:
            running.pause()
            if not self.clock.is_stopped:
                running.resume()
        if self.is_cancelled:
            running.wish(b"K")
        try:
            yield running
        finally:
            del self._running[sandbox.rootfs.upper]
            self._dismissed.discard(running)
            running.close()

    def find(self, sandbox: Sandbox) -> Running | None:
        """Return the sandbox as it runs; None: it does not."""
        return self._running.get(sandbox.rootfs.upper)

    def cancel(self, *, now: bool) -> None:
        """End all. Only sets things: what waits for a process looks at them twice a second at least."""
        self._kill_at = time.monotonic() + (0 if now else GRACE_S)
        self.is_cancelled = True
        self.resume()
        for running in tuple(self._running.values()):
            running.wish(b"K" if now else b"T")

    def end(self, sandbox: Sandbox, *, now: bool) -> bool:
        """End one; False: it does not run."""
        running = self.find(sandbox)
        if running is None:
            return False
        self._dismissed.add(running)
        running.wish(b"K" if now else b"T")
        return True

    def pause(self) -> None:
        """Have all stand still."""
        self.clock.stop()
        for running in tuple(self._running.values()):
            running.pause()

    def resume(self) -> None:
        """Have all go on."""
        if self.clock.is_stopped:
            self.clock.go_on()  # first: a sandbox that begins now looks once more (known)
            for running in tuple(self._running.values()):
                running.resume()

    def await_resumption(self) -> None:
        """Wait for the end of a pause. Without a lock, since `cancel` may come in a signal handler."""
        while self.clock.is_stopped:
            time.sleep(_PAUSE_S)

    def is_wished_away(self, running: Running) -> bool:
        """Tell whether it has been asked to end, by itself or with all."""
        return self.is_cancelled or running in self._dismissed

    def is_grace_over(self) -> bool:
        """Tell whether all have been asked to end, and have had their time for it."""
        return self.is_cancelled and time.monotonic() >= self._kill_at
