"""`ci-env diff`: equal runs, one difference at a time in real ones, and what is told where it cannot."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from typing import cast

import pytest

from tests.account import Who
from tests.base_image import base_image
from tests.installed import CiEnv
from tests.project import Fields, Project, leftovers, project

JOBS = """
unit:
  steps:
    - name: deps
      run: |
        site=/usr/local/lib/python3.11/dist-packages/foo-1.0.dist-info
        mkdir -p $site
        printf 'Name: foo\\nVersion: 1.0\\n' >$site/METADATA
    - {name: test, run: "cat data; date -d @0 +%H; umask >mask; test $(date -d @0 +%H) = 00"}
"""


def differences(made: Project, *arguments: str, code: int = 1) -> list[Fields]:
    called = made.call("diff", "--json", *arguments)
    assert called.code == code, called.err
    found = cast("Mapping[str, object]", json.loads(called.out))
    assert found["equal"] == (code == 0)
    return cast("list[Fields]", found["differences"])


def kinds(found: list[Fields]) -> list[object]:
    return [one["kind"] for one in found]


@pytest.fixture
def made(ci_env: Callable[[Who], CiEnv]) -> Project:
    return project(ci_env("user"), JOBS, image=f"oci:{base_image()}", files={"data": "one\n"})


def test_equal_runs(actor: CiEnv) -> None:
    made = project(actor, "only: {steps: [{name: test, run: 'date; echo x >x; echo $$'}]}")
    made.run()
    made.run()  # found in the store
    made.run("--no-cache")
    for arguments in ((), ("last", "last"), (made.call("runs", "ls").out.split()[0], "previous")):
        called = made.call("diff", *arguments)
        assert (called.code, called.err) == (0, "")
        assert called.out.endswith("\nnothing that is recorded of them differs\n")
    assert differences(made, code=0) == []
    assert leftovers(actor) == []


@pytest.mark.parametrize(
    ("old", "new", "kind", "what"),
    [
        ('run: "cat', 'env: {TZ: Europe/Berlin}, run: "cat', "time-zone", "variable TZ"),
        ('run: "cat', 'env: {LANG: C}, run: "cat', "locale", "variable LANG"),
        ('run: "cat', 'user: "7:7", run: "cat', "user", "user"),
        ('run: "cat', 'timeout: 9m, run: "cat', "timeout", "timeout (s)"),
        ('run: "cat', 'network: host, run: "cat', "network", "network"),
        ("cat data;", "cat data; true;", "command", "command"),
    ],
)
def test_what_is_planted_comes_first(made: Project, old: str, new: str, kind: str, what: str) -> None:
    made.run("--no-cache")
    file = made.root / "ci-env.yml"
    made.put("ci-env.yml", file.read_text().replace(old, new))
    assert new in file.read_text()
    made.call("run", "--no-cache")
    found = differences(made)
    assert (found[0]["kind"], found[0]["what"], found[0]["where"]) == (kind, what, ["unit/test"])
    assert "pipeline-file" in kinds(found)


def test_files_and_packages(made: Project) -> None:
    made.run()
    made.put("data", "two\n")
    made.run()
    first, *others = differences(made)
    assert (first["kind"], first["items"]) == ("source", [{"name": "/workspace/data", "how": "content"}])
    assert "output" in kinds(others)
    made.put("ci-env.yml", (made.root / "ci-env.yml").read_text().replace("1.0", "1.1"))
    made.run()
    first, second, *others = differences(made)
    assert (first["kind"], second["kind"], second["items"]) == (
        "command",
        "packages",
        [{"name": "pip foo", "how": "changed", "old": "1.0", "new": "1.1"}],
    )
    (result,) = [one for one in others if one["kind"] == "result"]
    assert (result["where"], result["count"]) == (["unit/deps"], 4)


def test_packages_of_another_image(made: Project) -> None:
    made.run()
    removed = "sed -i '/^Package: make$/,/^$/d' /var/lib/dpkg/status"
    made.pipeline(
        f"unit: {{steps: [{{name: deps, run: \"{removed}\"}}, {{name: test, run: 'true'}}]}}",
        image=f"oci:{base_image()}",
    )
    made.run()
    found = differences(made)
    (packages,) = [one for one in found if one["kind"] == "packages"]
    names = [(str(item["name"]), item["how"]) for item in cast("list[Fields]", packages["items"])]
    assert names == [("dpkg make", "removed"), ("pip foo", "removed")]


def test_the_table(made: Project) -> None:
    made.run()
    made.put(
        "ci-env.yml", (made.root / "ci-env.yml").read_text().replace("{name: test,", "{name: test, env: {TZ: CET},")
    )
    made.run(code=1)
    called = made.call("diff")
    assert (called.code, called.err) == (1, "")
    head, below = called.out.split("\n\n")
    assert [line.split()[0] for line in head.splitlines()] == ["A", "B"]
    assert [line.split() for line in below.splitlines()[:3]] == [
        ["A", "B"],
        ["variable", "TZ", "UTC", "CET"],
        ["unit/test:", "days", "and", "hours", "are", "others"],
    ]
    assert "ending" in below
    assert "failed: exit status 1" in below


def test_what_is_gone_is_told(ci_env: Callable[[Who], CiEnv]) -> None:
    made = project(ci_env("root"), "only: {steps: [{name: a, run: 'echo x >x'}, {name: b, run: 'echo 1'}]}")
    made.run("--no-cache")
    made.run("--no-cache")
    record = json.loads(made.call("runs", "show", "--json").out)
    for step in record["jobs"][0]["steps"]:
        shutil.rmtree(made.ci_env.store / "layers" / step["after"][-1].partition(":")[2])
    called = made.call("diff")
    assert (called.code, called.out.splitlines()[-1]) == (0, "nothing that is recorded of them differs")
    assert "not compared: the files that only/a left: a layer is gone\n" in called.err


def test_runs_that_are_not_there(ci_env: Callable[[Who], CiEnv]) -> None:
    made = project(ci_env("user"), "only: {steps: [{name: a, run: 'true'}]}")
    assert "there is no run before the last one" in made.call("diff").err
    made.run()
    for arguments in ((), ("last", "nosuch"), ("nosuch",), ("a", "b", "c")):
        assert made.call("diff", *arguments).code == 2
