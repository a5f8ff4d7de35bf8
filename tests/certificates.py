"""A certificate authority made on the spot by the openssl command, and what it signs."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")


@dataclass(frozen=True)
class Certificate:
    certificate: Path
    key: Path


@dataclass(frozen=True)
class Authority:
    directory: Path

    @property
    def certificate(self) -> Path:
        return self.directory / "ca.crt"

    def sign(self, name: str, subject: str) -> Certificate:
        """Return a new certificate for `subject` (such as IP:127.0.0.1), in files called after `name`."""
        made = Certificate(self.directory / f"{name}.cert", self.directory / f"{name}.key")
        signer = ("-CA", str(self.certificate), "-CAkey", str(self.directory / "ca-key.pem"))
        extensions = ("-addext", f"subjectAltName={subject}", "-addext", "basicConstraints=critical,CA:FALSE")
        _openssl("req", "-x509", *_KEY, *signer, *extensions, "-subj", f"/CN={name}", *_outputs(made))
        return made

    def hand_out(self, directory: Path, *certificates: Certificate) -> Path:
        """Make a directory as docker's for one registry: it trusts the authority, and has `certificates` to show."""
        directory.mkdir(parents=True)
        for file in (self.certificate, *(file for made in certificates for file in (made.certificate, made.key))):
            shutil.copy(file, directory)
        return directory


def authority(directory: Path) -> Authority:
    """Return a new authority that keeps everything in `directory`; skips the test where there is no openssl."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl (Debian package openssl)")
    directory.mkdir()
    made = Authority(directory)
    _openssl(
        "req",
        "-x509",
        *_KEY,
        "-subj",
        "/CN=test authority",
        *_outputs(Certificate(made.certificate, directory / "ca-key.pem")),
    )
    return made


def _outputs(files: Certificate) -> tuple[str, ...]:
    return ("-keyout", str(files.key), "-out", str(files.certificate))


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True, timeout=60)
