"""Looks into the layers and logs of two runs, for diff.py. Runs programs of ours only, under the owners' ids."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import cast

from ci_env.digest import Digest
from ci_env.execute.programs import layer_changes
from ci_env.execute.programs import packages as list_packages
from ci_env.ports import Runner
from ci_env.replay.difference import Changes, How, Item
from ci_env.store.blobs import Blobs
from ci_env.store.layers import Layers


class StoreLook:
    """Implements diff.Look with a store. `odd` gathers what in layers could not be read."""

    def __init__(self, runner: Runner, layers: Layers, blobs: Blobs) -> None:
        self._runner = runner
        self._layers = layers
        self._blobs = blobs
        self.odd: list[str] = []

    def packages(self, layers: Sequence[Digest]) -> Mapping[str, str] | None:
        """Return the packages: `MANAGER NAME`, and where one is there twice, with the directory."""
        if not self._has(layers):
            return None
        found, odd = list_packages(self._runner, [self._layers.directory(layer) / "root" for layer in layers])
        self.odd += odd
        times = Counter((manager, name) for manager, name, _, _ in found)
        return {
            f"{manager} {name}{f' in {place}' if times[manager, name] > 1 and place else ''}": version
            for manager, name, version, place in found
        }

    def changes(self, old: Digest, new: Digest) -> Changes | None:
        """Return how the files of two layers differ."""
        if not self._has((old, new)):
            return None
        changes, count = layer_changes(self._runner, self._layers.directory(old), self._layers.directory(new))
        return tuple(Item(path, cast("How", how)) for path, how in changes), count

    def output(self, digest: Digest) -> Sequence[str] | None:
        """Return the lines of a log."""
        if not self._blobs.has(digest):
            return None
        return self._blobs.read(digest).decode(errors="replace").split("\n")

    def _has(self, layers: Sequence[Digest]) -> bool:
        return all(self._layers.has(layer, even_doubtful=True) for layer in layers)
