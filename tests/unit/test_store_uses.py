"""What a command uses stays until it ends, however it ends; and when something was used last."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ci_env.digest import Digest
from ci_env.errors import HostError
from ci_env.store.blobs import Blobs
from ci_env.store.caches import Caches
from ci_env.store.home import Store, open_store
from ci_env.store.images import ImageResult, Images
from ci_env.store.layers import Layers
from ci_env.store.uses import Uses, note_use, using
from tests.layer_directory import as_caller

ONE, OTHER = Digest.of(b"one"), Digest.of(b"other")
IMAGE = ImageResult(1, "debian:12", ONE, "linux/amd64", (ONE,), (), "", "")
HOUR_S = 3600
HOLD = """if True:
    import sys
    from pathlib import Path
    from ci_env.digest import Digest
    from ci_env.store.home import open_store
    from ci_env.store.uses import using

    with using(open_store(Path(sys.argv[1]))) as uses:
        uses.hold(Digest.parse(sys.argv[2]))
        print("held", flush=True)
        sys.stdin.read()
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "store")


@pytest.fixture
def uses(store: Store) -> Generator[Uses]:
    with using(store) as made:
        yield made


@contextmanager
def another(store: Store) -> Generator[subprocess.Popen[str]]:
    """Give a process that uses ONE."""
    argv = [sys.executable, "-c", HOLD, str(store.root), ONE]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process


def can_claim(store: Store, digest: Digest) -> bool:
    with using(store) as somebody:
        return somebody.claim(digest)


def test_what_is_used_cannot_be_claimed(store: Store, uses: Uses) -> None:
    with another(store) as process:
        uses.hold(ONE)
        assert not can_claim(store, ONE)
        assert not uses.claim(ONE), "we use it too, but are not alone"
        assert can_claim(store, OTHER)
        os.kill(process.pid, signal.SIGKILL)
        process.wait(20)
    assert not can_claim(store, ONE)


def test_the_dead_let_go(store: Store) -> None:
    with another(store) as process:
        os.kill(process.pid, signal.SIGKILL)
        process.wait(20)
        assert can_claim(store, ONE)


def test_who_comes_during_a_claim_waits(store: Store, uses: Uses) -> None:
    assert uses.claim(ONE)
    assert not can_claim(store, ONE)
    with using(store) as somebody:
        obtained = threading.Event()

        def hold() -> None:
            somebody.hold(ONE)
            obtained.set()

        thread = threading.Thread(target=hold)
        thread.start()
        somebody.hold(OTHER)
        assert not obtained.wait(0.1)
        uses.release(ONE)
        assert obtained.wait(20)
        thread.join(20)
        assert not uses.claim(ONE)


def test_children_do_not_hold(store: Store) -> None:
    """What a command starts may outlive it by a moment, and knows nothing of the store."""
    with using(store) as somebody:
        somebody.hold(ONE)
        child = subprocess.Popen(["sleep", "60"])
    assert can_claim(store, ONE)
    child.kill()
    child.wait(20)


def test_looking_and_making_are_uses(store: Store, tmp_path: Path, uses: Uses) -> None:
    layers, blobs, caches = (
        Layers(store, tmp_path, as_caller, lambda: False, uses),
        Blobs(store, uses),
        Caches(store, uses),
    )
    names = [Digest.of(bytes([number])) for number in range(6)]
    layers.has(names[0])
    layers.ensure(names[1], lambda _: None)
    layers.publish(layers.staging(), names[2])
    blobs.has(names[3])
    caches.directory(names[4])
    (tmp_path / "file").write_bytes(bytes([5]))
    blobs.adopt(tmp_path / "file", names[5])
    used = [*names, blobs.put(b"put")]
    assert not any(can_claim(store, digest) for digest in used)


def test_a_use_costs_microseconds(store: Store, uses: Uses) -> None:
    names = [Digest.of(str(number).encode()) for number in range(1000)]
    began = time.perf_counter()
    for name in names:
        uses.hold(name)
    assert time.perf_counter() - began < 0.2  # some 17 ms; the limit allows for a machine that does other things


@pytest.mark.parametrize(("age_s", "is_renewed"), [(10, False), (HOUR_S + 60, True), (-2 * HOUR_S, True)])
def test_the_last_use_is_renewed_once_an_hour(tmp_path: Path, age_s: int, is_renewed: bool) -> None:
    file = tmp_path / "file"
    file.touch()
    then = time.time() - age_s
    os.utime(file, (then, then))
    note_use(file, then)
    assert abs(file.stat().st_mtime - (time.time() if is_renewed else then)) < 5
    file.unlink()
    note_use(file, 0)
    assert not file.exists()


def test_hits_are_noted(store: Store, tmp_path: Path) -> None:
    layers, images = Layers(store, tmp_path, as_caller, lambda: False), Images(store)
    layers.publish(layers.staging(), ONE)
    images.save(ONE, IMAGE)
    files = (layers.directory(ONE) / "layer.json", store.images / f"{ONE.hex}.json")
    for file in files:
        os.utime(file, (0, 0))
    assert layers.has(ONE)
    assert images.load(ONE) == IMAGE
    assert all(time.time() - file.stat().st_mtime < 60 for file in files)


def test_what_cannot_be_locked_is_told(store: Store) -> None:
    (store.locks / "uses").symlink_to("elsewhere")
    with pytest.raises(HostError, match=r"cannot open .*uses"), using(store):
        pass
