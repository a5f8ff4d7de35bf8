"""Verification of content on its way: nothing wrong ever looks complete."""

from __future__ import annotations

import io

import pytest

from ci_env.digest import Digest
from ci_env.errors import IntegrityError
from ci_env.oci.verify import VerifyingReader, read_all

CONTENT = b"0123456789"


def reader(content: bytes, *, digest: Digest | None = None, size: int = len(CONTENT)) -> VerifyingReader:
    return VerifyingReader(io.BytesIO(content), digest or Digest.of(CONTENT), size, what="it")


@pytest.mark.parametrize("step", [1, 3, 10, 100])
def test_right_content_passes(step: int) -> None:
    source = reader(CONTENT)
    assert b"".join(iter(lambda: source.read(step), b"")) == CONTENT
    assert not source.failed


def test_sha512() -> None:
    digest = Digest.parse(
        "sha512:bb96c2fc40d2d54617d6f276febe571f623a8dadf0b734855299b0e107fda32c"
        "f6b69f2da32b36445d73690b93cbd0f7bfc20e0f7f28553d2a4428f23b716e90"
    )
    assert read_all(reader(CONTENT, digest=digest), limit=100) == CONTENT


def test_last_piece_of_wrong_content_is_held_back() -> None:
    source = reader(CONTENT[:-1] + b"X")
    assert source.read(5) == CONTENT[:5]
    with pytest.raises(IntegrityError) as caught:
        source.read(5)
    assert Digest.of(CONTENT) in caught.value.message
    assert Digest.of(CONTENT[:-1] + b"X") in caught.value.message
    assert source.failed


def test_too_short() -> None:
    source = reader(CONTENT[:-1])
    with pytest.raises(IntegrityError, match="ends after 9 of 10 bytes"):
        read_all(source, limit=100)


def test_too_long_is_read_one_byte_too_far_only() -> None:
    stream = io.BytesIO(CONTENT + b"more")
    source = VerifyingReader(stream, Digest.of(CONTENT), len(CONTENT), what="it")
    assert source.read(100) == CONTENT
    with pytest.raises(IntegrityError, match="longer than the 10 bytes"):
        source.read(1)
    assert stream.tell() == len(CONTENT) + 1


def test_empty() -> None:
    assert reader(b"", digest=Digest.of(b""), size=0).read(1) == b""
    with pytest.raises(IntegrityError):
        reader(b"", size=0)


def test_read_all_stops_at_its_limit() -> None:
    assert read_all(io.BytesIO(CONTENT), limit=4) == CONTENT[:4]
