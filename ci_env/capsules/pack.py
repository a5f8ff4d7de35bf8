"""Packs a run of the store into a capsule. Decides nothing about what belongs in one: capsule/stacks.py does."""

from __future__ import annotations

import itertools
import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ci_env import codec
from ci_env.capsule import form
from ci_env.capsule.form import Base, Capsule, Content, ContentKind, LayerPart
from ci_env.capsule.record import Record, StepRecord
from ci_env.capsule.stacks import Stacked, kept_contents, stacked_layers
from ci_env.capsules.bases import Known, find_bases
from ci_env.capsules.file_write import Added, CapsuleWriter, TooLarge
from ci_env.capsules.hiding import hidden, hidden_tar, hide
from ci_env.capsules.reading import Pieces
from ci_env.capsules.shelf import Shelf
from ci_env.digest import Digest
from ci_env.errors import ConfigError
from ci_env.events import Note
from ci_env.frozen import dataclass
from ci_env.mask import Mask
from ci_env.oci.packing import PackedLayer, packing


@dataclass(frozen=True, slots=True)
class Wish:
    """How a capsule is to be."""

    is_self_contained: bool = False
    """images that a registry has are inside all the same"""
    max_bytes: int | None = None
    """no larger than this, give or take a few hundred: what a replay can do without is left out"""
    secrets: tuple[bytes, ...] = ()
    """values that may be in no form in it"""

    def __repr__(self) -> str:
        return f"Wish({self.is_self_contained}, {self.max_bytes}, {len(self.secrets)} secrets)"


@dataclass(frozen=True, slots=True)
class Packed:
    """A capsule that has been written."""

    capsule: Capsule
    size_bytes: int
    left_out: tuple[str, ...]
    """what did not fit, in words"""


def pack(record: Record, path: Path, shelf: Shelf, wish: Wish) -> Packed:
    """Write the capsule of a run to `path`, whole or not at all.

    ConfigError where it would be too large, where no archive can hold a layer, or where what a replay needs is gone.
    """
    with CapsuleWriter(path, max_bytes=wish.max_bytes) as writer:
        packer = _Packer(record, shelf, writer, wish.secrets)
        capsule = packer.pack(is_self_contained=wish.is_self_contained)
        writer.finish(form.write(capsule), form.KIND)
    return Packed(capsule, path.stat().st_size, tuple(packer.left_out))


class _Packer:
    def __init__(self, record: Record, shelf: Shelf, writer: CapsuleWriter, secrets: Sequence[bytes]) -> None:
        self._record = record
        self._secrets = secrets
        self._mask = Mask(secrets)
        self._shelf = shelf
        self._writer = writer
        self._failed = _first_failed(record)
        self.left_out: list[str] = []

    def pack(self, *, is_self_contained: bool) -> Capsule:
        stacked = stacked_layers(self._record)
        wanted = [one.layer for one in stacked]
        known = () if is_self_contained else find_bases(self._shelf.images, self._shelf.blobs, wanted)
        there = {layer for image in known for layer in image.chain}
        seen = frozenset(wanted if self._failed is None else self._failed.before)
        compared = self._failed.output if self._failed else None
        chosen = self._choose(stacked, seen, there)
        needed = [one for one in chosen if one.layer in seen]
        more = [one for one in chosen if one.layer not in seen]
        wanted_contents = kept_contents(self._record)
        with self._writer.room(codec.dumps(self._record)), self._archives([*needed, *more]) as archives:
            bases = tuple(self._add_base(image) for image in known)
            layers = [*self._add_layers(needed, archives, there, is_needed=True)]
            contents = dict(self._add_contents([one for one in wanted_contents if one[1] == compared]))
            layers += self._add_layers(more, archives, there, is_needed=False)
            contents |= self._add_contents([one for one in wanted_contents if one[1] != compared])
        content = codec.dumps(hide(self._record, self._mask, {old: new.blob.digest for old, new in contents.items()}))
        if len(content) > form.MAX_RECORD_BYTES:
            raise ConfigError(f"the record of run {self._record.run_id} is too large for a capsule")
        self._writer.add(content)
        return Capsule(form.record_blob(content), bases, tuple(layers), tuple(contents.values()))

    def _add_base(self, known: Known) -> Base:
        self._writer.add(known.manifest)
        self._writer.add(known.config)
        return known.base

    def _choose(self, stacked: Sequence[Stacked], seen: frozenset[Digest], outside: set[Digest]) -> list[Stacked]:
        """Return the layers to pack: those in the store that lie on such layers, or on layers that are elsewhere."""
        chosen: list[Stacked] = []
        there = set(outside)
        for one in stacked:
            if one.layer in there:
                continue
            if there.issuperset(one.below) and self._shelf.layers.has(one.layer, even_doubtful=True):
                chosen.append(one)
                there.add(one.layer)
            elif one.layer in seen and self._failed is not None:
                raise ConfigError(
                    f"run {self._record.run_id} cannot be packed: layers that its failed step saw are gone",
                    hint="run the pipeline again",
                )
        return chosen

    @contextmanager
    def _archives(self, chosen: Sequence[Stacked]) -> Generator[Iterator[PackedLayer]]:
        """Give the archives of all parts of layers, in their order."""
        directories = [self._shelf.layers.directory(one.layer) for one in chosen]
        parts = [(directory, part) for directory in directories for part in _parts(directory)]
        if not parts:
            yield iter(())
            return
        with packing(self._shelf.as_owner, parts, secrets=self._secrets) as archives:
            yield archives

    def _add_layers(
        self, chosen: Sequence[Stacked], archives: Iterator[PackedLayer], there: set[Digest], *, is_needed: bool
    ) -> Iterator[LayerPart]:
        """Add layers; leave those out that do not fit and are not needed, and what lies on them."""
        for one in chosen:
            parts = _parts(self._shelf.layers.directory(one.layer))
            mine = list(itertools.islice(archives, len(parts)))
            if not there.issuperset(one.below):
                for archive in mine:
                    archive.pass_over()
                continue
            try:
                added = [self._add_part(one, part, archive) for part, archive in zip(parts, mine, strict=True)]
            except TooLarge:
                if is_needed:
                    raise
                self.left_out.append("the state that a step has left")
                for archive in mine:
                    archive.pass_over()
            else:
                there.add(one.layer)
                yield from added

    def _add_part(self, one: Stacked, part: str, archive: PackedLayer) -> LayerPart:
        added = self._writer.add_all(archive)
        for warning in archive.warnings:
            self._shelf.emit(Note("warning", f"the capsule of run {self._record.run_id}: {warning}"))
        return LayerPart(one.layer, part, one.is_source, archive.redacted, form.layer_blob(added.digest, added.size))

    def _add_contents(self, wanted: Sequence[tuple[ContentKind, Digest]]) -> Iterator[tuple[Digest, Content]]:
        """Add logs and artifacts, as far as they are there. Yield them by the names that they have here."""
        for kind, digest in sorted(wanted, key=lambda one: one[0] != "log"):
            if not self._shelf.blobs.has(digest):
                continue
            try:
                added = self._add_content(kind, digest)
            except TooLarge:
                if self._failed and digest == self._failed.output:
                    raise
                self.left_out.append("a log" if kind == "log" else "artifacts")
            else:
                yield digest, Content(kind, form.content_blob(kind, added.digest, added.size))

    def _add_content(self, kind: ContentKind, digest: Digest) -> Added:
        with self._shelf.blobs.open(digest) as file:
            if not self._secrets:
                return self._writer.add_all(file)
            is_tar = kind == "artifacts"
            return self._writer.add_all(Pieces((hidden_tar if is_tar else hidden)(file, self._mask)))


def _first_failed(record: Record) -> StepRecord | None:
    return next((step for job in record.jobs for step in job.steps if step.status == "failed"), None)


def _parts(directory: Path) -> list[str]:
    host = directory / "host"
    return [form.ROOT, *(f"host/{name}" for name in sorted(os.listdir(host)))] if host.is_dir() else [form.ROOT]
