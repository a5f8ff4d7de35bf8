"""Recorded sources in a directory for people to edit, and what they have edited as a layer. Owns how both are made.

A layer holds the difference alone: files that were changed or added, and whiteouts for those that were removed. So what
the steps before have made of all other files stays.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ci_env.digest import Digest
from ci_env.directory import capture, contents
from ci_env.errors import ConfigError
from ci_env.files import explained
from ci_env.frozen import dataclass
from ci_env.oci import tar
from ci_env.oci.tar_write import END, header, padding
from ci_env.patterns import chooser
from ci_env.plan.plan import WORKSPACE, Plan
from ci_env.store.layers import Layers
from ci_env.tree import Entry, encode_path
from ci_env.workspace import date, lay, make_directories

if TYPE_CHECKING:
    from ci_env.ports import Runner

_WHITEOUT = ".wh."
_LEFT_OUT = Path()  # nothing
_Found = Mapping[str, tuple[Entry, Path]]
"""files by path, each with the directory that it lies in"""


@dataclass(frozen=True, slots=True)
class Difference:
    """How the directory differs from recorded sources."""

    changed: tuple[Entry, ...]
    """or added"""
    removed: tuple[str, ...]
    added: frozenset[str]
    """paths of those of `changed` that the recorded sources do not have"""

    def __bool__(self) -> bool:
        return bool(self.changed or self.removed)

    def describe(self) -> str:
        """Return `2 files changed, 1 added, 1 removed`."""
        counts = {
            "changed": len(self.changed) - len(self.added),
            "added": len(self.added),
            "removed": len(self.removed),
        }
        told = [f"{count} {word}" for word, count in counts.items() if count]
        if not told:
            return "no file differs"
        first, *others = told
        number, word = first.split(" ")
        return ", ".join([f"{number} file{'' if number == '1' else 's'} {word}", *others])


class Edit:
    """The directory `place` beside the sources that a plan's steps were given."""

    def __init__(self, place: Path, plan: Plan, layers: Layers) -> None:
        self.place = place
        self._layers = layers
        self._epoch = plan.source.epoch
        self._inputs: dict[Digest, list[Sequence[str] | None]] = {}
        for step in (step for job in plan.jobs for step in job.steps):
            if step.source is not None:
                self._inputs.setdefault(step.source.layer, []).append(step.source.inputs)
        self._edited: tuple[Entry, ...] = ()

    def is_source(self, layer: Digest) -> bool:
        return layer in self._inputs

    def prepare(self, stack: Sequence[Digest]) -> bool:
        """Look at the directory; where there is nothing, or nothing in it, lay the sources of `stack` there.

        Returns whether it was made so. ConfigError where it holds something else.
        """
        recorded = self._merged(stack)
        if not recorded:
            raise ConfigError("--edit is about sources, and the step has none")
        is_new = not self.place.exists() or (self.place.is_dir() and not any(self.place.iterdir()))
        if is_new:
            self._make(recorded)
        if not self.place.is_dir():
            raise ConfigError(f"--edit wants a directory, and {self.place} is none")
        self._edited = capture(self.place, lambda _: None, left_out=_LEFT_OUT)
        if recorded.keys().isdisjoint(entry.path for entry in self._edited):
            message = f"{self.place} holds something else: none of its files has the name of a recorded source"
            raise ConfigError(message, hint="name a new directory, and it gets the recorded sources")
        return is_new

    def difference(self, stack: Sequence[Digest]) -> Difference:
        """Return how the directory differs from the sources in `stack`, by all files that their `inputs` choose."""
        recorded = self._merged(stack)
        chosen = self._chosen([layer for layer in stack if self.is_source(layer)])
        changed = tuple(entry for entry in chosen if entry.path not in recorded or recorded[entry.path][0] != entry)
        present = {entry.path for entry in self._edited}
        removed = tuple(path for path in recorded if path not in present and not _has_above(present, path))
        return Difference(changed, removed, frozenset(entry.path for entry in changed if entry.path not in recorded))

    def make_layer(self, difference: Difference, staging: Path, stack: Sequence[Digest], runner: Runner) -> None:
        """Fill the layer directory `staging`, which is to lie on `stack`, with a difference."""
        from ci_env.oci.unpacking import unpack

        archive = staging.with_name(f"{staging.name}.tar")
        digest = hashlib.sha256()
        with explained("write", archive), open(archive, "wb") as file:
            for piece in _archive(self.place, difference):
                digest.update(piece)
                file.write(piece)
        lowers = [self._layers.directory(layer) / "root" for layer in stack]
        diff_id = Digest(f"sha256:{digest.hexdigest()}")
        with open(archive, "rb", buffering=0) as stream:
            squash = not runner.is_owner_mapped()
            unpack(runner.as_owner, stream, staging / "root", lowers, diff_id, squash_ids=squash)
        self._layers.discard(archive)

    def _chosen(self, sources: Iterable[Digest]) -> tuple[Entry, ...]:
        """Return the files in the directory that the inputs of any of these layers choose."""
        inputs = [patterns for layer in sources for patterns in self._inputs[layer]]
        if None in inputs:
            return self._edited
        choosers = [chooser(patterns) for patterns in inputs if patterns is not None]
        return tuple(entry for entry in self._edited if any(chooses(entry.path) for chooses in choosers))

    def _merged(self, stack: Sequence[Digest]) -> _Found:
        """Return the files of the sources in `stack`, as the uppermost layer has each."""
        found: dict[str, tuple[Entry, Path]] = {}
        for layer in stack:
            top = self._layers.directory(layer) / "root" / WORKSPACE.lstrip("/")
            if not self.is_source(layer) or top.is_symlink() or not top.is_dir():
                continue
            entries = capture(top, lambda _: None, left_out=_LEFT_OUT)
            new = {entry.path for entry in entries}
            found = {path: known for path, known in found.items() if not _has_above(new, path)}
            for entry in entries:
                for above in _above(entry.path):
                    found.pop(above, None)
                found[entry.path] = entry, top
        return found

    def _make(self, recorded: _Found) -> None:
        """Lay recorded sources at the place, all or nothing."""
        unfinished = self.place.with_name(f".{self.place.name}.{os.urandom(4).hex()}")
        top = os.fsencode(unfinished)
        with explained("write", self.place):
            self.place.parent.mkdir(parents=True, exist_ok=True)
            try:
                directories = make_directories(top, [entry for entry, _ in recorded.values()])
                for entry, directory in recorded.values():
                    lay(top, entry, contents(directory, entry), epoch=self._epoch)
                for path in directories:
                    date(path, self._epoch)
                unfinished.rename(self.place)
            except BaseException:
                shutil.rmtree(unfinished, ignore_errors=True)
                raise


def _archive(place: Path, difference: Difference) -> Iterator[bytes]:
    """Yield a layer's archive: files with the times that they have here, since it is them that `make` looks at."""
    for path in difference.removed:
        parent, _, name = f"{WORKSPACE.lstrip('/')}/{path}".rpartition("/")
        yield header(_item(f"{parent}/{_WHITEOUT}{name}", "file", 0o644, 0, 0))
    for entry in difference.changed:
        if any(part.startswith(_WHITEOUT) for part in entry.path.split("/")):
            raise ConfigError(f"{place / entry.path} cannot be laid into a layer: there, such a name removes a file")
        found = os.lstat(os.fsencode(place) + b"/" + encode_path(entry.path))
        path = f"{WORKSPACE.lstrip('/')}/{entry.path}"
        if entry.mode == 0o120000:
            link = b"".join(contents(place, entry))
            yield header(_item(path, "symlink", 0o777, 0, found.st_mtime_ns, link))
            continue
        yield header(_item(path, "file", entry.mode & 0o777, found.st_size, found.st_mtime_ns))
        yield from contents(place, entry)
        yield padding(found.st_size)
    yield END


def _item(path: str, kind: tar.Kind, mode: int, size: int, mtime_ns: int, link: bytes = b"") -> tar.Entry:
    return tar.Entry(encode_path(path), kind, mode, 0, 0, mtime_ns, size, link, (0, 0), {})


def _above(path: str) -> Iterator[str]:
    """Yield the directories above `path`."""
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def _has_above(paths: set[str], path: str) -> bool:
    """Tell whether one of `paths` stands where `path` has a directory."""
    return any(above in paths for above in _above(path))
