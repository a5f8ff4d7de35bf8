"""Why a step misses, in words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ci_env.digest import Digest
from ci_env.pipeline.model import Pipeline, Step
from ci_env.plan import keys
from ci_env.plan.compile import compile_plan
from ci_env.plan.explain import FileChange, Node, changed_files, changed_nodes, differences
from ci_env.plan.inputs import Inputs, ResolvedImage
from ci_env.tree import Entry, Mode
from tests.plan_material import DEBIAN, HOST, compiled, inputs, job, step


def preimages(*steps: Step, world: Inputs | None = None) -> list[str]:
    one = job("test", *steps)
    plan = compile_plan(Pipeline((one,)), world or inputs([one]), ())
    return [keys.written(keys.preimage_in(plan, plan.jobs[0], made)) for made in plan.jobs[0].steps]


def words(old: Step, new: Step) -> list[str]:
    return [difference.words for difference in differences(*preimages(old), *preimages(new))]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (step(), step("renamed", when="always"), []),
        (step(run="make"), step(run="make -j2"), ["the command changed from 'make' to 'make -j2'"]),
        (step(run="a\nb\nc"), step(run="a\nB\nc"), ["the command changed from 'b' to 'B'"]),
        (step(run="a"), step(run="a\nb"), ["the command changed from nothing to 'b'"]),
        (step(shell=("sh",)), step(shell=("bash",)), ["the command changed from 'sh' to 'bash'"]),
        (step(inputs=("a",)), step(inputs=("b",)), ["the inputs changed"]),
        (step(env={"A": "1"}), step(env={"A": "2"}), ["the environment variable A changed from '1' to '2'"]),
        (step(), step(env={"A": ""}), ["the environment variable A is new: ''"]),
        (step(env={"A": "1=2"}), step(), ["the environment variable A is gone; it was '1=2'"]),
        (step(), step(env={"TZ": "CET"}), ["the environment variable TZ changed from 'UTC' to 'CET'"]),
        (step(), step(user="1000"), ["the user changed from '0' to '1000'"]),
        (step(), step(workdir="a"), ["the working directory changed from '/workspace' to '/workspace/a'"]),
        (step(), step(network="host"), ["the network changed from 'none' to 'host'"]),
        (step(caches=("/b",)), step(caches=("/b", "/a")), ["the cached directories changed from '/b' to '/a, /b'"]),
        (step(), step(timeout_s=60), ["the timeout in seconds changed from nothing to '60'"]),
        (step(artifacts=("x/",)), step(), ["the patterns of artifacts changed from 'x/' to nothing"]),
        (step(), step(junit=("r.xml",)), ["the patterns of reports changed from nothing to 'r.xml'"]),
    ],
)
def test_says_what_changed(old: Step, new: Step, expected: list[str]) -> None:
    assert words(old, new) == expected


def test_several_differences_come_in_a_fixed_order() -> None:
    old, new = step(env={"B": "1", "A": "1"}, inputs=("a",)), step(run="x", env={"A": "2", "B": "2"})
    (found,) = [[one.field for one in differences(*preimages(old), *preimages(new))]]
    assert found == ["source", "argv", "env.A", "env.B", "env.SOURCE_DATE_EPOCH"]


def test_a_changed_step_before_is_said_to_be_one() -> None:
    (_, old), (_, new) = preimages(step("1"), step("2")), preimages(step("1", run="x"), step("2"))
    assert [one.words for one in differences(old, new)] == ["a step before changed"]


def test_a_step_that_became_the_first_stands_on_something_else() -> None:
    (_, old), (new,) = preimages(step("1"), step("2", inputs=("a",))), preimages(step("2", inputs=("a",)))
    assert [one.words for one in differences(old, new)] == ["a step before changed"]


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (replace(DEBIAN, image=replace(DEBIAN.image, layers=(Digest.of(b"3"),))), ["the image changed"]),
        (
            replace(DEBIAN, image=replace(DEBIAN.image, platform="linux/arm64")),
            ["the platform changed from 'linux/amd64' to 'linux/arm64'"],
        ),
        (replace(DEBIAN, image=replace(DEBIAN.image, reference="d", manifest=None)), []),
        (HOST, ["this machine's operating system changed", "the image changed"]),
    ],
)
def test_the_first_step_knows_the_image(image: ResolvedImage, expected: list[str]) -> None:
    world = inputs([job("test")])
    (old,), (new,) = (preimages(step(), world=replace(world, images={"debian:12": one})) for one in (DEBIAN, image))
    assert [one.words for one in differences(old, new)] == expected


def test_the_first_step_knows_the_artifacts() -> None:
    def first(command: str) -> str:
        plan = compiled(job("build", step(run=command, artifacts=("x",))), job("test", needs=("build",)))
        return keys.written(keys.preimage_in(plan, plan.jobs[1], plan.jobs[1].steps[0]))

    (difference,) = differences(first("a"), first("b"))
    assert difference.words == "the artifacts that the job takes from others changed"


def test_long_values_are_cut_to_where_they_differ() -> None:
    (found,) = differences(*preimages(step(run="x" * 500 + "abc" * 30)), *preimages(step(run="x" * 500 + "b")))
    assert found.old == "..." + "x" * 12 + ("abc" * 30)[:42] + "..."
    assert found.new == "..." + "x" * 12 + "b"


def test_other_rules_are_said_to_be_others() -> None:
    (old,) = preimages(step())
    new = old.replace(f'"version":{keys.KEY_VERSION}', '"version":99')
    rules = "the rules by which ci-env makes keys"
    assert differences(old, new)[0].words == f"{rules} changed from '{keys.KEY_VERSION}' to '99'"


@pytest.mark.parametrize("text", ["", "[]", '"x"', '{"a":'])
def test_what_is_no_preimage_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        differences(text, *preimages(step()))


def test_files_that_changed() -> None:
    def listing(**files: tuple[Mode, str]) -> list[Entry]:
        return [Entry(path, mode, blob) for path, (mode, blob) in files.items()]

    old = listing(a=(0o100644, "1"), b=(0o100644, "1"), c=(0o100644, "1"), d=(0o100644, "1"), e=(0o100644, "1"))
    new = listing(A=(0o100644, "1"), b=(0o100755, "1"), c=(0o100755, "2"), d=(0o120000, "1"), e=(0o100644, "1"))
    assert changed_files(old, new) == (
        FileChange("A", "added"),
        FileChange("a", "removed"),
        FileChange("b", "mode"),
        FileChange("c", "changed"),
        FileChange("d", "changed"),
    )


def test_files_of_a_context_that_changed() -> None:
    old = {"b": Node(0o100644, "1"), "c": Node(0o100644, "1"), "d": Node(0o40755, ""), "e": Node(0o100644, "1")}
    new = {"a": Node(0o100644, "1"), "b": Node(0o100600, "1"), "c": Node(0o100644, "2"), "d": Node(0o100755, "")}
    assert changed_nodes(old, new) == (
        FileChange("a", "added"),
        FileChange("b", "mode"),
        FileChange("c", "changed"),
        FileChange("d", "changed"),
        FileChange("e", "removed"),
    )
