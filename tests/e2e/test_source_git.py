"""Git work trees as a source, with real git: which tree is it, what is in it, and is the repository left alone?"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from ci_env import source, worktree
from ci_env.errors import ConfigError, IntegrityError
from ci_env.events import Event, Note
from ci_env.plan.plan import FIXED_EPOCH
from ci_env.tree import Entry, encode_path

DATE = "2001-02-03T04:05:06+0100"
EPOCH = 981169506


@pytest.fixture(autouse=True)
def _own_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the developer's configuration out, and the tests' out of it."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    (tmp_path / "gitconfig").write_text(
        "[user]\nname = A U Thor\nemail = a@example.org\n[init]\ndefaultBranch = main\n"
        '[protocol "file"]\nallow = always\n'
    )


@dataclass(frozen=True)
class Work:
    """A repository and a place for what it is captured and laid out into."""

    top: Path
    out: Path

    def git(self, *arguments: str, status: int = 0) -> str:
        dates = {"GIT_AUTHOR_DATE": DATE, "GIT_COMMITTER_DATE": DATE}
        done = subprocess.run(
            ["git", "-C", self.top, *arguments],
            env={**os.environ, **dates},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == status, done.stderr
        return done.stdout.rstrip("\n")

    def commit(self) -> str:
        """Commit everything and return the tree."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message=change")
        return self.git("rev-parse", "HEAD^{tree}")

    def put(self, path: str, content: str | bytes) -> Path:
        file = Path(os.fsdecode(os.fsencode(self.top) + b"/" + encode_path(path)))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        return file

    def capture(self, events: list[Event] | None = None) -> source.Snapshot:
        scratch = self.out / f"scratch-{len(list(self.out.iterdir()))}"
        root = source.find(self.top, self.out)
        return source.snapshot(root, scratch, (events if events is not None else []).append, left_out=scratch)

    def lay(self, snapshot: source.Snapshot, events: list[Event] | None = None) -> Path:
        destination = self.out / f"layer-{len(list(self.out.iterdir()))}"
        destination.mkdir()
        emit = (events if events is not None else []).append
        source.write(snapshot, source.list_entries(snapshot), destination, emit, epoch=snapshot.source.epoch)
        return destination / "workspace"


@pytest.fixture
def work(tmp_path: Path) -> Work:
    """A repository with one commit."""
    top, out = tmp_path / "repo", tmp_path / "out"
    top.mkdir()
    out.mkdir()
    made = Work(top, out)
    made.git("init", "--quiet")
    made.put("README.md", "hello\n")
    made.put("src/main.py", "print()\n")
    made.put("run.sh", "#!/bin/sh\n").chmod(0o755)
    made.put(".gitignore", "*.log\n")
    (top / "link").symlink_to("src/main.py")
    made.commit()
    return made


def trace(directory: Path) -> dict[str, tuple[int, int, bytes]]:
    """Return all that is below `directory`: mode, time and content.

    But no time of an object or a shared index: git renews it at each use, so that its clean-up spares it.
    """
    found: dict[str, tuple[int, int, bytes]] = {}
    for path in directory.rglob("*"):
        name, status = str(path.relative_to(directory)), path.lstat()
        mtime_ns = 0 if name.startswith((".git/objects/", ".git/sharedindex.")) else status.st_mtime_ns
        found[name] = (status.st_mode, mtime_ns, path.read_bytes() if stat.S_ISREG(status.st_mode) else b"")
    return found


def test_a_clean_tree_is_its_commits(work: Work) -> None:
    snapshot = work.capture()
    assert snapshot.source.kind == "git"
    assert snapshot.source.tree == work.git("rev-parse", "HEAD^{tree}")
    assert snapshot.source.commit == work.git("rev-parse", "HEAD")
    assert (snapshot.source.dirty, snapshot.source.epoch) == (False, EPOCH)
    assert [(entry.path, oct(entry.mode)) for entry in source.list_entries(snapshot)] == [
        (".gitignore", "0o100644"),
        ("README.md", "0o100644"),
        ("link", "0o120000"),
        ("run.sh", "0o100755"),
        ("src/main.py", "0o100644"),
    ]


def test_found_from_below(work: Work) -> None:
    root = source.find(work.top / "src", work.out)
    assert root.path == work.top
    (work.out / "alias").symlink_to(work.top / "src")
    assert source.find(work.out / "alias", work.out) == root


def change_tracked(work: Work) -> None:
    work.put("README.md", "changed\n")


def change_staged(work: Work) -> None:
    work.put("README.md", "changed\n")
    work.git("add", "README.md")


def change_staged_then_again(work: Work) -> None:
    change_staged(work)
    work.put("README.md", "changed again\n")


def change_untracked(work: Work) -> None:
    work.put("new/file", "new\n")


def change_intended(work: Work) -> None:
    change_untracked(work)
    work.git("add", "--intent-to-add", "new/file")


def change_deleted(work: Work) -> None:
    (work.top / "src/main.py").unlink()


def change_removed(work: Work) -> None:
    work.git("rm", "--quiet", "--cached", "src/main.py")
    (work.top / "src/main.py").unlink()


def change_renamed(work: Work) -> None:
    work.git("mv", "src/main.py", "other.py")


def change_mode(work: Work) -> None:
    (work.top / "README.md").chmod(0o755)


def change_kind(work: Work) -> None:
    (work.top / "link").unlink()
    work.put("link/now/a/directory", "x")


def change_names(work: Work) -> None:
    work.put("line\nbreak", "1")
    work.put("latin \udce9", "2")
    work.put('quote " tab\t', "3")
    work.put("日本", "4")
    work.put("-dash", "5")
    work.put(":(top)magic*", "6")


CHANGES = [
    change_tracked,
    change_staged,
    change_staged_then_again,
    change_untracked,
    change_intended,
    change_deleted,
    change_removed,
    change_renamed,
    change_mode,
    change_kind,
    change_names,
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_dirty_tree_is_what_its_commit_would_be(work: Work, change: Callable[[Work], None]) -> None:
    change(work)
    work.put("debug.log", "ignored\n")
    before = trace(work.top)
    snapshot = work.capture()
    laid = work.lay(snapshot)
    assert trace(work.top) == before
    assert (snapshot.source.dirty, snapshot.source.epoch) == (True, EPOCH)
    assert snapshot.source.tree == work.commit()
    assert content_of(laid) == content_of(work.top)
    assert {path.lstat().st_mtime_ns for path in [laid, *laid.rglob("*")]} == {EPOCH * 10**9}


def content_of(top: Path) -> dict[str, tuple[str, bytes]]:
    """Return what git would see of `top`: kind or mode, and content, by path."""
    found: dict[str, tuple[str, bytes]] = {}
    for directory, names, files in os.walk(top):
        names[:] = [name for name in names if name != ".git"]
        for path in (Path(directory, name) for name in [*names, *files]):
            if path.is_symlink():
                found[str(path.relative_to(top))] = ("link", os.fsencode(os.readlink(path)))
            elif path.is_file() and path.name not in {".git", "debug.log"}:
                found[str(path.relative_to(top))] = (oct(path.stat().st_mode & 0o100), path.read_bytes())
    return found


def test_a_change_of_equal_size_in_the_second_of_staging_is_seen(work: Work) -> None:
    time.sleep(1 - time.time() % 1)  # git compares times by the second: stage and change within one, look in the next
    work.put("README.md", "HELLO\n")
    work.git("add", "README.md")
    staged = (work.top / "README.md").stat().st_mtime_ns
    work.put("README.md", "later\n")
    os.utime(work.top / "README.md", ns=(staged, staged))
    time.sleep(1)
    assert (work.lay(work.capture()) / "README.md").read_text() == "later\n"


def test_ignored_files_do_not_count(work: Work) -> None:
    clean = work.capture().source
    work.put("debug.log", "x")
    work.put(".git/info/exclude", "*.tmp\n")
    work.put("a.tmp", "x")
    assert work.capture().source == clean


def test_a_tracked_file_counts_even_where_ignored(work: Work) -> None:
    work.put("kept.log", "1")
    work.git("add", "--force", "kept.log")
    work.commit()
    work.put("kept.log", "2")
    snapshot = work.capture()
    assert snapshot.source.dirty
    assert (work.lay(snapshot) / "kept.log").read_text() == "2"


def test_touching_changes_nothing(work: Work) -> None:
    clean = work.capture().source
    os.utime(work.top / "README.md", (1, 1))
    assert work.capture().source == clean


def test_content_stays_as_captured(work: Work) -> None:
    work.put("README.md", "captured\n")
    snapshot = work.capture()
    work.put("README.md", "later\n")
    (work.top / "src/main.py").unlink()
    laid = work.lay(snapshot)
    assert (laid / "README.md").read_text() == "captured\n"
    assert (laid / "src/main.py").read_text() == "print()\n"


def test_a_large_file_goes_through(work: Work) -> None:
    content = os.urandom(5 << 20)
    work.put("large", content)
    assert (work.lay(work.capture()) / "large").read_bytes() == content


def test_before_the_first_commit(tmp_path: Path) -> None:
    work = Work(tmp_path / "repo", tmp_path / "out")
    work.top.mkdir()
    work.out.mkdir()
    work.git("init", "--quiet")
    empty = work.capture().source
    assert (empty.commit, empty.epoch) == (None, FIXED_EPOCH)
    work.put("file", "x")
    snapshot = work.capture()
    assert (snapshot.source.commit, snapshot.source.dirty) == (None, True)
    assert (work.lay(snapshot) / "file").read_text() == "x"
    assert source.describe(snapshot.root) == {"branch": "main"}


def test_a_linked_work_tree(work: Work) -> None:
    work.git("branch", "side")
    work.git("worktree", "add", "--quiet", str(work.out / "linked"), "side")
    linked = Work(work.out / "linked", work.out)
    linked.put("README.md", "linked\n")
    snapshot = linked.capture()
    assert snapshot.root.path == linked.top
    assert (linked.lay(snapshot) / "README.md").read_text() == "linked\n"
    assert not work.capture().source.dirty
    assert source.describe(snapshot.root)["branch"] == "side"


def test_a_shallow_clone(work: Work) -> None:
    work.put("second", "x")
    work.commit()
    work.git("clone", "--quiet", "--depth=1", work.top.as_uri(), str(work.out / "shallow"))
    shallow = Work(work.out / "shallow", work.out)
    assert shallow.capture().source == work.capture().source
    assert (shallow.lay(shallow.capture()) / "second").is_file()


def test_a_sparse_checkout_is_the_whole_tree(work: Work) -> None:
    full = work.capture().source
    work.git("sparse-checkout", "set", "--cone", "--sparse-index", "docs")
    assert not (work.top / "src").exists()
    assert work.capture().source == full
    work.put("src/outside.py", "x")
    work.put("docs/inside.md", "x")
    snapshot = work.capture()
    assert sorted(path.name for path in (work.lay(snapshot) / "src").iterdir()) == ["main.py", "outside.py"]
    assert snapshot.source.dirty


def test_files_assumed_unchanged_are_as_committed(work: Work) -> None:
    clean = work.capture().source
    work.git("update-index", "--assume-unchanged", "README.md")
    work.put("README.md", "not to be looked at\n")
    assert work.capture().source == clean


def test_a_merge_in_progress_is_taken_as_it_lies(work: Work) -> None:
    work.git("checkout", "--quiet", "-b", "side")
    work.put("README.md", "side\n")
    work.commit()
    work.git("checkout", "--quiet", "main")
    work.put("README.md", "main\n")
    work.commit()
    work.git("merge", "--quiet", "side", status=1)
    before = trace(work.top)
    laid = work.lay(work.capture())
    assert trace(work.top) == before
    assert (laid / "README.md").read_bytes() == (work.top / "README.md").read_bytes()
    assert b"<<<<<<<" in (laid / "README.md").read_bytes()


def test_a_split_index_gets_no_new_part(work: Work) -> None:
    work.git("config", "core.splitIndex", "true")
    work.git("update-index", "--split-index")
    work.put("README.md", "changed\n")
    for number in range(40):
        work.put(f"new{number}", "x")
    before = trace(work.top)
    tree = work.capture().source.tree
    assert trace(work.top) == before
    assert tree == work.commit()


def test_objects_that_a_clone_borrows(work: Work) -> None:
    odd = work.out / 'a:b "c\\d'
    work.git("clone", "--quiet", "--shared", str(work.top), str(odd))
    clone = Work(odd, work.out)
    clone.put("README.md", "changed\n")
    events: list[Event] = []
    laid = clone.lay(clone.capture(events))
    assert not events  # git complains where it cannot find what it borrows from
    assert (laid / "README.md").read_text() == "changed\n"
    assert (laid / "run.sh").read_text() == "#!/bin/sh\n"


def test_a_repository_with_sha256(tmp_path: Path) -> None:
    work = Work(tmp_path / "repo", tmp_path / "out")
    work.top.mkdir()
    work.out.mkdir()
    work.git("init", "--quiet", "--object-format=sha256")
    work.put("file", "x")
    tree = work.commit()
    snapshot = work.capture()
    assert snapshot.source.tree == tree
    assert (work.lay(snapshot) / "file").read_text() == "x"
    assert source.describe(snapshot.root)["branch"] == "main"


def test_nothing_that_a_repository_names_is_run(work: Work) -> None:
    mark = work.out / "ran"
    hook = work.put(".git/hooks/post-index-change", f"#!/bin/sh\ntouch '{mark}'\n")
    hook.chmod(0o755)
    shutil.copy(hook, work.top / ".git/hooks/fsmonitor-watchman")
    work.git("config", "core.fsmonitor", str(hook))
    work.put("new", "x")
    work.lay(work.capture())
    assert not mark.exists()


def add_submodule(work: Work, path: str) -> None:
    """Commit one, which holds lib.c."""
    library = Work(work.out / "library", work.out)
    library.top.mkdir()
    library.git("init", "--quiet")
    library.put("lib.c", "int x;\n")
    library.commit()
    work.git("submodule", "--quiet", "add", str(library.top), path)
    work.commit()


def test_nothing_that_a_submodule_names_is_run(work: Work) -> None:
    """`git add` starts a git of its own in each: what ours was told must hold for that one too."""
    add_submodule(work, "lib")
    mark = work.out / "ran"
    program = work.put("program", f"#!/bin/sh\ntouch '{mark}'\n")
    program.chmod(0o755)
    Work(work.top / "lib", work.out).git("config", "core.fsmonitor", str(program))
    work.put("lib/new", "x")
    work.lay(work.capture())
    assert not mark.exists()


def test_what_a_calling_git_left_in_the_environment_is_not_taken(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = work.capture().source
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY"):
        monkeypatch.setenv(name, str(work.out / "other"))
    snapshot = work.capture()
    assert snapshot.source == expected
    assert (work.lay(snapshot) / "README.md").read_text() == "hello\n"


def test_facts_come_from_the_right_repository_in_a_hook(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", str(work.out))
    monkeypatch.setenv("GIT_INDEX_FILE", ".git/index.lock")
    assert source.describe(source.find(work.top, work.out)) == {"branch": "main", "subject": "change"}


def test_the_users_filters_apply_as_in_a_commit(work: Work) -> None:
    work.git("config", "filter.upper.clean", "tr a-z A-Z")
    work.put(".gitattributes", "*.up filter=upper\nwin.txt text eol=crlf\n")
    work.put("a.up", "abc\n")
    work.put("win.txt", "line\r\n")
    snapshot = work.capture()
    events: list[Event] = []
    laid = work.lay(snapshot, events)
    assert snapshot.source.tree == work.commit()
    assert (laid / "a.up").read_text() == "ABC\n"
    assert (laid / "win.txt").read_bytes() == b"line\n"
    (note,) = events
    assert isinstance(note, Note)
    assert "eol=crlf, filter=upper is not applied" in note.message


def test_unsafe_line_ends_do_not_stop_it(work: Work) -> None:
    work.git("config", "core.autocrlf", "true")
    work.git("config", "core.safecrlf", "true")
    work.put("mixed.txt", "a\r\nb\n")
    assert (work.lay(work.capture()) / "mixed.txt").read_bytes() == b"a\nb\n"


@pytest.fixture
def with_submodule(work: Work) -> Work:
    add_submodule(work, "vendor/lib")
    return work


def test_a_submodule_is_part_of_the_source(with_submodule: Work) -> None:
    work = with_submodule
    clean = work.capture()
    assert clean.source.tree.startswith("sha256:")
    assert not clean.source.dirty
    assert content_of(work.lay(clean)) == content_of(work.top)
    work.put("vendor/lib/lib.c", "int y;\n")
    dirty = work.capture()
    assert dirty.source.dirty
    assert dirty.source.tree != clean.source.tree
    assert (work.lay(dirty) / "vendor/lib/lib.c").read_text() == "int y;\n"
    inner = Work(work.top / "vendor/lib", work.out)
    inner.commit()
    assert work.capture().source.dirty
    work.commit()
    assert not work.capture().source.dirty


def test_entries_of_submodules_are_in_order(with_submodule: Work) -> None:
    work = with_submodule
    work.put("vendor/lib.txt", "sorts before vendor/lib/")
    paths = [encode_path(entry.path) for entry in source.list_entries(work.capture())]
    assert paths == sorted(paths)
    assert b"vendor/lib" not in paths


def test_a_submodule_that_is_absent_is_an_empty_directory(with_submodule: Work) -> None:
    work = with_submodule
    full = work.capture().source.tree
    work.git("submodule", "--quiet", "deinit", "--force", "vendor/lib")
    events: list[Event] = []
    snapshot = work.capture(events)
    assert snapshot.source.tree == work.git("rev-parse", "HEAD^{tree}") != full
    assert [
        event.message for event in events if isinstance(event, Note) and "vendor/lib is not checked" in event.message
    ]
    laid = work.lay(snapshot) / "vendor/lib"
    assert laid.is_dir()
    assert not list(laid.iterdir())
    assert laid.stat().st_mtime == EPOCH


@pytest.mark.parametrize("broken", ["modules gone", "empty"])
def test_a_broken_submodule_is_told(with_submodule: Work, broken: str) -> None:
    pointer = with_submodule.top / "vendor/lib/.git"
    if broken == "empty":
        pointer.unlink()
        pointer.mkdir()
    else:
        shutil.rmtree(with_submodule.top / ".git" / "modules")
    with pytest.raises(ConfigError, match=r"vendor/lib/\.git' not recognized|not a git repository: .*/vendor/lib"):
        with_submodule.capture()


def test_a_repository_inside_that_nobody_added(work: Work) -> None:
    inner = Work(work.top / "inner", work.out)
    inner.top.mkdir()
    inner.git("init", "--quiet")
    with pytest.raises(ConfigError, match=r"inner/.* does not have a commit checked out"):
        work.capture()
    inner.put("file", "committed")
    inner.commit()
    inner.put("file", "changed")
    assert (work.lay(work.capture()) / "inner/file").read_text() == "changed"


def test_a_bare_repository_is_a_plain_directory(work: Work) -> None:
    work.git("clone", "--quiet", "--bare", str(work.top), str(work.out / "bare"))
    assert source.find(work.out / "bare", work.out) == source.Root(work.out, None)


def test_a_directory_that_only_looks_like_one(tmp_path: Path) -> None:
    (tmp_path / "junk" / ".git").mkdir(parents=True)
    assert source.find(tmp_path / "junk", tmp_path) == source.Root(tmp_path, None)


def test_a_pointer_to_nowhere_is_told(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / ".git").write_text("gitdir: /nowhere\n")
    with pytest.raises(ConfigError, match="not a git repository: /nowhere"):
        source.find(tmp_path / "tree", tmp_path)


def test_inside_the_repository_itself_is_told(work: Work) -> None:
    with pytest.raises(ConfigError, match="must be run in a work tree"):
        source.find(work.top / ".git" / "info", work.out)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user's repository")
def test_another_users_repository_is_told_with_the_cure(work: Work) -> None:
    for path in [work.top, *work.top.rglob("*")]:
        os.chown(path, 12345, 12345, follow_symlinks=False)
    with pytest.raises(ConfigError, match="belongs to another user") as caught:
        source.find(work.top, work.out)
    assert caught.value.hint == f"if you trust it: git config --global --add safe.directory {work.top}"
    work.git("config", "--global", "--add", "safe.directory", str(work.top))
    assert not work.capture().source.dirty


def test_a_damaged_index_is_told(work: Work) -> None:
    work.put(".git/index", b"DIRC" + bytes(64))
    with pytest.raises(ConfigError, match=r"git cannot read the work tree at .*index"):
        work.capture()


def test_a_missing_object_is_told(work: Work) -> None:
    snapshot = work.capture()
    blob = work.git("rev-parse", "HEAD:README.md")
    (work.top / ".git/objects" / blob[:2] / blob[2:]).unlink()
    with pytest.raises(IntegrityError, match=f"lacks README.md .blob {blob}"):
        work.lay(snapshot)


def test_an_object_that_is_not_what_its_name_says_is_told(work: Work) -> None:
    snapshot = work.capture()
    path = hashlib.sha1(b"blob 6\0hello\n", usedforsecurity=False).hexdigest()
    other = work.git("rev-parse", "HEAD:run.sh")
    objects = work.top / ".git/objects"
    (objects / path[:2] / path[2:]).unlink()
    shutil.copy(objects / other[:2] / other[2:], objects / path[:2] / path[2:])
    with pytest.raises(IntegrityError, match=r"README\.md"):
        work.lay(snapshot)


def test_a_selection_of_a_tree_needs_no_other_object(work: Work) -> None:
    snapshot = work.capture()
    blob = work.git("rev-parse", "HEAD:README.md")
    (work.top / ".git/objects" / blob[:2] / blob[2:]).unlink()
    chosen = [entry for entry in source.list_entries(snapshot) if entry.path == "run.sh"]
    source.write(snapshot, chosen, work.out, list[Event]().append, epoch=snapshot.source.epoch)
    assert (work.out / "workspace/run.sh").read_text() == "#!/bin/sh\n"


def test_a_mode_that_git_wrote_long_ago_is_read_as_todays(work: Work) -> None:
    (part,) = work.capture().parts
    blob = work.git("rev-parse", "HEAD:README.md")
    listing = b"".join(b"%d blob %s\t%d\0" % (mode, blob.encode(), mode) for mode in (100664, 100775))
    assert list(worktree.entries(replace(part, listing=listing))) == [
        Entry("100664", 0o100644, blob),
        Entry("100775", 0o100755, blob),
    ]


def test_facts_for_the_record(work: Work) -> None:
    work.git("remote", "add", "backup", "https://backup.example.org/x")
    work.git("remote", "add", "origin", "https://me:secret@example.org/x.git")
    root = source.find(work.top, work.out)
    assert source.describe(root) == {"branch": "main", "subject": "change", "remote": "https://example.org/x.git"}
    work.git("checkout", "--quiet", "--detach")
    assert "branch" not in source.describe(root)
    assert source.describe(source.Root(work.out, None)) == {}


def test_the_question_of_every_run_imports_nothing_heavy(work: Work) -> None:
    program = """if True:
        import sys
        from pathlib import Path
        from ci_env import source
        top, scratch = map(Path, sys.argv[1:])
        snapshot = source.snapshot(source.find(top, top), scratch, print, left_out=scratch)
        source.list_entries(snapshot)
        heavy = {"git", "subprocess", "tempfile", "shutil", "pydantic", "logging", "difflib"}
        print(sorted(heavy & sys.modules.keys()))
    """
    command = [sys.executable, "-c", program, str(work.top), str(work.out / "scratch")]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert shown == "[]\n"
