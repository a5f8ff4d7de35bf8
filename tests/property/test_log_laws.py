"""A step's log: the same however its output is cut into pieces, and never without bound."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from ci_env.digest import Digest
from ci_env.execute.log import MAX_LINE_BYTES, StepLog

PIECES = st.lists(st.binary(max_size=40) | st.sampled_from([b"\n", b"\n\n", b"x" * (MAX_LINE_BYTES + 1)]), max_size=12)


def written(pieces: list[bytes]) -> tuple[bytes, list[str], Digest]:
    lines: list[str] = []
    with tempfile.TemporaryDirectory() as directory:
        log = StepLog(Path(directory, "log"), lines.append)
        for piece in pieces:
            log.feed(piece)
        digest = log.close()
        return Path(directory, "log").read_bytes(), lines, digest


@given(PIECES)
def test_pieces_make_no_difference(pieces: list[bytes]) -> None:
    whole = b"".join(pieces)
    assert written(pieces) == written([whole]) == written([bytes([byte]) for byte in whole[:200]] + [whole[200:]])


@given(PIECES)
def test_short_lines_are_kept_as_they_are(pieces: list[bytes]) -> None:
    content, lines, digest = written(pieces)
    whole = b"".join(pieces)
    assert digest == Digest.of(content)
    if all(len(line) <= MAX_LINE_BYTES for line in whole.split(b"\n")):
        assert content == whole
        shown = whole.decode(errors="replace").split("\n")
        assert [*lines, ""] == shown or lines == shown


@given(PIECES)
def test_no_line_is_much_longer_than_the_limit(pieces: list[bytes]) -> None:
    content, _, _ = written(pieces)
    assert max(map(len, content.split(b"\n"))) <= MAX_LINE_BYTES + 100
