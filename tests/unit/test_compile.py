"""From pipeline to plan: what each step is given, which jobs are in it, and what stands on what."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from ci_env.errors import ConfigError
from ci_env.pipeline.model import Pipeline
from ci_env.plan.chain import last_key, source_beneath
from ci_env.plan.compile import choose_jobs, compile_plan
from ci_env.plan.plan import PATH, SourceLayer
from tests.plan_material import DEBIAN, EPOCH, HOST, WHOLE, compiled, inputs, job, selection, step, steps_of

DEFAULTS = {"CI": "true", "LANG": "C.UTF-8", "PATH": PATH, "SOURCE_DATE_EPOCH": str(EPOCH), "TZ": "UTC"}


def test_a_step_gets_its_command_and_constant_surroundings() -> None:
    (only,) = steps_of(step(shell=("bash", "-eu"), run="make\nmake test\n"))
    assert only.argv == ("bash", "-eu", "-c", "make\nmake test\n")
    assert (only.umask, only.user, only.workdir, only.env) == (0o022, "0", "/workspace", DEFAULTS)
    assert compiled(job("test")).hostname == "ci-env"


def test_the_file_overrules_the_image_and_the_image_the_defaults() -> None:
    image = replace(DEBIAN, env={"LANG": "C", "TZ": "CET", "PATH": "/opt/bin", "CC": "gcc"}, user="nobody")
    one = job("test", step(env={"TZ": "EST", "CI": ""}), step("b", user="1:2"), image="mine")
    plan = compile_plan(Pipeline((one,)), inputs([one], mine=image), ())
    first, second = plan.jobs[0].steps
    assert first.env == DEFAULTS | {"LANG": "C", "TZ": "EST", "PATH": "/opt/bin", "CC": "gcc", "CI": ""}
    assert (first.user, second.user) == ("nobody", "1:2")


@pytest.mark.parametrize(
    ("written", "meant"), [(".", "/workspace"), ("a/b", "/workspace/a/b"), ("/opt", "/opt"), ("/", "/")]
)
def test_a_workdir_is_absolute(written: str, meant: str) -> None:
    assert steps_of(step(workdir=written))[0].workdir == meant


def test_what_the_file_says_is_carried() -> None:
    said = {"network": "host", "timeout_s": 60, "when": "always", "artifacts": ("dist/",), "junit": ("r.xml",)}
    (only,) = steps_of(step(**said))
    assert {name: getattr(only, name) for name in said} == said
    (leg,) = compiled(replace(job("test (x=1)"), timeout_s=9)).jobs
    assert (leg.name, leg.group, leg.timeout_s, leg.image) == ("test (x=1)", "test", 9, DEBIAN.image)


def test_a_cache_inside_another_is_mounted_after_it() -> None:
    (only,) = steps_of(step(caches=("/c/inner", "/c")))
    assert [cache.target for cache in only.caches] == ["/c", "/c/inner"]


def test_caches_are_shared_within_a_project_and_platform() -> None:
    one, other = job("a", step(caches=("/c",))), job("b", step(caches=("/c", "/d")), image="host")
    world = inputs([one, other])
    plan = compile_plan(Pipeline((one, other)), world, ())
    (mine,), (same, different) = (made.steps[0].caches for made in plan.jobs)
    assert mine == same
    assert mine.id != different.id
    arm = replace(HOST, image=replace(HOST.image, platform="linux/arm64"))
    for changed in (replace(world, project=WHOLE), replace(world, images={**world.images, "host": arm})):
        plan = compile_plan(Pipeline((one, other)), changed, ())
        assert plan.jobs[1].steps[0].caches[0].id != same.id


def test_a_source_layer_is_laid_where_the_selection_changes() -> None:
    a, b = ("a",), ("b",)
    steps = steps_of(*(step(str(place), inputs=chosen) for place, chosen in enumerate((a, a, b, None, None, a))))
    layer_a, layer_b = SourceLayer(selection("a"), a), SourceLayer(selection("b"), b)
    assert [one.source for one in steps] == [layer_a, None, layer_b, SourceLayer(WHOLE, None), None, layer_a]


def test_selections_are_compared_by_content() -> None:
    one = job("test", step("1", inputs=("a",)), step("2", inputs=("./a", "a")))
    world = inputs([one])
    same = replace(world, selections=dict.fromkeys(world.selections, WHOLE))
    assert compile_plan(Pipeline((one,)), same, ()).jobs[0].steps[1].source is None


def test_each_step_stands_on_the_one_before() -> None:
    (made,) = compiled(job("test", step("1"), step("2", when="always"), step("3"))).jobs
    assert [one.parent for one in made.steps] == [made.start, made.steps[0].key, made.steps[1].key]
    assert last_key(made) == made.steps[2].key


def test_what_runs_on_failure_is_beside_the_chain() -> None:
    rescue = step("rescue", when="on_failure", inputs=("logs",), artifacts=("core",))
    with_it = steps_of(step("1"), rescue, step("2", when="on_failure"), step("3"))
    without = steps_of(step("1"), step("3"))
    assert [with_it[0], with_it[3]] == list(without)
    assert with_it[1].source == SourceLayer(selection("logs"), ("logs",))
    assert with_it[2].source is None
    assert [one.parent for one in with_it[1:]] == [without[0].key] * 3


def test_the_source_beneath_a_step_is_known_though_steps_were_skipped() -> None:
    rescue = step("rescue", when="on_failure", inputs=("logs",))
    (made,) = compiled(job("test", step("1", inputs=("a",)), rescue, step("2"), step("3", when="always"))).jobs
    layers = [source_beneath(made, index) for index in range(4)]
    assert [layer and layer.layer for layer in layers] == [selection("a"), selection("logs"), WHOLE, WHOLE]


def test_artifacts_are_taken_from_needed_jobs_that_leave_some() -> None:
    build = job("build", step(artifacts=("dist/",)), step("2"))
    reports, core = job("lint", step(junit=("r.xml",))), job("fuzz", step("1", when="on_failure", artifacts=("core",)))
    test = job("test", needs=("lint", "fuzz", "build"))
    plan = compiled(build, reports, core, test)
    assert [made.takes for made in plan.jobs] == [(), (), (), ("lint", "build")]
    assert plan.jobs[3].needs == ("lint", "fuzz", "build")


def test_jobs_that_begin_alike_share_their_keys() -> None:
    plan = compiled(job("a"), job("b", step("another name")), job("c", needs=("a",)))
    assert len({made.steps[0].key for made in plan.jobs}) == 1


MATRIX = (job("build"), job("test (x=1)", needs=("build",)), job("test (x=2)", needs=("build",)), job("docs"))


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        ((), ["build", "test (x=1)", "test (x=2)", "docs"]),
        (("docs",), ["docs"]),
        (("docs", "build", "docs"), ["build", "docs"]),
        (("test",), ["build", "test (x=1)", "test (x=2)"]),
        (("test (x=2)",), ["build", "test (x=2)"]),
    ],
)
def test_chooses_jobs_and_what_they_need(names: tuple[str, ...], chosen: list[str]) -> None:
    assert [made.name for made in choose_jobs(Pipeline(MATRIX), names)] == chosen
    assert [made.name for made in compiled(*MATRIX, names=names).jobs] == chosen


def test_needs_are_followed_to_their_end() -> None:
    jobs = (job("a"), job("b", needs=("a",)), job("other"), job("c", needs=("b",)))
    assert [made.name for made in compiled(*jobs, names=("c",)).jobs] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("name", "meant"),
    [("tset", "test"), ("buidl", "build"), ("zzz", None), ("", None), ("\x1b[2J", None)],
)
def test_an_unknown_job_is_an_error_with_a_suggestion(name: str, meant: str | None) -> None:
    with pytest.raises(ConfigError) as caught:
        compiled(*MATRIX, names=("docs", name))
    suggestion = f"; did you mean `{meant}`?" if meant else ""
    assert str(caught.value) == f"there is no job {name!r}{suggestion}"
    assert caught.value.hint == "jobs of this file: build, test, docs"


def test_the_world_of_jobs_that_were_not_chosen_is_not_needed() -> None:
    jobs = (job("a"), job("b", step(inputs=("x",)), image="unknown"))
    world = inputs(jobs[:1])
    assert [made.name for made in compile_plan(Pipeline(jobs), world, ("a",)).jobs] == ["a"]


def test_compiling_imports_little() -> None:
    program = "import sys; before = set(sys.modules); import ci_env.plan.compile; print(*set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    heavy = {"asyncio", "difflib", "git", "pydantic", "rich", "socket", "subprocess", "tempfile", "yaml"}
    assert not heavy & set(done.stdout.split())
