"""The layers that the steps of a replay see: recorded ones, and above or in place of them what this replay has made.

Owns those that were made; they are gone with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from ci_env.digest import Digest, key
from ci_env.ports import Runner
from ci_env.replay.choice import Chosen
from ci_env.store.layers import Layers

if TYPE_CHECKING:
    from typing import Self

    from ci_env.replay.edit import Edit


class State:
    """A context manager. Asked for each step in turn, and given what it has left."""

    def __init__(self, layers: Layers, runner: Runner, edit: Edit | None) -> None:
        self._layers = layers
        self._runner = runner
        self._edit = edit
        self._instead: dict[Digest, tuple[Digest, ...]] = {}
        """what stands for the recorded layer of a step that has run"""
        self._made: list[Digest] = []
        self._last: Digest | None = None
        """the recorded layer of the step that has run last"""
        self._edited: tuple[Digest, ...] = ()
        """what was edited of the sources that were laid for the step at hand"""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        for layer in self._made:
            self._layers.drop(layer)

    def before(self, chosen: Chosen) -> tuple[Digest, ...]:
        """Return the layers that the step is to see, bottom first."""
        return (*self._put(chosen.record.before), *self._edited_of(chosen.record.before))

    def leave(self, chosen: Chosen, staging: Path) -> None:
        """Have later steps see the layer directory `staging` in place of what the step has left then."""
        assert chosen.record.after is not None, "only steps that ran are chosen"
        own = chosen.record.after[-1]
        self._instead[own] = (*self._edited, self._publish(staging))
        self._last = own

    def _put(self, recorded: Sequence[Digest]) -> tuple[Digest, ...]:
        return tuple(new for layer in recorded for new in self._instead.get(layer, (layer,)))

    def _edited_of(self, recorded: tuple[Digest, ...]) -> tuple[Digest, ...]:
        """Return a layer with what was edited of the sources that lie above what the last step has left, if anything.

        Of those below it that was laid before, and it is that step's to say what has become of it.
        """
        self._edited = ()
        if self._edit is None:
            return ()
        new = recorded if self._last is None else recorded[recorded.index(self._last) + 1 :]
        difference = self._edit.difference(new)
        if difference:
            staging = self._layers.staging()
            self._edit.make_layer(difference, staging, self._put(recorded), self._runner)
            self._edited = (self._publish(staging),)
        return self._edited

    def _publish(self, staging: Path) -> Digest:
        layer = key("layer-of-replay", {"scratch": staging.parent.name, "name": staging.name})
        self._layers.publish(staging, layer)
        self._made.append(layer)
        return layer
