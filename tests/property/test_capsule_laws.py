"""A capsule that was changed anywhere is refused, or says what it said; nothing that it says makes a traceback."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from ci_env.capsule import form
from ci_env.capsule.record import Record
from ci_env.capsules.file import CapsuleFile
from ci_env.capsules.file_write import CapsuleWriter
from ci_env.capsules.frames import Compressor, frame_length, stored
from ci_env.capsules.opening import Read, read_capsule
from ci_env.digest import Digest, Json
from ci_env.errors import ConfigError, IntegrityError
from tests.strategies import instances, json_values

GOLDEN = Path(__file__).parent.parent / "golden/capsules/v1.cienv"
CONTENT = GOLDEN.read_bytes()


def understood(content: bytes) -> Read | None:
    """Return what is read of a file; None where it is refused."""
    with tempfile.NamedTemporaryFile(suffix=".cienv") as made:
        made.write(content)
        made.flush()
        try:
            with CapsuleFile(Path(made.name)) as file:
                file.check()
                return read_capsule(file, what="it")
        except (ConfigError, IntegrityError):
            return None


WHOLE = understood(CONTENT)
places = st.integers(0, len(CONTENT) - 1)


@given(places, st.integers(1, 255))
def test_a_changed_byte(place: int, change: int) -> None:
    changed = CONTENT[:place] + bytes([CONTENT[place] ^ change]) + CONTENT[place + 1 :]
    assert understood(changed) in (None, WHOLE)


@given(places)
def test_cut_off(place: int) -> None:
    assert understood(CONTENT[:place]) is None


@given(places, st.binary(min_size=1, max_size=600))
def test_something_more(place: int, more: bytes) -> None:
    assert understood(CONTENT + more) is None
    assert understood(CONTENT[:place] + more + CONTENT[place:]) in (None, WHOLE)


@given(places, places, places)
def test_parts_in_another_order(first: int, second: int, third: int) -> None:
    a, b, c = sorted((first, second, third))
    assert understood(CONTENT[:a] + CONTENT[b:c] + CONTENT[a:b] + CONTENT[c:]) in (None, WHOLE)


def rebuilt(manifest: bytes, *blobs: bytes) -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "x.cienv")
        with CapsuleWriter(path) as writer:
            for blob in blobs:
                writer.add(blob)
            writer.finish(manifest, form.KIND)
        return path.read_bytes()


@given(json_values)
def test_any_manifest(value: Json) -> None:
    assert understood(rebuilt(json.dumps(value).encode())) is None


@given(instances(Record))
def test_any_record(record: Record) -> None:
    """One that a codec reads, but that no run has written, does not come through."""
    from ci_env import codec

    content = codec.dumps(record)
    capsule = form.Capsule(form.record_blob(content), (), (), ())
    found = understood(rebuilt(form.write(capsule), content))
    assert found is None or found.record == record


@given(st.lists(st.binary(max_size=2000), max_size=4), st.binary(min_size=256, max_size=2000))
def test_frames(contents: list[bytes], plain: bytes) -> None:
    """The length of each is known without what comes after it."""
    frames = [stored(plain)]
    for content in contents:
        pieces: list[bytes] = []
        frame = Compressor(pieces.append)
        frame.put(content)
        frame.end()
        frames.append(b"".join(pieces))
    with open(os.memfd_create("frames"), "w+b") as file:
        file.write(b"".join(frames))
        file.flush()
        at = 0
        for one in frames:
            assert frame_length(file.fileno(), at) == len(one)
            at += len(one)


@given(st.lists(st.binary(max_size=3000), max_size=5))
def test_blobs_come_back(contents: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "x.cienv")
        with CapsuleWriter(path) as writer:
            for content in contents:
                with open(os.memfd_create("content"), "w+b") as source:
                    source.write(content)
                    source.seek(0)
                    assert writer.add_all(source).digest == Digest.of(content)
            writer.finish(b"{}", form.KIND)
        with CapsuleFile(path) as file:
            assert file.check() == len({*contents, b"{}"})
            for content in contents:
                with file.blob(form.layer_blob(Digest.of(content), len(content))) as reader:
                    assert b"".join(iter(lambda: reader.read(700), b"")) == content
