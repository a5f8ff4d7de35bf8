"""Requests to a registry about one repository, with whatever login it asks for. Knows no endpoint."""

from __future__ import annotations

from collections.abc import Callable

from ci_env.oci.auth import error_text, lacks_scope, origin, parse_challenges
from ci_env.oci.credentials import Credentials
from ci_env.oci.logins import Logins
from ci_env.oci.reference import Reference
from ci_env.oci.server_warnings import ServerWarnings
from ci_env.oci.transport import Answer, Transport, is_loopback

_DOCKER_HUB = "registry-1.docker.io"

Send = Callable[[str | None], Answer]
"""Sends a request with the given Authorization header, a second time if need be; the answer is the caller's."""


class Authorized:
    """What is made of a challenge. `transport`, `logins` and `warnings` stay the caller's."""

    def __init__(self, reference: Reference, transport: Transport, logins: Logins, warnings: ServerWarnings) -> None:
        self.transport = transport
        self.url = f"{_address(reference.registry)}/v2/{reference.repository}"
        """where the repository's endpoints are"""
        self._reference = reference
        self._logins = logins
        self._warnings = warnings

    def ask(self, send: Send) -> Answer:
        """Return the answer; one that wants a login gets one, and one that wants a token for more gets that, once."""
        sent = self._logins.authorization(self._reference)
        answer = self._send(send, sent)
        if self._is_ours(answer, 401):
            answer, sent = self._send_again(answer, send, sent)
        if self._is_ours(answer, 401, 403) and lacks_scope(parse_challenges(answer.header("WWW-Authenticate"))):
            answer, _ = self._send_again(answer, send, sent)
        return answer

    def used(self) -> Credentials | None:
        """Return the credentials that were used, if any were."""
        return self._logins.used(self._reference)

    def said(self, answer: Answer) -> str:
        """Return what the server says of its refusal, as an addition to a message, without our secrets."""
        used = self.used()
        return used.masked(error_text(answer)) if used else error_text(answer)

    def _is_ours(self, answer: Answer, *statuses: int) -> bool:
        """Tell whether the registry itself refused: another host's refusal is none of our credentials' business."""
        return answer.status in statuses and origin(answer.url) == origin(self.url)

    def _send_again(self, answer: Answer, send: Send, sent: str | None) -> tuple[Answer, str | None]:
        challenges = parse_challenges(answer.header("WWW-Authenticate"))
        try:
            authorization = self._logins.answer(challenges, self._reference, self.url, self.transport)
        except BaseException:
            answer.close()
            raise
        if authorization == sent and authorization.startswith("Basic "):  # the same password would be refused again
            return answer, sent
        answer.discard()
        return self._send(send, authorization), authorization

    def _send(self, send: Send, authorization: str | None) -> Answer:
        answer = send(authorization)
        if origin(answer.url) == origin(self.url):
            self._warnings.take(self._reference.registry, answer.headers("Warning"))
        return answer


def _address(registry: str) -> str:
    host = registry.removeprefix("[").partition("]")[0] if registry.startswith("[") else registry.partition(":")[0]
    if is_loopback(host):
        return f"http://{registry}"
    return f"https://{_DOCKER_HUB if registry == 'docker.io' else registry}"
