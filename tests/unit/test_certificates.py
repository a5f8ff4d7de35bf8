"""Which directory of certificates counts for which address, and files in it that are of no use."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from ci_env.errors import ConfigError
from ci_env.oci.certificates import own_certificates, tls_context
from tests.certificates import authority


@pytest.mark.parametrize(
    ("url", "directory"),
    [
        ("https://r.example:5000/v2/", "r.example:5000"),
        ("https://R.example:5000/v2/", "r.example:5000"),
        ("https://user@r.example:5000/v2/", "r.example:5000"),
        ("https://r.example/v2/", "r.example"),
        ("https://r.example/v2/", "r.example:443"),
        ("https://r.example:443/v2/", "r.example"),
        ("https://[::1]:5000/v2/", "[::1]:5000"),
        ("https://registry-1.docker.io/v2/", "docker.io"),
    ],
)
def test_directories(tmp_path: Path, url: str, directory: str) -> None:
    assert own_certificates(url, tmp_path) is None
    (tmp_path / directory).mkdir()
    assert own_certificates(url, tmp_path) == tmp_path / directory


@pytest.mark.parametrize(
    "url",
    [
        "https://r.example/",
        "https://r.example:5001/",
        "http://r.example:5000/",
        "https://x.r.example:5000/",
        "https://../",
    ],
)
def test_directories_of_others(tmp_path: Path, url: str) -> None:
    (tmp_path / "r.example:5000").mkdir()
    assert own_certificates(url, tmp_path) is None


def test_no_directory_at_all() -> None:
    assert own_certificates("https://r.example/", Path("/proc/no-such")) is None


def test_what_is_never_given_up(tmp_path: Path) -> None:
    for own in (None, tmp_path):
        context = tls_context(own)
        assert context.verify_mode == ssl.CERT_REQUIRED
        assert context.check_hostname
        assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_authorities_are_added_to_the_systems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = authority(tmp_path / "ours")
    system = count(tls_context(None))
    assert count(tls_context(ours.directory)) == system + 1
    monkeypatch.setenv("SSL_CERT_FILE", str(ours.certificate))
    assert count(tls_context(None)) == system + 1


def count(context: ssl.SSLContext) -> int:
    return len(context.get_ca_certs())


def test_a_client_certificate_is_taken(tmp_path: Path) -> None:
    ours = authority(tmp_path / "ours")
    ours.sign("client", "DNS:client")
    tls_context(ours.directory)


@pytest.mark.parametrize("name", ["ca.crt", "client.cert", "client.key"])
def test_damaged_files(tmp_path: Path, name: str) -> None:
    ours = authority(tmp_path / "ours")
    ours.sign("client", "DNS:client")
    (ours.directory / name).write_text("-----BEGIN CERTIFICATE-----\nnothing\n")
    with pytest.raises(ConfigError, match=f"{ours.directory / name}"):
        tls_context(ours.directory)


def test_a_certificate_without_its_key(tmp_path: Path) -> None:
    ours = authority(tmp_path / "ours")
    made = ours.sign("client", "DNS:client")
    made.key.unlink()
    with pytest.raises(
        ConfigError, match=r"client\.cert and .*client\.key are no certificate and its key: No such file"
    ):
        tls_context(ours.directory)


@pytest.mark.parametrize("content", [None, "", "nothing"])
def test_ssl_cert_file_that_is_of_no_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    with pytest.raises(ConfigError, match=f"^SSL_CERT_FILE names {file}, which is no file of certificates: "):
        tls_context(None)
