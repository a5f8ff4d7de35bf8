"""Durable writes: whole or not at all, whenever the writer dies."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ci_env.errors import HostError
from ci_env.files import atomic_write, explained, quick_write, sync_directory, sync_filesystem

OTHER_SYNCS = [
    "echo \"sync: invalid option -- 'f'\" >&2; exit 1",
    "echo \"sync: unrecognized option '-f'\" >&2; exit 1",
    "echo 'Usage: sync' >&2; exit 1",
]
OLD, NEW = b"old content", b"new content, longer than the old"
INTERRUPTED = """if True:
    import os, signal, sys
    from pathlib import Path
    from ci_env import files

    how, steps, path, content = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4].encode()

    def trace(frame, event, argument):
        global steps
        if frame.f_code.co_filename != files.__file__:
            return None
        steps -= 1
        if steps == 0 and how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if steps == 0:
            raise KeyboardInterrupt
        return trace

    sys.settrace(trace)
    try:
        files.atomic_write(path, content)
    except KeyboardInterrupt:
        sys.exit(3)
"""


def interrupt(how: str, steps: int, path: Path) -> int:
    """Write NEW to `path` in a process that ends after `steps` steps; return its status."""
    command = [sys.executable, "-c", INTERRUPTED, how, str(steps), str(path), NEW.decode()]
    return subprocess.run(command, check=False).returncode


@pytest.mark.parametrize(("how", "status"), [("kill", -signal.SIGKILL), ("raise", 3)])
def test_old_or_new_whenever_it_ends(tmp_path: Path, how: str, status: int) -> None:
    path = tmp_path / "file"
    seen: list[bytes] = []
    while True:
        path.write_bytes(OLD)
        ended = interrupt(how, len(seen) + 1, path)
        seen.append(path.read_bytes())
        assert how == "kill" or [file.name for file in tmp_path.iterdir()] == ["file"]
        if ended == 0:
            break
        assert ended == status
    assert len(seen) > 10
    assert seen == sorted(seen, reverse=True)
    assert set(seen) == {OLD, NEW}


def test_writes_with_the_mode_asked_for(tmp_path: Path) -> None:
    atomic_write(tmp_path / "private", b"")
    atomic_write(tmp_path / "script", b"x", mode=0o700)
    assert (tmp_path / "private").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "script").stat().st_mode & 0o777 == 0o700


def test_replaces_a_link_instead_of_following_it(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(OLD)
    (tmp_path / "link").symlink_to("target")
    atomic_write(tmp_path / "link", NEW)
    assert (tmp_path / "target").read_bytes() == OLD
    assert not (tmp_path / "link").is_symlink()


def test_a_full_disk_leaves_the_old_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(OLD)
    program = "import resource, signal, sys; from pathlib import Path; from ci_env.files import atomic_write\n"
    program += "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))\n"
    program += "atomic_write(Path(sys.argv[1]), b'x' * 100)"
    done = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=False)
    assert "OSError: [Errno 27] File too large" in done.stderr
    assert path.read_bytes() == OLD
    assert list(tmp_path.iterdir()) == [path]


def test_a_quick_write_replaces_whole(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(NEW)
    quick_write(tmp_path / "file", OLD)
    assert (tmp_path / "file").read_bytes() == OLD
    (tmp_path / "directory").mkdir()
    with pytest.raises(IsADirectoryError):
        quick_write(tmp_path / "directory", OLD)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["directory", "file"]


@pytest.mark.parametrize("program", [None, "echo said; echo complained >&2", *OTHER_SYNCS])
def test_syncs_a_filesystem_in_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], program: str | None
) -> None:
    """Also where there is no `sync` (None), or one that does not know -f."""
    if program:
        (tmp_path / "sync").write_text(f"#!/bin/sh\n{program}\n")
        (tmp_path / "sync").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    sync_filesystem(tmp_path)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("end", ["echo \"sync: error syncing '$2': Input/output error\" >&2; exit 1", "kill -9 $$"])
def test_a_failed_sync_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], end: str
) -> None:
    (tmp_path / "sync").write_text(f"#!/bin/sh\n{end}\n")
    (tmp_path / "sync").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OSError, match="Input/output error") as caught:
        sync_filesystem(tmp_path)
    assert (caught.value.errno, caught.value.filename) == (errno.EIO, str(tmp_path))
    assert capfd.readouterr() == ("", "")


def test_a_directory_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        atomic_write(tmp_path / "absent" / "file", b"")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NotADirectoryError):
        sync_directory(tmp_path / "file")


@pytest.mark.parametrize(
    ("number", "hint"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.EDQUOT, "free some space"),
        (errno.EROFS, "a directory of your own"),
        (errno.EACCES, "a directory of your own"),
        (errno.EIO, "dmesg"),
    ],
)
def test_refusals_are_explained(number: int, hint: str | None) -> None:
    with pytest.raises(HostError) as caught, explained("write", Path("/store")):
        raise OSError(number, os.strerror(number), "/store/blob")
    assert caught.value.message == f"cannot write /store/blob: {os.strerror(number)}"
    assert caught.value.exit_code == 3
    assert (hint or "") in (caught.value.hint or "")
    assert (hint is None) == (caught.value.hint is None)


def test_other_errors_pass_unchanged() -> None:
    with pytest.raises(KeyError), explained("write", Path("/store")):
        raise KeyError("x")
