"""What a step finds around it in a replay by somebody else: all of it as recorded, whatever the caller's is."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pytest

from tests.account import Who
from tests.installed import CiEnv
from tests.project import Project, project

SHAPE = """
shape:
  limits: {pids: 300, open_files: 700, memory: 1GiB, cpus: 1}
  steps:
    - name: test
      user: "1000:1000"
      env: {TZ: Asia/Kolkata, LC_ALL: C, MINE: "it's"}
      workdir: some/where
      run: |
        env | sort
        umask; id -u; id -g; id -G; hostname; pwd
        date -d @0 +%H:%M:%S.%Z
        ulimit -n; ulimit -Hn; ulimit -c; ulimit -t; ulimit -f; ulimit -v; ulimit -s
        nproc; getconf _NPROCESSORS_ONLN
        cat /etc/hosts /proc/self/oom_score_adj
        grep -E '^(Cap|NoNewPrivs|Seccomp|SigIgn|SigBlk)' /proc/self/status
        ls -l /proc/self/fd | wc -l
        exit 3
"""


@dataclass(frozen=True)
class Odd(CiEnv):
    """A caller whose surroundings are quite others."""

    def argv(self, *arguments: str) -> tuple[str, ...]:
        limits = "; ".join(f"ulimit -S -{limit}" for limit in ("f 50000", "t 500", "s 4096", "n 512"))
        script = f'{limits}; umask 077; trap \'\' HUP USR1; exec nice -n 5 "$0" "$@"'
        return ("sh", "-c", script, *super().argv(*arguments))

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        odd = {"TZ": "America/Lima", "LANG": "de_DE.UTF-8", "LC_ALL": "tr_TR", "CI": "no", "MINE": "not"}
        return {**super().environment(more), **odd}


@dataclass(frozen=True)
class OneProcessor(CiEnv):
    """A caller that may use one processor."""

    def argv(self, *arguments: str) -> tuple[str, ...]:
        return ("taskset", "-c", str(min(os.sched_getaffinity(0))), *super().argv(*arguments))


def odd(caller: CiEnv) -> Project:
    return Project(Odd(caller.account, caller.program, caller.home), caller.home)


@pytest.mark.parametrize(("one", "other"), [("root", "user"), ("user", "root")])
def test_as_recorded(one: Who, other: Who, ci_env: Callable[[Who], CiEnv]) -> None:
    maker, actor = ci_env(one), ci_env(other)
    made = project(maker, SHAPE)
    lines = made.run("--capsule", "out.cienv", code=1).lines("test")
    assert "TZ=Asia/Kolkata" in lines
    assert "05:30:00.IST" in lines
    shutil.move(made.root / "out.cienv", actor.home / "out.cienv")
    verdict = odd(actor).replay("out.cienv")
    assert (verdict["verdict"], verdict["reason"]) == ("same", "equal-output"), verdict


def test_the_number_of_processors(ci_env: Callable[[Who], CiEnv]) -> None:
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs two processors")
    maker = ci_env("user")
    made = project(maker, "only: {steps: [{name: test, run: 'nproc; getconf _NPROCESSORS_ONLN; exit 1'}]}")
    run = Project(OneProcessor(maker.account, maker.program, maker.home), made.root).run(code=1)
    assert run.lines("test") == ["1", str(os.sysconf("SC_NPROCESSORS_ONLN"))]
    assert made.replay()["reason"] == "equal-output"

    file = maker.store / "runs" / run.id / "record.json"
    record = json.loads(file.read_text())
    record["host"] |= {"cpus": 64, "cpus_online": 64, "memory_bytes": 1 << 50}
    file.write_text(json.dumps(record))
    verdict = made.replay(code=6)
    reasons = str(verdict["reasons"])
    assert "'64 processors then, " in reasons
    assert "'1048576.0 GiB of memory then, " in reasons
    assert "  | 64\n" in made.call("replay").err
