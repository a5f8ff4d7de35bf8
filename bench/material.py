"""What every contestant is given: one root filesystem with nothing but busybox in it, and a build of ten steps."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.oci_builder import d, f, image, link, tar, write_layout

STEPS = 10
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_BUSYBOX = Path("/bin/busybox")
_NOTHING = '"true"'  # without its quotes it would not be text
_APPLETS = ("cat", "echo", "sh", "true")
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


class Absent(Exception):
    """Something this machine does not have, or cannot run; the message says what."""


@dataclass(frozen=True)
class Material:
    path: Path
    """everything of this benchmark; contestants may put their own directories here"""
    env: Mapping[str, str]
    """of every contestant"""

    @property
    def rootfs(self) -> Path:
        return self.path / "rootfs"

    @property
    def archive(self) -> Path:
        """The root filesystem as a tar."""
        return self.path / "rootfs.tar"

    @property
    def layout(self) -> Path:
        """The same as an OCI image layout."""
        return self.path / "layout"

    @property
    def project(self) -> Path:
        """A git repository with a Dockerfile and pipelines of 1, 10 and 11 steps."""
        return self.path / "project"


def make(path: Path) -> Material:
    """Lay everything out below `path`."""
    if not _BUSYBOX.exists():
        raise Absent("needs /bin/busybox, statically linked (Debian package busybox-static)")
    (path / "home").mkdir()
    material = Material(path, {"PATH": PATH, "HOME": str(path / "home"), "LANG": "C.UTF-8"})
    applets = [link(f"bin/{name}", "busybox") for name in _APPLETS]
    directories = [d(name) for name in ("bin", "dev", "etc", "proc", "sys", "tmp", "workspace")]
    content = tar([*directories, f("bin/busybox", _BUSYBOX.read_bytes(), mode=0o755), *applets])
    material.archive.write_bytes(content)
    material.rootfs.mkdir()
    subprocess.run(["tar", "--extract", "--file", material.archive, "--directory", material.rootfs], check=True)
    architecture = _ARCHITECTURES[platform.machine()]
    write_layout(
        material.layout, {"latest": image([content], architecture=architecture, config={"Env": [f"PATH={PATH}"]})}
    )
    _make_project(material)
    return material


def _make_project(material: Material) -> None:
    project = material.project
    project.mkdir()
    (project / "Dockerfile").write_text(
        "FROM localhost/bench\nCOPY source /workspace/\n" + "".join(f"RUN {_command(step)}\n" for step in range(STEPS))
    )
    (project / "source").write_text("something to build from\n")
    for count in (1, STEPS, STEPS + 1):
        (project / f"{count}.yml").write_text(_pipeline(material, count))
    for arguments in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message=bench"]):
        author = {f"GIT_{role}_{what}": "bench" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        subprocess.run(["git", *arguments], cwd=project, env={**material.env, **author}, check=True)


def _pipeline(material: Material, steps: int) -> str:
    """Return a pipeline of `steps` steps; with ten they do what the Dockerfile does, else nothing."""
    lines = ["version: 1", f"image: oci:{material.layout}:latest", "jobs:", "  bench:", "    steps:"]
    for step in range(steps):
        lines += [f"      - name: step-{step}", f"        run: {_command(step) if steps == STEPS else _NOTHING}"]
    return "\n".join(lines) + "\n"


def _command(step: int) -> str:
    return f"echo {step} > /result-{step}"


def unmount(path: Path) -> None:
    """Unmount what contestants have left mounted below `path` (podman binds its storage over itself)."""
    points = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for point in reversed(points):
        if point.startswith(f"{path}/"):
            subprocess.run(["umount", point], check=True)


def describe_machine(path: Path) -> str:
    """Return one line about the machine that the numbers are from."""
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    disk = subprocess.run(["stat", "--file-system", "--format=%T", path], capture_output=True, text=True, check=True)
    who = "root" if os.geteuid() == 0 else "an ordinary user"
    return f"{os.cpu_count()} cores of {cpu}, Linux {platform.release()}, {disk.stdout.strip()}, as {who}"
