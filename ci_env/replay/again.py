"""Runs recorded steps again, on the layers that they saw; or a shell there. Keeps nothing of what it does.

Enters after the plan: an import contract forbids it git, the network and the pipeline file.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ci_env.digest import Digest
from ci_env.errors import ConfigError
from ci_env.events import Emit, Note
from ci_env.execute.copying import copy_files
from ci_env.execute.log import StepLog
from ci_env.execute.programs import collect, layer_digest
from ci_env.execute.sandbox import Furnisher
from ci_env.frozen import dataclass, replace
from ci_env.pipeline.model import NO_LIMITS
from ci_env.ports import Bind, Exit, Runner, Sandbox
from ci_env.replay.choice import Chosen
from ci_env.replay.reports import NONE, Reports, read_reports
from ci_env.replay.state import State
from ci_env.replay.verdict import Outcome
from ci_env.store.blobs import Blobs
from ci_env.store.layers import Layers

if TYPE_CHECKING:
    from ci_env.execute.services import Services
    from ci_env.replay.edit import Edit

_SHELL = ("/bin/sh", "-c", "command -v bash >/dev/null 2>&1 && exec bash -i || exec sh -i")


@dataclass(frozen=True, slots=True)
class Stage:
    """What a replay works with."""

    runner: Runner
    layers: Layers
    furnisher: Furnisher
    blobs: Blobs
    host: Digest | None = None
    """fingerprint of this machine's operating system; None where no step has it beneath"""


def run_again(
    stage: Stage,
    steps: Sequence[Chosen],
    tell: Callable[[str], None],
    edit: Edit | None = None,
    begin: Callable[[Chosen], None] = lambda _: None,
) -> Outcome:
    """Run steps one after another, each on what the one before leaves now; return how the last ends.

    Where an earlier one fails that did not fail then, how that ends. With `edit`, they see what was edited of the
    sources. `begin` is told of each step, `tell` of each line that it writes. ConfigError where layers are gone.
    """
    *earlier, last = steps
    for layer in last.record.after or ():
        stage.layers.has(layer, even_doubtful=True)  # the one that it left stays then, to be compared
    caches = stage.layers.staging()
    with State(stage.layers, stage.runner, edit) as state, _served(stage, last, lambda _: None) as services:
        for chosen in earlier:
            begin(chosen)
            ran = _run(stage, chosen, state.before(chosen), caches, services, tell)
            if not ran.is_success and chosen.record.status != "failed":
                outcome = replace(_outcome(stage, chosen, ran), instead=chosen.name)
                _discard(stage, ran)
                stage.layers.discard(caches)
                return outcome
            state.leave(chosen, ran.staging)
            _discard(stage, ran)
        begin(last)
        ran = _run(stage, last, state.before(last), caches, services, tell)
        outcome = _outcome(stage, last, ran)
        _discard(stage, ran)
    stage.layers.discard(caches)
    return outcome


@dataclass(frozen=True, slots=True)
class _Ran:
    ended: Exit
    seen: tuple[Digest, ...]
    staging: Path
    """the layer directory that it wrote to"""
    log_file: Path

    @property
    def is_success(self) -> bool:
        return self.ended.reason == "exit" and self.ended.code == 0


def _run(
    stage: Stage,
    chosen: Chosen,
    seen: tuple[Digest, ...],
    caches: Path,
    services: Services | None,
    tell: Callable[[str], None],
) -> _Ran:
    """Run one step on the layers `seen`; `caches` takes what it writes to its caches, for the steps after it."""
    _check_layers(stage, chosen, (*seen, *(chosen.origin or ())))
    staging = stage.layers.staging()
    log_file = staging.with_name(f"{staging.name}.log")
    with StepLog(log_file, tell, stage.furnisher.secrets.mask) as log:
        if chosen.step.copy is not None:
            copy, origin = chosen.step.copy, chosen.origin or ()
            ended = copy_files(stage.runner, stage.layers, copy, origin, seen, staging, log.feed)
        elif services is not None and services.problem:
            ended = services.fail(log.feed)
        else:
            sandbox = _sandbox(stage, chosen, seen, staging)
            binds = tuple(_kept_in(caches, bind, stage.layers) for bind in sandbox.binds)
            network = None if services is None else services.network
            ended = stage.runner.run(replace(sandbox, binds=binds, network=network), log.feed)
        log.close()
    return _Ran(ended, seen, staging, log_file)


def _kept_in(caches: Path, bind: Bind, layers: Layers) -> Bind:
    """Return the bind with its changes in `caches`, where an earlier step may have left some."""
    if bind.changes is None:
        return bind
    changes = caches / bind.changes.name
    layers.discard(changes / "work")  # a mount with `volatile` leaves a mark there, and no other takes it
    return replace(bind, changes=changes)


def _outcome(stage: Stage, chosen: Chosen, ran: _Ran) -> Outcome:
    reports = _reports_left(stage, chosen, ran)
    return Outcome(
        ended=ran.ended.reason,
        exit_code=ran.ended.code,
        signal=ran.ended.signal,
        output=_lines(ran.log_file.read_bytes()),
        tree=layer_digest(stage.runner, ran.staging),
        failed=reports.failed,
        remarks=reports.remarks,
        lacking=stage.furnisher.secrets.lacking(chosen.step.secrets),
        is_on_other_host=chosen.job.image.host != stage.host,
        weakness=None if chosen.step.limits == NO_LIMITS else stage.runner.weakness(chosen.step.limits),
    )


def _discard(stage: Stage, ran: _Ran) -> None:
    """Remove what a step has left, unless it has become a layer: now, since there may be many replays."""
    for suffix in ("", ".work", ".log", ".tar"):
        stage.layers.discard(ran.staging.with_name(f"{ran.staging.name}{suffix}"))


def recorded(stage: Stage, chosen: Chosen) -> Outcome:
    """Return how the step ended then. One that was found in the store had passed."""
    record = chosen.record
    assert record.after is not None, "only a step that ran is chosen"
    output = _lines(stage.blobs.read(record.output)) if record.output and stage.blobs.has(record.output) else None
    left, tree = record.after[-1], record.tree
    if tree is None and stage.layers.has(left, even_doubtful=True):
        tree = layer_digest(stage.runner, stage.layers.directory(left))
    if record.status == "cached":
        return Outcome("exit", 0, None, output, tree)
    reports = NONE
    if record.artifacts is not None and chosen.step.junit and stage.blobs.has(record.artifacts):
        with stage.blobs.open(record.artifacts) as tar:
            reports = read_reports(tar, chosen.step.junit)
    return Outcome(
        ended=record.ended or "exit",
        exit_code=record.exit_code,
        signal=record.signal,
        output=output,
        tree=tree,
        failed=reports.failed,
        remarks=reports.remarks,
    )


def open_shell(stage: Stage, chosen: Chosen, emit: Emit, *, after: bool, terminal: str, edit: Edit | None) -> Exit:
    """Open a shell in the state before the step, or in the one that it left; `terminal` is what TERM says.

    The job's services run beside it, each as its image has it. With `edit`, what was edited lies on the state.
    """
    with State(stage.layers, stage.runner, edit) as state, _served(stage, chosen, emit) as services:
        layers = (chosen.record.after or ()) if after else state.before(chosen)
        _check_layers(stage, chosen, layers)
        sandbox = _sandbox(stage, chosen, layers, stage.layers.staging())
        process = replace(sandbox.process, argv=_SHELL, env={**chosen.step.env, "TERM": terminal}, timeout_s=None)
        for line in () if services is None else services.problem:
            emit(Note("warning", line.removeprefix("ci-env: ")))
        network = None if services is None else services.network
        return stage.runner.shell(replace(sandbox, process=process, network=network))


@contextmanager
def _served(stage: Stage, chosen: Chosen, emit: Emit) -> Generator[Services | None]:
    """Have the job's services run inside the block, if it has any; as they are at their start.

    What steps before did to them is not kept.
    """
    if not chosen.job.services:
        yield None
        return
    from ci_env.execute.services import Services

    for service in chosen.job.services:
        _check_layers(stage, chosen, service.image.layers)
    with Services(chosen.job, chosen.step, stage.runner, stage.furnisher, emit) as services:
        services.start(timeout_s=chosen.job.timeout_s)
        yield services
    services.forget()


def _reports_left(stage: Stage, chosen: Chosen, ran: _Ran) -> Reports:
    """Return what the reports say that a replay has left."""
    if not chosen.step.junit:
        return NONE
    lowers = [stage.layers.directory(layer) / "root" for layer in ran.seen]
    tar = ran.staging.with_name(f"{ran.staging.name}.tar")
    collect(stage.runner, tar, ran.staging / "root", lowers, (), chosen.step.junit)
    with open(tar, "rb") as file:
        return read_reports(file, chosen.step.junit)


def _sandbox(stage: Stage, chosen: Chosen, layers: tuple[Digest, ...], staging: Path) -> Sandbox:
    return stage.furnisher.furnish(
        chosen.job, chosen.step, layers, staging, timeout_s=chosen.timeout_s, keeps_caches=False
    )


def _check_layers(stage: Stage, chosen: Chosen, layers: tuple[Digest, ...]) -> None:
    """Raise ConfigError unless all `layers` are there."""
    missing = [layer for layer in layers if not stage.layers.has(layer, even_doubtful=True)]
    if missing:
        message = f"the store lacks {len(missing)} of the {len(layers)} layers that the step {chosen.name!r} saw"
        raise ConfigError(message, hint="they have been removed; run the pipeline again")


def _lines(content: bytes) -> tuple[str, ...]:
    return tuple(content.decode(errors="replace").split("\n"))
