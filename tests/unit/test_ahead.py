"""Content that is read before it is wanted: all of it, no more than may wait, and its errors."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, nullcontext

import pytest

from ci_env.errors import RegistryError
from ci_env.oci.ahead import ReadAhead
from ci_env.oci.verify import Reader, read_all

LIMIT = 2**18


class Endless:
    """Zeros, as many as are read."""

    def __init__(self) -> None:
        self.given = 0
        self.is_closed = threading.Event()

    def read(self, size: int, /) -> bytes:
        self.given += size
        return bytes(size)

    @contextmanager
    def opened(self) -> Generator[Reader]:
        try:
            yield self
        finally:
            self.is_closed.set()


def settled(source: Endless) -> int:
    """Return how much was read, once no more is."""
    before = -1
    while source.given != before:
        before = source.given
        time.sleep(0.1)
    return before


@pytest.mark.parametrize("size", [0, 1, LIMIT, 5 * LIMIT + 1])
def test_all_of_it_arrives(size: int) -> None:
    content = bytes(index % 251 for index in range(size))
    with ReadAhead(nullcontext(io.BytesIO(content)), limit=LIMIT) as ahead:
        assert read_all(ahead, limit=2 * size + 1) == content
        assert ahead.read(1) == b""


def test_no_more_waits_than_may_and_it_goes_on_when_that_is_taken() -> None:
    source = Endless()
    with ReadAhead(source.opened(), limit=LIMIT) as ahead:
        first = settled(source)
        assert LIMIT <= first < 2 * LIMIT
        assert len(read_all(ahead, limit=LIMIT)) == LIMIT
        assert first < settled(source) <= first + 2 * LIMIT
    assert source.is_closed.wait(10)


def test_what_reading_raises_comes_after_what_was_read() -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            piece = super().read(size)
            if not piece:
                raise RegistryError("broke off")
            return piece

    with ReadAhead(nullcontext(Broken(b"content")), limit=LIMIT) as ahead:
        assert ahead.read(100) == b"content"
        for _ in range(2):
            with pytest.raises(RegistryError, match="broke off"):
                ahead.read(100)


def test_what_opening_raises() -> None:
    @contextmanager
    def refused() -> Generator[Reader]:
        raise RegistryError("refused")
        yield io.BytesIO()

    with ReadAhead(refused(), limit=LIMIT) as ahead, pytest.raises(RegistryError, match="refused"):
        ahead.read(1)
