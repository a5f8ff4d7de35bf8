"""The services of one job: started together, awaited, and stopped in reverse order; nothing of them stays but logs.

Owns the network that they and the job's steps are in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING

from ci_env.capsule.record import ServiceRecord, ServiceStatus
from ci_env.events import Emit, Note
from ci_env.execute.sandbox import Furnisher
from ci_env.execute.service import RunningService
from ci_env.plan.plan import Job, Step
from ci_env.ports import Exit, Runner, SharedNetwork
from ci_env.store.blobs import Blobs

if TYPE_CHECKING:
    from typing import Self


class Services:
    """A context manager: once started, they run until the end of its block. `step` is one that they are to serve."""

    def __init__(self, job: Job, step: Step, runner: Runner, furnisher: Furnisher, emit: Emit) -> None:
        self._job = job
        self._step = step
        self._runner = runner
        self._furnisher = furnisher
        self._emit = emit
        self._network = ExitStack()
        self._running: list[RunningService] = []
        self._awaited: list[RunningService] = []
        """those that were ready"""
        self._unready: RunningService | None = None
        self.network: SharedNetwork | None = None
        """None: not started"""
        self.problem: tuple[str, ...] = ()
        """why not all are ready, in lines; a step that has failed of it takes it away"""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        with self._network:
            for service in reversed(self._running):
                service.stop(now=error is not None)
                for directory in service.directories:
                    self._furnisher.layers.discard(directory)
        if error is None:
            self.check()

    def check(self) -> None:
        """Raise what has kept one from running, if something has."""
        for service in self._running:
            service.check()

    def start(self, *, timeout_s: int | None) -> None:
        """Start all, and wait until all are ready: as long as each may take, and no longer than `timeout_s`.

        Where one is not, that is the `problem`. HostError and ConfigError where one cannot run at all.
        """
        network = self._runner.network(self._step.network, self._step.allow)
        self.network = self._network.enter_context(network)
        names = ", ".join(service.name for service in self._job.services)
        self._emit(Note("info", f"{self._job.name}: starting {names}"))
        began = self._runner.clock()
        mask = self._furnisher.secrets.mask
        for plan in self._job.services:
            staging = self._furnisher.layers.staging()
            sandbox = self._furnisher.serve(self._job, plan, self._step, staging, self.network)
            self._running.append(RunningService(plan, sandbox, self._runner, mask, self._tell_end))
        for service in self._running:
            if not self.problem:
                self._await(service, self.network, began, timeout_s)

    def _await(self, service: RunningService, network: SharedNetwork, began: float, timeout_s: int | None) -> None:
        ready = service.plan.ready
        if ready is not None:
            limit_s = ready.timeout_s if timeout_s is None else min(ready.timeout_s, timeout_s)
            missing = service.lacks(network.can_connect, began + limit_s)
            service.check()
            if service.exit is not None and service.exit.reason == "cancelled":
                return  # with the run, as the step will be
            if missing is not None:
                self._unready = service
                self.problem = tuple(_problem(service, f"was not ready after {limit_s} s: {missing}"))
                return
            took_s = self._runner.clock() - began
            self._emit(Note("info", f"{self._job.name}: {service.plan.name} is ready ({took_s:.1f} s)"))
        self._awaited.append(service)

    def _tell_end(self, service: RunningService) -> None:
        if service in self._awaited:
            told = f"{self._job.name}: the service {service.plan.name} has ended ({service.ending()})"
            self._emit(Note("warning", f"{told} before the job has"))

    def fail(self, output: Callable[[bytes], None]) -> Exit:
        """Be a step that fails of the problem, and leaves nothing. Those that run whatever happens may then run."""
        output("".join(f"{line}\n" for line in self.problem).encode())
        self.problem = ()
        return Exit(code=1, signal=None, reason="exit")

    def ends(self) -> Iterator[str]:
        """Return in lines which of those that had been ready have ended by themselves: a step may fail of that."""
        for service in self._awaited:
            if service.has_ended:
                yield from _problem(service, "")

    def keep(self, blobs: Blobs) -> tuple[ServiceRecord, ...]:
        """Keep their logs, once all have ended, and return what became of each."""
        return tuple(self._records(blobs))

    def _records(self, blobs: Blobs) -> Iterator[ServiceRecord]:
        for service in self._running:
            ended, output = service.exit, service.output
            assert ended is not None, "whatever kept it from running was raised"
            assert output is not None, "its log was closed then"
            blobs.adopt(service.log_file, output)
            status = self._status(service, ended)
            name, duration_ms = service.plan.name, service.duration_ms
            yield ServiceRecord(name, status, ended.reason, ended.code, ended.signal, duration_ms, output)

    def _status(self, service: RunningService, ended: Exit) -> ServiceStatus:
        if service is self._unready:
            return "unready"
        return "stopped" if ended.reason == "cancelled" else "ended"

    def forget(self) -> None:
        """Remove their logs, once all have ended."""
        for service in self._running:
            self._furnisher.layers.discard(service.log_file)


def _problem(service: RunningService, what: str) -> Iterable[str]:
    """Say what a service has done, or that it has ended, and what it wrote last."""
    if service.has_ended:
        what = f"has ended: {service.ending()}"
    tail = service.tail()
    yield f"ci-env: the service {service.plan.name} {what}"
    yield "ci-env: its last lines:" if tail else "ci-env: it has written nothing"
    yield from (f"  {line}" for line in tail)
