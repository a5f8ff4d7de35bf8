"""Uploads one blob: whole where that works, else in chunks, each of which may break off and go on.

One request for all is what every registry takes; proxies before some limit its size, and a long one breaks more often.
"""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Generator
from contextlib import contextmanager
from typing import BinaryIO

from ci_env.errors import RegistryError
from ci_env.events import Emit, Progress
from ci_env.oci.document import Descriptor
from ci_env.oci.repository import Repository, Session
from ci_env.oci.transport import Answer

_CHUNK_BYTES = 2**24
_PROGRESS_BYTES = 2**22
_STALLS = 3
_RANGE = re.compile(r"(?:bytes=)?0-([0-9]{1,19})\Z")
_TRANSIENT = (408, 429, 499, 500, 502, 503, 504, 522)
_TOO_LARGE = (413, 416)
_GONE = (404,)


class Upload:
    """An upload of `blob`, whose content is `content`; both stay the caller's."""

    def __init__(self, repository: Repository, content: BinaryIO, blob: Descriptor, emit: Emit) -> None:
        self._repository = repository
        self._content = content
        self._blob = blob
        self._emit = emit
        self._what = f"upload {blob.digest.algorithm}:{blob.digest.hex[:12]}"

    def run(self, session: Session | None) -> None:
        """Upload, in the session that was begun already or in a new one. RegistryError leaves nothing there."""
        if not self._whole(session or self._repository.begin()):
            self._chunks(self._repository.begin())
        if self._blob.size > _PROGRESS_BYTES:
            self._emit(Progress(self._what, self._blob.size, self._blob.size, finished=True))

    def _whole(self, session: Session) -> bool:
        """Return whether one request was enough; False: chunks may do."""
        with self._given_up(session):
            try:
                answer = self._put(session, 0, self._blob.size)
            except RegistryError:  # it broke off
                answer = None
            if answer is not None:
                with contextlib.closing(answer):
                    if answer.status in (201, 204):
                        return True
                    if answer.status not in (*_TRANSIENT, *_TOO_LARGE, *_GONE):
                        raise self._refused(answer)
        abandon(self._repository, session)
        return False

    def _chunks(self, session: Session) -> None:
        at = stalls = 0
        while at < self._blob.size:
            with self._given_up(session):
                session, arrived = self._chunk(session, at)
                stalls = 0 if arrived > at else stalls + 1
                if stalls == _STALLS:
                    message = f"{self._repository.registry} takes no more than {at} bytes of {self._blob.digest}"
                    raise RegistryError(message, hint="try again later")
                at = arrived
        with self._given_up(session), contextlib.closing(self._put(session, at, 0)) as answer:
            if answer.status not in (201, 204):
                raise self._refused(answer)

    def _chunk(self, session: Session, at: int) -> tuple[Session, int]:
        """Send the chunk that begins at `at`; return how to go on, and how much has arrived."""
        size = min(max(_CHUNK_BYTES, session.min_chunk_bytes), self._blob.size - at)
        headers = {"Content-Range": f"{at}-{at + size - 1}", **_headers(size)}
        try:
            answer = self._repository.send("PATCH", session.url, headers, lambda: self._part(at, size))
        except RegistryError:  # it broke off: the registry knows where
            return self._asked(session, at)
        with contextlib.closing(answer):
            if answer.status in (201, 202, 204):
                return self._repository.session(answer, session.min_chunk_bytes), _arrived(answer, at + size)
            if answer.status == 416 or answer.status in _TRANSIENT:
                return self._asked(session, at)
            raise self._refused(answer)

    def _asked(self, session: Session, at: int) -> tuple[Session, int]:
        """Ask the registry how much it has."""
        with contextlib.closing(self._repository.status(session)) as answer:
            if answer.status not in (200, 202, 204):
                raise self._refused(answer)
            goes_on = (
                self._repository.session(answer, session.min_chunk_bytes) if answer.header("Location") else session
            )
            return goes_on, _arrived(answer, at)

    def _put(self, session: Session, at: int, size: int) -> Answer:
        """End the upload with the `size` bytes from `at`, and the digest of all."""
        url = f"{session.url}{'&' if '?' in session.url else '?'}digest={self._blob.digest}"
        return self._repository.send("PUT", url, _headers(size), lambda: self._part(at, size))

    def _part(self, at: int, size: int) -> _Part:
        self._content.seek(at)
        return _Part(self._content, size, self)

    def passed(self, at: int) -> None:
        """Tell that the content has been sent up to `at`."""
        self._emit(Progress(self._what, at, self._blob.size, finished=False))

    def _refused(self, answer: Answer) -> RegistryError:
        return self._repository.refused(answer, str(self._blob.digest))

    @contextmanager
    def _given_up(self, session: Session) -> Generator[None]:
        """Tell the registry when the block fails."""
        try:
            yield
        except BaseException:
            abandon(self._repository, session)
            raise


def abandon(repository: Repository, session: Session) -> None:
    """End an upload that nobody wants. Tried once: the registry does that by itself, in time."""
    with contextlib.suppress(RegistryError):
        repository.send("DELETE", session.url, {"Content-Length": "0"}, io.BytesIO).close()


class _Part:
    """A part of a file, as a body."""

    def __init__(self, content: BinaryIO, size: int, upload: Upload) -> None:
        self._content = content
        self._left = size
        self._upload = upload
        self._told = content.tell()

    def read(self, size: int = -1, /) -> bytes:
        piece = self._content.read(self._left if size < 0 else min(size, self._left))
        self._left -= len(piece)
        if self._content.tell() >= self._told + _PROGRESS_BYTES:
            self._told = self._content.tell()
            self._upload.passed(self._told)
        return piece


def _headers(size: int) -> dict[str, str]:
    return {"Content-Type": "application/octet-stream", "Content-Length": str(size)}


def _arrived(answer: Answer, sent: int) -> int:
    """Return how much of the `sent` bytes a registry has: all, or up to the last byte that its Range header names.

    `0-0` is the first byte, but also what registries say of nothing.
    """
    match = _RANGE.match(answer.header("Range").strip())
    if match is None or int(match[1]) + 1 == sent:
        return sent
    return min(int(match[1]) + 1, sent) if int(match[1]) else 0
