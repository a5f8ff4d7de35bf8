"""Layers: whole or not there, whoever makes them at once."""

from __future__ import annotations

import functools
import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import nullcontext
from pathlib import Path

import pytest

from ci_env.digest import Digest
from ci_env.errors import HostError, IntegrityError, RegistryError
from ci_env.oci.pull import LayerPlace
from ci_env.store.home import Store, open_store
from ci_env.store.layers import Layers
from ci_env.store.scratch import reap, scratch
from tests.deep_directory import deepen
from tests.layer_directory import as_caller
from tests.oci_builder import compress, d, f, hard, tar

LAYER, OTHER = Digest.of(b"layer"), Digest.of(b"other")
OF_ANOTHER_BOOT = b'{"version":1,"boot":"00000000-0000-0000-0000-000000000000"}'
SEALED = b'{"version":1,"boot":null}'

# argv: store, run, layer. Fills a layer with its run's name, in two halves; between them, it says so and waits.
ENSURE = """if True:
    import sys
    from pathlib import Path
    from ci_env.digest import Digest
    from ci_env.store.home import open_store
    from ci_env.store.layers import Layers
    from ci_env.store.scratch import scratch
    from tests.layer_directory import as_caller

    def fill(root):
        (root / "first").write_text(sys.argv[2])
        print("filling", flush=True)
        sys.stdin.read()
        (root / "second").write_text(sys.argv[2])

    store = open_store(Path(sys.argv[1]))
    with scratch(store, sys.argv[2], lambda path: layers.discard(path)) as directory:
        layers = Layers(store, directory, as_caller, lambda: False)
        layers.ensure(Digest.parse(sys.argv[3]), fill)
    print("done", flush=True)
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "store")


@pytest.fixture
def layers(store: Store) -> Generator[Layers]:
    with scratch(store, "run", layers_of(store, store.tmp).discard) as directory:
        yield layers_of(store, directory)
    assert os.listdir(store.tmp) == []


def layers_of(store: Store, scratch: Path) -> Layers:
    return Layers(store, scratch, as_caller, lambda: os.geteuid() == 0)


def marker(layers: Layers, layer: Digest = LAYER) -> Path:
    return layers.directory(layer) / "layer.json"


def publish(layers: Layers, layer: Digest = LAYER, content: str = "x") -> None:
    staging = layers.staging()
    (staging / "root" / "file").write_text(content)
    layers.publish(staging, layer)


def write(path: Path, content: str) -> None:
    path.write_text(content)


def content_of(layers: Layers, layer: Digest = LAYER) -> str:
    return (layers.directory(layer) / "root" / "file").read_text()


def scratch_of(store: Store) -> list[str]:
    return os.listdir(store.tmp / "run")


def test_staging_is_ready_for_a_sandbox(layers: Layers) -> None:
    before = os.umask(0o077)
    try:
        one, two = layers.staging(), layers.staging()
    finally:
        os.umask(before)
    assert one != two
    assert os.listdir(one) == ["root"]
    assert (one / "root").stat().st_mode & 0o777 == 0o755


def test_published_is_complete(layers: Layers, store: Store) -> None:
    assert not layers.has(LAYER)
    publish(layers)
    assert layers.has(LAYER)
    assert content_of(layers) == "x"
    assert scratch_of(store) == []


def test_publishing_moves_the_directory(layers: Layers) -> None:
    staging = layers.staging()
    inode = (staging / "root").stat().st_ino
    layers.publish(staging, LAYER)
    assert (layers.directory(LAYER) / "root").stat().st_ino == inode


def test_the_first_publisher_wins(layers: Layers, store: Store) -> None:
    publish(layers, content="first")
    publish(layers, content="second")
    assert content_of(layers) == "first"
    assert scratch_of(store) == []


def test_sealing(layers: Layers) -> None:
    publish(layers)
    publish(layers, OTHER)
    assert marker(layers).read_bytes() != SEALED
    layers.seal()
    assert marker(layers).read_bytes() == marker(layers, OTHER).read_bytes() == SEALED
    assert layers.has(LAYER)


@pytest.fixture
def failing_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Give a function that does something while the disk fails."""
    program = tmp_path / "bin" / "sync"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)

    def fail(act: Callable[[], object]) -> None:
        with monkeypatch.context() as patch:
            patch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
            with pytest.raises(HostError, match="Input/output error"):
                act()

    return fail


def test_what_a_disk_has_refused_is_not_relied_on(
    layers: Layers, store: Store, tmp_path: Path, failing_sync: Callable[[Callable[[], object]], None]
) -> None:
    """The next sync succeeds, as the kernel tells of a lost write once only: it says nothing about this layer."""
    publish(layers, content="refused")
    failing_sync(layers.seal)
    layers.seal()
    another = layers_of(store, tmp_path)
    assert not another.has(LAYER)
    assert not another.is_complete(LAYER)
    assert another.is_doubtful(LAYER)
    assert another.has(LAYER, even_doubtful=True)
    another.seal()
    assert marker(layers).read_bytes() != SEALED
    another.ensure(LAYER, lambda root: write(root / "file", "again"))
    another.seal()
    assert (content_of(layers), marker(layers).read_bytes()) == ("again", SEALED)


def test_a_disk_that_refused_something_may_have_refused_what_others_wrote(
    layers: Layers, store: Store, tmp_path: Path, failing_sync: Callable[[Callable[[], object]], None]
) -> None:
    """Of two runs that share a layer one is told; and of a third one, which was killed, nobody was."""
    publish(layers)
    another = layers_of(store, tmp_path)
    assert another.has(LAYER)
    (tmp_path / "killed").mkdir()
    publish(layers_of(store, tmp_path / "killed"), OTHER)
    failing_sync(another.seal)
    layers.seal()
    assert [layers.has(layer) for layer in (LAYER, OTHER)] == [False, False]


def test_what_a_disk_has_refused_while_an_image_was_unpacked(
    layers: Layers, store: Store, failing_sync: Callable[[Callable[[], object]], None]
) -> None:
    """The kernel has told of what was lost, and that may have been any layer that was not sealed."""
    publish(layers)
    plain = tar([f("file", "content")])
    unpack = functools.partial(layers.unpack, OTHER, (), Digest.of(plain), lambda: nullcontext(io.BytesIO(plain)))
    failing_sync(unpack)
    assert scratch_of(store) == []
    layers.seal()
    assert [layers.has(layer) for layer in (LAYER, OTHER)] == [False, False]
    unpack()
    assert marker(layers, OTHER).read_bytes() == SEALED
    assert not layers.has(LAYER)


def test_what_was_sealed_before_stays(layers: Layers, failing_sync: Callable[[Callable[[], object]], None]) -> None:
    publish(layers)
    layers.seal()
    publish(layers, OTHER)
    failing_sync(layers.seal)
    assert [layers.has(layer) for layer in (LAYER, OTHER)] == [True, False]


def test_what_another_run_left_unsealed_is_sealed_with_ours(layers: Layers, store: Store, tmp_path: Path) -> None:
    publish(layers)
    another = layers_of(store, tmp_path)
    assert another.has(LAYER)
    another.seal()
    assert marker(layers).read_bytes() == SEALED


@pytest.mark.parametrize(
    "content", [None, OF_ANOTHER_BOOT, b"", bytes(26), b"{}", b'{"version":2,"boot":null}', b"[" * 100_000]
)
def test_unsynced_or_damaged_is_not_complete_and_is_replaced(
    layers: Layers, store: Store, content: bytes | None
) -> None:
    publish(layers, content="old")
    publish(layers, OTHER, content="old")
    for layer in (LAYER, OTHER):
        marker(layers, layer).unlink()
        if content is not None:
            marker(layers, layer).write_bytes(content)
        assert not layers.has(layer)
    publish(layers, content="new")
    layers.ensure(OTHER, lambda root: write(root / "file", "new"))
    for layer in (LAYER, OTHER):
        assert layers.has(layer)
        assert content_of(layers, layer) == "new"
    assert scratch_of(store) == []


def test_other_things_in_a_layers_place_are_replaced(layers: Layers) -> None:
    layers.directory(LAYER).mkdir()
    layers.directory(OTHER).write_text("a file")
    publish(layers)
    publish(layers, OTHER)
    assert layers.has(LAYER)
    assert layers.has(OTHER)


def test_filled_once(layers: Layers) -> None:
    filled: list[Path] = []
    for _ in range(2):
        layers.ensure(LAYER, filled.append)
    assert len(filled) == 1
    assert os.listdir(layers.directory(LAYER) / "root") == []


def test_what_filling_raises_leaves_nothing(layers: Layers, store: Store) -> None:
    def fail(root: Path) -> None:
        (root / "file").touch()
        raise KeyError("x")

    with pytest.raises(KeyError):
        layers.ensure(LAYER, fail)
    assert not layers.has(LAYER)
    assert scratch_of(store) == []
    layers.ensure(LAYER, lambda _: None)
    assert layers.has(LAYER)


def test_threads_fill_once(layers: Layers) -> None:
    filled: list[Path] = []
    threads = [threading.Thread(target=layers.ensure, args=(LAYER, filled.append)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(filled) == 1


def start_ensure(store: Store, run: str) -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", ENSURE, str(store.root), run, LAYER]
    return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.mark.parametrize("kill_first", [False, True])
def test_a_second_process_waits_or_takes_over(layers: Layers, store: Store, kill_first: bool) -> None:
    with start_ensure(store, "one") as first:
        assert read_line(first) == "filling"
        with start_ensure(store, "two") as second:
            if kill_first:
                os.kill(first.pid, signal.SIGKILL)
                assert read_line(second) == "filling"
            else:
                first.communicate()
            second.communicate()
            assert second.returncode == 0
    expected = "two" if kill_first else "one"
    root = layers.directory(LAYER) / "root"
    assert layers.has(LAYER)
    assert {path.name: path.read_text() for path in root.iterdir()} == {"first": expected, "second": expected}
    reap(store, layers.discard)
    assert sorted(os.listdir(store.tmp)) == ["run", "run.lock"]


CONTENT = tar([d("etc"), f("etc/motd", "hello")])
SECOND = tar([hard("link", "etc/motd")])


def test_unpacks_over_parents_and_seals(layers: Layers, store: Store) -> None:
    place: LayerPlace = layers
    assert place.unpack(LAYER, (), Digest.of(CONTENT), lambda: io.BytesIO(compress(CONTENT, "gzip"))) == ()
    place.unpack(OTHER, (LAYER,), Digest.of(SECOND), lambda: io.BytesIO(SECOND))
    assert (layers.directory(OTHER) / "root" / "link").read_text() == "hello"
    assert marker(layers).read_bytes() == marker(layers, OTHER).read_bytes() == SEALED
    assert place.has(LAYER)
    assert scratch_of(store) == []


def never() -> io.BytesIO:
    raise AssertionError("nothing is to be opened")


def test_what_became_complete_meanwhile_is_not_opened(layers: Layers) -> None:
    layers.unpack(LAYER, (), Digest.of(CONTENT), lambda: io.BytesIO(CONTENT))
    assert layers.unpack(LAYER, (), Digest.of(CONTENT), never) == ()
    assert (layers.directory(LAYER) / "root" / "etc" / "motd").exists()


def test_what_is_reserved_nobody_else_begins_with(layers: Layers, store: Store, tmp_path: Path) -> None:
    another = layers_of(store, tmp_path)
    with layers.reserve(LAYER) as is_ours, another.reserve(LAYER) as is_theirs:
        assert (is_ours, is_theirs) == (True, False)
        waiting = threading.Thread(target=another.unpack, args=(LAYER, (), Digest.of(CONTENT), never))
        waiting.start()
        layers.unpack(LAYER, (), Digest.of(CONTENT), lambda: io.BytesIO(CONTENT))
    waiting.join(20)
    assert not waiting.is_alive()
    with layers.reserve(LAYER) as is_ours:
        assert not is_ours, "it is there"
    with another.reserve(OTHER) as is_theirs:
        assert is_theirs


def test_a_layer_of_another_digest_is_not_one(layers: Layers, store: Store) -> None:
    with pytest.raises(IntegrityError):
        layers.unpack(LAYER, (), Digest.of(b"other"), lambda: io.BytesIO(CONTENT))
    assert not layers.has(LAYER)
    assert not layers.directory(LAYER).exists()
    assert scratch_of(store) == []


def test_a_stream_that_breaks_leaves_nothing(layers: Layers, store: Store) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise RegistryError("the connection broke")

    with pytest.raises(RegistryError):
        layers.unpack(LAYER, (), Digest.of(CONTENT), Broken)
    assert not layers.has(LAYER)
    assert scratch_of(store) == []


def test_documents_of_images(layers: Layers, store: Store) -> None:
    digest = layers.put_blob(b"{}")
    assert (store.blobs / "sha256" / digest.hex).read_bytes() == b"{}"


def test_a_document_is_fetched_once_for_all(layers: Layers) -> None:
    content, fetched = b"{}", list[float]()

    def fetch() -> bytes:
        fetched.append(time.monotonic())
        time.sleep(0.2)
        return content

    found: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: found.append(layers.document(Digest.of(content), fetch))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert found == [content] * 4
    assert len(fetched) == 1


def test_a_damaged_document_is_fetched_again(layers: Layers, store: Store) -> None:
    blob = store.blobs / "sha256" / layers.put_blob(b"{}").hex
    blob.unlink()
    blob.write_bytes(b"[]")
    assert layers.document(Digest.of(b"{}"), lambda: b"{}") == b"{}"
    assert blob.read_bytes() == b"{}"


def test_discards_what_is_deep_and_follows_no_link(layers: Layers, store: Store, tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").touch()
    staging = layers.staging()
    (staging / "root" / "link").symlink_to(tmp_path / "kept")
    os.close(deepen(os.open(staging / "root", os.O_RDONLY), 3000))
    layers.discard(staging)
    staging.symlink_to(tmp_path / "kept")
    layers.discard(staging)
    layers.discard(staging)  # there or not
    assert os.listdir(tmp_path / "kept") == ["file"]
    assert scratch_of(store) == []


def refuse(argv: Sequence[str], /, *, stdin: int | None, stdout: int | None) -> int:
    return 1


def test_what_cannot_be_removed_is_told(store: Store, tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    os.close(deepen(os.open(tmp_path / "directory", os.O_RDONLY), 3000))
    with pytest.raises(HostError, match=f"cannot remove {tmp_path / 'directory'}"):
        Layers(store, tmp_path, refuse, lambda: True).discard(tmp_path / "directory")
    layers_of(store, tmp_path).discard(tmp_path / "directory")
