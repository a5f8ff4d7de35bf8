"""The store under faults: processes that die anywhere, full and read-only filesystems. The next run is always good."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from ci_env.store.home import open_store

# argv: store. Kills a process at each line of the store's code that publishing a layer passes; after each time the
# next process has to find the layer complete or to make it, and to clean up.
KILLED_AT_EACH_LINE = """if True:
    import os, signal, sys
    from pathlib import Path
    from ci_env.digest import Digest
    from ci_env.store.home import open_store
    from ci_env.store.layers import Layers
    from ci_env.store.scratch import reap, scratch
    from tests.layer_directory import as_caller

    def traced(left):
        def trace(frame, event, argument):
            nonlocal left
            if "/ci_env/store/" not in frame.f_code.co_filename and "/ci_env/files" not in frame.f_code.co_filename:
                return None
            left -= event == "line"
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return trace
        return trace

    def run(layer, name):
        def fill(root):
            (root / "first").write_text(name)
            (root / "second").write_text(name)

        with scratch(store, name, lambda path: layers.discard(path)) as directory:
            layers = Layers(store, directory, as_caller, lambda: False)
            reap(store, layers.discard)
            layers.ensure(layer, fill)
            if name == "dead":
                layers.seal()
            names = {path.name: path.read_text() for path in (layers.directory(layer) / "root").iterdir()}
            assert names in ({"first": "dead", "second": "dead"}, {"first": "next", "second": "next"}), names

    store, number, status = open_store(Path(sys.argv[1])), 0, -1
    while status:
        number += 1
        layer = Digest.of(str(number).encode())
        (store.layers / layer.hex).mkdir()
        (store.layers / layer.hex / "leftover").touch()
        if (child := os.fork()) == 0:
            sys.settrace(traced(number))
            run(layer, "dead")
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert status in (0, -signal.SIGKILL), status
        run(layer, "next")
        assert os.listdir(store.tmp) == [], os.listdir(store.tmp)
    print(number)
"""

# argv: a directory. Works on a small filesystem with ever more room, counted in files and then in bytes, until it is
# enough; after each failure there is room again, and what was complete must be whole.
FULL = """if True:
    import dataclasses, os, subprocess, sys
    from pathlib import Path
    from ci_env.digest import Digest
    from ci_env.errors import HostError
    from ci_env.store.blobs import Blobs
    from ci_env.store.home import open_store
    from ci_env.store.layers import Layers
    from ci_env.store.runs import Runs
    from ci_env.store.scratch import reap, scratch
    from ci_env.store.steps import StepResult, Steps
    from tests.layer_directory import as_caller

    @dataclasses.dataclass(frozen=True)
    class Record:
        run_id: str
        text: str

    LAYERS, PLACE = [Digest.of(name) for name in (b"ensured", b"published", b"ensured late")], Digest.of(b"place")
    root = Path(sys.argv[1])

    def mount(*options):
        subprocess.run(["mount", "-t", "tmpfs", "-o", ",".join(["mode=700", *options]), "tmpfs", root], check=True)

    def fill(root):
        for name in "ab":
            (root / name).write_text("content")

    def work(run_id):
        store = open_store(root)
        with Runs(store, Record, version=1).create("2026-11-25T02:17:45Z") as run:
            Runs(store, Record, version=1).write(Record(run.id, "x" * 5000))
            with scratch(store, run_id, lambda path: layers.discard(path)) as directory:
                layers = Layers(store, directory, as_caller, lambda: True)
                reap(store, layers.discard)
                layers.ensure(LAYERS[0], lambda root: None)
                layers.publish(layers.staging(), LAYERS[1])
                blob = Blobs(store).put(b"x" * 20_000)
                result = StepResult(1, PLACE, "{}" * 4000, (), LAYERS[1], blob, None, 0)
                Steps(store).save(result, place=PLACE, replace=False)
                layers.ensure(LAYERS[2], lambda root: None)
                layers.seal()
                assert Blobs(store).read(blob) == b"x" * 20_000
                assert Steps(store).last(PLACE) == result
                assert all(layers.has(layer) for layer in LAYERS)
        assert os.listdir(store.tmp) == [], os.listdir(store.tmp)

    def is_enough(option):
        mount(option)
        try:
            work("first")
        except HostError as error:
            assert "No space left on device" in error.message, error.message
            assert "free some space" in error.hint
            assert not (root / "tmp").exists() or os.listdir(root / "tmp") == [], os.listdir(root / "tmp")
            subprocess.run(["mount", "-o", "remount,size=10m,nr_inodes=1000", root], check=True)
            work("second")
            return False
        else:
            return True
        finally:
            subprocess.run(["umount", root], check=True)

    files = next(count for count in range(2, 200) if is_enough(f"nr_inodes={count}"))
    pages = next(count for count in range(1, 100) if is_enough(f"size={count * 4}k"))
    print(files, pages)
"""
NAMESPACE = ("unshare", "-m") if os.geteuid() == 0 else ("unshare", "-Urm")


def test_killed_at_any_line_the_next_one_succeeds(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    argv = [sys.executable, "-c", KILLED_AT_EACH_LINE, str(store.root)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 100
    assert os.listdir(store.tmp) == []


def test_full_at_any_moment(tmp_path: Path) -> None:
    argv = [*NAMESPACE, sys.executable, "-c", FULL, str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    files, pages = map(int, done.stdout.split())
    assert files > 20
    assert pages > 10


def test_read_only(tmp_path: Path) -> None:
    open_store(tmp_path)
    program = "import sys; from pathlib import Path; from ci_env.errors import HostError\n"
    program += "from ci_env.store.home import open_store\n"
    program += "try: open_store(Path(sys.argv[1]))\n"
    program += "except HostError as error: print(error.message, error.hint, sep='\\n')"
    script = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && exec "$2" -c "$3" "$1"'
    argv = [*NAMESPACE, "sh", "-c", script, "sh", str(tmp_path), sys.executable, program]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60)
    message, hint = done.stdout.splitlines()
    assert message.startswith(f"cannot lock {tmp_path}/")
    assert message.endswith("Read-only file system")
    assert "point CI_ENV_HOME at a directory of your own" in hint
