"""Whether a record is one that a run can have written. Pure.

Records of this machine's own runs need no such look; one that comes in a capsule is the work of a stranger. What passes
may still do whatever a pipeline may: it is run in a sandbox, as a pipeline is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from ci_env import codec
from ci_env.capsule.record import JobRecord, Record
from ci_env.digest import Digest, Json
from ci_env.errors import ConfigError
from ci_env.oci import platform
from ci_env.plan.plan import Job, Service, Step

_RUN_ID = re.compile(r"\d{8}-\d{6}-[0-9a-f]{4}\Z", re.ASCII)
_HOST_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
_MAX_NAME_LETTERS = 1000
_MAX_STACK = 500
_MAX_NUMBER = 2**53
_MAX_MODE = 0o7777
_MAX_PORT = 65535
_KERNELS_OWN = ("proc", "sys", "dev")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")


def check_sound(record: Record) -> None:
    """Raise ConfigError unless the record fits together."""
    for problem in _problems(record):
        raise ConfigError(
            f"the capsule's record is none that a run has written: {problem}", hint="ask for the capsule again"
        )


def _problems(record: Record) -> Iterator[str]:
    """Yield what is wrong, first what later checks rely on."""
    yield from _values(codec.encode(record), "record")
    if not _RUN_ID.match(record.run_id):
        yield f"{record.run_id!r} is not the id of a run"
    if not _HOST_NAME.match(record.plan.hostname):
        yield f"{record.plan.hostname!r} is no host name"
    yield from _plan_problems(record.plan.jobs)
    plans = {job.name: job for job in record.plan.jobs}
    if len({job.name for job in record.jobs}) < len(record.jobs):
        yield "a job has run twice"
    for done in record.jobs:
        yield from _job_problems(plans.get(done.name), done)


def _values(value: Json, at: str) -> Iterator[str]:
    """Look for values that nothing in a record can have: a NUL, text that is no text, numbers beyond any use."""
    if isinstance(value, str):
        if "\0" in value:
            yield f"{at} holds a NUL"
        try:
            value.encode(errors="surrogateescape")
        except UnicodeEncodeError:
            yield f"{at} is not valid text"
    elif isinstance(value, int) and not -1 <= value <= _MAX_NUMBER:
        yield f"{at} is {value}"
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from _values(name, f"a name in {at}")
            yield from _values(item, f"{at}.{name}")
    elif isinstance(value, Sequence):
        for index, item in enumerate(value):
            yield from _values(item, f"{at}[{index}]")


def _plan_problems(jobs: Sequence[Job]) -> Iterator[str]:
    earlier: set[str] = set()
    for job in jobs:
        if not _is_name(job.name) or job.name in earlier:
            yield f"{job.name!r} is no name of a job, or that of two"
        copied = {step.copy.job for step in job.steps if step.copy is not None and step.copy.job is not None}
        if not {*job.needs, *job.takes, *copied, *([job.base] if job.base is not None else [])} <= earlier:
            yield f"the job {job.name!r} needs one that does not come before it"
        yield from _platform_problems(job)
        yield from _stack_problems(job.image.layers, job.name)
        for service in job.services:
            yield from _service_problems(service)
        if len({step.name for step in job.steps}) < len(job.steps):
            yield f"two steps of {job.name!r} have the same name"
        for step in job.steps:
            yield from _step_problems(step)
        earlier.add(job.name)


def _platform_problems(job: Job) -> Iterator[str]:
    try:
        platform.parse(job.image.platform)
    except ValueError as error:
        yield str(error)


def _step_problems(step: Step) -> Iterator[str]:
    if not _is_name(step.name):
        yield f"{step.name!r} is no name of a step"
    if not step.argv or (step.copy is None and not step.argv[0]):
        yield f"the step {step.name!r} runs nothing"
    if not _is_path(step.workdir) or not all(_may_be_cache(cache.target) for cache in step.caches):
        yield f"the step {step.name!r} uses a path that is not absolute, or the kernel's"
    if not 0 <= step.umask <= _MAX_MODE or (step.timeout_s is not None and step.timeout_s < 1):
        yield f"the step {step.name!r} has an umask or a timeout that no step has"
    yield from _env_problems(step.env)


def _service_problems(service: Service) -> Iterator[str]:
    if not all(_HOST_NAME.match(name) for name in (service.name, *service.aliases)):
        yield f"{service.name!r} is no name of a service"
    if not service.argv or not service.argv[0] or not _is_path(service.workdir):
        yield f"the service {service.name!r} runs nothing, or nowhere"
    ready = service.ready
    if ready is not None and (ready.timeout_s < 1 or not 0 < (ready.tcp or 1) <= _MAX_PORT):
        yield f"the service {service.name!r} is ready at a port or a time that no service has"
    yield from _env_problems(service.env)
    yield from _stack_problems(service.image.layers, service.name)


def _env_problems(env: Mapping[str, str]) -> Iterator[str]:
    for name in env:
        if not name or "=" in name:
            yield f"{name!r} is no name of a variable"


def _job_problems(plan: Job | None, done: JobRecord) -> Iterator[str]:
    if plan is None or [step.name for step in plan.steps] != [step.name for step in done.steps]:
        yield f"the job {done.name!r} has run other steps than were planned"
    elif not {service.name for service in done.services} <= {service.name for service in plan.services}:
        yield f"the job {done.name!r} has run other services than were planned"
    for step in done.steps:
        yield from _stack_problems(step.before, step.name)
        yield from _stack_problems(step.after or (), step.name)
        if step.after is not None and (not step.after or set(step.after[:-1]) - set(step.before)):
            yield f"the step {step.name!r} has left something else than a layer on what it saw"
        is_sound = step.exit_code is None or 0 <= step.exit_code <= 255
        if not is_sound or (step.signal is not None and not 1 <= step.signal <= 64):
            yield f"the step {step.name!r} has ended as no process can"


def _stack_problems(stack: Sequence[Digest], name: str) -> Iterator[str]:
    if len(stack) > _MAX_STACK or len(set(stack)) < len(stack):
        yield f"{name!r} sees too many layers, or one of them twice"


def _is_name(text: str) -> bool:
    return bool(text.strip()) and not _CONTROL.search(text) and len(text) <= _MAX_NAME_LETTERS


def _is_path(text: str) -> bool:
    return text.startswith("/") and ".." not in text.split("/")


def _may_be_cache(text: str) -> bool:
    top = text.strip("/").partition("/")[0]
    return _is_path(text) and top not in ("", *_KERNELS_OWN)
