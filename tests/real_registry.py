"""Debian's docker-registry on a free port of 127.0.0.1, with a configuration of ours."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

_CONFIGURATION = """\
version: 0.1
log: {{level: warn}}
storage:
  filesystem: {{rootdirectory: {directory}}}
  delete: {{enabled: true}}
http: {{addr: "{host}"}}
"""


@dataclass(frozen=True)
class RealRegistry:
    host: str
    """127.0.0.1:PORT"""
    directory: Path
    """holds its configuration, its log and, below `storage`, what was pushed"""

    def push(self, layout: Path, name: str) -> str:
        """Copy the image in the OCI layout to the registry, as `name` (with its tag); return its reference."""
        policy = self.directory / "policy.json"  # the machine may have none: it is only recommended by skopeo's package
        policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
        reference = f"{self.host}/{name}"
        command = ["skopeo", "--policy", str(policy), "--tmpdir", str(self.directory), "copy", "--quiet"]
        command += ["--dest-tls-verify=false", f"oci:{layout}", f"docker://{reference}"]
        subprocess.run(command, check=True, timeout=120)
        return reference


@contextmanager
def real_registry(path: Path) -> Generator[RealRegistry]:
    """Run a registry that keeps everything below `path`; skips the test where there is none."""
    for program, package in (("docker-registry", "docker-registry"), ("skopeo", "skopeo")):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program} (Debian package {package})")
    registry = RealRegistry(f"127.0.0.1:{_free_port()}", path)
    configuration = path / "config.yml"
    configuration.write_text(_CONFIGURATION.format(directory=path / "storage", host=registry.host))
    with (
        (path / "log").open("wb") as log,
        subprocess.Popen(["docker-registry", "serve", str(configuration)], stdout=log, stderr=log) as process,
    ):
        try:
            _wait(registry, process, path / "log")
            yield registry
        finally:
            process.terminate()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _wait(registry: RealRegistry, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"http://{registry.host}/v2/", timeout=5):
                return
        except OSError:
            time.sleep(0.05)
    raise AssertionError(f"docker-registry does not answer: {log.read_text()}")
