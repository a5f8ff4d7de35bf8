"""`--platform`: which image of an index is taken, and what this machine says of programs that it cannot run."""

from __future__ import annotations

import json
import platform

import pytest

from tests.busybox_image import busybox
from tests.installed import CiEnv
from tests.oci_builder import INDEX_TYPE, MANIFEST_TYPE, descriptor, f, image, index, tar, write_layout
from tests.project import Project, project

JOB = 'a: {steps: [{name: look, run: "cat /for"}]}\n'
FOREIGN = "linux/s390x"
HERE = {"x86_64": "linux/amd64", "aarch64": "linux/arm64"}[platform.machine()]
VARIANT = {"x86_64": "v1", "aarch64": "v8"}[platform.machine()]
FORERUNNER = {"x86_64": "linux/386", "aarch64": "linux/arm/v7"}[platform.machine()]
"""what the machine itself could run; the filter of system calls forbids it"""


@pytest.fixture
def made(actor: CiEnv) -> Project:
    """Give a project with a layout beside it: an index, which another index is in."""
    entries: list[dict[str, object]] = []
    blobs: list[bytes] = []
    for name in (HERE, FORERUNNER, FOREIGN):
        os_name, architecture, *variant = name.split("/")
        content = image(
            [tar([*busybox(), f("for", f"{name}\n")])], architecture=architecture, config={"Env": ["PATH=/bin"]}
        )
        where = {"os": os_name, "architecture": architecture, **({"variant": variant[0]} if variant else {})}
        entries.append(descriptor(MANIFEST_TYPE, content.manifest, platform=where))
        blobs += [*content.blobs.values(), content.manifest]
    inner = index(entries)
    layout = write_layout(actor.home / "layout", {}, extra=[*blobs, inner])
    tagged = {"annotations": {"org.opencontainers.image.ref.name": "1"}}
    (layout / "index.json").write_bytes(index([descriptor(INDEX_TYPE, inner, **tagged)]))
    for path in (layout, *layout.rglob("*")):
        actor.own(path)
    return project(actor, JOB, image="oci:../layout:1")


def test_a_run_takes_the_image_of_its_platform(made: Project) -> None:
    assert made.run().lines("look") == [HERE]
    assert made.run("--platform", HERE).steps == {"look": "cached"}
    assert "look: cached" in made.call("explain", "--platform", HERE).out
    assert f"the platform changed from '{HERE}' to '{FOREIGN}'" in made.call("explain", "--platform", FOREIGN).out


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (FOREIGN, (f"has no emulator for programs of {FOREIGN}", "install qemu-user")),
        (FORERUNNER, (f"programs of {FORERUNNER} do not run on {HERE}", "kills 32-bit programs")),
        (f"{HERE}/v9", (f"may not be able to run programs of {HERE}/v9", f"choose --platform {HERE}")),
    ],
)
def test_what_cannot_run_here_is_said_before_anything_is_done(made: Project, name: str, said: tuple[str, ...]) -> None:
    called = made.call("run", "--platform", name)
    assert called.code == 3
    assert all(words in called.err for words in said), called.err
    assert made.call("image", "ls").out.count("\n") <= 1
    assert json.loads(made.call("run", "--plan", "--platform", FOREIGN).out)["jobs"][0]["image"]["platform"] == FOREIGN


def test_images_of_other_platforms_can_be_brought(made: Project) -> None:
    assert made.call("image", "import", "--platform", FOREIGN, "oci:../layout:1", "app:1").code == 0
    assert json.loads(made.call("image", "inspect", "--json", "app:1").out)["platform"] == FOREIGN


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        (
            "linux/ppc64le",
            2,
            f"the image is not there for linux/ppc64le, only for {', '.join(sorted((HERE, FORERUNNER, FOREIGN)))}",
        ),
        ("s390x", 2, "not a platform: 's390x' (write os/architecture[/variant], such as linux/amd64)"),
        ("linux/../..", 2, "not a platform"),
    ],
)
def test_platforms_that_are_not_to_be_had(made: Project, name: str, code: int, message: str) -> None:
    called = made.call("image", "import", "--platform", name, "oci:../layout:1", "app:1")
    assert (called.code, message in called.err) == (code, True), called.err


def test_spellings_of_one_platform_are_one(made: Project) -> None:
    """The second import renews the name; it takes nothing from a run that does not say what this machine is."""
    for spelling in (HERE, f"{HERE}/{VARIANT}"):
        assert made.call("image", "import", "--platform", spelling, "oci:../layout:1", "app:1").code == 0
        assert made.run("--offline", "--image", "app:1").lines("look") in ([HERE], [])
    assert made.run("--image", "host", "--platform", f"{HERE}/{VARIANT}", code=1)
    assert made.run("--offline", "--image", "app:1", "--platform", f"{HERE}/{VARIANT}").steps == {"look": "cached"}


def test_the_host_is_no_other_platform(made: Project) -> None:
    called = made.call("run", "--plan", "--image", "host", "--platform", FOREIGN)
    assert called.code == 2
    assert f"`image: host` is this machine, which is {HERE}" in called.err
    assert "leave out --platform" in called.err


CROSS = """
    FROM --platform=$BUILDPLATFORM oci:../layout:1 AS build
    ARG TARGETPLATFORM
    RUN echo "made on $(cat /for) for $TARGETPLATFORM" >/made
    FROM oci:../layout:1
    COPY --from=build /made /made
"""


def test_a_stage_of_this_machine_makes_files_for_another(made: Project) -> None:
    made.put("Dockerfile", CROSS)
    called = made.call("image", "build", "--platform", FOREIGN, "-t", "app:1")
    assert called.code == 0, called.err
    assert json.loads(made.call("image", "inspect", "--json", "app:1").out)["platform"] == FOREIGN
    assert made.call("image", "build", "-t", "app:2").code == 0
    assert json.loads(made.call("image", "inspect", "--json", "app:2").out)["platform"] == HERE
    assert made.call("image", "export", "app:1", "oci:out").code == 0
    made.put("Dockerfile", "FROM --platform=$BUILDPLATFORM oci:../layout:1\nRUN true\n")
    assert made.call("image", "build").code == 0


def test_files_of_a_stage_for_another_platform_are_taken(made: Project) -> None:
    made.put("file", "x")
    stage = f"FROM --platform={FOREIGN} oci:../layout:1 AS other\nCOPY file /\nFROM other AS more\nWORKDIR /d\n"
    last = 'FROM oci:../layout:1\nCOPY --from=more /for /file /\nRUN echo "$(cat /for)"\n'
    made.put("Dockerfile", stage + last)
    called = made.call("image", "build", "--format", "plain", "-t", "app:1")
    assert called.code == 0, called.err
    assert f"| {FOREIGN}\n" in called.err


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        (f"FROM --platform={FOREIGN} oci:../layout:1\nRUN true\nFROM scratch\nCOPY --from=0 /for /\n", 3, "emulator"),
        (f"FROM --platform={FOREIGN} scratch AS a\nFROM a\nCOPY Dockerfile /\n", 2, f"{FOREIGN}, but the image is"),
        (
            f"FROM oci:../layout:1 AS a\nFROM --platform={FOREIGN} a AS b\nFROM a\nCOPY --from=b /for /x",
            2,
            "begins with",
        ),
    ],
)
def test_stages_that_cannot_be_made(made: Project, text: str, code: int, message: str) -> None:
    made.put("Dockerfile", text)
    called = made.call("image", "build", "-t", "app:1")
    assert (called.code, message in called.err) == (code, True), called.err
    assert "error: Dockerfile:" in called.err
