"""`ci-env image build`, by every account: what a Dockerfile says, as an image that is used and exported."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from tests.dockerfile_project import (
    LOOK,
    built,
    config,
    ok,
    prepared,
    view,
)
from tests.installed import CiEnv
from tests.project import Project, leftovers, project
from tests.real_registry import RealRegistry


@pytest.fixture
def made(actor: CiEnv) -> Project:
    return prepared(actor)


def test_built_used_and_built_again(made: Project) -> None:
    line = ok(made, "build", "--offline", "-t", "team/app:1", "--build-arg", "WHO=world")
    name, digest = line.split()
    assert name == "team/app:1"
    made.pipeline(LOOK, image="team/app:1")
    assert made.run("--offline").lines("look") == ["hello world", "0"]
    again = built(made, "-t", "team/app:1", "--build-arg", "WHO=world")
    assert [end["status"] for end in again.of("RunFinished")] == ["cached"]
    assert set(again.steps.values()) == {"cached"}
    assert digest in ok(made, "ls", "--json")
    assert made.call("store", "check").code == 0
    assert leftovers(made.ci_env) == []


def test_the_same_files_give_the_same_digest(made: Project) -> None:
    made.put("Copying", "FROM scratch\nCOPY src /\n")
    first = ok(made, "build", "--offline", "-t", "team/app:1", "-f", "Copying").split()
    (made.root / "src/main").touch()
    second = ok(made, "build", "--offline", "--no-cache", "-t", "team/app:2", "-f", "Copying").split()
    assert first[1] == second[1]
    third = ok(made, "build", "--offline", "-t", "team/app:3", "-f", "Copying").split()
    assert third[1] == second[1]


def test_config_and_history(made: Project) -> None:
    built(made, "-t", "team/app:1")
    found = config(made, "team/app:1")
    facts = found["config"]
    assert facts["Env"] == ["PATH=/bin", "GREETING=hello"]
    assert (facts["WorkingDir"], facts["User"], facts["Cmd"]) == ("/srv/app", "web", ["cat", "greeting"])
    assert facts["Labels"] == {"from": "base"}
    assert found["created"] == "1980-01-01T00:00:00Z"
    made_layers = [entry for entry in found["history"] if not entry.get("empty_layer")]
    assert len(made_layers) + 1 == len(found["rootfs"]["diff_ids"])  # the base of this test has no history


def test_a_given_time(made: Project) -> None:
    built(made, "-t", "team/app:1", env={"SOURCE_DATE_EPOCH": "1700000000"})
    assert config(made, "team/app:1")["created"] == "2023-11-14T22:13:20Z"
    called = made.call("image", "build", env={"SOURCE_DATE_EPOCH": "yesterday"})
    assert (called.code, "SOURCE_DATE_EPOCH" in called.err) == (2, True)


def test_built_on_what_was_built_and_pushed(made: Project, registry: RealRegistry, tmp_path: Path) -> None:
    built(made, "-t", "team/app:1")
    made.put("More", "FROM team/app:1\nUSER root\nRUN echo more >>greeting\nONBUILD COPY other /other\n")
    built(made, "-f", "More", "-t", "team/more:1")
    made.put("Last", "FROM team/more:1\nRUN chmod 600 /other\n")
    built(made, "-f", "Last", "-t", "team/last:1")
    found = view(made, "team/last:1", tmp_path)
    assert (found["srv/app/greeting"].content, found["other"].mode) == ("hello nobody\nmore\n", 0o600)
    said = [str(entry["created_by"]) for entry in config(made, "team/last:1")["history"]]
    assert [text.partition(" ")[0] for text in said[-5:]] == ["USER", "RUN", "ONBUILD", "COPY", "RUN"]

    name = f"{registry.host}/{made.ci_env.account.who}-{os.urandom(4).hex()}/last"
    digest = ok(made, "push", "team/last:1", f"{name}:1").strip()
    assert ok(made, "pull", f"{name}@{digest}").split()[1] == digest
    made.pipeline(LOOK, image=f"{name}@{digest}")
    assert made.run("--offline").lines("look") == ["hello nobody", "more", "0"]


def test_without_a_name_it_has_that_of_its_file(made: Project) -> None:
    name, digest = ok(made, "build", "--offline").split()
    assert name == f"dockerfile:{made.root}/Dockerfile"
    assert json.loads(ok(made, "inspect", name, "--json"))["manifest"] == digest


def test_stages(made: Project, tmp_path: Path) -> None:
    made.put(
        "Dockerfile",
        """
        FROM team/base:1 AS tools
        RUN mkdir /out && echo one >/out/one && chmod 700 /out/one
        FROM tools AS more
        RUN echo two >/out/two
        FROM absent/image:1 AS never
        RUN false
        FROM scratch
        COPY --from=tools /out/one /from-tools
        COPY --from=1 /out /from-more/
        COPY --from=team/base:1 /etc/passwd /passwd
        """,
    )
    run = built(made, "-t", "team/app:1")
    assert {step.partition("/")[0] for step in run.steps} == {"tools", "more", "stage-3"}
    found = view(made, "team/app:1", tmp_path)
    assert found.keys() == {".", "from-tools", "from-more", "from-more/one", "from-more/two", "passwd"}
    assert (found["from-tools"].content, found["from-tools"].mode) == ("one\n", 0o700)
    only = built(made, "--target", "tools", "-t", "team/tools:1")
    assert only.steps == {name.removeprefix("tools/"): "cached" for name in run.steps if name.startswith("tools/")}


def test_a_stage_called_as_one_without_a_name(made: Project, tmp_path: Path) -> None:
    made.put(
        "Dockerfile", "FROM team/base:1 AS stage-1\nRUN echo 1 >/one\nFROM scratch\nCOPY --from=stage-1 /one /one\n"
    )
    run = built(made, "-t", "team/app:1")
    assert {step.partition("/")[0] for step in run.steps} == {"stage-1", "stage-1_"}
    assert view(made, "team/app:1", tmp_path)["one"].content == "1\n"


def test_a_program_for_an_image_of_nothing_else(actor: CiEnv, debian_image: str) -> None:
    made = project(actor, LOOK)
    made.put("hello.c", '#include <stdio.h>\nint main(void) { puts("hello"); }\n')
    made.put(
        "Dockerfile",
        f"""
        ARG IMAGE={debian_image}
        FROM $IMAGE AS build
        WORKDIR /src
        COPY hello.c .
        RUN <<EOF
        gcc -static -O1 -o hello hello.c
        strip hello
        EOF
        RUN --network=none ["./hello"]
        FROM scratch
        COPY --from=build --chmod=755 /src/hello /bin/
        ENTRYPOINT ["/bin/hello"]
        """,
    )
    called = made.call("image", "build", "-t", "team/hello:1", "--format", "plain")
    assert called.code == 0, called.err
    assert 'RUN --network=none ["./hello"] | hello' in called.err
    assert config(made, "team/hello:1")["config"]["Entrypoint"] == ["/bin/hello"]
    assert len(config(made, "team/hello:1")["rootfs"]["diff_ids"]) == 1
    assert set(built(made, "-t", "team/hello:1").steps.values()) == {"cached"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(made: Project, number: signal.Signals) -> None:
    patient = "RUN --mount=type=cache,target=/seen [ -e /seen/it ] || { touch /seen/it; sleep 300; }"
    made.put("Dockerfile", f"FROM team/base:1\nCOPY src /src\n{patient}\nCOPY other /other\n")
    started = made.ci_env.start("image", "build", "--offline", "--format", "json", "-t", "team/app:1", cwd=made.root)
    deadline = time.monotonic() + 60
    while not list(made.ci_env.store.glob("caches/*/it")) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(started.pid, number)
    out, err = started.communicate(timeout=30)
    assert started.returncode == 128 + number, err
    statuses = [event["status"] for line in out.splitlines() if (event := json.loads(line))["event"] == "StepFinished"]
    assert statuses == ["passed", "cancelled", "skipped"]
    assert leftovers(made.ci_env) == []
    assert "team/app" not in ok(made, "ls")
    assert list(built(made, "-t", "team/app:1").steps.values()) == ["cached", "passed", "passed"]
