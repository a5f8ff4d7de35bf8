"""Images in registries, over the OCI distribution protocol (distribution-spec, "Pull").

Plain HTTP for this machine's own registries only, and never as a fallback.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Generator

from urllib3.exceptions import HTTPError

from ci_env.digest import Digest
from ci_env.errors import IntegrityError, RegistryError
from ci_env.oci.auth import redact
from ci_env.oci.authorized import Authorized
from ci_env.oci.document import INDEX_TYPES, MANIFEST_TYPES, MAX_DOCUMENT_BYTES, Descriptor
from ci_env.oci.logins import Logins, how_to
from ci_env.oci.reference import Reference
from ci_env.oci.server_warnings import ServerWarnings
from ci_env.oci.tar_header import shown
from ci_env.oci.transport import Answer, Transport
from ci_env.oci.verify import Reader

_MIN_PROGRESS_BYTES = 2**20
_MIN_INTERVAL_S = 60.0
_MAX_RESUMES = 100
_DISCARD = 2**18


class RegistrySource:
    """One image of a registry. Implements ImageSource; what it is made of stays the caller's."""

    def __init__(self, reference: Reference, transport: Transport, logins: Logins, warnings: ServerWarnings) -> None:
        self._reference = reference
        self._authorized = Authorized(reference, transport, logins, warnings)
        self._base = self._authorized.url

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
        if answer.status == 200 or (start and answer.status in (206, 416)):
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
        transport = self._authorized.transport
        return self._authorized.ask(lambda authorization: transport.get(url, headers, authorization=authorization))

    def _refused(self, answer: Answer, part: str | None) -> RegistryError:
        """Return what to tell of an answer that is not what was asked for."""
        name, registry = str(self._reference), self._reference.registry
        used, detail = self._authorized.used(), self._authorized.said(answer)
        if answer.status in (401, 403):
            who = f", for {used}" if used else ""
            hint = (
                f"the image does not exist, or it is {'not for this user' if used else 'private'}; {how_to(registry)}"
            )
            return RegistryError(f"{registry} denies access to {name}{who}{detail}", hint=hint)
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
        self._resumes: list[tuple[int, float]] = []
        """byte and time of each"""
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
        """Connect again, if that is of use; a server must not keep us busy for ever."""
        self._answer.close()
        if not self._may_resume():
            raise RegistryError(
                f"the connection broke at byte {self._at} of {self._descriptor.size} of {self._descriptor.digest}",
                hint="try again; if it always breaks there, the registry's copy is damaged",
            ) from cause
        self._resumes.append((self._at, self._answer.now()))
        self._answer = self._source.open_blob(self._descriptor, start=self._at)
        if self._answer.status == 416:
            self._answer.close()
            self._answer = self._source.open_blob(self._descriptor, start=0)
        if self._answer.status == 206:
            self._check_range()
        else:
            self._discard(self._at)

    def _may_resume(self) -> bool:
        """Tell whether the last time brought 1 MiB, or anything at all in a minute."""
        if not self._resumes:
            return True
        at, time_s = self._resumes[-1]
        progress, interval_s = self._at - at, self._answer.now() - time_s
        is_alive = progress >= _MIN_PROGRESS_BYTES or (progress > 0 and interval_s >= _MIN_INTERVAL_S)
        return is_alive and len(self._resumes) < _MAX_RESUMES

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


def _read_document(answer: Answer, reference: Reference) -> bytes:
    content = answer.read_all(limit=MAX_DOCUMENT_BYTES + 1)
    if len(content) > MAX_DOCUMENT_BYTES:
        raise RegistryError(f"{reference.registry} gave a manifest of {reference} over {MAX_DOCUMENT_BYTES >> 20} MiB")
    return content


def _check(content: bytes, promised: str, reference: Reference) -> None:
    """Compare with the digest asked for, or else with the one the server claims, if it is one we know."""
    try:
        digest = Digest.parse(promised)
    except ValueError:
        return
    actual = f"{digest.algorithm}:{hashlib.new(digest.algorithm, content).hexdigest()}"
    if actual != digest:
        raise IntegrityError(f"{reference.registry} gave {actual} for {reference}, not {digest}")
