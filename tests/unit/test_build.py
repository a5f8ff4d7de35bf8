"""Stages of a Dockerfile as jobs: what stands on what, and what each key depends on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ci_env import codec
from ci_env.digest import Digest
from ci_env.dockerfile.model import Copy, Operation, Run
from ci_env.plan import keys
from ci_env.plan.build import Origin, Stage, Surroundings, compile_build
from ci_env.plan.chain import last_key
from ci_env.plan.plan import FIXED_EPOCH, Image, Job, Plan, Source, SourceLayer

IMAGE = Image("debian:12", Digest.of(b"m"), (Digest.of(b"1"), Digest.of(b"2")), None, "linux/amd64")
SCRATCH = Image("scratch", None, (), None, "linux/amd64")
SOURCE = Source("directory", Digest.of(b"context"), None, dirty=False, epoch=FIXED_EPOCH)
AROUND = Surroundings(Digest.of(b"project"), "host")
RUN = Run(("/bin/sh", "-c", "make"), {"A": "b"}, "", "/src", None, (), "RUN make", "Dockerfile:3")
COPY = Copy(None, ("src",), (), "/src/", None, None, False, "COPY src /src/", "Dockerfile:2")
CONTEXT = Origin(context=SourceLayer(Digest.of(b"files"), ("src",)))


def stage(name: str, *operations: Operation | tuple[Copy, Origin], base: str | None = None) -> Stage:
    pairs = tuple(one if isinstance(one, tuple) else (one, Origin()) for one in operations)
    return Stage(name, IMAGE, base, pairs)


def compiled(*stages: Stage) -> Plan:
    return compile_build(stages, SOURCE, AROUND)


def key(*operations: Operation | tuple[Copy, Origin]) -> Digest:
    """Return the key of all that a stage of these operations leaves."""
    return last_key(compiled(stage("one", *operations)).jobs[0])


def test_a_stage_is_a_chain_of_steps() -> None:
    (job,) = compiled(stage("one", (COPY, CONTEXT), RUN)).jobs
    copy, run = job.steps
    assert (copy.parent, run.parent) == (job.start, copy.key)
    assert copy.copy is not None
    assert (copy.copy.context, copy.copy.origin) == (CONTEXT.context, Digest.of(b"files"))
    assert (run.argv, run.user, run.workdir, run.network) == (RUN.argv, "0", "/src", "host")
    assert run.env == {"A": "b", "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}


def test_a_plan_of_a_build_comes_back() -> None:
    plan = compiled(stage("one", (COPY, CONTEXT), RUN), stage("two", RUN, base="one"))
    assert codec.loads(Plan, codec.dumps(plan)) == plan


def test_a_stage_from_a_stage_begins_where_that_ends() -> None:
    one, two = compiled(stage("one", RUN), stage("two", (COPY, CONTEXT), base="one")).jobs
    assert (two.base, two.needs, two.start) == ("one", ("one",), last_key(one))


def test_a_stage_from_a_stage_shares_the_results_of_one_that_does_all_by_itself() -> None:
    _, two = compiled(stage("one", RUN), stage("two", (COPY, CONTEXT), base="one")).jobs
    assert last_key(two) == key(RUN, (COPY, CONTEXT))


def test_what_is_copied_from_a_stage_is_known_by_its_last_key() -> None:
    copy = replace(COPY, origin="one")
    one, two = compiled(stage("one", RUN), stage("two", (copy, Origin(job="one")))).jobs
    assert two.needs == ("one",)
    assert two.steps[0].copy is not None
    assert (two.steps[0].copy.job, two.steps[0].copy.origin) == ("one", last_key(one))


def test_what_is_copied_from_an_image_is_known_by_its_layers() -> None:
    other = replace(IMAGE, reference="tools:1", layers=(Digest.of(b"3"),))
    assert key((COPY, Origin(image=other))) == key((COPY, Origin(image=replace(other, reference="tools@sha256:1"))))
    assert key((COPY, Origin(image=other))) != key((COPY, Origin(image=IMAGE)))
    assert key((COPY, Origin(image=SCRATCH)))


@pytest.mark.parametrize(
    "changed",
    [
        replace(COPY, sources=("lib",)),
        replace(COPY, heredocs=(("a", "text"),)),
        replace(COPY, destination="/src"),
        replace(COPY, chown="1:1"),
        replace(COPY, chmod=0o755),
        replace(COPY, is_unpacking=True),
    ],
)
def test_what_counts_of_a_copy(changed: Copy) -> None:
    assert key((changed, CONTEXT)) != key((COPY, CONTEXT))
    assert key((replace(COPY, at="Dockerfile:9"), CONTEXT)) == key((COPY, CONTEXT))


@pytest.mark.parametrize(("said", "expected"), [(None, "host"), ("none", "none"), ("host", "host")])
def test_network(said: str | None, expected: str) -> None:
    (job,) = compiled(stage("one", replace(RUN, network=said))).jobs
    assert job.steps[0].network == expected


def test_names_are_short_and_unique() -> None:
    long = replace(RUN, title="RUN " + "x" * 100)
    (job,) = compiled(stage("one", RUN, RUN, long, long)).jobs
    names = [step.name for step in job.steps]
    assert names[:2] == ["RUN make", "RUN make (2)"]
    assert len(set(names)) == 4
    assert max(map(len, names)) <= 80


def test_names_stay_unique_where_titles_are_numbered_themselves() -> None:
    titles = ("RUN a", "RUN a (2)", "RUN a", "RUN a (2)")
    (job,) = compiled(stage("one", *(replace(RUN, title=title) for title in titles))).jobs
    assert [step.name for step in job.steps] == ["RUN a", "RUN a (2)", "RUN a (3)", "RUN a (2) (2)"]


def test_caches_are_of_the_project_and_the_platform() -> None:
    (job,) = compiled(stage("one", replace(RUN, caches=("/b", "/a")))).jobs
    expected = [keys.cache(AROUND.project, target, platform="linux/amd64") for target in ("/a", "/b")]
    assert [cache.id for cache in job.steps[0].caches] == expected


def test_the_keys_of_a_plan_can_be_checked() -> None:
    plan = compiled(stage("one", (COPY, CONTEXT), RUN), stage("two", RUN, base="one"))

    def preimage_key(job: Job, index: int) -> Digest:
        return keys.step_key(keys.preimage_in(plan, job, job.steps[index]))

    for job in plan.jobs:
        for index, step in enumerate(job.steps):
            assert preimage_key(job, index) == step.key
