"""Scratch directories end with their runs, and those of dead runs with the next one."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ci_env.store.home import Store, open_store
from ci_env.store.scratch import reap, scratch

HOLD = """if True:
    import shutil, sys
    from pathlib import Path
    from ci_env.store.home import open_store
    from ci_env.store.scratch import scratch

    with scratch(open_store(Path(sys.argv[1])), "other", shutil.rmtree) as directory:
        (directory / "file").touch()
        print("held", flush=True)
        sys.stdin.read()
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "store")


def test_gone_at_the_end(store: Store) -> None:
    with scratch(store, "run", shutil.rmtree) as directory:
        (directory / "file").touch()
        assert sorted(os.listdir(store.tmp)) == ["run", "run.lock"]
        reap(store, shutil.rmtree)
        assert (directory / "file").exists()
    assert os.listdir(store.tmp) == []


def test_gone_after_an_error(store: Store) -> None:
    with pytest.raises(KeyError), scratch(store, "run", shutil.rmtree):
        raise KeyError
    assert os.listdir(store.tmp) == []


def test_only_the_dead_are_reaped(store: Store) -> None:
    argv = [sys.executable, "-c", HOLD, str(store.root)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        reap(store, shutil.rmtree)
        assert (store.tmp / "other" / "file").exists()
        os.kill(process.pid, signal.SIGKILL)
        process.wait(20)
        reap(store, shutil.rmtree)
    assert os.listdir(store.tmp) == []


def test_leftovers_without_their_half_are_reaped(store: Store) -> None:
    (store.tmp / "alone").mkdir()
    (store.tmp / "unused.lock").touch()
    reap(store, shutil.rmtree)
    assert os.listdir(store.tmp) == []


def test_a_failing_removal_is_told_and_tried_again(store: Store) -> None:
    def fail(_: Path) -> None:
        raise OSError("no")

    with pytest.raises(OSError, match="no"), scratch(store, "run", fail):
        pass
    assert sorted(os.listdir(store.tmp)) == ["run", "run.lock"]
    reap(store, shutil.rmtree)
    assert os.listdir(store.tmp) == []
