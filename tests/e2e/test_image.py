"""`ci-env image`, by every account: images in and out of the store, and a run that uses what was imported."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.account import Who
from tests.busybox_image import busybox
from tests.installed import CiEnv
from tests.oci_builder import d, f, image, tar, wh, write_layout
from tests.project import Project, leftovers, project
from tests.real_registry import RealRegistry

JOB = 'a: {steps: [{name: look, run: "cat /etc/motd; test ! -e /etc/gone"}]}\n'


@pytest.fixture
def made(actor: CiEnv) -> Project:
    """Give a project with an OCI layout beside it."""
    base = [tar([*busybox(), d("etc"), f("etc/motd", "hello\n"), f("etc/gone", uid=7, mode=0o600)])]
    content = image([*base, tar([wh("etc/gone")])], config={"Env": ["PATH=/bin"], "Cmd": ["sh"], "User": "0"})
    layout = write_layout(actor.home / "layout", {"1": content})
    for path in (layout, *layout.rglob("*")):
        actor.own(path)
    return project(actor, JOB, image="team/app:1")


def ok(made: Project, *arguments: str) -> str:
    called = made.call("image", *arguments)
    assert called.code == 0, called.err
    return called.out


def listed(made: Project) -> list[dict[str, object]]:
    return [json.loads(line) for line in ok(made, "ls", "--json").splitlines()]


def test_an_image_is_whole_if_a_run_would_find_its_layers(made: Project) -> None:
    ok(made, "import", "oci:../layout:1", "team/app:1")
    assert [item["whole"] for item in listed(made)] == [True]
    shown = json.loads(ok(made, "inspect", "team/app:1", "--json"))
    marker = made.ci_env.store / "layers" / shown["layers"][1]["chain_id"].partition(":")[2] / "layer.json"
    marker.write_text('{"version":1,"boot":"00000000-0000-0000-0000-000000000000"}')  # lost by a power cut, maybe
    assert [item["whole"] for item in listed(made)] == [False]
    assert ok(made, "ls").endswith(", not whole\n")


def test_imported_used_exported_and_forgotten(made: Project) -> None:
    name, digest = ok(made, "import", "oci:../layout:1", "team/app:1").split()
    assert name == "team/app:1"
    assert [item["reference"] for item in listed(made)] == ["team/app:1"]
    assert made.run("--offline").lines("look") == ["hello"]

    shown = json.loads(ok(made, "inspect", "docker.io/team/app:1", "--json"))
    assert shown["manifest"] == digest
    assert shown["config"]["config"]["Cmd"] == ["sh"]
    assert len(shown["layers"]) == 2
    assert f"manifest    {digest}" in ok(made, "inspect", digest[7:19])

    ok(made, "export", "team/app:1", "docker-archive:image.tar")
    assert ok(made, "rm", "team/app:1") == "team/app:1: removed\n"
    assert listed(made) == []
    assert made.call("run", "--offline").code == 2

    assert ok(made, "import", "docker-archive:image.tar").split()[0] == "docker.io/team/app:1"
    assert made.run("--offline").steps == {"look": "passed"}
    assert leftovers(made.ci_env) == []


def test_an_image_that_lost_its_layers_is_not_looked_for_elsewhere(made: Project) -> None:
    ok(made, "import", "oci:../layout:1", "team/app:1")
    assert made.call("prune", "--older", "0d", "--keep", "0").code == 0
    assert [(item["reference"], item["whole"]) for item in listed(made)] == [("team/app:1", False)]
    again = f"$ ci-env image import oci:{made.ci_env.home}/layout:1 team/app:1"
    for arguments in (("run",), ("run", "--offline"), ("image", "export", "team/app:1", "oci:x"), ("explain",)):
        called = made.call(*arguments)
        assert called.code == 2, called.err
        assert "'team/app:1' was imported here at 20" in called.err
        assert ", and layers of it have been removed since" in called.err
        assert again in called.err
    ok(made, "import", "oci:../layout:1", "team/app:1")
    assert made.run("--offline").lines("look") == ["hello"]

    made.put("Dockerfile", "FROM team/app:1\nARG A\nRUN echo $A >/etc/motd\n")
    ok(made, "build", "-t", "team/built:2", "--build-arg", "A=secret")
    assert made.call("prune", "--older", "0d", "--keep", "0").code == 0
    made.pipeline(JOB, image="team/built:2")
    called = made.call("run")
    assert called.code == 2, called.err
    assert "the image 'team/built:2' was built here at 20" in called.err
    where = f"-f {made.root}/Dockerfile --build-arg A=... {made.root}"
    assert f"$ ci-env image build -t team/built:2 {where}\n" in called.err
    assert made.call("prune", "--all").code == 0
    assert listed(made) == []


def test_an_archive_as_a_jobs_image(made: Project) -> None:
    ok(made, "import", "oci:../layout", "team/app:1")
    for form in ("docker-archive", "oci-archive"):
        ok(made, "export", "team/app:1", f"{form}:{form}.tar")
        made.pipeline(JOB, image=f"{form}:{form}.tar")
        assert made.run("--offline").lines("look") == ["hello"]


def test_pushed_and_pulled(made: Project, registry: RealRegistry) -> None:
    who = f"{registry.host}/{made.ci_env.account.who}-{os.urandom(4).hex()}"
    ok(made, "import", "oci:../layout", "team/app:1")
    digest = ok(made, "push", "team/app:1", f"{who}/app:1").strip()
    assert ok(made, "pull", f"{who}/app:1").split() == [f"{who}/app:1", digest]
    assert ok(made, "push", f"{who}/app:1", f"{who}/other:2").strip() == digest
    made.pipeline(JOB, image=f"{who}/other@{digest}")
    assert made.run().lines("look") == ["hello"]


def test_pushed_twice_at_once(made: Project, registry: RealRegistry) -> None:
    name = f"{registry.host}/{made.ci_env.account.who}-{os.urandom(4).hex()}/app:1"
    ok(made, "import", "oci:../layout", "team/app:1")
    pushes = [made.ci_env.start("image", "push", "team/app:1", name, cwd=made.root) for _ in range(2)]
    ends = [(*push.communicate(timeout=120), push.returncode) for push in pushes]
    assert [code for _, _, code in ends] == [0, 0], ends
    (digest,) = {out.strip() for out, _, _ in ends}
    ok(made, "rm", "team/app:1")
    assert ok(made, "pull", name).split() == [name, digest]


def test_no_packed_layer_stays_in_the_store(made: Project, registry: RealRegistry) -> None:
    name = f"{registry.host}/{made.ci_env.account.who}-{os.urandom(4).hex()}/app:1"
    ok(made, "import", "oci:../layout", "team/app:1")
    ok(made, "push", "team/app:1", name)
    ok(made, "rm", "team/app:1")
    made.call("prune", "--all")
    ok(made, "pull", name)
    starts = {path.read_bytes()[:1] for path in (made.ci_env.store / "blobs/sha256").iterdir()}
    assert starts == {b"{"}  # documents only


def test_exported_with_zstd(made: Project) -> None:
    ok(made, "import", "oci:../layout", "team/app:1")
    ok(made, "export", "team/app:1", "oci:out", "--compression", "zstd")
    blobs = made.root / "out/blobs/sha256"
    manifests = [json.loads(blob.read_bytes()) for blob in blobs.iterdir() if blob.read_bytes()[:1] == b"{"]
    (layers,) = [manifest["layers"] for manifest in manifests if "layers" in manifest]
    assert {layer["mediaType"] for layer in layers} == {"application/vnd.oci.image.layer.v1.tar+zstd"}
    assert {(blobs / layer["digest"][7:]).read_bytes()[:4] for layer in layers} == {b"\x28\xb5\x2f\xfd"}
    made.pipeline(JOB, image="oci:out")
    assert made.run("--offline").lines("look") == ["hello"]
    called = made.call("image", "export", "team/app:1", "docker-archive:x.tar", "--compression", "zstd")
    assert (called.code, "the layers of a docker archive are not compressed" in called.err) == (2, True)
    assert not (made.root / "x.tar").exists()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["inspect", "absent:1"], "there is no image 'absent:1' in the store"),
        (["export", "absent:1", "oci:out"], "there is no image 'absent:1' in the store"),
        (["rm", "absent:1"], "there is no image 'absent:1' in the store"),
        (["push", "absent:1", "localhost:1/x"], "there is no image 'absent:1' in the store"),
        (["pull", "oci:layout"], "'oci:layout' is in no registry"),
        (["pull", "host"], "'host' is in no registry"),
        (["pull", "UPPER"], "must be lower case"),
        (["import", "debian:12"], "'debian:12' is neither a layout nor an archive"),
        (["import", "oci:absent"], "is not an OCI image layout"),
        (["import", "docker-archive:absent"], "there is no image archive"),
        (["import", "oci:../layout", "oci:other"], "'oci:other' is no name for an image"),
        (["export", "app", "debian:12"], "'debian:12' is neither a layout nor an archive"),
        (["export", "app", "docker-archive:x:UPPER"], "must be lower case"),
        (["push", "app", "localhost:1/x@sha256:" + "0" * 64], "is no name to write an image to"),
        (["push", "app", "oci:out"], "is no name to write an image to"),
    ],
)
def test_mistakes(made_once: Project, arguments: list[str], complaint: str) -> None:
    called = made_once.call("image", *arguments)
    assert called.code == 2, called.err
    assert complaint in called.err
    assert called.out == ""


@pytest.fixture
def made_once(ci_env: Callable[[Who], CiEnv]) -> Project:
    return project(ci_env("root" if os.geteuid() == 0 else "user"), JOB)


def test_a_registry_that_is_not_there(made_once: Project, tmp_path: Path) -> None:
    called = made_once.call("image", "pull", "127.0.0.1:1/x")
    assert called.code == 4
    assert "cannot connect to 127.0.0.1:1" in called.err
