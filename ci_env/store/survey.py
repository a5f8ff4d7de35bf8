"""What is in the store, when each thing was used last, and what refers to it. Changes nothing; decides nothing.

Runs are seen through `needs`, the digests that a record speaks of: what a run is, the store does not know.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Literal, TypeVar, cast

from ci_env.digest import Digest
from ci_env.errors import ConfigError, IntegrityError
from ci_env.files import explained
from ci_env.store.blobs import Blobs
from ci_env.store.documents import Documents
from ci_env.store.home import Store
from ci_env.store.images import ImageResult
from ci_env.store.runs import Runs
from ci_env.store.steps import StepResult

if TYPE_CHECKING:
    from ci_env.store.runs import AnyRecord

R = TypeVar("R", bound="AnyRecord")
Kind = Literal["run", "step", "image", "pipeline", "layer", "blob", "cache", "leftover"]
UNUSED = -math.inf
"""nothing refers to it"""
LASTING = sys.float_info.max
"""goes only with all"""
_DAY_S = 86400
_KINDS: tuple[Literal["step", "image", "pipeline"], ...] = ("step", "image", "pipeline")


@dataclass(frozen=True, slots=True)
class Item:
    """Something that can be removed by itself."""

    kind: Kind
    path: Path
    digest: Digest | None
    """what to claim before it is removed; None: its reader can do without it at any time"""
    last_use: float
    """seconds since 1970, of it or of what refers to it"""
    seen: float
    """mtime of what says its own last use"""


@dataclass(frozen=True, slots=True)
class Written:
    """A run's record, as a file: another one when it is written again."""

    run: str
    inode: int
    mtime: float


@dataclass(frozen=True, slots=True)
class Survey:
    items: tuple[Item, ...]
    records: frozenset[Written]
    needed: frozenset[Digest]
    """by the newest runs, and by those that go on"""


class Surveyor(Generic[R]):
    """Looks at a store whose records need what `needs` says."""

    def __init__(self, store: Store, runs: Runs[R], needs: Callable[[R], frozenset[Digest]]) -> None:
        self._store = store
        self._runs = runs
        self._needs = needs
        self._steps = Documents(store.steps, StepResult)
        self._images = Documents(store.images, ImageResult)

    def survey(self, *, keep: int) -> Survey:
        """Look at everything; what the `keep` newest runs need is `needed`."""
        records = self.records()
        uses: dict[str, float] = {}
        needed: set[Digest] = set()
        runs: list[Item] = []
        for number, record in enumerate(sorted(records, key=_started, reverse=True)):
            digests = self.needs_of(record.run)
            _use(uses, digests, record.mtime)
            if number < keep or self._runs.is_running(record.run):
                needed |= digests
            else:
                runs.append(Item("run", self._store.runs / record.run, None, record.mtime, record.mtime))
        documents = list(self._documents())
        for item, refers in documents:
            _use(uses, refers, min(item.last_use, item.seen))
        items = (*runs, *(item for item, _ in documents), *self._layers(uses), *self._blobs(uses), *self._caches())
        return Survey((*items, *self._leftovers()), records, frozenset(needed))

    def records(self) -> frozenset[Written]:
        """Return the records of all runs."""
        found: set[Written] = set()
        for run in self._runs.ids():
            with suppress(FileNotFoundError):  # removed meanwhile
                status = self._record(run).stat()
                found.add(Written(run, status.st_ino, status.st_mtime))
        return frozenset(found)

    def needs_of(self, run: str) -> frozenset[Digest]:
        """Return what the run's record needs: nothing if it is damaged, since then nothing can be done with it.

        ConfigError if a newer ci-env has written it: what that one keeps is not ours to remove.
        """
        try:
            return self._needs(self._runs.load(run))
        except IntegrityError:
            return frozenset()
        except ConfigError:
            if self._record(run).exists():
                raise
            return frozenset()  # removed meanwhile

    def _record(self, run: str) -> Path:
        return self._store.runs / run / "record.json"

    def _documents(self) -> Iterator[tuple[Item, frozenset[Digest]]]:
        """Yield steps, images and pipelines, with what each refers to. A result without its layer is unused.

        The name of an image that was made here lasts: without it, a registry would be asked for the image.
        """
        for kind in _KINDS:
            for path, seen in _files(self._store.root / f"{kind}s", "*.json"):
                refers: frozenset[Digest] = frozenset()
                last_use = seen
                if kind == "step" and not path.name.startswith("last-"):
                    refers, is_whole = self._step(path)
                    last_use = seen if is_whole else UNUSED
                elif kind == "image":
                    result = self._images.look(path.stem)
                    refers = frozenset() if result is None else self._image(result)
                    last_use = LASTING if result is not None and result.made is not None else seen
                yield Item(kind, path, None, last_use, seen), refers

    def _step(self, path: Path) -> tuple[frozenset[Digest], bool]:
        """Return the blobs of a result, and whether it still has its layer."""
        result = self._steps.look(path.stem)
        if result is None:
            return frozenset(), False
        blobs = frozenset(blob for blob in (result.output, result.artifacts) if blob)
        return blobs, (self._store.layers / result.layer.hex).exists()

    def _image(self, result: ImageResult) -> frozenset[Digest]:
        """Return the blobs of an image: its manifest and its config."""
        try:
            manifest = json.loads(Blobs(self._store).path(result.manifest).read_bytes())
            return frozenset({result.manifest, Digest.parse(cast("str", manifest["config"]["digest"]))})
        except (OSError, ValueError, LookupError, TypeError):
            return frozenset({result.manifest})

    def _layers(self, uses: dict[str, float]) -> Iterator[Item]:
        for path, seen in _files(self._store.layers, "*"):
            marker = _mtime(path / "layer.json", otherwise=seen)
            digest = _named(path.name)
            yield Item("layer", path, digest, max(marker, uses.get(digest or "", UNUSED)), marker)

    def _blobs(self, uses: dict[str, float]) -> Iterator[Item]:
        for folder in sorted(self._store.blobs.iterdir()):
            for path, seen in _files(folder, "*"):
                digest = _named(path.name, folder.name)
                yield Item("blob", path, digest, uses.get(digest or "", UNUSED), seen)

    def _caches(self) -> Iterator[Item]:
        for path, seen in _files(self._store.caches, "*"):
            if path.suffix != ".used":
                used = _mtime(path.with_name(f"{path.name}.used"), otherwise=seen)
                yield Item("cache", path, _named(path.name), used, used)

    def _leftovers(self) -> Iterator[Item]:
        """Yield what crashes leave: temporary files, runs without a record, and locks that nobody needs to find."""
        folders = (self._store.steps, self._store.images, self._store.pipelines, *self._store.blobs.iterdir())
        temporary = [found for folder in folders for found in _files(folder, ".*")]
        temporary += [found for run in self._store.runs.iterdir() for found in _files(run, ".*")]
        runs = [(path, seen) for path, seen in _files(self._store.runs, "*") if not (path / "record.json").exists()]
        for path, seen in (*temporary, *runs):
            if time.time() - seen > _DAY_S:
                yield Item("leftover", path, None, UNUSED, seen)
        for path, seen in _files(self._store.locks, "*-*.lock"):
            yield Item("leftover", path, None, UNUSED, seen)


def _started(record: Written) -> tuple[str, float]:
    """Return what orders runs by their time: ids tell seconds, and chance among those of the same second."""
    return record.run.rpartition("-")[0], record.mtime


def last_seen(item: Item) -> float:
    """Return the item's own last use as it is now; FileNotFoundError where it is gone."""
    own = item.path.stat(follow_symlinks=False).st_mtime
    if item.kind == "cache":
        return _mtime(item.path.with_name(f"{item.path.name}.used"), otherwise=own)
    names = {"layer": "layer.json", "run": "record.json"}
    return _mtime(item.path / names[item.kind], otherwise=own) if item.kind in names else own


def _use(uses: dict[str, float], digests: Iterable[Digest], when: float) -> None:
    for digest in digests:
        uses[digest] = max(uses.get(digest, UNUSED), when)


def _files(folder: Path, pattern: str) -> Iterator[tuple[Path, float]]:
    """Yield what is in a folder, with its mtime; what goes meanwhile is passed over."""
    with explained("read", folder):
        if not folder.is_dir():
            return
        for path in sorted(folder.glob(pattern)):
            seen = _mtime(path, otherwise=UNUSED)
            if seen != UNUSED and path.name.startswith(".") == pattern.startswith("."):
                yield path, seen


def _mtime(path: Path, *, otherwise: float) -> float:
    try:
        return os.stat(path, follow_symlinks=False).st_mtime
    except (FileNotFoundError, NotADirectoryError):
        return otherwise


def _named(name: str, algorithm: str = "sha256") -> Digest | None:
    """Return the digest that a file is named by; None: it is no object of ours, and nobody looks for it."""
    try:
        return Digest.parse(f"{algorithm}:{name}")
    except ValueError:
        return None
