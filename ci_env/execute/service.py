"""One service of a job: its thread, its log, when it is ready, how it ended. Knows nothing of the others."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from ci_env.capsule.ending import describe
from ci_env.digest import Digest
from ci_env.errors import CiEnvError
from ci_env.execute.log import StepLog
from ci_env.mask import Mask
from ci_env.plan.plan import Service
from ci_env.ports import Exit, Runner, Sandbox, Visit

GRACE_S = 10
_ASKING_S = 10
"""how long one command may take to say whether a service is ready"""
_FIRST_PAUSE_S = 0.02
_LONGEST_PAUSE_S = 0.5


class RunningService:
    """A service from its start on. `told` is called once it has ended by itself, in its own thread."""

    def __init__(
        self, plan: Service, sandbox: Sandbox, runner: Runner, mask: Mask | None, told: Callable[[RunningService], None]
    ) -> None:
        upper = sandbox.rootfs.upper
        self.plan = plan
        self.log_file = upper.with_name(f"{upper.name}.log")
        self.directories: tuple[Path, ...] = (upper, sandbox.rootfs.work)
        """what it writes to, worth nothing once it has ended"""
        self.exit: Exit | None = None
        """None: it runs, or never has"""
        self.output: Digest | None = None
        """of its log, once it is closed"""
        self.duration_ms = 0
        self._sandbox = sandbox
        self._runner = runner
        self._told = told
        self._log = StepLog(self.log_file, lambda _: None, mask)
        self._error: BaseException | None = None
        self._is_ending = False
        self._thread = threading.Thread(target=self._run, name=plan.name)
        self._thread.start()

    def _run(self) -> None:
        began = time.monotonic()
        try:
            with self._log:
                ended = self._runner.run(self._sandbox, self._log.feed)
                self.output = self._log.close()
            self.duration_ms = round((time.monotonic() - began) * 1000)
            self.exit = ended
            if not self._is_ending and ended.reason != "cancelled":
                self._told(self)
        except BaseException as error:  # raised again by who asks for it
            self._error = error

    @property
    def has_ended(self) -> bool:
        return not self._thread.is_alive()

    def check(self) -> None:
        """Raise what has kept it from running, if something has."""
        error = self._error
        if error is None or not self.has_ended:
            return
        self._error = None
        if isinstance(error, CiEnvError):
            error.message = f"the service {self.plan.name}: {error.message}"
            error.args = (error.message,)
        raise error

    def lacks(self, can_connect: Callable[[int], bool], until: float) -> str | None:
        """Wait until it is ready, or `until` by the runner's clock; return what was waited for in vain."""
        pause_s = _FIRST_PAUSE_S
        while True:
            missing = self._missing(can_connect, until)
            if self.has_ended:
                return missing or "it ended"
            if missing is None or self._runner.clock() >= until:
                return missing
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _missing(self, can_connect: Callable[[int], bool], until: float) -> str | None:
        ready = self.plan.ready
        if ready is None:
            return None
        if ready.tcp is not None and not can_connect(ready.tcp):
            return f"nothing accepts connections at port {ready.tcp}"
        return None if ready.command is None else self._unanswered(ready.command, until)

    def _unanswered(self, command: str, until: float) -> str | None:
        left_s = max(min(until - self._runner.clock(), _ASKING_S), 1)
        visit = Visit(("sh", "-c", command), {}, None, None, has_terminal=False)
        answer = self._runner.ask(self._sandbox, visit, timeout_s=left_s)
        if answer is None:
            return "it does not run yet"
        if answer.exit.code == 0:
            return None
        ending = describe(answer.exit.reason, answer.exit.code, answer.exit.signal, timeout_s=round(left_s))
        said = answer.said.decode(errors="replace").strip().splitlines()[-1:]
        return ": ".join((f"the command {command!r} ends with {ending}", *said))

    def ending(self) -> str:
        """Return how it ended, in words."""
        return "" if self.exit is None else describe(self.exit.reason, self.exit.code, self.exit.signal)

    def tail(self) -> tuple[str, ...]:
        """Return the last lines that it has written."""
        return self._log.tail()

    def stop(self, *, now: bool) -> None:
        """Have it end, politely unless `now`; it has ended then."""
        self._is_ending = True
        while not self.has_ended and not self._runner.end(self._sandbox, now=now):
            self._thread.join(_FIRST_PAUSE_S)  # it is just about to run
        self._thread.join(GRACE_S)
        while not self.has_ended:
            self._runner.end(self._sandbox, now=True)
            self._thread.join(_LONGEST_PAUSE_S)
