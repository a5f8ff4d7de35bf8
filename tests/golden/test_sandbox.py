"""The operations that make sandboxes: what a step sees and what is kept from it may not change unnoticed.

After a change on purpose, write the file again with

    CI_ENV_UPDATE_GOLDEN=1 .venv/bin/python -m pytest tests/golden/test_sandbox.py

and read the difference.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ci_env.ports import Bind, GivenSecret, Process, Rootfs, Sandbox
from ci_env_runners.hostfs import HostImage
from ci_env_runners.ops import Filesystem, Spec
from ci_env_runners.sandbox import Surroundings, plan, upper_directories

FILE = Path(__file__).with_name("sandbox.txt")
STORE = Path("/store")
IMAGE = Sandbox(
    Rootfs((STORE / "layers/a", STORE / "layers/b"), False, STORE / "tmp/run/upper", STORE / "tmp/run/work"),
    (Bind(STORE / "caches/c", "/root/.cache", writable=True),),
    Process(("sh", "-e", "-c", "make"), {"PATH": "/bin"}, "0", "/workspace", 0o022, "ci-env", "none", None),
)
ON_HOST = replace(
    IMAGE,
    rootfs=replace(IMAGE.rootfs, host=True),
    process=replace(IMAGE.process, network="host"),
)
SECRETS = (GivenSecret("KEY", b"-----BEGIN-----", ()), GivenSecret("TOKEN", b"hunter2", ("API_TOKEN",)))
WITH_SECRETS = replace(IMAGE, process=replace(IMAGE.process, secrets=SECRETS))
MACHINE = HostImage(
    links=(("bin", "usr/bin"),), overlaid=("usr", "etc", "opt"), shown=("var/lib/dpkg",), mounted=("etc", "opt")
)
AROUND = Surroundings(STORE, 65536, b"", None, (), "", None, frozenset({"memory"}))
AROUND_HOST = replace(
    AROUND,
    host_image=MACHINE,
    host_layers=(frozenset({"usr"}), frozenset()),
    host_names="10.0.0.1 host\n",
    resolver="nameserver 10.0.0.2\n",
)


def written(title: str, spec: Spec, directories: tuple[str, ...]) -> Iterator[str]:
    yield f"# {title}"
    yield from (f"have {directory}" for directory in directories)
    for op in spec.ops:
        yield op.describe()
        yield from (f"    {name} = {value!r}" for name, value in op._asdict().items() if name != "target")
    yield from (f"{name} = {value!r}" for name, value in spec._asdict().items() if name != "ops")
    yield ""


def test_operations_are_as_written() -> None:
    lines = [
        *written("an image", plan(IMAGE, AROUND, terminal=False), upper_directories(IMAGE, AROUND)),
        *written("the host", plan(ON_HOST, AROUND_HOST, terminal=True), upper_directories(ON_HOST, AROUND_HOST)),
    ]
    text = "\n".join(lines)
    if os.environ.get("CI_ENV_UPDATE_GOLDEN") == "1":
        FILE.write_text(text)
    assert text == FILE.read_text()


def test_secrets_are_a_mount_and_names() -> None:
    spec, without = plan(WITH_SECRETS, AROUND, terminal=False), plan(IMAGE, AROUND, terminal=False)
    (mount,) = [op for op in spec.ops if op not in without.ops]
    assert mount == Filesystem("tmpfs", "/run/secrets", 0xE, (("mode", "0700"), ("size", "8192")))
    assert spec.secrets == (("KEY", ()), ("TOKEN", ("API_TOKEN",)))
    assert spec._replace(ops=without.ops, secrets=()) == without


def test_without_layers_an_empty_directory_is_the_lowest() -> None:
    empty = replace(IMAGE, rootfs=replace(IMAGE.rootfs, lowers=()))
    first = plan(empty, AROUND, terminal=False).ops[0]
    assert first.describe() == "mount an overlay of 1 layers on /"
    assert "'mnt/copies'" in repr(first)


def test_a_plan_is_made_without_a_look_at_the_machine() -> None:
    """The store of this test does not exist, and the same comes out twice."""
    assert not STORE.exists()
    assert plan(IMAGE, AROUND, terminal=False) == plan(IMAGE, AROUND, terminal=False)
