"""Content by digest: what is read is what was put, or an error."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from ci_env.digest import Digest
from ci_env.errors import HostError, IntegrityError
from ci_env.store.blobs import Blobs
from ci_env.store.home import Store, open_store

CONTENT = b"some content\n"
DIGEST = Digest.of(CONTENT)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "store")


@pytest.fixture
def blobs(store: Store) -> Blobs:
    return Blobs(store)


def scratch_file(store: Store, content: bytes) -> Path:
    file = store.tmp / "file"
    file.write_bytes(content)
    return file


def test_put_and_read(blobs: Blobs) -> None:
    assert not blobs.has(DIGEST)
    assert blobs.put(CONTENT) == DIGEST
    assert blobs.put(CONTENT) == DIGEST
    assert blobs.has(DIGEST)
    assert blobs.read(DIGEST) == CONTENT
    with blobs.open(DIGEST) as file:
        assert file.read() == CONTENT
    assert blobs.path(DIGEST).stat().st_mode & 0o777 == 0o400


def test_adopted_files_move(store: Store, blobs: Blobs) -> None:
    for _ in range(2):  # the second finds it done
        file = scratch_file(store, CONTENT)
        blobs.adopt(file, DIGEST)
        assert not file.exists()
        assert blobs.read(DIGEST) == CONTENT
    assert blobs.path(DIGEST).stat().st_mode & 0o777 == 0o400
    assert os.listdir(store.blobs / "sha256") == [DIGEST.hex]


def test_sha512(store: Store, blobs: Blobs) -> None:
    digest = Digest.parse("sha512:" + hashlib.sha512(CONTENT).hexdigest())
    blobs.adopt(scratch_file(store, CONTENT), digest)
    assert blobs.read(digest) == CONTENT


def test_damage_is_found_and_dropped(blobs: Blobs) -> None:
    blobs.put(CONTENT)
    damage(blobs, CONTENT[::-1])
    with pytest.raises(IntegrityError, match="was damaged") as caught:
        blobs.read(DIGEST)
    assert caught.value.hint
    assert not blobs.has(DIGEST)
    blobs.put(CONTENT)
    assert blobs.read(DIGEST) == CONTENT


@pytest.mark.parametrize("how", ["put", "adopt"])
def test_what_a_crash_cut_short_is_replaced(store: Store, blobs: Blobs, how: str) -> None:
    blobs.put(CONTENT)
    damage(blobs, b"")
    if how == "put":
        blobs.put(CONTENT)
    else:
        blobs.adopt(scratch_file(store, CONTENT), DIGEST)
    assert blobs.read(DIGEST) == CONTENT


def damage(blobs: Blobs, content: bytes) -> None:
    blobs.path(DIGEST).unlink()
    blobs.path(DIGEST).write_bytes(content)


def test_absent(blobs: Blobs) -> None:
    with pytest.raises(IntegrityError, match=f"{DIGEST} is not in the store"):
        blobs.open(DIGEST)
    with pytest.raises(IntegrityError, match=f"{DIGEST} is not in the store"):
        blobs.read(DIGEST)
    with pytest.raises(HostError, match="No such file"):
        blobs.adopt(blobs.path(DIGEST), DIGEST)
