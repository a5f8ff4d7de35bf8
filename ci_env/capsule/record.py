"""The Record: what happened when a Plan was executed, enough to do it again. Owns the written form of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from ci_env.digest import Digest
from ci_env.events import Status, Usage
from ci_env.frozen import dataclass
from ci_env.plan.plan import Plan

RECORD_VERSION = 3
RunStatus = Literal["running", "passed", "failed", "cancelled", "error"]
"""`error`: something else than a step has failed, such as this machine"""
ServiceStatus = Literal["stopped", "ended", "unready"]
"""`stopped`: with its job; `ended`: by itself, before; `unready`: its job has failed of it"""
Ended = Literal["exit", "signal", "timeout", "cancelled", "oom", "pids", "disk"]
"""the last three: it failed once a limit of memory, processes or disk had been reached"""


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One step of one run."""

    name: str
    key: Digest
    status: Status
    ended: Ended | None
    """None where it did not run here: cached or skipped"""
    exit_code: int | None
    signal: int | None
    duration_ms: int
    before: tuple[Digest, ...]
    """layers that the step saw, bottom first, without the host's"""
    after: tuple[Digest, ...] | None
    """the same with its own on top: its result, or the post-mortem state; None where it did not run"""
    tree: Digest | None
    """of the step's own layer; computed for failures only, since a commit must not depend on size"""
    output: Digest | None
    """its log, in the content store"""
    artifacts: Digest | None
    """a tar of its artifacts and reports, in the content store"""
    used: Usage | None = None
    """None where it did not run here"""


@dataclass(frozen=True, slots=True)
class ServiceRecord:
    """One service of a job, which ran beside its steps. What it has written to its files is not kept."""

    name: str
    status: ServiceStatus
    ended: Ended
    exit_code: int | None
    signal: int | None
    duration_ms: int
    output: Digest
    """its log, in the content store"""


@dataclass(frozen=True, slots=True)
class JobRecord:
    name: str
    status: Status
    duration_ms: int
    steps: tuple[StepRecord, ...]
    services: tuple[ServiceRecord, ...] = ()
    """those that were started; none where all steps were cached"""


@dataclass(frozen=True, slots=True)
class Host:
    """The machine, as far as it may explain a difference."""

    kernel: str
    architecture: str
    cpus: int
    memory_bytes: int
    filesystem: str
    """type of the store's filesystem"""
    user: Literal["root", "rootless", "rootless-single-id"]
    measures: tuple[str, ...]
    """isolation in force; empty where no step had to run"""
    cpus_online: int | None = None
    """processors that the system told of, where `cpus` are those that ci-env could use; None: not recorded"""


@dataclass(frozen=True, slots=True)
class Record:
    """A run. `status` is `running` until the end; a run that is `running` and holds no lock was interrupted."""

    version: Literal[1, 2, 3]
    """the plan's"""
    run_id: str
    status: RunStatus
    started_at: str
    """RFC 3339, UTC"""
    duration_ms: int
    file: str
    """the pipeline file's path in the source"""
    host: Host
    ci: Mapping[str, str]
    """facts of the CI service, without secrets"""
    plan: Plan
    jobs: tuple[JobRecord, ...]
