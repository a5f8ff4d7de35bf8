"""The store and the runner, opened for one command and closed with it. Owns their order."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ci_env.cli.wiring import runner_factory
from ci_env.frozen import dataclass
from ci_env.ports import Runner, RunnerFactory
from ci_env.store.blobs import Blobs
from ci_env.store.caches import Caches
from ci_env.store.home import Store, locate, open_store
from ci_env.store.layers import Layers
from ci_env.store.scratch import reap, scratch
from ci_env.store.uses import Uses, using

if TYPE_CHECKING:
    from ci_env.capsules.shelf import Shelf
    from ci_env.events import Emit
    from ci_env.oci.platform import Platform
    from ci_env.resolve.images import ImageResolver, Wanted


@dataclass(frozen=True, slots=True)
class Opened:
    store: Store
    factory: RunnerFactory
    runner: Runner
    uses: Uses
    """what this command looks for or makes in the store: nobody removes it before the end"""
    layers: Layers
    blobs: Blobs
    caches: Caches
    scratch: Path
    """of this command alone"""

    def resolver(self, wanted: Wanted, platform: Platform | None, emit: Emit) -> ImageResolver:
        """Return what finds images, for `platform` or else for this machine."""
        from ci_env.resolve.images import ImageResolver
        from ci_env.resolve.machine import this_machine
        from ci_env.store.images import Images

        return ImageResolver(
            Images(self.store),
            self.layers,
            wanted,
            platform=platform or this_machine(),
            host_fingerprint=self.factory.host_fingerprint,
            scratch=self.scratch,
            emit=emit,
        )

    def shelf(self, emit: Emit) -> Shelf:
        """Return what capsules are packed from and brought into."""
        from ci_env.capsules.shelf import Shelf
        from ci_env.store.images import Images

        runner, images = self.runner, Images(self.store)
        return Shelf(self.layers, self.blobs, images, runner.as_owner, runner.is_owner_mapped, self.scratch, emit)


def this_store() -> Store:
    """Return the store of this user, made if it is not there."""
    return open_store(locate(os.environ, os.geteuid()))


@contextmanager
def opened() -> Generator[Opened]:
    """Open the store and a runner for it, and remove what a crash has left there."""
    store = this_store()
    factory = runner_factory()
    with factory.open(store.root) as runner, using(store) as uses:

        def discard(directory: Path) -> None:
            from ci_env.store.removal import remove

            remove(directory, runner.as_owner)

        reap(store, discard)
        with scratch(store, f"{os.getpid()}-{os.urandom(6).hex()}", discard) as space:
            layers = Layers(store, space, runner.as_owner, runner.is_owner_mapped, uses)
            yield Opened(
                store=store,
                factory=factory,
                runner=runner,
                uses=uses,
                layers=layers,
                blobs=Blobs(store, uses),
                caches=Caches(store, uses),
                scratch=space,
            )
