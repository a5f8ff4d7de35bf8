"""One step: found in the store, or run in a sandbox; its layer, log and artifacts kept. Knows nothing of the others."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from ci_env.capsule.ending import describe
from ci_env.capsule.record import StepRecord
from ci_env.digest import Digest, key
from ci_env.events import Status, StepFailure, StepFinished, StepOutput, StepStarted
from ci_env.execute.limits import advise, warn_of_weakness
from ci_env.execute.snapshot import Snapshot
from ci_env.execute.workbench import Workbench
from ci_env.frozen import dataclass
from ci_env.plan.keys import preimage_in, written
from ci_env.plan.plan import Job, Step
from ci_env.ports import Exit
from ci_env.store.steps import StepResult, step_place

if TYPE_CHECKING:
    from ci_env.execute.services import Services


@dataclass(frozen=True, slots=True)
class Done:
    """What became of a step."""

    record: StepRecord
    snapshot: Snapshot
    """what the next one sees"""
    failure: StepFailure | None


def skip(bench: Workbench, job: Job, step: Step, snapshot: Snapshot) -> Done:
    """Leave a step out."""
    bench.emit(StepFinished(job.name, step.name, "skipped", 0, "", None))
    record = StepRecord(step.name, step.key, "skipped", None, None, None, 0, snapshot.layers, None, None, None, None)
    return Done(record, snapshot, None)


def find(bench: Workbench, job: Job, step: Step, snapshot: Snapshot) -> Done | None:
    """Return what an earlier run has left of this very step on these very layers; None where there is nothing."""
    result = look(bench, step, snapshot)
    if result is None:
        return None
    for layer in snapshot.layers:
        bench.layers.hold(layer)  # the record will name it, though no step needs it now
    bench.steps.remember(_place(bench, job, step), step.key)
    bench.emit(StepFinished(job.name, step.name, "cached", result.duration_ms, "", result.output))
    after = snapshot.on_top(result.layer)
    record = StepRecord(
        name=step.name,
        key=step.key,
        status="cached",
        ended=None,
        exit_code=None,
        signal=None,
        duration_ms=result.duration_ms,
        before=snapshot.layers,
        after=after.layers,
        tree=None,
        output=result.output,
        artifacts=result.artifacts,
    )
    return Done(record, after, None)


def look(bench: Workbench, step: Step, snapshot: Snapshot) -> StepResult | None:
    """Return what `find` would find, and tell nobody."""
    result = bench.steps.load(step.key)
    return result if result is not None and _is_good(bench, result, snapshot) else None


def run(
    bench: Workbench,
    job: Job,
    step: Step,
    snapshot: Snapshot,
    origin: Callable[[], tuple[Digest, ...]],
    *,
    timeout_s: int | None,
    keep: bool,
    services: Services | None = None,
) -> Done:
    """Run a step. Its result may serve later runs if `keep`; what a failed one has left is kept for replay.

    `origin` makes and returns the layers that a step copies from. `services` are those of the job, started.
    """
    from ci_env.execute.artifacts import collect
    from ci_env.execute.log import StepLog
    from ci_env.execute.programs import layer_digest

    bench.emit(StepStarted(job.name, step.name))
    snapshot = snapshot.make()
    layer = key("layer", {"run": bench.run_id, "job": job.name, "step": step.name, "key": step.key})
    staging = bench.layers.staging()
    log_file = staging.with_name(f"{staging.name}.log")
    running = bench.begin(job.name, step.name, log_file)
    secrets = bench.furnisher.secrets
    with StepLog(log_file, lambda line: bench.emit(StepOutput(job.name, step.name, line)), secrets.mask) as log:
        began = time.monotonic()
        if step.copy is not None:
            from ci_env.execute.copying import copy_files

            ended = copy_files(bench.runner, bench.layers, step.copy, origin(), snapshot.layers, staging, log.feed)
        elif services is not None and services.problem:
            ended = services.fail(log.feed)
        else:
            network = None if services is None else services.network
            seen = snapshot.layers
            sandbox = bench.furnisher.furnish(job, step, seen, staging, timeout_s=timeout_s, network=network)
            running.sandbox = sandbox
            warn_of_weakness(bench.runner, step.limits, bench.emit)
            ended = bench.runner.run(sandbox, log.feed)
        duration_ms = round((time.monotonic() - began) * 1000)
        output = log.close()
    bench.blobs.adopt(log_file, output)
    running.output = output
    artifacts = collect(bench, staging, snapshot.layers, step, where=f"{job.name}: {step.name}")
    status = _status(ended)
    tree = layer_digest(bench.runner, staging) if status == "failed" else None
    bench.layers.publish(staging, layer)
    next_one = after = snapshot.on_top(layer)
    if status == "passed" and keep:
        preimage = written(preimage_in(bench.furnisher.plan, job, step))
        result = StepResult(1, step.key, preimage, snapshot.layers, layer, output, artifacts, duration_ms)
        replaces = services is not None or not bench.is_caching
        kept = _keep(bench, result, snapshot, place=_place(bench, job, step), replaces=replaces)
        next_one, artifacts = snapshot.on_top(kept.layer), kept.artifacts
    ending = ""
    if status != "passed":
        ending = describe(ended.reason, ended.code, ended.signal, timeout_s=timeout_s, limits=step.limits)
    bench.emit(StepFinished(job.name, step.name, status, duration_ms, ending, output, ended.used))
    advise(job, step, ended, bench.emit)
    record = StepRecord(
        name=step.name,
        key=step.key,
        status=status,
        ended=ended.reason,
        exit_code=ended.code,
        signal=ended.signal,
        duration_ms=duration_ms,
        before=snapshot.layers,
        after=after.layers,
        tree=tree,
        output=output,
        artifacts=artifacts,
        used=ended.used,
    )
    tail = log.tail() if services is None else (*log.tail(), *services.ends())
    failure = _failure(bench, job, step, ending, tail, ended.hint) if status == "failed" else None
    return Done(record, next_one, failure)


def _is_good(bench: Workbench, result: StepResult, snapshot: Snapshot) -> bool:
    """Tell whether a result can stand for running its step on `snapshot`."""
    if result.before != snapshot.layers or not bench.layers.has(result.layer):
        return False
    return all(bench.blobs.has(blob) for blob in (result.output, result.artifacts) if blob)


def _keep(bench: Workbench, result: StepResult, snapshot: Snapshot, *, place: Digest, replaces: bool) -> StepResult:
    """Keep the result, or unless it `replaces` others go on with the one that another job or run has kept meanwhile.

    Otherwise each would replace the other's, and the steps after them would stand on a layer that is no result. One
    with services does: what it has left belongs to what it did to them.
    """
    if replaces:
        bench.steps.save(result, place=place)
        return result
    return bench.steps.save_unless(lambda known: _is_good(bench, known, snapshot), result, place=place)


def _status(ended: Exit) -> Status:
    if ended.reason == "cancelled":
        return "cancelled"
    return "passed" if ended.reason == "exit" and ended.code == 0 else "failed"


def _failure(bench: Workbench, job: Job, step: Step, ending: str, tail: tuple[str, ...], hint: str) -> StepFailure:
    command = bench.furnisher.secrets.hidden_in(step.argv[-1])
    return StepFailure(job.name, step.name, ending, command, tail, f"ci-env replay {bench.run_id}", hint)


def _place(bench: Workbench, job: Job, step: Step) -> Digest:
    return step_place(bench.project, job=job.name, step=step.name)
