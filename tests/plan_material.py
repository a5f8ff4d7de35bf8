"""Pipelines, and worlds to compile them in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ci_env.digest import Digest
from ci_env.pipeline import model
from ci_env.plan import keys
from ci_env.plan.compile import compile_plan
from ci_env.plan.inputs import Inputs, ResolvedImage
from ci_env.plan.plan import Image, Plan, Source, Step

EPOCH = 1_700_000_000
WHOLE = keys.source_layer("a" * 40, epoch=EPOCH)

A_STEP = model.Step(
    name="test",
    run="make test",
    shell=("sh", "-e"),
    workdir=".",
    user=None,
    env={},
    network="none",
    inputs=None,
    caches=(),
    timeout_s=None,
    when="on_success",
    artifacts=(),
    junit=(),
    at="ci-env.yml:6:9",
)
A_JOB = model.Job(
    name="test", group="test", image="debian:12", needs=(), timeout_s=None, steps=(A_STEP,), at="ci-env.yml:4:3"
)
DEBIAN = ResolvedImage(
    image=Image("debian:12", Digest.of(b"manifest"), (Digest.of(b"1"), Digest.of(b"2")), None, "linux/amd64"),
    env={},
    user="",
    workdir="",
)
HOST = ResolvedImage(
    image=Image("host", None, (), Digest.of(b"this machine"), "linux/amd64"), env={}, user="", workdir=""
)


def step(name: str = "test", /, **changes: object) -> model.Step:
    return replace(A_STEP, name=name, **changes)  # type: ignore[arg-type]  # wrong ones fail in the test that has them


def job(name: str, *steps: model.Step, needs: tuple[str, ...] = (), image: str = "debian:12") -> model.Job:
    group = name.partition(" ")[0]
    return replace(A_JOB, name=name, group=group, steps=steps or (A_STEP,), needs=needs, image=image)


def service(name: str = "db", /, **changes: object) -> model.Service:
    one = model.Service(
        name=name,
        image="debian:12",
        entrypoint=None,
        command=("serve",),
        env={},
        user=None,
        aliases=(),
        ready=None,
        at="ci-env.yml:5:7",
    )
    return replace(one, **changes)  # type: ignore[arg-type]  # wrong ones fail in the test that has them


def selection(*patterns: str) -> Digest:
    """Return the source layer of what `patterns` choose; files enough that each choice is another one."""
    return keys.source_layer(Digest.of("\0".join(patterns).encode()), epoch=EPOCH)


def inputs(jobs: Iterable[model.Job], **images: ResolvedImage) -> Inputs:
    chosen = {one.inputs for job in jobs for one in job.steps}
    return Inputs(
        source=Source("git", "a" * 40, "c" * 40, dirty=False, epoch=EPOCH),
        images={"debian:12": DEBIAN, "host": HOST, **images},
        selections={patterns: WHOLE if patterns is None else selection(*patterns) for patterns in chosen},
        project=Digest.of(b"project"),
    )


def compiled(*jobs: model.Job, names: tuple[str, ...] = ()) -> Plan:
    return compile_plan(model.Pipeline(jobs), inputs(jobs), names)


def steps_of(*steps: model.Step) -> tuple[Step, ...]:
    """Return `steps` as compiled in a job of their own."""
    return compiled(job("test", *steps)).jobs[0].steps
