"""A repository of a registry as something that is written to (distribution-spec, "Push"): its requests and refusals."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Literal
from urllib.parse import urlencode, urljoin

from ci_env.digest import Digest
from ci_env.errors import RegistryError
from ci_env.frozen import dataclass
from ci_env.oci.auth import may_lead_to, origin, redact
from ci_env.oci.authorized import Authorized
from ci_env.oci.logins import how_to
from ci_env.oci.reference import Reference
from ci_env.oci.transport import Answer
from ci_env.oci.verify import Reader

_NO_MOUNT = (400, 401, 403, 404, 405)
_NOTHING = b""

Method = Literal["POST", "PUT", "PATCH", "DELETE"]


@dataclass(frozen=True, slots=True)
class Session:
    """An upload that was begun."""

    url: str
    min_chunk_bytes: int
    """that a chunk but the last must have (OCI-Chunk-Min-Length)"""


class Repository:
    """Where the image `reference` is to be. `authorized` stays the caller's."""

    def __init__(self, reference: Reference, authorized: Authorized) -> None:
        self._reference = reference
        self._authorized = authorized

    def __str__(self) -> str:
        return f"{self._reference.registry}/{self._reference.repository}"

    @property
    def registry(self) -> str:
        return self._reference.registry

    def has(self, blob: Digest) -> bool:
        url, transport = f"{self._authorized.url}/blobs/{blob}", self._authorized.transport
        answer = self._authorized.ask(lambda header: transport.get(url, {}, authorization=header, method="HEAD"))
        with contextlib.closing(answer):
            if answer.status in (200, 404):
                return answer.status == 200
            raise self.refused(answer, f"to say whether it has {blob}")

    def mount(self, blob: Digest, source: str) -> Session | None:
        """Have `blob` from the repository `source` of the same registry; an upload that was begun instead, or None.

        None does not say that it is there now: some registries refuse.
        """
        url = f"{self._uploads}?{urlencode({'mount': blob, 'from': source})}"
        with contextlib.closing(self.send("POST", url, {}, _NOTHING)) as answer:
            if answer.status == 202:
                return self.session(answer, 0)
            if answer.status == 201 or answer.status in _NO_MOUNT:
                return None
            raise self.refused(answer, f"to take {blob} from {source}")

    def begin(self) -> Session:
        """Begin an upload."""
        with contextlib.closing(self.send("POST", self._uploads, {}, _NOTHING)) as answer:
            if answer.status == 202:
                return self.session(answer, 0)
            raise self.refused(answer, "an upload")

    def put_manifest(self, content: bytes, media_type: str, name: str) -> None:
        """Put a manifest under a tag."""
        url = f"{self._authorized.url}/manifests/{name}"
        with contextlib.closing(self.send("PUT", url, {"Content-Type": media_type}, content)) as answer:
            if answer.status == 413:
                raise RegistryError(f"{self.registry} refuses the manifest: {len(content)} bytes are too many for it")
            if answer.status not in (200, 201, 202):
                raise self.refused(answer, "the manifest")
            named = answer.header("Docker-Content-Digest")
        if named.startswith("sha256:") and named != Digest.of(content):
            raise RegistryError(
                f"{self.registry} calls the image {named}, but it was given {Digest.of(content)}",
                hint="it changes what it is given; use another registry",
            )

    def send(self, method: Method, url: str, headers: Mapping[str, str], body: bytes | Callable[[], Reader]) -> Answer:
        """Send a request; credentials go along to the registry itself only. `body` is asked again for a second try."""
        transport = self._authorized.transport

        def send(authorization: str | None) -> Answer:
            content = body if isinstance(body, bytes) else body()
            return transport.send(method, url, headers, content, authorization=authorization)

        return self._authorized.ask(send) if origin(url) == origin(self._authorized.url) else send(None)

    def status(self, session: Session) -> Answer:
        """Ask how much of an upload has arrived."""
        transport = self._authorized.transport
        if origin(session.url) != origin(self._authorized.url):
            return transport.get(session.url, {})
        return self._authorized.ask(lambda header: transport.get(session.url, {}, authorization=header))

    def session(self, answer: Answer, min_chunk_bytes: int) -> Session:
        """Return how an upload goes on after `answer`: its Location may be relative, and has a query that stays."""
        location, claimed = answer.header("Location"), answer.header("OCI-Chunk-Min-Length")
        if claimed.isascii() and claimed.isdigit():
            min_chunk_bytes = max(min_chunk_bytes, int(claimed))
        try:
            url = urljoin(answer.url, location) if location else ""
        except ValueError:
            url = ""
        if not may_lead_to(url, self._authorized.url):
            raise RegistryError(f"{self.registry} sends an upload to {redact(url) or 'nowhere'}: refused")
        return Session(url, min_chunk_bytes)

    def refused(self, answer: Answer, what: str) -> RegistryError:
        """Return what to tell of an answer that is not what was asked for."""
        used, detail = self._authorized.used(), self._authorized.said(answer)
        if answer.status in (401, 403):
            who = f", for {used}" if used else ""
            return RegistryError(f"{self.registry} denies pushing to {self}{who}{detail}", hint=how_to(self.registry))
        if answer.status == 413:
            return RegistryError(f"{self.registry} refuses {what}: it is too large for it{detail}")
        if answer.status == 429:
            return RegistryError(f"{self.registry} limits how much may be pushed, and that is reached{detail}")
        return RegistryError(
            f"{self.registry} refuses {what}: {redact(answer.url)} answered with status {answer.status}{detail}",
            hint="try again later" if answer.status >= 500 else None,
        )

    @property
    def _uploads(self) -> str:
        return f"{self._authorized.url}/blobs/uploads/"
