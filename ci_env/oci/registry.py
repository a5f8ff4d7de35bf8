"""Images in registries, over the OCI distribution protocol (distribution-spec, "Pull"). Anonymous, or by bearer token.

Plain HTTP for this machine's own registries only, and never as a fallback.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Generator
from typing import cast

from urllib3.exceptions import HTTPError

from ci_env.digest import Digest
from ci_env.errors import IntegrityError, RegistryError
from ci_env.oci.auth import parse_challenges, parse_token, redact, token_url
from ci_env.oci.document import INDEX_TYPES, MANIFEST_TYPES, MAX_DOCUMENT_BYTES, Descriptor
from ci_env.oci.reference import Reference
from ci_env.oci.tar_header import shown
from ci_env.oci.transport import Answer, Transport, is_loopback
from ci_env.oci.verify import Reader, read_all

_DOCKER_HUB = "registry-1.docker.io"
_MIN_PROGRESS_BYTES = 2**20
_MAX_MESSAGE_BYTES = 2**16
_DISCARD = 2**18


class RegistrySource:
    """One image of a registry. Implements ImageSource; `transport` stays the caller's."""

    def __init__(self, reference: Reference, transport: Transport) -> None:
        self._reference = reference
        self._transport = transport
        self._base = f"{_address(reference.registry)}/v2/{reference.repository}"
        self._token: str | None = None

    def root(self) -> bytes:
        """Return what the tag or digest names. IntegrityError if it is not what the digest, or the server, says."""
        with contextlib.closing(self._manifest(self._reference.target)) as answer:
            content = _read_document(answer, self._reference)
            promised = self._reference.digest or answer.header("Docker-Content-Digest")
        _check(content, promised, self._reference)
        return content

    def manifest(self, descriptor: Descriptor) -> bytes:
        with contextlib.closing(self._manifest(descriptor.digest)) as answer:
            return _read_document(answer, self._reference)

    @contextlib.contextmanager
    def blob(self, descriptor: Descriptor) -> Generator[Reader]:
        """Open a blob; a broken connection is made again where it broke."""
        blob = _Blob(self, descriptor)
        try:
            yield blob
        finally:
            blob.close()

    def worth_retrying(self) -> bool:
        return True

    def open_blob(self, descriptor: Descriptor, *, start: int) -> Answer:
        """Ask for a blob from byte `start` on; the answer has status 200 (all of it), 206 or 416."""
        headers = {"Range": f"bytes={start}-"} if start else {}
        answer = self._get(f"{self._base}/blobs/{descriptor.digest}", headers)
        if answer.status in (200, 206, 416):
            return answer
        with contextlib.closing(answer):
            raise self._refused(answer, f"layer or config {descriptor.digest}")

    def _manifest(self, target: str) -> Answer:
        answer = self._get(f"{self._base}/manifests/{target}", {"Accept": ", ".join(MANIFEST_TYPES + INDEX_TYPES)})
        if answer.status == 200:
            return answer
        with contextlib.closing(answer):
            raise self._refused(answer, None)

    def _get(self, url: str, headers: dict[str, str]) -> Answer:
        """Return the answer; one that asks for a token is answered with one, once."""
        answer = self._transport.get(url, headers, authorization=self._authorization())
        if answer.status != 401 or answer.url != url:  # a 401 of another host is none of our token's business
            return answer
        answer.close()
        self._token = self._fetch_token(answer.header("WWW-Authenticate"))
        return self._transport.get(url, headers, authorization=self._authorization())

    def _authorization(self) -> str | None:
        return f"Bearer {self._token}" if self._token else None

    def _fetch_token(self, challenge: str) -> str:
        url = token_url(parse_challenges(challenge), registry=self._base, repository=self._reference.repository)
        with contextlib.closing(self._transport.get(url, {})) as answer:
            if answer.status != 200:
                raise self._refused(answer, None)
            return parse_token(_read(answer, MAX_DOCUMENT_BYTES), url)

    def _refused(self, answer: Answer, part: str | None) -> RegistryError:
        """Return what to tell of an answer that is not what was asked for."""
        name, registry = str(self._reference), self._reference.registry
        detail = _server_message(answer)
        if answer.status in (401, 403):
            return RegistryError(
                f"{registry} denies access to {name}{detail}", hint="the image does not exist, or it is private"
            )
        if answer.status == 404 and part:
            return RegistryError(f"{registry} has {name}, but not its {part}", hint="push the image again")
        if answer.status == 404:
            return RegistryError(f"{registry} has no image {name}{detail}", hint="check the image's name and tag")
        if answer.status == 429:
            wait = answer.header("Retry-After")
            hint = f"it asks to wait {wait} seconds" if wait.isdigit() else "try again later"
            return RegistryError(f"{registry} limits how much may be pulled, and that is reached{detail}", hint=hint)
        return RegistryError(
            f"{registry} answered {redact(answer.url)} with status {answer.status}{detail}", hint="try again later"
        )


class _Blob:
    """Reads a blob across broken connections."""

    def __init__(self, source: RegistrySource, descriptor: Descriptor) -> None:
        self._source = source
        self._descriptor = descriptor
        self._at = 0
        self._resumed_at: int | None = None
        self._answer = source.open_blob(descriptor, start=0)

    def read(self, size: int, /) -> bytes:
        while True:
            try:
                piece = self._answer.read(size)
            except (HTTPError, OSError) as error:
                self._resume(error)
                continue
            if not piece and self._at < self._descriptor.size and not self._answer.header("Content-Length"):
                self._resume(None)  # with a length the end would be one: the content itself is too short
                continue
            self._at += len(piece)
            return piece

    def close(self) -> None:
        self._answer.close()

    def _resume(self, cause: Exception | None) -> None:
        """Connect again; not if the last time brought less than 1 MiB, or a server could keep us busy for ever."""
        self._answer.close()
        if self._resumed_at is not None and self._at - self._resumed_at < _MIN_PROGRESS_BYTES:
            raise RegistryError(
                f"the connection broke at byte {self._at} of {self._descriptor.size} of {self._descriptor.digest}",
                hint="try again; if it always breaks there, the registry's copy is damaged",
            ) from cause
        self._resumed_at = self._at
        self._answer = self._source.open_blob(self._descriptor, start=self._at)
        if self._answer.status == 416:
            self._answer.close()
            self._answer = self._source.open_blob(self._descriptor, start=0)
        if self._answer.status == 206:
            self._check_range()
        else:
            self._discard(self._at)

    def _check_range(self) -> None:
        size = self._descriptor.size
        wanted = f"bytes {self._at}-{size - 1}/{size}"
        found = self._answer.header("Content-Range").strip()
        if found != wanted:
            raise RegistryError(
                f"{redact(self._answer.url)} was asked for the range {wanted!r} and gave {shown(found.encode())!r}"
            )

    def _discard(self, size: int) -> None:
        """Pass over what is there already: this answer starts at the beginning. The digest covers all of it."""
        while size:
            try:
                piece = self._answer.read(min(size, _DISCARD))
            except (HTTPError, OSError):
                piece = b""
            if not piece:
                raise RegistryError(f"the connection broke again while resuming {self._descriptor.digest}")
            size -= len(piece)


def _address(registry: str) -> str:
    host = registry.removeprefix("[").partition("]")[0] if registry.startswith("[") else registry.partition(":")[0]
    if is_loopback(host):
        return f"http://{registry}"
    return f"https://{_DOCKER_HUB if registry == 'docker.io' else registry}"


def _read_document(answer: Answer, reference: Reference) -> bytes:
    content = _read(answer, MAX_DOCUMENT_BYTES + 1)
    if len(content) > MAX_DOCUMENT_BYTES:
        raise RegistryError(f"{reference.registry} gave a manifest of {reference} over {MAX_DOCUMENT_BYTES >> 20} MiB")
    return content


def _read(answer: Answer, limit: int) -> bytes:
    try:
        return read_all(answer, limit=limit)
    except (HTTPError, OSError) as error:
        raise RegistryError(f"the answer of {redact(answer.url)} broke off: {error}", hint="try again") from error


def _check(content: bytes, promised: str, reference: Reference) -> None:
    """Compare with the digest asked for, or else with the one the server claims, if it is one we know."""
    try:
        digest = Digest.parse(promised)
    except ValueError:
        return
    actual = f"{digest.algorithm}:{hashlib.new(digest.algorithm, content).hexdigest()}"
    if actual != digest:
        raise IntegrityError(f"{reference.registry} gave {actual} for {reference}, not {digest}")


def _server_message(answer: Answer) -> str:
    """Return what the server says of its refusal (distribution-spec, "Error codes"), as an addition to a message."""
    try:
        data = cast("object", json.loads(_read(answer, _MAX_MESSAGE_BYTES)))
        first = cast("dict[str, list[dict[str, object]]]", data)["errors"][0]
        text = first.get("message") or first.get("code")
    except (ValueError, LookupError, TypeError, AttributeError, RegistryError):
        return ""
    return f": {shown(str(text).encode()[:200])}" if text else ""
