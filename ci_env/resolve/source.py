"""The source of a run as layers: which layer each `inputs:` is, and that layer made when a step needs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock

from ci_env import source
from ci_env.digest import Digest
from ci_env.errors import ConfigError
from ci_env.events import Emit
from ci_env.files import explained
from ci_env.patterns import PatternError, select
from ci_env.pipeline import model
from ci_env.plan import keys
from ci_env.plan.plan import SourceLayer
from ci_env.store.layers import Layers
from ci_env.tree import Entry, dump_listing, listing_digest, load_listing

Patterns = tuple[str, ...] | None
_LISTING = "listing"


class SourceLayers:
    """The layers of one snapshot of the source."""

    def __init__(self, snapshot: source.Snapshot, layers: Layers, emit: Emit) -> None:
        self._snapshot = snapshot
        self._layers = layers
        self._emit = emit
        self._lock = Lock()
        self._entries: tuple[Entry, ...] | None = None

    def select(self, jobs: Sequence[model.Job]) -> Mapping[Patterns, Digest]:
        """Return the layer of each choice of inputs in `jobs`. ConfigError for a pattern that matches no file."""
        found: dict[Patterns, Digest] = {}
        for step in (step for job in jobs for step in job.steps):
            if step.inputs not in found:
                found[step.inputs] = self._layer(step)
        return found

    def have(self, layer: SourceLayer) -> None:
        """Make sure that the layer is in the store, and beside it the listing of its files."""

        def fill(root: Path) -> None:
            entries = self._chosen(layer.inputs)
            epoch = self._snapshot.source.epoch_for(layer.inputs)
            source.write(self._snapshot, entries, root, self._emit, epoch=epoch)
            listing = root.with_name(_LISTING)
            with explained("write", listing):
                listing.write_bytes(dump_listing(entries))

        self._layers.ensure(layer.layer, fill)

    def listing(self, layer: SourceLayer) -> tuple[Entry, ...]:
        """Return the files of a layer of this snapshot."""
        return self._chosen(layer.inputs)

    def _layer(self, step: model.Step) -> Digest:
        state = self._snapshot.source
        if step.inputs is None:
            return keys.source_layer(state.tree, epoch=state.epoch_for(None))
        try:
            chosen = self._chosen(step.inputs)
        except PatternError as error:
            nearest = f"; did you mean {error.nearest!r}?" if error.nearest else ""
            hint = (
                "patterns are relative to the top of the repository; files that git ignores are not part of the source"
            )
            raise ConfigError(f"inputs: {error}{nearest}", where=step.at, hint=hint) from error
        return keys.source_layer(listing_digest(chosen), epoch=state.epoch_for(step.inputs))

    def _chosen(self, patterns: Patterns) -> tuple[Entry, ...]:
        with self._lock:
            if self._entries is None:
                self._entries = source.list_entries(self._snapshot)
        return self._entries if patterns is None else select(self._entries, patterns)


def read_listing(layers: Layers, layer: Digest) -> tuple[Entry, ...] | None:
    """Return the files of a source layer that an earlier run has made; None where it is gone."""
    try:
        return load_listing((layers.directory(layer) / _LISTING).read_bytes())
    except (OSError, ValueError):
        return None
