"""A sandbox whose step runs while the test does something to it."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager

from ci_env.ports import Exit, Sandbox
from tests.processes import wait_until
from tests.sandboxes import Place
from tests.visit_program import visiting


class Running:
    """A sandbox whose step runs in a thread of its own."""

    def __init__(self, place: Place, sandbox: Sandbox) -> None:
        self.place = place
        self.sandbox = sandbox
        self.output = b""
        self.exit: Exit | None = None
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        self.exit = self.place.runner.run(self.sandbox, self._take)

    def _take(self, piece: bytes) -> None:
        self.output += piece

    @property
    def ending(self) -> tuple[int | None, int | None, str]:
        """How it ended, once it has: exit code, signal, reason."""
        assert self.exit is not None
        return self.exit.code, self.exit.signal, self.exit.reason

    def visit(
        self, what: str | Sequence[str], *, stdin: bytes = b"", user: str | None = None, workdir: str | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        """Have a script of `sh`, or an argv, join the sandbox, and return how it ended."""
        with visiting(self.place.runner, self.sandbox, what, user=user, workdir=workdir) as program:
            out, err = program.communicate(stdin, timeout=30)
            return subprocess.CompletedProcess((), program.returncode, out, err)


@contextmanager
def going_on(place: Place, sandbox: Sandbox) -> Generator[Running]:
    """Give a sandbox whose step has written its first line; it is ended at the end of the block."""
    step = Running(place, sandbox)
    try:
        wait_until(lambda: b"\n" in step.output)
        yield step
    finally:
        place.runner.cancel(now=True)
        step.thread.join(timeout=20)
