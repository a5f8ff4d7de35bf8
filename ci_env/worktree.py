"""A git work tree as it is at one moment: which tree is this? Asks git's plumbing and leaves the repository untouched.

`add -A` into a copy of the index and `write-tree`, objects to a directory of the caller's: 22 ms for 15 000 files where
`git status` takes 21, and the answer is the tree itself, the same that committing everything would give. So a run of
uncommitted work and one of the commit made of it share their cache. GitPython, whose import alone costs 47-75 ms, has
no part in this question, which every run asks (docs/source.md).

Git's own rules hold: ignored files are left out, `assume-unchanged` and `skip-worktree` are believed, and the filters
that the user configured (`filter=lfs`, `autocrlf`) are applied as a commit would.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from ci_env.errors import ConfigError
from ci_env.events import Emit, Note
from ci_env.frozen import dataclass
from ci_env.plumbing import ask, git, refusal
from ci_env.tree import Entry, Mode, decode_path, encode_path


@dataclass(frozen=True, slots=True)
class Repository:
    """A git work tree and where git keeps what belongs to it."""

    top: Path
    git_dir: Path
    index: Path
    objects: Path


@dataclass(frozen=True, slots=True)
class Part:
    """A work tree, or a submodule in it, as it was when captured."""

    prefix: str
    """where it lies in the source: empty, or a path that ends in a slash"""
    repository: Repository
    tree: str
    commit: str | None
    """None: nothing has been committed yet"""
    epoch: int | None
    """the commit's time"""
    dirty: bool
    objects: Path
    """holds the objects that the repository lacks"""
    listing: bytes
    """of `ls-tree -r -z`"""


def discover(directory: Path) -> Repository | None:
    """Return the repository whose work tree holds `directory`; None where there is none, which needs no git.

    ConfigError where git refuses it, HostError where git is not installed.
    """
    if not any(os.path.lexists(parent / ".git") for parent in (directory, *directory.parents)):
        return None
    question = ("rev-parse", "--path-format=absolute", "--show-toplevel", "--absolute-git-dir")
    answer = ask(*question, "--git-path", "index", "--git-path", "objects", at=directory)
    if answer.complaint.startswith("fatal: not a git repository (or any"):
        return None  # what the parents hold is no repository, or lies beyond a mount point, where git does not look
    if answer.status:
        raise refusal(answer, directory)
    paths = [Path(os.fsdecode(line)) for line in answer.output.split(b"\n")[:-1]]
    if len(paths) != 4:
        raise ConfigError(f"the path of {directory} holds a line break, which git cannot tell from the end of a path")
    return Repository(*paths)


def capture(repository: Repository, scratch: Path, emit: Emit, *, prefix: str = "") -> tuple[Part, ...]:
    """Return the work tree and the submodules that are checked out in it, outermost first.

    New objects go below `scratch`, which is made here and must live as long as the parts are read.
    """
    scratch.mkdir()
    objects = scratch / "objects"
    objects.mkdir()
    tree = _write_tree(repository, scratch / "index", objects, emit)
    commit, committed, epoch = _head(repository) or (None, None, None)
    found = with_objects(repository, objects)
    listing = git("ls-tree", "-r", "-z", "--full-tree", tree, at=repository.top, extra=found).output
    part = Part(prefix, repository, tree, commit, epoch, tree != committed, objects, listing)
    inner: list[Part] = []
    for path in _submodules(listing):
        nested = _checked_out(repository, path)
        if nested:
            inner += capture(nested, scratch / str(len(inner)), emit, prefix=f"{prefix}{path}/")
        else:
            emit(_absent(f"{prefix}{path}"))
    return (part, *inner)


def entries(part: Part) -> Iterator[Entry]:
    """Yield the files of `part`, and its submodules, by their paths in the source."""
    for record in part.listing.split(b"\0")[:-1]:
        facts, _, path = record.partition(b"\t")
        mode, _, blob = facts.split(b" ")
        yield Entry(part.prefix + decode_path(path), _mode(int(mode, 8)), blob.decode())


def with_objects(repository: Repository, objects: Path) -> Mapping[str, str]:
    """Return the environment in which git finds new objects in `objects`, and all others in the repository."""
    return {
        "GIT_OBJECT_DIRECTORY": str(objects),
        "GIT_ALTERNATE_OBJECT_DIRECTORIES": _quoted(str(repository.objects)),
    }


def _head(repository: Repository) -> tuple[str, str, int] | None:
    """Return the commit's id, tree and time; None before the first commit."""
    answer = ask("rev-list", "--max-count=1", "--format=%T %ct", "HEAD", at=repository.top)
    if answer.status and ask("rev-parse", "--quiet", "--verify", "HEAD", at=repository.top).status == 1:
        return None
    if answer.status:
        raise refusal(answer, repository.top)
    _, commit, tree, epoch = answer.output.decode().split()
    return commit, tree, int(epoch)


def _write_tree(repository: Repository, index: Path, objects: Path, emit: Emit) -> str:
    """Return the id of the work tree as it is now; `index` and what is below `objects` are written."""
    _copy_index(repository.index, index)
    extra = {"GIT_INDEX_FILE": str(index), **with_objects(repository, objects)}
    added = git("add", "--all", "--sparse", "--no-warn-embedded-repo", at=repository.top, extra=extra)
    for line in added.complaint.splitlines():
        emit(Note("warning", f"git, on {repository.top}: {line.removeprefix('warning: ')}"))
    return git("write-tree", at=repository.top, extra=extra).output.decode().strip()


def _copy_index(source: Path, target: Path) -> None:
    """Copy the index with its time: git compares it with a file's to tell whether their sizes and times are proof.

    A copy that is newer would hide a change made right after `git add` (git's Documentation/technical/racy-git.txt).
    """
    try:
        with open(source, "rb") as index:
            written_ns = os.fstat(index.fileno()).st_mtime_ns
            target.write_bytes(index.read())
    except FileNotFoundError:
        return  # nothing was ever added
    os.utime(target, ns=(written_ns, written_ns))


def _submodules(listing: bytes) -> tuple[str, ...]:
    if b"160000 commit " not in listing:
        return ()
    records = (record.partition(b"\t") for record in listing.split(b"\0"))
    return tuple(decode_path(path) for facts, _, path in records if facts.startswith(b"160000 "))


def _checked_out(repository: Repository, path: str) -> Repository | None:
    """Return the submodule's own repository; None where there is none yet."""
    directory = Path(os.fsdecode(os.fsencode(repository.top) + b"/" + encode_path(path)))
    nested = discover(directory) if os.path.lexists(directory / ".git") else None
    return nested if nested and nested.top.samefile(directory) else None


def _absent(path: str) -> Note:
    advice = "`git submodule update --init --recursive` fetches it"
    return Note("warning", f"the submodule {path} is not checked out: steps see an empty directory; {advice}")


def _mode(mode: int) -> Mode:
    """Return `mode` as git writes it today: trees made by its first versions hold others, such as 0100664."""
    if mode == 0o120000:
        return 0o120000
    if mode == 0o160000:
        return 0o160000
    return 0o100755 if mode & 0o100 else 0o100644


def _quoted(path: str) -> str:
    """Return `path` as one entry of git's colon-separated list (git(1), GIT_ALTERNATE_OBJECT_DIRECTORIES)."""
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"') + '"'
