"""The token flow of registries: challenges, where to ask for a token, what the answer means. Sends nothing itself.

docs.docker.com/reference/api/registry/auth and RFC 9110 section 11. Anonymous for now.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast
from urllib.parse import urlencode, urlsplit, urlunsplit

from ci_env.errors import RegistryError

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_PARAMETER = re.compile(
    r"\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*=\s*(?:\"((?:[^\"\\]|\\.)*)\"|([!#$%&'*+.^_`|~0-9A-Za-z-]+))\s*"
)
_TOKEN_TEXT = re.compile(r"[A-Za-z0-9._~+/=-]+\Z")  # RFC 6750 section 2.1: b64token


@dataclass(frozen=True, slots=True)
class Challenge:
    scheme: str
    """lower case"""
    parameters: Mapping[str, str]
    """names in lower case"""


def parse_challenges(header: str) -> tuple[Challenge, ...]:
    """Return the challenges of a WWW-Authenticate header; what cannot be read ends the list."""
    challenges: list[Challenge] = []
    at = 0
    while match := _TOKEN.match(header, at):
        scheme, at = match.group().lower(), match.end()
        parameters: dict[str, str] = {}
        while parameter := _PARAMETER.match(header, at):
            name, quoted, plain = parameter.groups()
            parameters[name.lower()] = plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
            at = _skip_comma(header, parameter.end())
        challenges.append(Challenge(scheme, parameters))
        at = _skip_comma(header, at)
    return tuple(challenges)


def _skip_comma(header: str, at: int) -> int:
    while at < len(header) and header[at] in " \t,":
        at += 1
    return at


def token_url(challenges: tuple[Challenge, ...], *, registry: str, repository: str) -> str:
    """Return where to ask for a token to pull from `repository`. `registry` is the URL that was asked.

    RegistryError if the registry wants something else, or sends to a place that no public token server can be: a
    registry could otherwise have requests made inside the network of whoever pulls.
    """
    bearer = next((challenge for challenge in challenges if challenge.scheme == "bearer"), None)
    if bearer is None or "realm" not in bearer.parameters:
        schemes = ", ".join(challenge.scheme for challenge in challenges) or "nothing it names"
        raise RegistryError(
            f"the registry {urlsplit(registry).netloc} wants a login ({schemes}), which is not supported yet",
            hint="use a registry that allows anonymous pulls",
        )
    realm = bearer.parameters["realm"]
    _check_realm(realm, registry)
    scope = bearer.parameters.get("scope") or f"repository:{repository}:pull"
    query = [("service", bearer.parameters["service"])] if "service" in bearer.parameters else []
    query += [("scope", item) for item in scope.split(" ") if item]
    return f"{realm}{'&' if urlsplit(realm).query else '?'}{urlencode(query)}"


def _check_realm(realm: str, registry: str) -> None:
    if not _may_give_tokens(realm, registry):
        raise RegistryError(f"the registry {urlsplit(registry).netloc} sends to {redact(realm)} for a token: refused")


def _may_give_tokens(realm: str, registry: str) -> bool:
    try:
        asked, told = urlsplit(registry), urlsplit(realm)
        same_place = (told.hostname, told.port) == (asked.hostname, asked.port)
    except ValueError:
        return False
    if not told.hostname or told.username or told.scheme not in ("https", asked.scheme):
        return False
    return same_place or not _is_internal(told.hostname)


def _is_internal(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return not address.is_global


def parse_token(content: bytes, url: str) -> str:
    """Return the token in a token server's answer."""
    try:
        data = cast("object", json.loads(content))
    except ValueError:
        data = None
    found = cast("dict[str, object]", data) if isinstance(data, dict) else {}
    token = found.get("token") or found.get("access_token")
    if not isinstance(token, str) or not _TOKEN_TEXT.match(token):
        raise RegistryError(f"the token server {redact(url)} gave no token")
    return token


def redact(url: str) -> str:
    """Return `url` for a message: without its query, which may be a signature, and without user and password."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an invalid address"
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
