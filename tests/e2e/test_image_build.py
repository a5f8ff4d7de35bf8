"""`ci-env image build`, by every account: what a Dockerfile says, as an image that is used and exported."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypedDict

import pytest

from ci_env.oci.layout import LayoutSource
from tests.account import Who
from tests.busybox_image import busybox
from tests.installed import CiEnv
from tests.layer_stack import Node
from tests.oci_builder import d, f, image, link, tar, write_layout
from tests.project import Called, Project, Run, leftovers, project
from tests.real_registry import RealRegistry
from tests.stored_images import new_images

BASE = "team/base:1"
ACCOUNTS = [
    d("etc"),
    f("etc/passwd", "root:x:0:0::/root:/bin/sh\nweb:x:33:44::/srv:/bin/sh\n"),
    f("etc/group", "root:x:0:\nweb:x:44:\n"),
    *(f(f"etc/{name}") for name in ("hosts", "hostname", "resolv.conf")),  # what every builder makes, in its own way
    *(d(name) for name in ("dev", "proc", "sys", "run", "srv")),
    d("tmp", mode=0o1777),
]
BUSYBOX_NAMES = ("mkdir", "chmod", "chown", "id", "rm", "ln", "sleep")
LOOK = 'look: {steps: [{name: look, run: "cat /srv/app/greeting; id -u", user: "0"}]}\n'
SMALL = """
    FROM team/base:1
    ARG WHO=nobody
    ENV GREETING=hello
    WORKDIR /srv/app
    COPY --chown=web src/ ./
    RUN echo "$GREETING $WHO" >greeting && cat main
    USER web
    CMD ["cat", "greeting"]
"""


class Config(TypedDict):
    created: str
    config: dict[str, object]
    rootfs: dict[str, list[str]]
    history: list[dict[str, object]]


@pytest.fixture
def made(actor: CiEnv) -> Project:
    return prepared(actor)


def prepared(actor: CiEnv) -> Project:
    """Give a project with a Dockerfile and some files, and the base image in the store."""
    base = tar([*busybox(), *(link(f"bin/{name}", "busybox") for name in BUSYBOX_NAMES), *ACCOUNTS])
    config = {"Env": ["PATH=/bin"], "Cmd": ["sh"], "Labels": {"from": "base"}}
    actor.own(write_layout(actor.home / "layout", {"1": image([base], config=config)}))
    files = {"src/main": "the program\n", "src/sub/deep": "deep\n", "other": "other\n"}
    made = project(actor, LOOK, files=files)
    made.put("Dockerfile", SMALL)
    ok(made, "import", "oci:../layout:1", BASE)
    return made


def ok(made: Project, *arguments: str, env: Mapping[str, str] | None = None) -> str:
    called = made.call("image", *arguments, env=env)
    assert called.code == 0, called.err
    return called.out


def built(made: Project, *arguments: str, code: int = 0, env: Mapping[str, str] | None = None) -> Run:
    """Build, offline; return what the build's run said."""
    called = made.call("image", "build", "--offline", "--format", "json", *arguments, env=env)
    assert called.code == code, f"{called.code}: {called.err}{called.out[-4000:]}"
    return Run(tuple(json.loads(line) for line in called.out.splitlines()))


def refused(made: Project, *arguments: str) -> Called:
    called = made.call("image", "build", "--offline", *arguments)
    assert called.code == 2, called
    return called


def config(made: Project, name: str) -> Config:
    shown = json.loads(ok(made, "inspect", name, "--json"))
    found: Config = shown["config"]
    return found


def view(made: Project, name: str, path: Path) -> dict[str, Node]:
    """Return the tree of an image of the store, by way of an export."""
    target = made.ci_env.home / f"exported-{os.urandom(4).hex()}"
    ok(made, "export", name, f"oci:{target}:x")
    return tree(target, "x", path)


def tree(layout: Path, tag: str, path: Path) -> dict[str, Node]:
    with new_images(path / f"store-{os.urandom(4).hex()}") as images:
        return images.view(images.pull(LayoutSource(layout, tag)))


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


def test_only_what_a_copy_names_counts(made: Project) -> None:
    built(made)
    made.put("other", "changed\n")
    assert set(built(made).steps.values()) == {"cached"}
    made.put("src/main", "changed\n")
    steps = built(made).steps
    assert list(steps.values()) == ["cached", "passed", "passed"]


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


def test_a_failing_run_is_replayed(made: Project) -> None:
    made.put("Dockerfile", "FROM team/base:1\nCOPY src /src\nRUN cat /src/main; echo broken; exit 3\n")
    failed = built(made, code=1)
    assert list(failed.steps.values()) == ["passed", "failed"]
    (failure,) = failed.of("StepFailure")
    assert failure["tail"] == ["the program", "broken"]
    verdict = made.replay()
    assert verdict["verdict"] == "same"
    assert made.call("runs", "show").code == 0


def test_a_failing_copy_is_replayed(made: Project) -> None:
    made.put(
        "Dockerfile",
        "FROM team/base:1 AS one\nRUN echo 1 >/file\nFROM team/base:1\nCOPY --from=one /absent /x\n",
    )
    failed = built(made, code=1)
    (failure,) = failed.of("StepFailure")
    assert failure["tail"] == ["there is no 'absent' to copy"]
    assert failure["ending"] == "exit status 1"
    assert made.replay()["verdict"] == "same"


def test_ignored_files(made: Project, tmp_path: Path) -> None:
    made.put("Copying", "FROM scratch\nCOPY . /\n")
    made.put(".dockerignore", "src\n!src/sub\n.git\n**/*.yml\nDockerfile\nCopying\n.dockerignore\n")
    built(made, "-f", "Copying", "-t", "team/app:1")
    assert view(made, "team/app:1", tmp_path).keys() == {".", "other", "src", "src/sub", "src/sub/deep"}
    made.put("Copying.dockerignore", "*\n!other\n")
    built(made, "-f", "Copying", "-t", "team/app:2")
    assert view(made, "team/app:2", tmp_path).keys() == {".", "other"}


@pytest.mark.parametrize("kind", ["fifo", "dangling", "directory"])
def test_what_says_what_is_ignored_is_a_file(made: Project, kind: str) -> None:
    path = made.root / ".dockerignore"
    {"fifo": lambda: os.mkfifo(path), "dangling": lambda: path.symlink_to("nowhere"), "directory": path.mkdir}[kind]()
    assert ".dockerignore is no file" in refused(made).err


def test_what_cannot_be_read_counts_only_where_it_is_named(made: Project) -> None:
    made.put("closed/x", "x")
    (made.root / "closed").chmod(0)
    is_root = made.ci_env.account.who == "root"
    made.put("Copying", "FROM scratch\nCOPY src /\n")
    built(made, "-f", "Copying")
    made.put("Copying", "FROM scratch\nCOPY . /\n")
    called = made.call("image", "build", "--offline", "-f", "Copying")
    assert called.code == (0 if is_root else 2), called.err
    assert is_root or "cannot read ./closed, which is part of the build's context" in called.err


def test_an_archive_is_unpacked(made: Project, tmp_path: Path) -> None:
    with tarfile.open(made.root / "files.tgz", "w:gz") as archive:
        archive.add(made.root / "src", "packed", filter=lambda info: info.replace(uid=0, gid=0, mtime=7, deep=False))
    made.put("Dockerfile", "FROM scratch\nADD files.tgz /opt/\nCOPY files.tgz /opt/kept\n")
    built(made, "-t", "team/app:1")
    found = view(made, "team/app:1", tmp_path)
    assert found["opt/packed/sub/deep"].content == "deep\n"
    assert found["opt/packed/main"].mtime_ns == 7 * 10**9
    assert found["opt/kept"].kind == "-"


def test_an_image_of_a_pipeline(made: Project) -> None:
    made.pipeline(LOOK, image="dockerfile:Dockerfile")
    called = made.call("run", "--offline", "--format", "plain")
    assert called.code == 0, called.err
    assert "hello nobody" in called.err
    assert made.call("validate").code == 0
    again = made.call("run", "--offline", "--format", "plain")
    assert again.code == 0
    assert "dockerfile" not in made.call("lock").out
    locked = made.call("run", "--offline", "--locked")
    assert (locked.code, "no lockfile holds" in locked.err) == (2, True)


def test_an_image_of_a_pipeline_that_cannot_be_built(made: Project) -> None:
    made.put("Dockerfile", "FROM team/base:1\nRUN exit 9\n")
    made.pipeline('look: {steps: [{name: look, run: "true"}]}\n', image="dockerfile:Dockerfile")
    called = made.call("run", "--offline")
    assert called.code == 1
    assert "the image 'dockerfile:Dockerfile' could not be built" in called.err


def test_why_a_build_runs_a_step_again(made: Project) -> None:
    asked = ("build", "--offline", "--explain")
    assert "stage-0/COPY --chown=web src/ ./: will run, as it has never passed here\n" in ok(made, *asked)
    built(made)
    assert {line.rpartition(": ")[2] for line in ok(made, *asked).splitlines()} == {"cached"}

    made.put("src/main", "changed\n")
    (made.root / "src/sub/deep").chmod(0o700)
    (made.root / "other").rename(made.root / "src/new")
    changes = ["  changed  src/main", "  added    src/new", "  mode     src/sub/deep"]
    before = ok(made, *asked)
    assert (
        "COPY --chown=web src/ ./: will run, because since it last passed\n  - what is copied from changed\n" in before
    )
    assert [line.strip() for line in before.splitlines() if line.startswith("      ")] == [
        line.strip() for line in changes
    ]
    assert "it last passed\n  - a step before changed\n" in before
    assert list(built(made).steps.values()) == ["cached", "passed", "passed"]
    after = ok(made, *asked)
    assert "COPY --chown=web src/ ./: cached\n  it last ran because\n  - what is copied from changed\n" in after
    assert changes[0] in after

    told = ok(made, *asked, "--build-arg", "WHO=you")
    assert "- the environment variable WHO changed from 'nobody' to 'you'" in told
    assert built(made).of("RunFinished")[0]["status"] == "cached"


def test_why_the_image_of_a_pipeline_was_built_again(made: Project) -> None:
    made.pipeline(LOOK, image="dockerfile:Dockerfile")
    copy = "dockerfile:Dockerfile stage-0/COPY --chown=web src/ ./"
    assert f"{copy}: will run, as it has never passed here\n" in made.call("explain").out
    made.run("--offline")
    said = made.call("explain").out
    assert f"{copy}: cached\n" in said
    assert said.splitlines()[-1] == "look/look: cached"

    made.put("src/main", "changed\n")
    said = made.call("explain").out
    assert f"{copy}: will run, because since it last passed\n" in said
    assert "      changed  src/main\n" in said
    assert "look/look: will run, because since it last passed\n" in said
    assert "  - the image changed\n" in said
    one = made.call("explain", "COPY --chown=web src/ ./").out  # built by the explanation before
    assert f"{copy}: cached\n  it last ran because\n" in one
    assert "look/look" not in one


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("FROM team/base:1\nCOPY absent /x\n", "Dockerfile:2: there is no 'absent' in"),
        ("FROM team/base:1\nRNU true\n", "Dockerfile:2"),
        ("FROM absent/image:1\n", "Dockerfile:1"),
        ("FROM host\n", "Dockerfile:1: this machine is no image"),
        ("FROM --platform=linux/s390x team/base:1\n", "Dockerfile:1: the stage is for linux/s390x"),
        ("", "Dockerfile"),
    ],
)
def test_mistakes(made: Project, text: str, complaint: str) -> None:
    made.put("Dockerfile", text)
    assert complaint in refused(made).err
    assert leftovers(made.ci_env) == []


def test_more_mistakes(made: Project) -> None:
    assert "no stage 'absent'" in refused(made, "--target", "absent").err
    assert "cannot read nowhere/Dockerfile" in refused(made, "nowhere").err
    assert "no name for an image" in refused(made, "-t", "UPPER CASE").err
    assert "expected NAME=VALUE" in refused(made, "--build-arg", "=x").err
    assert "'x' is not UTF-8" in refused(made, "--build-arg", "x=\udcff").err


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


RICH = """
    FROM localhost/base:1 AS tools
    RUN mkdir -p /out/deep && echo made >/out/deep/file && ln -s deep/file /out/link && chmod 750 /out/deep
    RUN chown 33:44 /out/deep/file

    FROM localhost/base:1
    WORKDIR /srv/app
    COPY src/main src/script ./
    COPY --chown=web:web --chmod=640 src/main /owned/by/web
    COPY src /srv/tree
    COPY src/ /srv/existing/
    COPY src/*.txt /srv/texts/
    COPY --from=tools /out /srv/out
    COPY link /srv/followed
    ADD files.tar.gz /srv/unpacked/
    RUN rm /etc/group && echo x >>/srv/app/main && mkdir /made
    ENV A=b
"""


@pytest.mark.root
def test_the_tree_that_buildah_builds(ci_env: Callable[[Who], CiEnv], tmp_path: Path) -> None:
    if shutil.which("buildah") is None:
        pytest.skip("needs buildah (Debian package buildah)")
    made = prepared(ci_env("root"))
    for path in ("src/a.txt", "src/b.txt"):
        made.put(path, path)
    made.put("src/script", "#!/bin/sh\n")
    (made.root / "src/script").chmod(0o755)
    (made.root / "src/sub").chmod(0o750)
    (made.root / "src/sub/up").symlink_to("../main")
    (made.root / "link").symlink_to("src/main")
    with tarfile.open(made.root / "files.tar.gz", "w:gz") as archive:
        archive.add(made.root / "src/sub", "packed")
    made.put("Dockerfile", RICH)
    ok(made, "import", "oci:../layout:1", "localhost/base:1")
    built(made, "-t", "localhost/ours:1")
    ours = view(made, "localhost/ours:1", tmp_path)
    theirs = buildah(made, tmp_path)
    assert told(ours) == told(theirs)
    assert {"owned/by/web", "srv/out/deep/file", "srv/unpacked/packed/deep", "srv/tree/sub/up"} <= ours.keys()


def told(view: Mapping[str, Node]) -> dict[str, Node]:
    """Return the tree without times: docker's are those of the build."""
    return {path: replace(node, mtime_ns=0, inode=0, links=0) for path, node in view.items()}


def buildah(made: Project, path: Path) -> dict[str, Node]:
    """Return the tree that buildah builds of the same files."""
    policy = path / "policy.json"
    policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    program = ["buildah", "--root", path / "b", "--runroot", path / "r", "--storage-driver", "vfs"]

    def call(*arguments: object) -> str:
        argv = list(map(str, [*program, *arguments]))
        done = subprocess.run(argv, cwd=made.root, capture_output=True, text=True, check=False, timeout=180)
        assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    shutil.copytree(made.ci_env.home / "layout", path / "layout")  # a path that is fit to be a name
    pulled = call("pull", "--signature-policy", policy, f"oci:{path}/layout:1").splitlines()[-1]
    call("tag", pulled, "localhost/base:1")
    bud = ["bud", "--signature-policy", policy, "--isolation", "chroot", "--pull-never", "--format", "oci"]
    call(*bud, "-t", "localhost/theirs:1", "-f", "Dockerfile", ".")
    call("push", "--signature-policy", policy, "localhost/theirs:1", f"oci:{path}/theirs:x")
    return tree(path / "theirs", "x", path)


@pytest.fixture
def short() -> Generator[Path]:
    """Give a directory with a short name: podman's may have 50 characters."""
    with tempfile.TemporaryDirectory(prefix="p", dir="/tmp") as directory:
        yield Path(directory)


@pytest.mark.root
def test_loaded_by_podman(ci_env: Callable[[Who], CiEnv], short: Path, tmp_path: Path) -> None:
    if shutil.which("podman") is None:
        pytest.skip("needs podman (Debian package podman)")
    made = prepared(ci_env("root"))
    built(made, "-t", "team/app:1")
    ok(made, "export", "team/app:1", f"docker-archive:{tmp_path}/image.tar")
    policy = tmp_path / "policy.json"
    policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    podman = ["podman", "--root", short / "root", "--runroot", short / "run", "--storage-driver", "vfs"]
    podman += ["--events-backend", "file", "--cgroup-manager", "cgroupfs"]

    def call(*arguments: object) -> str:
        argv = list(map(str, [*podman, *arguments]))
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=180)
        assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    call("load", "--signature-policy", policy, "-i", tmp_path / "image.tar")
    (found,) = json.loads(call("inspect", "docker.io/team/app:1"))
    assert found["Config"]["Cmd"] == ["cat", "greeting"]
    assert len(found["RootFS"]["Layers"]) == 4
    history = json.loads(call("history", "--format", "json", "docker.io/team/app:1"))
    assert any("COPY" in entry["CreatedBy"] for entry in history)
