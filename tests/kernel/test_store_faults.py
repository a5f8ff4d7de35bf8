"""The store under faults: processes that die anywhere, full and read-only filesystems. The next run is always good."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from ci_env.digest import Digest
from ci_env.store.home import open_store
from ci_env.store.layers import Layers
from tests.layer_directory import as_caller

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
        number += 1 if number < 60 else 5
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

# argv: a directory. Works on a small filesystem where ballast leaves ever more room, counted in files and then in
# pages, until it is enough. After each failure nothing is left in the scratch; without the ballast the work is done.
FULL = """if True:
    import dataclasses, os, shutil, subprocess, sys
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

    ballast = root / "ballast"

    def leave(files, pages):
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=700,size=1m,nr_inodes=300", "tmpfs", root], check=True)
        ballast.mkdir()
        with open(ballast / "large", "wb") as large:
            os.posix_fallocate(large.fileno(), 0, (os.statvfs(root).f_bavail - pages) * os.statvfs(root).f_bsize)
        for number in range(os.statvfs(root).f_favail - files):
            (ballast / str(number)).touch()

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
                Steps(store).save(result, place=PLACE)
                layers.ensure(LAYERS[2], lambda root: None)
                layers.seal()
                assert Blobs(store).read(blob) == b"x" * 20_000
                assert Steps(store).last(PLACE) == result
                assert all(layers.has(layer) for layer in LAYERS)
        assert os.listdir(store.tmp) == [], os.listdir(store.tmp)

    def is_enough(files, pages):
        leave(files, pages)
        try:
            work("first")
        except HostError as error:
            assert "No space left on device" in error.message, error.message
            assert "free some space" in error.hint
            assert not (root / "tmp").exists() or os.listdir(root / "tmp") == [], os.listdir(root / "tmp")
            shutil.rmtree(ballast)
            work("second")
            return False
        else:
            return True
        finally:
            subprocess.run(["umount", root], check=True)

    files = next(count for count in range(200) if is_enough(count, 100))
    pages = next(count for count in range(200) if is_enough(200, count))
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


def as_owner(argv: Sequence[str], /, *, stdin: int | None, stdout: int | None) -> int:
    """Run as root of a user namespace with as many ids as the user has."""
    namespace = (
        [] if os.geteuid() == 0 else ["unshare", "--map-root-user", *(["--map-auto"] if has_ids() else []), "--"]
    )
    return as_caller([*namespace, *argv], stdin=stdin, stdout=stdout)


def has_ids() -> bool:
    """Tell whether the user has more ids than one."""
    return os.geteuid() == 0 or as_caller(["unshare", "--map-auto", "--", "true"], stdin=None, stdout=None) == 0


def test_files_of_other_ids(tmp_path: Path) -> None:
    """A layer whose files its caller can neither read nor remove is published, replaced and discarded all the same."""
    store = open_store(tmp_path / "store")
    layers = Layers(store, tmp_path, as_owner, has_ids)
    layer = Digest.of(b"layer")
    for _ in range(2):
        staging = layers.staging()
        (staging / "root" / "closed" / "in").mkdir(parents=True)
        (staging / "root" / "closed").chmod(0)
        owner = "5:5" if has_ids() else "0:0"
        assert as_owner(["chown", "-R", owner, str(staging / "root")], stdin=None, stdout=None) == 0
        layers.publish(staging, layer)
        assert layers.has(layer)
        (layers.directory(layer) / "layer.json").write_bytes(b"")
    layers.publish(layers.staging(), layer)
    assert os.listdir(layers.directory(layer) / "root") == []
    assert os.listdir(tmp_path) == ["store"]


# argv: store. Kills a process at each line of the store's code that pruning passes; after each time what the kept run
# needs is there, the next prune does the rest, and nothing is left.
PRUNE_KILLED_AT_EACH_LINE = """if True:
    import os, signal, sys, time
    from pathlib import Path
    from ci_env.digest import Digest
    from ci_env.store.blobs import Blobs
    from ci_env.store.check import Check
    from ci_env.store.home import open_store
    from ci_env.store.layers import Layers
    from ci_env.store.prune import Limits, Pruning, choose
    from ci_env.store.runs import Runs
    from ci_env.store.scratch import reap, scratch
    from ci_env.store.survey import Surveyor
    from ci_env.store.uses import using
    from tests.layer_directory import as_caller
    from tests.stored_record import Record

    def traced(left):
        def trace(frame, event, argument):
            nonlocal left
            if "/ci_env/store/" not in frame.f_code.co_filename:
                return None
            left -= event == "line"
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return trace
        return trace

    def fill(number):
        with scratch(store, f"fill-{number}", lambda path: path.rmdir()) as space:
            layers = Layers(store, space, as_caller, lambda: False)
            for name in ("kept", "gone"):
                layers.ensure(Digest.of(name.encode()), lambda root: (root / name).mkdir())
                Blobs(store).put(f"log of {name}".encode())
            layers.seal()
        with runs.create("2020-01-01T00:00:00Z") as made:
            runs.write(Record(1, made.id, (Digest.of(b"gone"), Digest.of(b"log of gone"))))

    def prune():
        with using(store) as uses, scratch(store, f"prune-{os.getpid()}", lambda path: layers.discard(path)) as space:
            layers = Layers(store, space, as_caller, lambda: False)
            reap(store, layers.discard)
            survey = surveyor.survey(keep=1)
            pruning = Pruning(store, uses, space, layers.discard)
            pruning.carry_out(choose(survey, Limits(time.time() + 9, 1, None), {}), survey, surveyor, runs)
            return Check(store, layers, runs, needs).look(is_damaged=lambda _: False, repair=False)

    def needs(record):
        return frozenset(record.needs)

    def names():
        return sorted(path.name for path in store.layers.glob("*/root/*"))

    store, number, status = open_store(Path(sys.argv[1])), 0, -1
    runs = Runs(store, Record, version=1)
    surveyor = Surveyor(store, runs, needs)
    with runs.create("2026-11-25T02:17:45Z") as made:
        runs.write(Record(1, made.id, (Digest.of(b"kept"), Digest.of(b"log of kept"))))
    while status:
        number += 1 if number < 60 else 5
        fill(number)
        if (child := os.fork()) == 0:
            sys.settrace(traced(number))
            prune()
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert status in (0, -signal.SIGKILL), status
        assert "kept" in names(), names()
        for left in store.runs.iterdir():
            if not (left / "record.json").exists():
                os.utime(left, (0, 0))  # a day later
        report = prune()
        assert report.flaws == [], report.flaws
        assert names() == ["kept"], names()
        assert os.listdir(store.runs) == [made.id], os.listdir(store.runs)
        assert os.listdir(store.tmp) == [], os.listdir(store.tmp)
        assert len(os.listdir(store.blobs / "sha256")) == 1
    print(number)
"""


def test_a_prune_that_is_killed_at_any_line_harms_nothing(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", PRUNE_KILLED_AT_EACH_LINE, str(open_store(tmp_path / "store").root)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 100
