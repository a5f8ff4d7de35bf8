"""Runs a recorded step again, on the layers that it saw; or a shell there. Keeps nothing of what it does.

Enters after the plan: an import contract forbids it git, the network and the pipeline file.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
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
from ci_env.ports import Exit, Runner, Sandbox
from ci_env.replay.choice import Chosen
from ci_env.replay.reports import NONE, Reports, read_reports
from ci_env.replay.verdict import Outcome
from ci_env.store.blobs import Blobs
from ci_env.store.layers import Layers

if TYPE_CHECKING:
    from ci_env.execute.services import Services

_SHELL = ("/bin/sh", "-c", "command -v bash >/dev/null 2>&1 && exec bash -i || exec sh -i")


@dataclass(frozen=True, slots=True)
class Stage:
    """What a replay works with."""

    runner: Runner
    layers: Layers
    furnisher: Furnisher
    blobs: Blobs


def run_again(stage: Stage, chosen: Chosen, tell: Callable[[str], None]) -> Outcome:
    """Run the step again; `tell` gets each line that it writes. ConfigError where its layers are gone."""
    for layer in chosen.record.after or ():
        stage.layers.has(layer, even_doubtful=True)  # the one that it left stays then, to be compared
    staging = stage.layers.staging()
    log_file = staging.with_name(f"{staging.name}.log")
    with StepLog(log_file, tell, stage.furnisher.secrets.mask) as log:
        if chosen.step.copy is None:
            ended = _run_process(stage, chosen, staging, log.feed)
        else:
            _check_layers(stage, chosen, (*chosen.record.before, *(chosen.origin or ())))
            ended = copy_files(
                stage.runner,
                stage.layers,
                chosen.step.copy,
                chosen.origin or (),
                chosen.record.before,
                staging,
                log.feed,
            )
        log.close()
    reports = _reports_left(stage, chosen, staging)
    outcome = Outcome(
        ended=ended.reason,
        exit_code=ended.code,
        signal=ended.signal,
        output=_lines(log_file.read_bytes()),
        tree=layer_digest(stage.runner, staging),
        failed=reports.failed,
        remarks=reports.remarks,
        lacking=stage.furnisher.secrets.lacking(chosen.step.secrets),
    )
    for suffix in ("", ".work", ".caches", ".log", ".tar"):  # now, since there may be many replays
        stage.layers.discard(staging.with_name(f"{staging.name}{suffix}"))
    return outcome


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


def open_shell(stage: Stage, chosen: Chosen, emit: Emit, *, after: bool, terminal: str) -> Exit:
    """Open a shell in the state before the step, or in the one that it left; `terminal` is what TERM says.

    The job's services run beside it, each as its image has it.
    """
    layers = (chosen.record.after or ()) if after else chosen.record.before
    sandbox = _sandbox(stage, chosen, layers, stage.layers.staging())
    process = replace(sandbox.process, argv=_SHELL, env={**chosen.step.env, "TERM": terminal}, timeout_s=None)
    with _served(stage, chosen, emit) as services:
        for line in () if services is None else services.problem:
            emit(Note("warning", line.removeprefix("ci-env: ")))
        network = None if services is None else services.network
        return stage.runner.shell(replace(sandbox, process=process, network=network))


def _run_process(stage: Stage, chosen: Chosen, staging: Path, output: Callable[[bytes], None]) -> Exit:
    """Run the step's process, beside services as they are at their start: what steps before did to them is not kept."""
    sandbox = _sandbox(stage, chosen, chosen.record.before, staging)
    with _served(stage, chosen, lambda _: None) as services:
        if services is None:
            return stage.runner.run(sandbox, output)
        if services.problem:
            return services.fail(output)
        return stage.runner.run(replace(sandbox, network=services.network), output)


@contextmanager
def _served(stage: Stage, chosen: Chosen, emit: Emit) -> Generator[Services | None]:
    """Have the job's services run inside the block, if it has any."""
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


def _reports_left(stage: Stage, chosen: Chosen, staging: Path) -> Reports:
    """Return what the reports say that a replay has left."""
    if not chosen.step.junit:
        return NONE
    lowers = [stage.layers.directory(layer) / "root" for layer in chosen.record.before]
    tar = staging.with_name(f"{staging.name}.tar")
    collect(stage.runner, tar, staging / "root", lowers, (), chosen.step.junit)
    with open(tar, "rb") as file:
        return read_reports(file, chosen.step.junit)


def _sandbox(stage: Stage, chosen: Chosen, layers: tuple[Digest, ...], staging: Path) -> Sandbox:
    _check_layers(stage, chosen, layers)
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
