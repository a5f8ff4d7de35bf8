"""Looks at everything in the store and finds what is damaged; drops it if asked to. What is dropped is made again.

A layer of a step has no digest to compare with, since a commit must not depend on its size: its marker only says that
it was finished and on disk. Must not know what a record is but for what it `needs`.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Literal

from ci_env.digest import Digest
from ci_env.errors import ConfigError, IntegrityError
from ci_env.files import explained
from ci_env.pipeline.model import Pipeline
from ci_env.store.documents import Documents, T
from ci_env.store.home import Store
from ci_env.store.images import ImageResult
from ci_env.store.layers import Layers
from ci_env.store.locks import exclusive
from ci_env.store.runs import Runs, told_if_gone
from ci_env.store.steps import StepResult
from ci_env.store.survey import R

Kind = Literal["blobs", "layers", "steps", "images", "pipelines", "runs"]
KINDS: tuple[Kind, ...] = ("blobs", "layers", "steps", "images", "pipelines", "runs")
_PIECE = 2**20
_UNFINISHED = "it has no good marker: it was never finished, or never on disk"
_REFUSED = "the disk has failed before it was on it: only replays use it, until the machine is restarted"
_SETTLED_S = 86400
"""a run whose directory is younger may be about to write its record, or be what a crash left, which prune takes then"""


@dataclass(frozen=True, slots=True)
class Flaw:
    kind: Kind
    path: Path
    why: str
    digest: Digest | None = None
    """of the blob or layer, if its name is one"""
    is_bad: bool = True
    """False: a run whose record is good, but which lacks something that it speaks of"""


@dataclass(slots=True)
class Report:
    looked_at: dict[Kind, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    flaws: list[Flaw] = field(default_factory=list[Flaw])

    @property
    def bad(self) -> list[Flaw]:
        return [flaw for flaw in self.flaws if flaw.is_bad]


class Check(Generic[R]):
    """One look at the store. Other commands may use it meanwhile: what they finish or remove is no flaw."""

    def __init__(self, store: Store, layers: Layers, runs: Runs[R], needs: Callable[[R], frozenset[Digest]]) -> None:
        self._store = store
        self._layers = layers
        self._runs = runs
        self._needs = needs
        self._gone: set[Digest] = set()
        """damaged, so that nothing may rely on it"""

    def look(self, *, is_damaged: Callable[[Digest], bool], repair: bool) -> Report:
        """Return what was found; drop what is bad if `repair`. `is_damaged` may know more of a complete layer."""
        report = Report()
        looks: Mapping[Kind, Iterator[Flaw | None]] = {
            "blobs": self._blobs(),
            "layers": self._look_at_layers(is_damaged),
            "steps": self._look_at_steps(),
            "images": _look_at_documents("images", self._store.images, Documents(self._store.images, ImageResult)),
            "pipelines": _look_at_documents(
                "pipelines", self._store.pipelines, Documents(self._store.pipelines, Pipeline)
            ),
            "runs": self._look_at_runs(),
        }
        for kind in KINDS:
            for flaw in looks[kind]:
                report.looked_at[kind] += 1
                if flaw is not None:
                    self._note(flaw, report, repair=repair)
        return report

    def _note(self, flaw: Flaw, report: Report, *, repair: bool) -> None:
        report.flaws.append(flaw)
        if flaw.digest is not None:
            self._gone.add(flaw.digest)
        if repair and flaw.is_bad:
            self._drop(flaw)

    def _drop(self, flaw: Flaw) -> None:
        if flaw.kind == "layers" and flaw.digest is not None:
            self._layers.drop(flaw.digest)
        elif flaw.kind == "runs":
            with (
                suppress(ConfigError),
                told_if_gone(flaw.path.name),
                exclusive(flaw.path / "lock", wait=False) as is_over,
            ):
                if is_over:
                    self._layers.discard(flaw.path)
        else:
            self._layers.discard(flaw.path)

    def _blobs(self) -> Iterator[Flaw | None]:
        for folder in sorted(self._store.blobs.iterdir()):
            for path in _entries(folder):
                digest = _digest(f"{folder.name}:{path.name}")
                if digest is None:
                    yield Flaw("blobs", path, "its name is no digest")
                elif _has_digest(path, digest):
                    yield None
                else:
                    yield Flaw("blobs", path, "its content does not have its digest", digest)

    def _look_at_layers(self, is_damaged: Callable[[Digest], bool]) -> Iterator[Flaw | None]:
        for path in _entries(self._store.layers):
            digest = _digest(f"sha256:{path.name}")
            if digest is None:
                yield Flaw("layers", path, "its name is no layer's")
            elif not self._layers.is_complete(digest):
                if os.path.lexists(path):  # else it was pruned meanwhile
                    is_refused = self._layers.is_doubtful(digest)
                    yield Flaw("layers", path, _REFUSED if is_refused else _UNFINISHED, digest)
            elif not (path / "root").is_dir():
                yield Flaw("layers", path, "it has lost its content", digest)
            elif is_damaged(digest):
                yield Flaw("layers", path, "its content is not what its run recorded", digest)
            else:
                yield None

    def _look_at_steps(self) -> Iterator[Flaw | None]:
        results = Documents(self._store.steps, StepResult)
        for path in _entries(self._store.steps):
            if path.name.startswith("last-"):
                yield None if results.is_whole(path.stem) else _unreadable("steps", path)
                continue
            result = results.look(path.stem) if path.is_file() else None
            if result is None:
                if os.path.lexists(path):
                    yield _unreadable("steps", path)
            elif self._lacks(result):
                yield Flaw("steps", path, "its layer, log or artifacts are gone")
            else:
                yield None

    def _lacks(self, result: StepResult) -> bool:
        blobs = [blob for blob in (result.output, result.artifacts) if blob is not None]
        return not self._has_layer(result.layer) or not all(self._has_blob(blob) for blob in blobs)

    def _look_at_runs(self) -> Iterator[Flaw | None]:
        for path in _entries(self._store.runs):
            if not (path / "record.json").exists():
                with suppress(FileNotFoundError):
                    if time.time() - path.stat().st_mtime > _SETTLED_S:
                        yield Flaw("runs", path, "it has no record")
                continue
            try:
                needed = self._needs(self._runs.load(path.name))
            except IntegrityError:
                yield _unreadable("runs", path)
            except ConfigError as error:  # a newer ci-env's, or removed meanwhile
                yield Flaw("runs", path, error.message, is_bad=False) if path.exists() else None
            else:
                missing = sum(not self._has_layer(digest) and not self._has_blob(digest) for digest in needed)
                why = f"{missing} of the {len(needed)} layers and blobs that it speaks of are gone"
                yield Flaw("runs", path, why, is_bad=False) if missing else None

    def _has_layer(self, digest: Digest) -> bool:
        return digest not in self._gone and self._layers.is_complete(digest)

    def _has_blob(self, digest: Digest) -> bool:
        return digest not in self._gone and (self._store.blobs / digest.algorithm / digest.hex).is_file()


def _look_at_documents(kind: Kind, folder: Path, documents: Documents[T]) -> Iterator[Flaw | None]:
    for path in _entries(folder):
        is_good = path.is_file() and documents.look(path.stem) is not None
        if is_good or os.path.lexists(path):
            yield None if is_good else _unreadable(kind, path)


def _unreadable(kind: Kind, path: Path) -> Flaw:
    return Flaw(kind, path, "it is not as it was written, or another version of ci-env wrote it")


def _entries(folder: Path) -> list[Path]:
    """Return what is in a folder but for temporary files."""
    with explained("read", folder):
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _digest(text: str) -> Digest | None:
    try:
        return Digest.parse(text)
    except ValueError:
        return None


def _has_digest(path: Path, digest: Digest) -> bool:
    """Tell whether the file has the content that its name says; one that was removed meanwhile has."""
    found = hashlib.new(digest.algorithm)
    with explained("read", path):
        try:
            with open(path, "rb") as file:
                while piece := file.read(_PIECE):
                    found.update(piece)
        except FileNotFoundError:
            return True
        except IsADirectoryError:
            return False
    return found.hexdigest() == digest.hex
