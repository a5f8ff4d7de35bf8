"""Whom to trust with TLS: the system's authorities, SSL_CERT_FILE, and what docker's directory has for one registry.

docs.docker.com/engine/security/certificates: DIRECTORY/HOST[:PORT]/ holds authorities (*.crt) and client certificates
(*.cert, each with its *.key).
"""

from __future__ import annotations

import os
import re
import ssl
from pathlib import Path
from urllib.parse import urlsplit

from ci_env.errors import ConfigError

CERTIFICATES = Path("/etc/docker/certs.d")
_HOST = re.compile(r"[a-z0-9\[][a-z0-9.:\]-]*\Z")
_DOCKER_HUB = ("registry-1.docker.io", "docker.io")


def own_certificates(url: str, directory: Path) -> Path | None:
    """Return the directory of certificates for the host and port of `url`; None if there is none we may look into."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2].lower()
    if parts.scheme != "https" or not _HOST.match(host):
        return None
    names = (host, host.removesuffix(":443"), f"{host}:443", *(_DOCKER_HUB[1:] if host == _DOCKER_HUB[0] else ()))
    return next((directory / name for name in names if os.access(directory / name, os.R_OK | os.X_OK)), None)


def tls_context(own: Path | None) -> ssl.SSLContext:
    """Return how to make TLS connections: TLS 1.2 or later, certificate and host name checked.

    `own` is a directory of own_certificates, for connections to that host only. ConfigError names a file that is of no
    use.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _trust_system(context)
    for authority in sorted(own.glob("*.crt")) if own else ():
        _trust(context, authority)
    for certificate in sorted(own.glob("*.cert")) if own else ():
        _show(context, certificate)
    return context


def _trust_system(context: ssl.SSLContext) -> None:
    """Trust the system's authorities, and those of SSL_CERT_FILE besides, which OpenSSL would take instead of them."""
    context.load_default_certs()
    paths = ssl.get_default_verify_paths()
    if Path(paths.openssl_cafile).is_file():
        _trust(context, Path(paths.openssl_cafile))
    if named := os.environ.get("SSL_CERT_FILE"):
        _trust(context, Path(named), named_in="SSL_CERT_FILE names ")


def _trust(context: ssl.SSLContext, file: Path, *, named_in: str = "") -> None:
    try:
        context.load_verify_locations(cafile=file)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError(f"{named_in}{file}, which is no file of certificates: {_reason(error)}") from error


def _show(context: ssl.SSLContext, certificate: Path) -> None:
    """Show this certificate to a server that asks for one."""
    key = certificate.with_suffix(".key")
    try:
        context.load_cert_chain(certificate, key, password="")  # an encrypted key is an error, not a question
    except OSError as error:
        message = f"{certificate} and {key} are no certificate and its key: {_reason(error)}"
        raise ConfigError(message) from error


def _reason(error: OSError) -> str:
    return getattr(error, "reason", None) or error.strerror or str(error)
