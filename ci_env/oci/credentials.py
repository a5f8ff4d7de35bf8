"""Credentials for registries, and the files that docker and podman keep them in. Reads no file and runs no program.

containers-auth.json(5) and docker's config.json, which share one format.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import cast

from ci_env.errors import ConfigError
from ci_env.oci.document import parse_json

HELPER_NAME = re.compile(r"[A-Za-z0-9._-]+\Z")
_DOCKER_HUB = "docker.io"
_DOCKER_HUB_HOSTS = ("docker.io", "index.docker.io", "registry-1.docker.io")
_LEGACY_PATHS = ("v1", "v2")
_OTHER_TOKENS = ("/access-token", "/refresh-token")  # Docker Desktop's own, beside the login for images


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who we are for a registry. No message may show the secrets: `masked` sees to it."""

    user: str
    password: str = field(repr=False)
    identity_token: str = field(repr=False)
    """an OAuth2 refresh token, which stands in for a password; empty where there is none"""
    origin: str
    """where they were found, as messages say it"""

    def __str__(self) -> str:
        """Return who it is and where that was found."""
        who = f"user {self.user!r}" if self.user else "the holder of an identity token"
        return f"{who} (from {self.origin})"

    def basic(self) -> str:
        """Return the Authorization header of RFC 7617; a token server takes the identity token for a password."""
        pair = f"{self.user}:{self.password or self.identity_token}"
        return f"Basic {base64.b64encode(pair.encode()).decode()}"

    def masked(self, text: str) -> str:
        """Return `text`, which a server said, without the secrets, which it knows."""
        for secret in (self.password, self.identity_token, self.basic().removeprefix("Basic ")):
            text = text.replace(secret, "***") if secret else text
        return text


@dataclass(frozen=True, slots=True)
class AuthFile:
    """What such a file says. Keys are normalised: `host[:port][/namespace]`, Docker Hub as docker.io."""

    credentials: Mapping[str, Credentials]
    helpers: Mapping[str, str]
    """names of the helpers for certain hosts"""
    store: str | None
    """name of the helper for all others"""

    def find(self, registry: str, repository: str) -> Credentials | None:
        """Return the credentials for the longest prefix of `registry/repository` that has some."""
        return next(
            (self.credentials[name] for name in _prefixes(registry, repository) if name in self.credentials), None
        )


def parse_auth_file(content: bytes, *, where: str) -> AuthFile:
    """Return what the file `where` says; ConfigError names it. An empty file says nothing."""
    data = _object(parse_json(content, what=where) if content.strip() else {}, where)
    auths = _object(data.get("auths"), f"{where}: 'auths'")
    entries = {key: _entry(value, f"{where}: the entry of {key!r} in 'auths'", where) for key, value in auths.items()}
    found = {key: entry for key, entry in entries.items() if entry}
    # a key in its own form wins over what docker wrote as an address
    ordered = sorted(found, key=lambda key: key == normalised(key))
    helpers = _object(data.get("credHelpers"), f"{where}: 'credHelpers'")
    return AuthFile(
        {normalised(key): found[key] for key in ordered},
        {normalised(key): _helper(value, f"{where}: 'credHelpers'") for key, value in helpers.items()},
        _helper(data["credsStore"], f"{where}: 'credsStore'") if data.get("credsStore") else None,
    )


def checked(user: str, secret: str, *, is_identity_token: bool, origin: str) -> Credentials:
    """Return credentials that can be sent; ConfigError, which does not show the secret, for those that cannot."""
    if ":" in user or not _is_sendable(user):
        raise ConfigError(f"{origin}: {user!r} is not a user name that a registry can be told")
    if not secret or not _is_sendable(secret):
        what = "identity token" if is_identity_token else "password"
        raise ConfigError(f"{origin}: the {what} is empty, or has characters that cannot be sent")
    password, token = ("", secret) if is_identity_token else (secret, "")
    return Credentials(user, password, token, origin)


def _is_sendable(text: str) -> bool:
    return not any(letter < " " or letter == "\x7f" or "\ud800" <= letter <= "\udfff" for letter in text)


def _entry(value: object, what: str, where: str) -> Credentials | None:
    """Return an entry's credentials; None for an empty one, which docker leaves where a helper has the secret."""
    entry = _object(value, what)
    user, password = _text(entry, "username", what), _text(entry, "password", what)
    if auth := _text(entry, "auth", what):
        user, password = _decoded(auth, what)
    if token := _text(entry, "identitytoken", what):
        return checked(user, token, is_identity_token=True, origin=where)
    if not user and not password:
        return None
    return checked(user, password, is_identity_token=False, origin=where)


def _decoded(auth: str, what: str) -> tuple[str, str]:
    try:
        user, colon, password = base64.b64decode(auth, validate=True).decode().partition(":")
    except ValueError:  # not `from` it: it holds the secret
        colon = user = password = ""
    if not colon:
        raise ConfigError(f"{what} has an 'auth' that is not base64 of USER:PASSWORD", hint="log in again")
    return user, password.rstrip("\0")  # old docker clients padded it


def normalised(key: str) -> str:
    """Return what a key of such a file stands for: `host[:port][/namespace]`.

    Addresses, such as docker's https://index.docker.io/v1/, mean their host.
    """
    address = re.match(r"https?://", key)
    host, _, path = key[address.end() if address else 0 :].partition("/")
    host, path = host.lower(), path.strip("/")
    host = _DOCKER_HUB if host in _DOCKER_HUB_HOSTS else host
    is_host = not path or path in _LEGACY_PATHS or (address and not path.endswith(_OTHER_TOKENS))
    return host if is_host else f"{host}/{path}"


def _prefixes(registry: str, repository: str) -> Iterator[str]:
    name = f"{registry}/{repository}"
    while name:
        yield name
        name = name.rpartition("/")[0]


def _helper(value: object, what: str) -> str:
    if not isinstance(value, str) or not HELPER_NAME.match(value):
        raise ConfigError(
            f"{what} names {value!r}, which is no credential helper", hint="write NAME of docker-credential-NAME"
        )
    return value


def _object(value: object, what: str) -> Mapping[str, object]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigError(f"{what} is not a JSON object")
    return cast("dict[str, object]", value)


def _text(entry: Mapping[str, object], name: str, what: str) -> str:
    value = entry.get(name)
    if value is not None and not isinstance(value, str):
        raise ConfigError(f"{what} has something other than text in {name!r}")
    return value or ""
