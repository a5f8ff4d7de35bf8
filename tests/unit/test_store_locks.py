"""Locks between processes, and between the threads of one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ci_env.errors import HostError
from ci_env.store.locks import exclusive, is_held, shared

HOLD = """if True:
    import sys
    from pathlib import Path
    from ci_env.store.locks import exclusive, shared

    with {0}:
        print("held", flush=True)
        sys.stdin.read()
"""
EXCLUSIVE = "exclusive(Path(sys.argv[1]), wait=True)"
SHARED = "shared(Path(sys.argv[1]))"


@contextmanager
def holder(path: Path, how: str) -> Generator[subprocess.Popen[str]]:
    """Give a process that holds the lock, until it is killed or the block ends."""
    argv = [sys.executable, "-c", HOLD.format(how), str(path)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process


def test_one_at_a_time(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with holder(lock, EXCLUSIVE):
        with exclusive(lock, wait=False) as is_mine:
            assert not is_mine
        assert is_held(lock)
    with exclusive(lock, wait=False) as is_mine:
        assert is_mine
        with exclusive(lock, wait=False) as again:
            assert not again
    assert not is_held(lock)


def test_readers_share(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with holder(lock, SHARED), shared(lock):
        assert not is_held(lock)
        with exclusive(lock, wait=False) as is_mine:
            assert not is_mine


def test_the_dead_let_go(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with holder(lock, EXCLUSIVE) as process:
        os.kill(process.pid, signal.SIGKILL)
        with exclusive(lock, wait=True) as is_mine:
            assert is_mine


@pytest.mark.parametrize("successor", [False, True])
def test_a_file_that_was_unlinked_is_no_lock(tmp_path: Path, successor: bool) -> None:
    """Who waited for the old file must not believe to hold the new one."""
    lock, obtained = tmp_path / "lock", threading.Event()

    def wait_for_it() -> None:
        with exclusive(lock, wait=True):
            obtained.set()

    waiter = threading.Thread(target=wait_for_it)
    with exclusive(lock, wait=True):
        waiter.start()
        while not waits_for_a_lock(lock):
            pass
        lock.unlink()
        if successor:
            with exclusive(lock, wait=True):
                lock_of_successor = lock.stat().st_ino
            assert lock_of_successor
    waiter.join(20)
    assert obtained.is_set()
    assert lock.exists()


def waits_for_a_lock(path: Path) -> bool:
    """Tell whether somebody waits, by the kernel's list of locks (proc_locks(5))."""
    locks = Path("/proc/locks").read_text().splitlines()
    return any("->" in line and f":{path.stat().st_ino} " in line for line in locks)


def test_never_two_at_once_though_each_unlinks_it(tmp_path: Path) -> None:
    program = """if True:
        import os, sys
        from pathlib import Path
        from ci_env.store.locks import exclusive
        lock, witness = Path(sys.argv[1], "lock"), Path(sys.argv[1], "witness")
        for _ in range(300):
            with exclusive(lock, wait=True):
                os.close(os.open(witness, os.O_CREAT | os.O_EXCL))  # fails if somebody else is here
                witness.unlink()
                lock.unlink()
    """
    processes = [subprocess.Popen([sys.executable, "-c", program, str(tmp_path)]) for _ in range(4)]
    assert [process.wait(60) for process in processes] == [0] * 4


def test_looking_makes_no_file(tmp_path: Path) -> None:
    assert not is_held(tmp_path / "absent")
    assert list(tmp_path.iterdir()) == []


def test_errors_of_the_block_are_its_own(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), exclusive(tmp_path / "lock", wait=True):
        (tmp_path / "absent").read_bytes()
    assert not is_held(tmp_path / "lock")


def test_what_cannot_be_a_lock(tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"cannot lock .*No such file"), shared(tmp_path / "absent" / "lock"):
        pass
    (tmp_path / "link").symlink_to("target")
    with pytest.raises(HostError, match="cannot lock"), exclusive(tmp_path / "link", wait=True):
        pass
    assert not (tmp_path / "target").exists()
