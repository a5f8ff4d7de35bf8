"""Brings what a capsule holds into the store, so that its run can be replayed.

A capsule is the work of a stranger. Everything is compared with its digest before it gets a name; what no digest of
the store's own kind vouches for gets a name that only content equal to it can have (ADR 0020). Nothing of it becomes a
run, an image's name or a step's result: later runs see none of it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Generator, Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from ci_env import codec
from ci_env.capsule import form
from ci_env.capsule.form import Base, Capsule, Content, LayerPart
from ci_env.capsule.record import RECORD_VERSION, Record
from ci_env.capsule.renaming import renamed
from ci_env.capsule.sound import check_sound
from ci_env.capsule.stacks import Stacked, stacked_layers
from ci_env.capsules.bases import Named, bring, check_base
from ci_env.capsules.shelf import Shelf
from ci_env.digest import Digest, key
from ci_env.errors import ConfigError, HostError
from ci_env.events import Note
from ci_env.files import explained
from ci_env.frozen import dataclass
from ci_env.oci.document import Descriptor
from ci_env.oci.source import ImageSource
from ci_env.oci.unpacking import unpack
from ci_env.oci.verify import Reader, VerifyingReader, read_all

_MAX_DOCUMENT_BYTES = form.MAX_RECORD_BYTES
_MAX_LOG_BYTES = 2**27  # a log of ours ends at half of that


@dataclass(frozen=True, slots=True)
class Read:
    """A capsule whose content has not been looked at yet."""

    capsule: Capsule
    record: Record
    """as the capsule has it: its names of layers mean nothing here"""


def read_capsule(source: ImageSource, *, what: str) -> Read:
    """Return what a capsule says of itself.

    ConfigError where it is none, or of a newer version; IntegrityError where it is not what it was when it was made.
    """
    capsule = form.read(source.root(), what=what)
    content = _document(source, capsule.record, "the capsule's record")
    _check_version(content, what)
    try:
        record = codec.loads(Record, content)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{what} is no capsule: its record is damaged: {str(error)[:200]}") from error
    check_sound(record)
    return Read(capsule, record)


Check = Callable[[Collection[Digest]], object]
"""raises IntegrityError unless the blobs are what their digests say"""


def as_they_come(_: Collection[Digest]) -> None:
    """Compare nothing before it is read: for what only comes once."""


def open_capsule(
    source: ImageSource, shelf: Shelf, *, what: str, check: Check = as_they_come
) -> tuple[Record, Capsule]:
    """Have all that the capsule holds in the store; return its record, with the names that things have here.

    What is there already is not read again; all else is given to `check` before anything is brought. Besides what
    `read_capsule` raises: RegistryError where an image has to be pulled and cannot be, HostError for what this
    machine cannot hold. What was brought before an error stays, under names that nothing refers to.
    """
    read = read_capsule(source, what=what)
    opening = _Opening(source, shelf)
    bases = [opening.base(base) for base in read.capsule.bases]
    outside = {layer for base in bases for layer in base.chain}
    layers = name_layers(read.capsule, stacked_layers(read.record), outside)
    missing = [layer for layer in layers if not shelf.layers.has(layer.name)]
    contents = [content for content in read.capsule.contents if not shelf.blobs.has(content.blob.digest)]
    wanted = [part.blob for layer in missing for part in layer.parts] + [content.blob for content in contents]
    _check_space(wanted, shelf)
    check({blob.digest for blob in wanted})
    for base in bases:
        bring(base, shelf.layers, shelf.emit)
    for layer in missing:
        opening.bring_layer(layer)
    for content in contents:
        opening.bring_content(content)
    shelf.layers.seal()
    names = {layer: layer for layer in outside} | {layer.layer: layer.name for layer in layers}
    return renamed(read.record, names), read.capsule


@dataclass(frozen=True, slots=True)
class NamedLayer:
    """A layer in a capsule, with the name that it has here."""

    layer: Digest
    """what the record calls it"""
    name: Digest
    parts: tuple[LayerPart, ...]
    below: tuple[Digest, ...]
    """names here, bottom first"""


def name_layers(capsule: Capsule, stacked: Sequence[Stacked], outside: Collection[Digest]) -> tuple[NamedLayer, ...]:
    """Return the layers that the capsule holds, each after those below it. Pure.

    `outside` are those that a registry has, which are named by their content already. ConfigError where parts of
    layers are missing, or are there that nothing speaks of.
    """
    parts: dict[Digest, list[LayerPart]] = {}
    for part in capsule.layers:
        parts.setdefault(part.layer, []).append(part)
    names = {layer: layer for layer in outside}
    named: list[NamedLayer] = []
    for one in stacked:
        own = tuple(parts.pop(one.layer, ()))
        if not own or one.layer in names:
            continue
        if not names.keys() >= set(one.below):
            raise ConfigError("the capsule is not whole: it lacks what a layer of it lies on")
        below = tuple(names[layer] for layer in one.below)
        names[one.layer] = _name(own, below)
        named.append(NamedLayer(one.layer, names[one.layer], own, below))
    if parts:
        raise ConfigError("the capsule holds layers that its record does not speak of")
    return tuple(named)


def _name(parts: Sequence[LayerPart], below: Sequence[Digest]) -> Digest:
    names = [part.part for part in parts]
    if len(set(names)) < len(names) or form.ROOT not in names:
        raise ConfigError("the capsule holds a layer that has no root, or two")
    facts = sorted([part.part, part.blob.digest] for part in parts)
    return key("layer-of-capsule", {"parts": facts, "below": list(below)})


class _Opening:
    def __init__(self, source: ImageSource, shelf: Shelf) -> None:
        self._source = source
        self._shelf = shelf

    def base(self, base: Base) -> Named:
        """Return an image that a registry has, its documents compared with their digests."""
        manifest = _document(self._source, base.manifest, f"the manifest of {base.reference}")
        return check_base(base, manifest, _document(self._source, base.config, f"the config of {base.reference}"))

    def bring_layer(self, layer: NamedLayer) -> None:
        """Have a layer; those below it are there."""

        def fill(root: Path) -> None:
            for part in layer.parts:
                self._unpack(part, root.parent, layer.below)

        self._shelf.layers.ensure(layer.name, fill)

    def _unpack(self, part: LayerPart, staging: Path, below: tuple[Digest, ...]) -> None:
        destination = staging / part.part
        with explained("make", destination):
            destination.mkdir(parents=True, exist_ok=True)
        lowers = [self._shelf.layers.directory(layer) / part.part for layer in below]
        if part.part != form.ROOT:  # this machine's own directory is what lies beneath
            lowers = [Path("/", destination.name), *lowers]
        with self._blob(part.blob, "a layer of the capsule") as archive:
            applied = unpack(
                self._shelf.as_owner,
                archive,
                destination,
                [lower for lower in lowers if os.path.isdir(lower)],
                part.blob.digest,
                squash_ids=not self._shelf.is_owner_mapped(),
            )
        for warning in applied.warnings:
            self._shelf.emit(Note("warning", f"a layer of the capsule: {warning}"))

    def bring_content(self, content: Content) -> None:
        """Have a log or artifacts among the blobs."""
        blob = content.blob
        if content.kind == "log" and blob.size > _MAX_LOG_BYTES:
            raise ConfigError(f"the capsule has a log of {blob.size} bytes, which no step writes")
        file = self._shelf.scratch / "content.part"
        with explained("write", file), open(file, "wb") as target, self._blob(blob, f"its {content.kind}") as reader:
            while piece := reader.read(2**20):
                target.write(piece)
        self._shelf.blobs.adopt(file, blob.digest)

    @contextmanager
    def _blob(self, blob: Descriptor, what: str) -> Generator[Reader]:
        with self._source.blob(blob) as stored:
            yield VerifyingReader(stored, blob.digest, blob.size, what=what)


def _document(source: ImageSource, descriptor: Descriptor, what: str) -> bytes:
    if descriptor.size > _MAX_DOCUMENT_BYTES:
        raise ConfigError(f"{what} is larger than {_MAX_DOCUMENT_BYTES // 2**20} MiB")
    with source.blob(descriptor) as stored:
        reader = VerifyingReader(stored, descriptor.digest, descriptor.size, what=what)
        return read_all(reader, limit=descriptor.size + 1)


def _check_version(content: bytes, what: str) -> None:
    """Raise ConfigError where a newer ci-env has written the record, before anything in it is called wrong."""
    import json

    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return
    version = cast("dict[str, object]", document).get("version") if isinstance(document, dict) else None
    if type(version) is int and version > RECORD_VERSION:
        raise ConfigError(
            f"a newer ci-env wrote {what}: its record has version {version}, this one reads up to {RECORD_VERSION}",
            hint="use a ci-env as new as the one that made it",
        )


def _check_space(blobs: Iterable[Descriptor], shelf: Shelf) -> None:
    needed = sum(blob.size for blob in blobs)
    disk = os.statvfs(shelf.scratch)
    free = disk.f_bavail * disk.f_frsize
    if needed > free:
        message = f"the capsule holds {needed} bytes, and the store's disk has {free} left"
        raise HostError(message, hint="free some space, or point CI_ENV_HOME at a larger disk")
