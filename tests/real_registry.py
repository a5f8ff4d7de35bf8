"""Debian's docker-registry on a free port of 127.0.0.1, with a configuration of ours."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.certificates import Certificate

_CONFIGURATION = """\
version: 0.1
log: {{level: warn}}
storage:
  filesystem: {{rootdirectory: {directory}}}
  delete: {{enabled: true}}
http: {{addr: "127.0.0.1:{port}"{tls}}}
{auth}
"""
USER, PASSWORD = "ann", "hunter2"
_HTPASSWD = f"{USER}:$2y$05$abcdefghijklmnopqrstuuoXuKqgZXLiJqzfmMXDDhSFPIvxV7t8.\n"  # bcrypt of PASSWORD
# 0.0.0.0 leads to this machine like 127.0.0.1, but is no loopback address, so that it is spoken to with TLS
_PLAIN_HOST, _TLS_HOST = "127.0.0.1", "0.0.0.0"


@dataclass(frozen=True)
class RealRegistry:
    host: str
    """HOST:PORT"""
    directory: Path
    """holds its configuration, its log and, below `storage`, what was pushed"""
    has_login: bool
    """USER and PASSWORD are asked for"""
    push_options: tuple[str, ...]
    """what skopeo needs to push"""

    def push(self, layout: Path, name: str) -> str:
        """Copy the image in the OCI layout to the registry, as `name` (with its tag); return its reference."""
        policy = self.directory / "policy.json"  # the machine may have none: it is only recommended by skopeo's package
        policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
        reference = f"{self.host}/{name}"
        command = ["skopeo", "--policy", str(policy), "--tmpdir", str(self.directory), "copy", "--quiet"]
        command += ["--dest-creds", f"{USER}:{PASSWORD}"] if self.has_login else []
        command += [*self.push_options, "--dest-tls-verify=false", f"oci:{layout}", f"docker://{reference}"]
        subprocess.run(command, check=True, timeout=120)
        return reference


@contextmanager
def real_registry(
    path: Path, *, has_login: bool = False, tls: Certificate | None = None, clients: Path | None = None
) -> Generator[RealRegistry]:
    """Run a registry that keeps everything below `path`; skips the test where there is none.

    With `tls` it has that certificate, which is to be for IP:0.0.0.0. With `clients`, a directory that an authority
    handed out, it wants a certificate from there.
    """
    for program, package in (("docker-registry", "docker-registry"), ("skopeo", "skopeo")):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program} (Debian package {package})")
    port = _free_port()
    options = ("--dest-cert-dir", str(clients)) if clients else ()
    registry = RealRegistry(f"{_TLS_HOST if tls else _PLAIN_HOST}:{port}", path, has_login, options)
    configuration = path / "config.yml"
    configuration.write_text(
        _CONFIGURATION.format(
            directory=path / "storage", port=port, tls=_tls(tls, clients), auth=_auth(path) if has_login else ""
        )
    )
    with (
        (path / "log").open("wb") as log,
        subprocess.Popen(["docker-registry", "serve", str(configuration)], stdout=log, stderr=log) as process,
    ):
        try:
            _wait(port, process, path / "log")
            yield registry
        finally:
            process.terminate()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _tls(tls: Certificate | None, clients: Path | None) -> str:
    if tls is None:
        return ""
    wanted = f", clientcas: [{clients / 'ca.crt'}]" if clients else ""
    return f", tls: {{certificate: {tls.certificate}, key: {tls.key}{wanted}}}"


def _auth(path: Path) -> str:
    (path / "htpasswd").write_text(_HTPASSWD)
    return f"auth: {{htpasswd: {{realm: test, path: {path / 'htpasswd'}}}}}"


def _wait(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5):
                return
        except OSError:
            time.sleep(0.05)
    raise AssertionError(f"docker-registry does not answer: {log.read_text()}")
