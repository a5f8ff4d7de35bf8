"""`ci-env verify`: a step for each kind of difference, and some that come to the same."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import cast

import pytest

from tests.account import Who
from tests.installed import CiEnv
from tests.project import Called, Fields, Project, leftovers, project

CLEAN = """
clean:
  steps:
    - {name: one, run: 'mkdir dist; echo $SOURCE_DATE_EPOCH >dist/a; date -u -d @0 >dist/b', artifacts: [dist/]}
    - {name: two, caches: [/cache], run: 'test ! -e /cache/x; echo x >/cache/x; sort dist/a >sorted'}
after: {needs: [clean], steps: [{name: three, run: 'cat dist/a >copy'}]}
"""
STEPS = {
    "timestamp": "date +%s.%N >out",
    "timestamp by name": "touch log-$(date +%s)",
    "timestamp in gzip": "echo x >f; gzip f",
    "timestamp in tar": "echo x >f; tar cf out.tar f; rm f",
    "hostname": "hostname >out",
    "randomness": "head -c 20 /dev/urandom | od -An -tx1 >out",
    "order": "shuf -e a b c d e f g h i j k l m n o p q r >out",
    "order of blocks": "for i in $(shuf -e 1 2 3 4 5 6 7 8 9); do head -c 512 /dev/zero | tr '\\0' $i; done >out",
    "path": "mktemp -d /tmp/build.XXXXXXXX >out",
    "locale": "printf '\\303\\244' | wc -m >out",
    "processors": "nproc >out",
    "time-zone": "date -d @0 >out",
}
SEVERAL = ["processors"] if len(os.sched_getaffinity(0)) > 1 else []


def verify(made: Project, *arguments: str, code: int) -> Fields:
    called = made.call("verify", "--json", *arguments)
    assert called.code == code, f"{called.err}{called.out}"
    found: Fields = json.loads(called.out)
    assert found["reproducible"] == (code == 0)
    return found


def finding(made: Project, *arguments: str) -> Fields:
    found = verify(made, *arguments, code=1)["finding"]
    assert isinstance(found, dict)
    return cast("Fields", found)


def test_a_clean_pipeline(actor: CiEnv) -> None:
    made = project(actor, CLEAN)
    found = verify(made, code=0)
    assert (found["finding"], found["steps"]) == (None, 3)
    assert set(cast("Fields", found["changed"])) == {"hostname", "locale", "time-zone", *SEVERAL}
    assert leftovers(actor) == []
    assert not list((actor.store / "steps").iterdir())
    assert not list((actor.store / "caches").iterdir())
    assert set(made.run().steps.values()) == {"passed"}  # no result of what was verified
    listed = made.call("runs", "ls").out.splitlines()
    assert len(listed) == 3


@pytest.fixture
def made(ci_env: Callable[[Who], CiEnv]) -> Project:
    jobs = "".join(
        f"j{index}: {{steps: [{{name: fine, run: 'true'}}, {{name: test, run: {json.dumps(run)}}}]}}\n"
        for index, run in enumerate(STEPS.values())
    )
    return project(ci_env("user"), jobs)


@pytest.mark.parametrize("name", STEPS)
def test_each_kind(made: Project, name: str) -> None:
    if name == "processors" and not SEVERAL:
        pytest.skip("needs two processors")
    index = list(STEPS).index(name)
    found = finding(made, f"j{index}")
    assert found["step"] == f"j{index}/test"
    assert found["kinds"] == [name.split(" ")[0]], found
    assert leftovers(made.ci_env) == []


def test_the_umask_by_wish(ci_env: Callable[[Who], CiEnv]) -> None:
    made = project(ci_env("user"), "only: {steps: [{name: test, run: 'echo x >out; echo x >own; chmod 600 own'}]}")
    verify(made, code=0)
    found = finding(made, "--umask")
    assert (found["kinds"], found["count"]) == (["umask"], 1)
    (file,) = cast("list[Fields]", found["files"])
    assert file["path"] == "/workspace/out"
    assert [mode & 0o777 for mode in cast("list[int]", file["modes"])] == [0o644, 0o664]


def test_a_step_that_fails_elsewhere(ci_env: Callable[[Who], CiEnv]) -> None:
    made = project(ci_env("user"), "only: {steps: [{name: test, run: 'test $(hostname) = ci-env'}]}")
    found = finding(made)
    assert found["kinds"] == ["hostname"]
    assert found["endings"] == ["passed: exit status 0", "failed: exit status 1"]
    assert made.call("replay").code == 0  # it is a run like others
    made.pipeline("only: {steps: [{name: test, run: 'exit 3'}]}")
    both = verify(made, code=1)
    assert (both["finding"], both["status"]) == (None, "failed")


def test_what_the_file_sets_stays(ci_env: Callable[[Who], CiEnv]) -> None:
    env = "{TZ: UTC0, LC_ALL: C.UTF-8}"
    made = project(ci_env("user"), f"only: {{steps: [{{name: t, env: {env}, run: 'date -d @0 >out; locale >l'}}]}}")
    verify(made, code=0)


def test_for_people(made: Project) -> None:
    called: Called = made.call("verify", "j4")
    assert called.code == 1
    lines = called.out.splitlines()
    assert lines[:5] == [
        "not reproducible: j4/test: hostname",
        "  hostname: ci-env then elsewhere",
        "  content  /workspace/out, byte 0",
        "    was  ci-env",
        "    now  elsewhere",
    ]
    ids = lines[5].removeprefix("  all that differs: ci-env diff ").split()
    assert made.call("diff", *ids).code == 1


def test_diffoscope_where_there_is_one(made: Project) -> None:
    tools = made.ci_env.home / "tools"
    made.put("../tools/diffoscope", '#!/bin/sh\necho "$1 $2"; cat "$6"; echo "\\033[2J"; exit 1\n')
    os.chmod(tools / "diffoscope", 0o755)
    path = {"PATH": f"{tools}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    lines = made.call("verify", "j4", env=path).out.splitlines()
    assert lines[5:8] == ["  --text -", "  ci-env", "  "]
