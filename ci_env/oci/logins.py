"""Logs in to registries: answers their challenges, and remembers the answers as long as they are good.

Credentials go to the registry that they are for and to the token server that it names, if auth.py has nothing against
it. They are looked for only when a registry asks.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from ci_env.errors import RegistryError
from ci_env.oci.auth import (
    Challenge,
    Token,
    TokenRequest,
    check_token_server,
    error_text,
    parse_token,
    redact,
    token_request,
)
from ci_env.oci.credentials import Credentials
from ci_env.oci.document import MAX_DOCUMENT_BYTES
from ci_env.oci.reference import Reference
from ci_env.oci.transport import Answer, Transport

_NO_OAUTH2 = (404, 405)
_DENIED = (400, 401, 403)

Find = Callable[[str, str], Credentials | None]
"""Finds the credentials for a registry and repository; credential_search.CredentialSearch.find is one."""


@dataclass(frozen=True, slots=True)
class _Grant:
    authorization: str = field(repr=False)
    ends_at: float | None


class Logins:
    """What is known of registries that want a login, for each repository. One for each run."""

    def __init__(self, find: Find, *, now: Callable[[], float] = time.monotonic) -> None:
        self._find = find
        self._now = now
        self._grants: dict[tuple[str, str], _Grant] = {}
        self._found: dict[tuple[str, str], Credentials | None] = {}

    def authorization(self, reference: Reference) -> str | None:
        """Return the Authorization header that is good for `reference` now; None if a challenge must come first."""
        grant = self._grants.get((reference.registry, reference.repository))
        return grant.authorization if grant and (grant.ends_at is None or self._now() < grant.ends_at) else None

    def answer(
        self, challenges: tuple[Challenge, ...], reference: Reference, registry: str, transport: Transport
    ) -> str:
        """Return the Authorization header that answers `challenges` of the URL `registry`.

        RegistryError if there are no credentials where they are needed, if they are refused, or if the registry wants
        something else; ConfigError and HostError from the search for them.
        """
        request = token_request(challenges, registry=registry, repository=reference.repository)
        credentials = self._credentials(reference, challenges, has_tokens=request is not None)
        if request is None:
            grant = _Grant(_basic(credentials, reference), None)
        else:
            token = _Exchange(request, credentials, reference, registry, transport).token()
            grant = _Grant(f"Bearer {token.text}", self._now() + token.lifetime_s)
        self._grants[reference.registry, reference.repository] = grant
        return grant.authorization

    def used(self, reference: Reference) -> Credentials | None:
        """Return the credentials that were used for `reference`, if any were."""
        return self._found.get((reference.registry, reference.repository))

    def _credentials(
        self, reference: Reference, challenges: tuple[Challenge, ...], *, has_tokens: bool
    ) -> Credentials | None:
        if not has_tokens and not any(challenge.scheme == "basic" for challenge in challenges):
            schemes = ", ".join(challenge.scheme for challenge in challenges) or "nothing it names"
            message = f"the registry {reference.registry} wants a login that is not supported ({schemes})"
            raise RegistryError(message, hint="basic and bearer are")
        place = (reference.registry, reference.repository)
        if place not in self._found:
            self._found[place] = self._find(*place)
        return self._found[place]


def _basic(credentials: Credentials | None, reference: Reference) -> str:
    registry = reference.registry
    if credentials is None:
        raise RegistryError(f"the registry {registry} wants a login, and none was found for it", hint=how_to(registry))
    if not credentials.password:
        message = f"the registry {registry} wants a user and password, and {credentials} has an identity token"
        raise RegistryError(message, hint=how_to(registry))
    return credentials.basic()


def how_to(registry: str) -> str:
    """Return how to log in, as a hint."""
    variables = "CI_ENV_REGISTRY, CI_ENV_REGISTRY_USER and CI_ENV_REGISTRY_PASSWORD"
    return f"log in: docker login {registry}, podman login {registry}, or {variables}"


@dataclass(frozen=True, slots=True)
class _Exchange:
    """One conversation with a token server."""

    request: TokenRequest
    credentials: Credentials | None
    reference: Reference
    registry: str
    transport: Transport

    def token(self) -> Token:
        """Return a new token: by the identity token where there is one, else by user and password, else as nobody."""
        if self.credentials and self.credentials.identity_token:
            form = self.request.form(self.credentials.identity_token)
            with contextlib.closing(self.transport.post(self.request.realm, form)) as answer:
                if answer.status not in _NO_OAUTH2:
                    return self._parsed(answer)
        authorization = self.credentials.basic() if self.credentials else None
        with contextlib.closing(
            self.transport.get(self.request.url(), {}, authorization=authorization, check=self._check)
        ) as answer:
            return self._parsed(answer)

    def _check(self, url: str) -> None:
        check_token_server(url, self.registry)

    def _parsed(self, answer: Answer) -> Token:
        if answer.status == 200:
            return parse_token(answer.read_all(limit=MAX_DOCUMENT_BYTES), answer.url)
        raise self._refused(answer)

    def _refused(self, answer: Answer) -> RegistryError:
        server = redact(answer.url)
        said = error_text(answer)
        said = self.credentials.masked(said) if self.credentials else said
        if answer.status not in _DENIED:
            return RegistryError(
                f"the token server {server} answered with status {answer.status}{said}", hint="try again later"
            )
        whom = f" to {self.credentials}" if self.credentials else ", and no login was found for its registry"
        return RegistryError(
            f"the token server {server} denies a token for {self.reference}{whom}{said}",
            hint=how_to(self.reference.registry),
        )
