"""SIGINT, SIGTERM and SIGHUP during a command: the first asks what runs to end, the second ends it now.

Before anything runs a signal is an Interrupted error where it arrives.
"""

from __future__ import annotations

import signal
from collections.abc import Generator
from contextlib import contextmanager

from ci_env.errors import Interrupted
from ci_env.ports import Runner

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interruption:
    """What signals do now. One for each process, in its main thread."""

    def __init__(self) -> None:
        self._runner: Runner | None = None
        self._received: int | None = None

    @contextmanager
    def during(self, runner: Runner) -> Generator[None]:
        """Have signals cancel what `runner` runs in the block, and raise nothing."""
        self._runner = runner
        try:
            yield
        except Interrupted:
            self.check()  # which knows by what signal
            raise
        finally:
            self._runner = None

    @property
    def is_ending(self) -> bool:
        """Whether what runs has been asked to end."""
        return self._received is not None

    def ask(self, now: bool) -> bool:
        """Do what SIGTERM does, or a second one where it is to be `now`, from any thread. False: nothing runs."""
        if self._runner is None:
            return False
        self._runner.cancel(now=now)
        self._received = self._received or signal.SIGTERM
        return True

    def check(self) -> None:
        """Raise Interrupted if a signal has cancelled something."""
        if self._received is not None:
            raise Interrupted(self._received)

    def handle(self, number: int, _frame: object) -> None:
        """Be a signal handler."""
        if self._runner is None:
            raise Interrupted(number)
        self._runner.cancel(now=self._received is not None)
        self._received = number


@contextmanager
def interruptible() -> Generator[Interruption]:
    """Handle the signals in the block as Interruption says. One that was ignored stays so, as nohup(1) wants."""
    interruption = Interruption()
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    handled = [number for number in _SIGNALS if before[number] != signal.SIG_IGN]
    for number in handled:
        signal.signal(number, interruption.handle)
    try:
        yield interruption
    finally:
        for number in handled:
            signal.signal(number, before[number])
