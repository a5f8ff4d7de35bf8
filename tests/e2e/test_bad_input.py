"""What is wrong with the file, the arguments, the image or the step is said in a few lines, and leaves nothing."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.account import Who
from tests.fault_registry import Request, Response, fault_registry
from tests.installed import CiEnv
from tests.oci_builder import d, f, image, sha256, tar, write_layout
from tests.project import Called, Project, leftovers, project
from tests.real_registry import RealRegistry

GOOD = "only: {steps: [{name: step, run: 'true'}]}"
ROOTFS = [d("bin"), d("etc"), *(f(f"usr/share/doc/{number}", "words " * 999) for number in range(40))]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("version: 1\njobs: [\n", "error: odd.yml:3:1: not YAML: "),
        ("", "error: odd.yml:1:1: the file is empty\n"),
        ("\0", "error: odd.yml:1:1: YAML does not allow the character U+0000\n"),
        (
            "version: 1\njobs: {a: {image: host, steps: [{run: 5}]}}\n",
            ":2:39: jobs.a.steps[0].run: expected text",
        ),
        ("version: 1\njobs: {a: {image: host, steps: 5}}\n", ":2:32: jobs.a.steps: expected a list"),
        ("version: 1\njobs: {a: {image: host, step: []}}\n", ":2:25: jobs.a.step: unknown key; did you mean `steps`?"),
        (
            "version: 1\njobs: {a: {image: UPPER/x, steps: [{run: x}]}}\n",
            ":2:19: jobs.a.image: invalid image",
        ),
    ],
)
def test_a_file_that_is_wrong(ci_env: Callable[[Who], CiEnv], content: str, said: str) -> None:
    made = project(ci_env("user"), GOOD)
    made.put("odd.yml", content)
    refused = _refused(made, "run", "-f", "odd.yml")
    assert refused.code == 2
    assert said in refused.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-f", "absent.yml"], "error: there is no pipeline file absent.yml\nhint: check the path\n"),
        (["-f", "."], "error: . is a directory\nhint: name the file in it, such as ci-env.yml\n"),
        (["onyl"], "error: there is no job 'onyl'; did you mean `only`?\nhint: jobs of this file: only\n"),
        (["-j", "many"], "error: argument -j/--parallel: expected a number from 1 on, found 'many'\n"),
        (["--pull", "--offline"], "error: --pull asks registries, which --offline forbids\n"),
        (["--image", "UPPER/x"], "error: --image: invalid image 'UPPER/x': 'UPPER' must be lower case\n"),
        (["--image", "oci:absent"], "/project/absent is not an OCI image layout: it has no oci-layout\n"),
        (["--image", "oci-archive:absent"], "there is no image archive /"),
        (["--image", "127.0.0.1:1/x", "--offline"], "it is not in the store, and --offline forbids to ask"),
    ],
)
def test_an_argument_that_is_wrong(ci_env: Callable[[Who], CiEnv], arguments: list[str], said: str) -> None:
    refused = _refused(project(ci_env("user"), GOOD), "run", *arguments)
    assert refused.code == 2
    assert said in refused.err


def test_registries_that_cannot_be_reached(ci_env: Callable[[Who], CiEnv]) -> None:
    made = project(ci_env("user"), GOOD)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        refused = _refused(made, "run", "--image", f"127.0.0.1:{port}/x:1")
    assert refused.code == 4
    assert f"error: --image: image '127.0.0.1:{port}/x:1': cannot connect to 127.0.0.1:{port}: " in refused.err
    assert "hint: is the registry running, and the port right?\n" in refused.err
    refused = _refused(made, "run", "--image", "registry.invalid/x:1")
    assert refused.code == 4
    assert "there is no host registry.invalid\nhint: check the registry's name" in refused.err


def test_an_image_that_is_not_there(actor: CiEnv, registry: RealRegistry) -> None:
    made = project(actor, GOOD, image=f"{registry.host}/absent:1")
    refused = _refused(made, "run")
    assert refused.code == 4
    assert f"error: ci-env.yml:4:3: {registry.host} has no image {registry.host}/absent:1: " in refused.err
    assert "hint: check the image's name and tag\n" in refused.err


def test_content_that_is_not_what_it_says(actor: CiEnv, registry: RealRegistry, tmp_path: Path) -> None:
    content = image([tar(ROOTFS)])
    reference = registry.push(write_layout(tmp_path / "layout", {"x": content}), "damaged:1")
    digest = sha256(content.layers[0]).partition(":")[2]
    blob = registry.directory / "storage/docker/registry/v2/blobs/sha256" / digest[:2] / digest / "data"
    whole = blob.read_bytes()
    made = project(actor, GOOD, image=reference)

    blob.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    refused = _refused(made, "run")
    assert refused.code == 5
    assert digest in refused.err
    blob.write_bytes(whole[:1000])
    refused = _refused(made, "run")
    assert refused.code in (4, 5)
    assert reference in refused.err
    assert not list((actor.store / "layers").iterdir())
    blob.write_bytes(whole)
    assert "cannot execute sh: not found in the image" in made.call("run").err  # it is whole, though there is no shell


def test_a_connection_that_breaks(ci_env: Callable[[Who], CiEnv]) -> None:
    content = image([tar(ROOTFS)])
    documents = {sha256(body): body for body in (content.config, *content.layers)}

    def answer(request: Request) -> Response:
        name = request.path.rpartition("/")[2]
        if "/manifests/" in request.path:
            return Response(body=content.manifest, headers={"Content-Type": json.loads(content.manifest)["mediaType"]})
        body = documents.get(name)
        if body is None:
            return Response(status=200 if name == "" else 404)
        return Response(body=body, cut=len(body) // 2 if name == sha256(content.layers[0]) else None)

    made = project(ci_env("user"), GOOD)
    with fault_registry(answer) as broken:
        refused = _refused(made, "run", "--image", f"{broken.host}/x:1")
    assert refused.code == 4
    assert f"{broken.host}/x:1" in refused.err
    assert not list((made.ci_env.store / "layers").iterdir())


def test_a_step_that_cannot_start(actor: CiEnv) -> None:
    made = project(actor, "only: {steps: [{name: step, shell: no-such-shell -x, run: 'true'}]}")
    run = made.run(code=1)
    assert run.ending("step") == "exit status 127"
    assert run.lines("step") == ["ci-env: cannot execute no-such-shell: not found in the image"]
    made.pipeline("only: {steps: [{name: step, user: nobody-knows, run: 'true'}]}")
    refused = _refused(made, "run")
    assert refused.code == 2
    assert "error: the image has no user 'nobody-knows'\nhint: `user:` takes " in refused.err


def test_a_step_that_is_killed(actor: CiEnv) -> None:
    made = project(actor, "only: {steps: [{name: step, run: 'sleep 300 & kill -KILL $$'}]}")
    run = made.run(code=1)
    assert run.ending("step") == "signal 9 (SIGKILL)"
    assert leftovers(actor) == []
    assert made.replay()["verdict"] == "same"


def _refused(made: Project, *arguments: str) -> Called:
    """Return how a call ended that must leave nothing, print nothing but an error, and hurt no later run."""
    called = made.call(*arguments)
    assert called.code not in (0, 1, 70), called
    assert called.out == ""
    assert re.search(r"^error: .*\n(hint: .*\n)?( .*\n)*\Z", called.err, re.MULTILINE), called.err
    assert len(called.err.splitlines()) <= 8, called.err
    assert leftovers(made.ci_env) == []
    return called
