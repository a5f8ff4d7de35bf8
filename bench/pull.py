"""Pulling: a Debian image from a registry on this machine into an empty store, everybody's on one tmpfs."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from bench.docker import daemon
from bench.material import Absent, Material
from bench.measure import Command, run
from bench.peers import need, storage
from tests.base_image import base_image
from tests.real_registry import RealRegistry, real_registry

_NAME = "debian:bench"
# What a process and all that it has waited for took at most, each for itself.
_MEASURED = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=2); \
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10)"


@dataclass(frozen=True)
class Contestant:
    command: Command
    forget: Callable[[], None]
    """have all that the command has made gone"""


@contextmanager
def on_tmpfs(material: Material) -> Generator[Path]:
    """Give the place where everybody keeps what is pulled."""
    if os.geteuid() != 0:
        raise Absent("pulls: everybody's store is on a tmpfs, which only root can mount")
    place = material.path / "tmpfs"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12g,mode=700", "bench", place], check=True)
    yield place  # it is unmounted with everything else


def contestants(stack: ExitStack, material: Material, program: Path) -> Iterable[Contestant]:
    """Set everybody up, ci-env first."""
    place = stack.enter_context(on_tmpfs(material))
    (material.path / "registry").mkdir()
    try:
        layout = base_image()
        registry = stack.enter_context(real_registry(material.path / "registry"))
    except pytest.skip.Exception as reason:  # what they need is not here: a test would be left out
        raise Absent(f"pulls: {reason}") from reason
    reference = registry.push(layout, _NAME)
    yield _ci_env(material, program, place, reference)
    for setup in (_docker, _podman, _skopeo_and_umoci):
        try:
            yield setup(stack, material, place, registry)
        except Absent as reason:
            print(f"Not measured: {reason}\n")
    yield from _extractors(material, place, layout)


def times_ms(contestants: Sequence[Contestant], rounds: int) -> dict[str, list[float]]:
    """Let each pull once in every round, after one that is not counted; what it pulled is gone before the next."""
    measured: dict[str, list[float]] = {one.command.name: [] for one in contestants}
    for number in range(rounds + 1):
        for one in contestants:
            took = run(one.command)
            one.forget()
            if number:
                measured[one.command.name].append(took)
    return measured


def describe(material: Material) -> str:
    """Return one line about the image."""
    layer = _layer(base_image())
    lister = subprocess.run(["tar", "-tzf", layer], capture_output=True, text=True, check=True, env=dict(material.env))
    plain = int(subprocess.run(f"zcat <{layer} | wc -c", shell=True, capture_output=True, check=True).stdout)
    size = layer.stat().st_size
    return (
        f"{size / 1e6:.0f} MB of gzip, {plain / 1e6:.0f} MB of tar, {lister.stdout.count(chr(10))} entries, one layer"
    )


def peak_memory_mib(one: Contestant) -> int:
    """Return the memory of the largest process of one more pull."""
    argv = ("python3", "-c", _MEASURED, *one.command.argv)
    done = subprocess.run(
        argv, env=one.command.env, cwd=one.command.cwd, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True
    )
    one.forget()
    return int(done.stdout)


def _ci_env(material: Material, program: Path, place: Path, reference: str) -> Contestant:
    store = place / "ci-env"
    env = {**material.env, "CI_ENV_HOME": str(store)}
    argv = (str(program), "image", "pull", reference)
    return Contestant(Command("ci-env image pull", argv, material.project, env), lambda: shutil.rmtree(store))


def _docker(stack: ExitStack, material: Material, place: Path, registry: RealRegistry) -> Contestant:
    need("docker", "docker.io")
    address = stack.enter_context(daemon(material, data=place / "docker"))
    base = ("docker", "--host", address)
    reference = f"{registry.host}/{_NAME}"

    def forget() -> None:
        subprocess.run([*base, "rmi", "--force", reference], check=True, capture_output=True)

    return Contestant(Command("docker pull", (*base, "pull", reference), material.project, material.env), forget)


def _podman(_stack: ExitStack, material: Material, place: Path, registry: RealRegistry) -> Contestant:
    need("podman", "podman")
    base = ("podman", *storage(place / "podman"))
    reference = f"{registry.host}/{_NAME}"

    def forget() -> None:
        subprocess.run([*base, "rmi", "--force", reference], check=True, capture_output=True, env=dict(material.env))

    argv = (*base, "--cgroup-manager=cgroupfs", "pull", "--tls-verify=false", reference)
    return Contestant(Command("podman pull", argv, material.project, material.env), forget)


def _skopeo_and_umoci(_stack: ExitStack, material: Material, place: Path, registry: RealRegistry) -> Contestant:
    need("skopeo", "skopeo")
    need("umoci", "umoci")
    target = place / "umoci"
    policy = registry.directory / "policy.json"
    script = f"mkdir {target} && skopeo --policy {policy} copy --quiet --src-tls-verify=false "
    script += f"docker://{registry.host}/{_NAME} oci:{target}/image:1 && "
    script += f"umoci unpack --image {target}/image:1 {target}/bundle"
    command = Command("skopeo copy && umoci unpack", ("sh", "-c", script), material.project, material.env)
    return Contestant(command, lambda: shutil.rmtree(target))


def _extractors(material: Material, place: Path, layout: Path) -> Iterable[Contestant]:
    """Give who unpacks the layer from a file, without a registry and without looking at a digest."""
    local = place / "layer.tar.gz"
    shutil.copy(_layer(layout), local)
    for program in ("bsdtar", "tar"):
        if shutil.which(program) is None:
            print(f"Not measured: {program}: not installed\n")
            continue
        target = place / program
        script = f"mkdir {target} && {program} -xzpf {local} -C {target}"
        command = Command(f"{program} -xzf, a local file", ("sh", "-c", script), material.project, material.env)
        yield Contestant(command, partial(shutil.rmtree, target))


def _layer(layout: Path) -> Path:
    """Return the file of the image's one layer."""
    return max((layout / "blobs" / "sha256").iterdir(), key=lambda path: path.stat().st_size)
