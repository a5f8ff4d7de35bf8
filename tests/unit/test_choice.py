"""Which step of a record a replay is about."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ci_env.capsule.record import Host, JobRecord, Record, StepRecord
from ci_env.digest import Digest
from ci_env.errors import ConfigError
from ci_env.events import Status
from ci_env.plan.plan import Plan
from ci_env.replay.choice import choose_step, choose_steps
from tests.plan_material import compiled, job, step

LAYER = Digest.of(b"layer")


def plan() -> Plan:
    one = replace(job("one", step("build", timeout_s=30), step("test")), timeout_s=20)
    return compiled(one, job("two", step("test"), step("publish")))


def record(*statuses: Status) -> Record:
    """Return a run of `plan` whose four steps ended so."""
    made, left = plan(), list(statuses)
    jobs = tuple(
        JobRecord(job.name, "passed", 1, tuple(step_record(step.name, step.key, left.pop(0)) for step in job.steps))
        for job in made.jobs
    )
    host = Host("6.1", "x86_64", 2, 1, "ext4", "root", ())
    return Record(1, "20261125-000000-abcd", "failed", "2026-11-25T00:00:00Z", 1, "ci-env.yml", host, {}, made, jobs)


def step_record(name: str, key: Digest, status: Status) -> StepRecord:
    ran = status in ("passed", "failed", "cached")
    return StepRecord(name, key, status, None, None, None, 1, (), (LAYER,) if ran else None, None, None, None)


@pytest.mark.parametrize(
    ("statuses", "name", "chosen"),
    [
        (("passed", "passed", "failed", "skipped"), None, "two/test"),
        (("failed", "skipped", "failed", "skipped"), None, "one/build"),
        (("passed", "passed", "cached", "passed"), None, "two/publish"),
        (("passed", "passed", "failed", "skipped"), "build", "one/build"),
        (("passed", "passed", "failed", "skipped"), "one/test", "one/test"),
    ],
)
def test_choice(statuses: tuple[Status, ...], name: str | None, chosen: str) -> None:
    assert choose_step(record(*statuses), name).name == chosen


@pytest.mark.parametrize(
    ("statuses", "name", "message"),
    [
        (("passed", "passed", "failed", "skipped"), "test", "has 2 steps called 'test': 'one/test', 'two/test'"),
        (("passed", "passed", "failed", "skipped"), "tset", "has no step 'tset'; did you mean `test`?"),
        (("passed", "passed", "failed", "skipped"), "publish", "was skipped: there is nothing to replay"),
    ],
)
def test_no_choice(statuses: tuple[Status, ...], name: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        choose_step(record(*statuses), name)
    assert message in str(caught.value)


def test_a_run_that_ended_before_its_first_step() -> None:
    with pytest.raises(ConfigError, match=r"ended before a step did \(running\)"):
        choose_step(replace(record("passed", "passed", "passed", "passed"), jobs=(), status="running"), None)


def test_the_tighter_limit_counts() -> None:
    steps = record("failed", "failed", "failed", "failed")
    found = [choose_step(steps, name).timeout_s for name in ("build", "one/test", "two/test")]
    assert found == [20, 20, None]


@pytest.mark.parametrize(
    ("name", "first", "whole", "chosen"),
    [
        (None, None, False, ["two/publish"]),
        (None, None, True, ["two/test", "two/publish"]),
        (None, "test", False, ["two/test", "two/publish"]),
        (None, "two/publish", False, ["two/publish"]),
        ("one/test", "build", False, ["one/build", "one/test"]),
        ("build", None, True, ["one/build"]),
    ],
)
def test_several_steps(name: str | None, first: str | None, whole: bool, chosen: list[str]) -> None:
    steps = choose_steps(record("passed", "passed", "cached", "failed"), name, first=first, whole=whole)
    assert [step.name for step in steps] == chosen


def test_steps_that_did_not_run_are_left_out() -> None:
    steps = choose_steps(record("skipped", "failed", "skipped", "skipped"), None, whole=True)
    assert [step.name for step in steps] == ["one/test"]


@pytest.mark.parametrize(
    ("name", "first", "message"),
    [
        ("build", "test", "the step 'one/test' comes after 'one/build', to which the replay is to go"),
        (None, "one/build", "the step 'one/build' is of another job than 'two/publish'"),
        (None, "tset", "has no step 'two/tset'"),
    ],
)
def test_no_such_beginning(name: str | None, first: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        choose_steps(record("passed", "passed", "passed", "failed"), name, first=first)
    assert message in str(caught.value)
