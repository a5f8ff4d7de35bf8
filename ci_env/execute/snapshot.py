"""The stack of layers that a job has got to, some of them named only: made when a step must really run.

A run that finds everything cached never makes them. Owns no layer.
"""

from __future__ import annotations

from collections.abc import Callable

from ci_env.digest import Digest
from ci_env.frozen import dataclass, replace


@dataclass(frozen=True, slots=True)
class Snapshot:
    layers: tuple[Digest, ...]
    """bottom first"""
    makers: tuple[Callable[[], None], ...] = ()
    """make sure that layers are there, in their order"""

    def on_top(self, layer: Digest, make: Callable[[], None] | None = None) -> Snapshot:
        """Return this with one more layer, which `make` makes if it is not there.

        A layer that is there already moves up, since overlayfs refuses to take one twice (ELOOP). Only a source layer
        can come again: it has files and no whiteouts, so that on top it hides all that it gave below.
        """
        makers = self.makers if make is None else (*self.makers, make)
        below = tuple(known for known in self.layers if known != layer)
        return replace(self, layers=(*below, layer), makers=makers)

    def make(self) -> Snapshot:
        """Have all layers; return the same without anything left to make."""
        for make in self.makers:
            make()
        return replace(self, makers=())
