"""A Docker daemon of our own: private directories and socket, hot before the first round, ended by its pid."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from bench.material import Absent, Material


@contextmanager
def daemon(material: Material, data: Path | None = None) -> Generator[str]:
    """Run dockerd and give its address; `data` is where it keeps images (default: beside its other files)."""
    if shutil.which("dockerd") is None or os.geteuid() != 0:
        raise Absent("docker: no dockerd (Debian package docker.io)" if os.geteuid() == 0 else "docker: needs root")
    path = material.path / "docker"
    path.mkdir()
    address = f"unix://{path}/socket"
    argv = ["dockerd", "--host", address, "--data-root", str(data or path / "data"), "--exec-root", f"{path}/exec"]
    argv += ["--pidfile", f"{path}/pid", "--bridge=none", "--iptables=false"]
    with (path / "log").open("wb") as log, subprocess.Popen(argv, env=material.env, stdout=log, stderr=log) as process:
        try:
            _wait(address, process, path / "log")
            yield address
        finally:
            process.terminate()
            process.wait(60)


def _wait(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        if subprocess.run(["docker", "--host", address, "info"], capture_output=True, check=False).returncode == 0:
            return
        time.sleep(0.2)
    last = log.read_text(errors="replace").strip().splitlines()[-1:]
    raise Absent(f"docker: dockerd does not start here: {''.join(last)}")
