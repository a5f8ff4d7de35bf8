"""A plain directory as a source, and files laid into a workspace."""

from __future__ import annotations

import os
import socket
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ci_env import directory, source, workspace
from ci_env.errors import ConfigError, HostError, IntegrityError
from ci_env.events import Event, Note
from ci_env.tree import Entry, listing_digest

NOBODY = 65534


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A directory with one of everything that a source can hold."""
    top = tmp_path / "tree"
    (top / "sub" / "empty").mkdir(parents=True)
    (top / ".git").mkdir()
    (top / ".git" / "config").write_text("not git's")
    (top / "sub" / ".git").write_text("nor this")
    (top / "sub" / "run.sh").write_text("#!/bin/sh\n")
    (top / "sub" / "run.sh").chmod(0o700)
    (top / "data").write_bytes(b"\0\xff")
    (top / "sub.txt").write_text("sorts between sub and sub/")
    (top / "dangling").symlink_to("no/where")
    (top / "loop").symlink_to(".")
    Path(os.fsdecode(os.fsencode(top) + b"/line\nbreak \xff")).write_text("odd name")
    return top


def capture(top: Path, events: list[Event] | None = None) -> source.Snapshot:
    return source.snapshot(
        source.Root(top, None), top / "unused", (events if events is not None else []).append, left_out=top / "store"
    )


def test_outside_a_work_tree_the_fallback_is_the_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    (tmp_path / "below").mkdir()
    assert source.find(tmp_path / "below", tmp_path) == source.Root(tmp_path, None)


def test_a_work_tree_without_git_names_the_cure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    (tmp_path / ".git").mkdir()
    with pytest.raises(HostError, match="git is not installed") as caught:
        source.find(tmp_path, tmp_path)
    assert caught.value.hint is not None
    assert "install git" in caught.value.hint


def test_everything_but_git_counts(tree: Path) -> None:
    found = {entry.path: entry.mode for entry in source.list_entries(capture(tree))}
    assert list(found.items()) == [
        ("dangling", 0o120000),
        ("data", 0o100644),
        ("line\nbreak \udcff", 0o100644),
        ("loop", 0o120000),
        ("sub.txt", 0o100644),
        ("sub/run.sh", 0o100755),
    ]


def test_a_directory_has_no_commit_and_a_fixed_time(tree: Path) -> None:
    snapshot = capture(tree)
    assert snapshot.source.kind == "directory"
    assert (snapshot.source.commit, snapshot.source.dirty, snapshot.source.epoch) == (None, False, 315532800)
    assert snapshot.source.tree == listing_digest(snapshot.files)


def test_only_content_mode_and_path_change_the_digest(tree: Path) -> None:
    before = capture(tree).source.tree
    os.utime(tree / "data", (1, 1))
    (tree / ".git" / "config").write_text("changed")
    (tree / "sub" / "another-empty").mkdir()
    assert capture(tree).source.tree == before
    (tree / "data").write_bytes(b"\0\xfe")
    content = capture(tree).source.tree
    (tree / "data").chmod(0o755)
    mode = capture(tree).source.tree
    (tree / "data").rename(tree / "data2")
    assert len({before, content, mode, capture(tree).source.tree}) == 4


def test_a_link_is_not_the_file_it_names(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("target")
    before = capture(tmp_path).source.tree
    (tmp_path / "x").unlink()
    (tmp_path / "x").symlink_to("target")
    assert capture(tmp_path).source.tree != before


def test_special_files_are_left_out_and_told(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = capture(tree).source.tree
    os.mkfifo(tree / "queue")
    monkeypatch.chdir(tree)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
    events: list[Event] = []
    assert capture(tree, events).source.tree == before
    assert sorted(event.message.split()[0] for event in events if isinstance(event, Note)) == [
        str(tree / "queue"),
        str(tree / "socket"),
    ]


@contextmanager
def without_privilege(top: Path) -> Generator[None]:
    """Give up root inside the block, since root may read everything; `top` stays in reach."""
    if os.geteuid() != 0:
        yield
        return
    for parent in top.parents[:-2]:
        parent.chmod(parent.stat().st_mode | 0o055)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("name", ["data", "sub"])
def test_what_cannot_be_read_is_named(tree: Path, name: str) -> None:
    tree.chmod(0o755)
    (tree / "sub").chmod(0o755)
    (tree / "sub" / "run.sh").chmod(0o755)
    (tree / name).chmod(0)
    with (
        without_privilege(tree),
        pytest.raises(ConfigError, match=rf"cannot read .*/{name}, which is part of the source: Permission denied"),
    ):
        capture(tree)


def test_write_is_the_same_whenever_and_however_it_runs(tree: Path, tmp_path: Path) -> None:
    snapshot = capture(tree)
    destination = tmp_path / "layer"
    destination.mkdir()
    before = os.umask(0o077)
    try:
        source.write(snapshot, snapshot.files, destination, list[Event]().append, epoch=snapshot.source.epoch)
    finally:
        os.umask(before)
    workspace_path = destination / "workspace"
    found = {str(path.relative_to(destination)): path.lstat() for path in [workspace_path, *workspace_path.rglob("*")]}
    assert {name: oct(status.st_mode) for name, status in found.items()} == {
        "workspace": "0o40755",
        "workspace/dangling": "0o120777",
        "workspace/data": "0o100644",
        "workspace/line\nbreak \udcff": "0o100644",
        "workspace/loop": "0o120777",
        "workspace/sub": "0o40755",
        "workspace/sub.txt": "0o100644",
        "workspace/sub/run.sh": "0o100755",
    }
    assert {status.st_mtime_ns for status in found.values()} == {315532800 * 10**9}
    assert (workspace_path / "data").read_bytes() == b"\0\xff"
    assert os.readlink(workspace_path / "dangling") == "no/where"


def test_write_lays_a_selection(tree: Path, tmp_path: Path) -> None:
    snapshot = capture(tree)
    chosen = [entry for entry in snapshot.files if entry.path == "sub/run.sh"]
    source.write(snapshot, chosen, tmp_path, list[Event]().append, epoch=snapshot.source.epoch)
    assert [path.name for path in (tmp_path / "workspace").rglob("*")] == ["sub", "run.sh"]


@pytest.mark.parametrize("change", ["content", "gone", "link", "directory"])
def test_a_file_that_changes_before_it_is_read_is_told(tree: Path, tmp_path: Path, change: str) -> None:
    snapshot = capture(tree)
    victim = tree / "data"
    victim.unlink()
    match change:
        case "content":
            victim.write_bytes(b"\0\xfe")
        case "link":
            victim.with_name("same").write_bytes(b"\0\xff")
            victim.symlink_to("same")
        case "directory":
            victim.mkdir()
        case _:
            pass
    with pytest.raises(ConfigError, match=r"data(, which| changed while)"):
        source.write(snapshot, snapshot.files, tmp_path, list[Event]().append, epoch=snapshot.source.epoch)


def test_a_directory_that_became_a_link_leads_nowhere(tree: Path, tmp_path: Path) -> None:
    snapshot = capture(tree)
    outside = tree.with_name("outside")
    (tree / "sub").rename(outside)
    (tree / "sub").symlink_to(outside)
    with pytest.raises(ConfigError, match=r"sub/run\.sh changed while"):
        source.write(snapshot, snapshot.files, tmp_path, list[Event]().append, epoch=snapshot.source.epoch)


def test_content_comes_in_pieces(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(os.urandom(3 << 20))
    (entry,) = capture(tmp_path).files
    pieces = list(directory.contents(tmp_path, entry))
    assert max(map(len, pieces)) <= 1 << 20
    assert b"".join(pieces) == (tmp_path / "large").read_bytes()


@pytest.mark.parametrize("path", ["../x", "a/../../x", ".git/hooks/post-checkout", "a//b", "/etc/x", "./x"])
def test_a_crafted_path_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(IntegrityError, match="no checkout could have"):
        workspace.make_directories(os.fsencode(tmp_path / "workspace"), [Entry(path, 0o100644, "0" * 40)])
    assert not list(tmp_path.iterdir())


def test_nothing_is_written_over_or_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    entries = [Entry("a", 0o120000, "0" * 40), Entry("a/x", 0o100644, "0" * 40)]
    top = os.fsencode(tmp_path / "workspace")
    workspace.make_directories(top, entries)
    with pytest.raises(FileExistsError):
        workspace.lay(top, entries[0], [b"../outside"], epoch=0)
    assert not list((tmp_path / "outside").iterdir())


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://user:secret@example.org/a/b.git", "https://example.org/a/b.git"),
        ("https://x-access-token:a@b@example.org/a", "https://example.org/a"),
        ("https://example.org/a@b/c?private_token=secret#x", "https://example.org/a@b/c"),
        ("ssh://git@example.org:22/a", "ssh://example.org:22/a"),
        ("git@example.org:a/b.git", "git@example.org:a/b.git"),
        ("/srv/git/a.git", "/srv/git/a.git"),
    ],
)
def test_an_address_is_shown_without_credentials(address: str, shown: str) -> None:
    assert source.without_credentials(address) == shown
