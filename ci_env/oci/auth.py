"""The token flow of registries: challenges, where to ask for a token, what the answer means. Sends nothing itself.

docs.docker.com/reference/api/registry/auth (tokens, oauth2) and RFC 9110 section 11.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, cast
from urllib.parse import urlencode, urlsplit, urlunsplit

from ci_env.errors import RegistryError
from ci_env.oci.tar_header import shown

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_PARAMETER = re.compile(
    r"\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*=\s*(?:\"((?:[^\"\\]|\\.)*)\"|([!#$%&'*+.^_`|~0-9A-Za-z-]+))\s*"
)
_TOKEN_TEXT = re.compile(r"[A-Za-z0-9._~+/=-]+\Z")  # RFC 6750 section 2.1: b64token
_ODD_ADDRESS = re.compile(r"(.*\.)?(0x[0-9a-f]*|[0-9]+)\Z")  # no top-level domain is a number
_MAX_LIFETIME_S = 86400.0
_MAX_ERROR_BYTES = 2**16
_DEFAULT_LIFETIME_S = 60.0  # docs.docker.com/reference/api/registry/auth: what a missing expires_in means


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


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """What a token server is to be asked, at an address that was checked."""

    realm: str
    service: str | None
    scopes: tuple[str, ...]

    def url(self) -> str:
        """Return the address of a GET request."""
        query = [("service", self.service)] if self.service is not None else []
        query += [("scope", scope) for scope in self.scopes]
        return f"{self.realm}{'&' if urlsplit(self.realm).query else '?'}{urlencode(query)}"

    def form(self, identity_token: str) -> tuple[tuple[str, str], ...]:
        """Return the fields of a POST request (the oauth2 endpoint)."""
        fields = (("grant_type", "refresh_token"), ("client_id", "ci-env"), ("refresh_token", identity_token))
        return (*fields, ("service", self.service or ""), ("scope", " ".join(self.scopes)))


@dataclass(frozen=True, slots=True)
class Token:
    text: str = field(repr=False)
    lifetime_s: float


def token_request(challenges: tuple[Challenge, ...], *, registry: str, repository: str) -> TokenRequest | None:
    """Return what to ask for a token to pull from `repository`; None if the registry takes no tokens.

    `registry` is the URL that was asked. RegistryError if it sends to a place that no public token server can be.
    """
    bearer = next((challenge for challenge in challenges if challenge.scheme == "bearer"), None)
    if bearer is None or "realm" not in bearer.parameters:
        return None
    realm = bearer.parameters["realm"]
    check_token_server(realm, registry)
    scope = bearer.parameters.get("scope", "").split() or [f"repository:{repository}:pull"]
    return TokenRequest(realm, bearer.parameters.get("service"), tuple(scope))


def lacks_scope(challenges: tuple[Challenge, ...]) -> bool:
    """Tell whether a token was refused because it allows too little (RFC 6750 section 3.1), and the scope is said."""
    return any(
        challenge.parameters.get("error") == "insufficient_scope" and challenge.parameters.get("scope")
        for challenge in challenges
        if challenge.scheme == "bearer"
    )


def check_token_server(realm: str, registry: str) -> None:
    """Raise RegistryError unless `realm` may be asked for tokens of `registry`.

    Only encrypted or the registry itself, and nothing inside a network: a registry could otherwise have requests made
    inside the network of whoever pulls.
    """
    if not may_lead_to(realm, registry):
        raise RegistryError(f"the registry {urlsplit(registry).netloc} sends to {redact(realm)} for a token: refused")


def may_lead_to(url: str, registry: str) -> bool:
    """Tell whether the URL `registry` may send to `url`: itself, or what is encrypted and not inside a network."""
    try:
        told = urlsplit(url)
        is_same_place = origin(url) == origin(registry)
    except ValueError:
        return False
    if not told.hostname or told.username is not None or told.password is not None:
        return False
    return is_same_place or (told.scheme == "https" and not _is_internal(told.hostname))


def origin(url: str) -> tuple[str, str | None, int | None]:
    """Return scheme, host and port (RFC 6454); ValueError for a port that is none."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"https": 443, "http": 80}.get(parts.scheme)


def _is_internal(host: str) -> bool:
    host = host.rstrip(".")
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:  # a name; but the resolver takes 2130706433, 127.1 and 0x7f.1 for addresses too
        return host == "localhost" or host.endswith(".localhost") or bool(_ODD_ADDRESS.match(host))


def parse_token(content: bytes, url: str) -> Token:
    """Return the token in a token server's answer."""
    try:
        data = cast("object", json.loads(content))
    except (ValueError, RecursionError):
        data = None
    found = cast("dict[str, object]", data) if isinstance(data, dict) else {}
    token = found.get("token") or found.get("access_token")
    if not isinstance(token, str) or not _TOKEN_TEXT.match(token):
        raise RegistryError(f"the token server {redact(url)} gave no token")
    lifetime = found.get("expires_in")
    if not isinstance(lifetime, int | float) or isinstance(lifetime, bool):
        return Token(token, _DEFAULT_LIFETIME_S)
    return Token(token, min(max(0.0, lifetime), _MAX_LIFETIME_S))


class Body(Protocol):
    """The body of an answer; a transport's Answer is one."""

    def read_all(self, *, limit: int) -> bytes: ...


def error_text(body: Body) -> str:
    """Return what a server says of its refusal (distribution-spec, "Error codes"), as an addition to a message."""
    try:
        data = cast("object", json.loads(body.read_all(limit=_MAX_ERROR_BYTES)))
        first = cast("dict[str, list[dict[str, object]]]", data)["errors"][0]
        text = first.get("message") or first.get("code")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, RegistryError):
        return ""
    return f": {shown(str(text).encode(errors='replace')[:200])}" if text else ""


def redact(url: str) -> str:
    """Return `url` for a message: printable, without its query, which may be a signature, user and password."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an invalid address"
    plain = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
    return shown(plain.encode(errors="replace"))
