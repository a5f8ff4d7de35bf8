"""The programs that ci-env is measured beside. Each has directories of its own, or is Absent and says why."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.docker import daemon
from bench.material import Absent, Material
from bench.measure import Command

_IMAGE = "localhost/bench"
_LIMITS = ("--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024")  # podman's own may be more than this root may give
# How the steps were run once does not matter for a build that finds them cached; this way works on most hosts.
_BUILD = ("--quiet", "--layers", "--isolation=chroot", "--network=host", "--pull-never", "--tag=built", ".")


@dataclass(frozen=True)
class Peer:
    version: str
    true: Command | None
    """starts a container or sandbox, runs `true` in it, removes it"""
    build: Command | None
    """the ten-step build, done before: everything is cached"""
    help: Command | None


Setup = Callable[[Material], AbstractContextManager[Peer]]


@contextmanager
def bubblewrap(material: Material) -> Generator[Peer]:
    need("bwrap", "bubblewrap")
    argv = [
        "bwrap",
        "--unshare-all",
        "--bind",
        str(material.rootfs),
        "/",
        "--proc",
        "/proc",
        "--dev",
        "/dev",
        "/bin/true",
    ]
    yield Peer(_version("bwrap"), _command(material, "bwrap --unshare-all", argv), None, None)


@contextmanager
def runc(material: Material) -> Generator[Peer]:
    yield _runtime(material, "runc")


@contextmanager
def crun(material: Material) -> Generator[Peer]:
    yield _runtime(material, "crun")


def _runtime(material: Material, program: str) -> Peer:
    """Set up an OCI runtime with the bundle that its own `spec` makes, but for the terminal and the command."""
    need(program, program)
    bundle = material.path / program
    bundle.mkdir()
    rootless = [] if os.geteuid() == 0 else ["--rootless"]
    _do(material, [program, "spec", *rootless, "--bundle", str(bundle)])
    spec = json.loads((bundle / "config.json").read_text())
    spec["process"] |= {"terminal": False, "args": ["true"]}
    spec["root"]["path"] = str(material.rootfs)
    (bundle / "config.json").write_text(json.dumps(spec))
    argv = [program, "--root", f"{bundle}/state", "run", "--bundle", str(bundle), "bench"]
    _do(material, argv)
    return Peer(_version(program), _command(material, f"{program} run", argv), None, None)


@contextmanager
def podman(material: Material) -> Generator[Peer]:
    need("podman", "podman")
    base = ["podman", *storage(material.path / "podman"), "--cgroup-manager=cgroupfs", "--events-backend=file"]
    if shutil.which("runc"):
        base.append("--runtime=runc")  # crun refuses hosts that mount both versions of cgroups
    _do(material, [*base, "import", str(material.archive), _IMAGE])
    build = [*base, "build", *_BUILD]
    _do(material, build)
    true = [*base, "run", "--rm", "--network=none", *_LIMITS, _IMAGE, "true"]
    _do(material, true)
    yield Peer(
        _version("podman"),
        _command(material, "podman run", true),
        _command(material, "podman build", build),
        _command(material, "podman --help", ["podman", "--help"]),
    )


@contextmanager
def buildah(material: Material) -> Generator[Peer]:
    need("buildah", "buildah")
    base = ["buildah", *storage(material.path / "buildah")]
    container = _do(material, [*base, "from", "scratch"]).strip()
    _do(material, [*base, "add", "--quiet", container, str(material.archive), "/"])
    _do(material, [*base, "commit", "--quiet", "--rm", container, _IMAGE])
    build = [*base, "bud", *_BUILD]
    _do(material, build)
    yield Peer(_version("buildah"), None, _command(material, "buildah bud --layers", build), None)


@contextmanager
def docker(material: Material) -> Generator[Peer]:
    need("docker", "docker.io")
    with daemon(material) as address:
        base = ["docker", "--host", address]
        legacy = {"DOCKER_BUILDKIT": "0"}  # BuildKit needs a client plugin that Debian's package does not bring
        _do(material, [*base, "import", str(material.archive), _IMAGE])
        build = [*base, "build", "--quiet", "--network=none", "--tag=built", "."]
        _do(material, build, legacy)
        yield Peer(
            _version("docker"),
            _command(material, "docker run", [*base, "run", "--rm", "--network=none", _IMAGE, "true"]),
            _command(material, "docker build", build, legacy),
            _command(material, "docker --help", ["docker", "--help"]),
        )


PEERS: Mapping[str, Setup] = {
    "bubblewrap": bubblewrap,
    "runc": runc,
    "crun": crun,
    "podman": podman,
    "buildah": buildah,
    "docker": docker,
}


def storage(path: Path) -> list[str]:
    """Return the options by which podman and buildah keep everything below `path`."""
    return [f"--root={path}/storage", f"--runroot={path}/run", "--storage-driver=overlay"]


def need(program: str, package: str) -> None:
    """Raise Absent unless the program is there."""
    if shutil.which(program) is None:
        raise Absent(f"{program}: not installed (Debian package {package})")


def _version(program: str) -> str:
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=True, timeout=30)
    return done.stdout.splitlines()[0]


def _command(material: Material, name: str, argv: list[str], more: Mapping[str, str] | None = None) -> Command:
    return Command(name, tuple(argv), material.project, {**material.env, **(more or {})})


def _do(material: Material, argv: list[str], more: Mapping[str, str] | None = None) -> str:
    """Run a step of the set-up and return its output; a peer that fails here cannot run on this machine."""
    done = subprocess.run(
        argv,
        cwd=material.project,
        env={**material.env, **(more or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    if done.returncode != 0:
        raise Absent(f"{argv[0]}: cannot run here: {'; '.join(done.stderr.strip().splitlines()[-2:])}")
    return done.stdout
