"""A plan under other circumstances."""

from __future__ import annotations

from dataclasses import replace as changed

from ci_env.plan.keys import preimage_in, step_key
from ci_env.plan.variation import CIRCUMSTANCES, changes, rekeyed, vary
from tests.plan_material import compiled, job, service, step

PLAN = compiled(
    job("build", step("one", artifacts=("dist",)), step("fails", when="on_failure"), step("two")),
    changed(
        job("test", step("three", env={"TZ": "Europe/Berlin", "LC_ALL": "C.UTF-8"}), needs=("build",)),
        services=(service(),),
    ),
)


def test_keys_are_those_that_the_compiler_gives() -> None:
    assert rekeyed(PLAN) == PLAN
    assert vary(PLAN, ()) == PLAN


def test_each_circumstance_changes_every_key_that_it_reaches() -> None:
    seen = {PLAN.jobs[0].steps[0].key}
    for circumstance in CIRCUMSTANCES:
        plan = vary(PLAN, (circumstance,))
        assert plan.jobs[0].steps[0].key not in seen
        assert plan.jobs[1].start != PLAN.jobs[1].start  # it takes what the first leaves
        seen.add(plan.jobs[0].steps[0].key)
        for one in plan.jobs:
            for planned in one.steps:
                assert planned.key == step_key(preimage_in(plan, one, planned))


def test_what_the_file_has_set_stays() -> None:
    plan = vary(PLAN)
    usual, own = plan.jobs[0].steps[0], plan.jobs[1].steps[0]
    assert (usual.env["LANG"], usual.env["LC_ALL"], usual.env["TZ"]) == ("C", "C", "<+0545>-5:45")
    assert (own.env["LANG"], own.env["LC_ALL"], own.env["TZ"]) == ("C.UTF-8", "C.UTF-8", "Europe/Berlin")
    assert (plan.hostname, usual.umask) == ("elsewhere", 0o002)


def test_what_is_said_to_change() -> None:
    assert [change.circumstance for change in changes(PLAN)] == list(CIRCUMSTANCES)
    own = compiled(job("only", step("one", env={"TZ": "UTC0", "LC_ALL": "C"})))
    assert [change.circumstance for change in changes(own)] == ["hostname", "umask"]
