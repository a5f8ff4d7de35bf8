"""Layers of images, sources and steps. Owns `layers/`; must not know what made them or how they are mounted.

A layer is a directory `layers/HEX/` with `root/` in overlayfs's format, for the host's image `host/NAME/` too, and its
marker (markers.py), written before the directory gets its name. Publishing is a rename, so its cost does not depend on
size. The marker counts for this boot only until `seal` has synced the filesystem.
"""

from __future__ import annotations

import errno
import functools
import itertools
from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ci_env.digest import Digest
from ci_env.errors import HostError, IntegrityError
from ci_env.files import explained, sync_directory, sync_filesystem
from ci_env.store import markers
from ci_env.store.blobs import Blobs
from ci_env.store.home import Store
from ci_env.store.locks import exclusive
from ci_env.store.markers import MARKER, Marker
from ci_env.store.removal import remove
from ci_env.store.uses import Uses, note_use

if TYPE_CHECKING:
    from ci_env.oci.pull import Stream
    from ci_env.oci.unpacking import AsOwner
    from ci_env.oci.verify import Reader

_TAKEN = {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}


class Layers:
    """Implements oci.pull.LayerPlace. Safe to use from several threads; other processes have objects of their own.

    Unfinished layers lie in `scratch`, which must be of this object alone; what is left there its owner removes.
    With `uses`, a layer that was looked for or made stays until those end.
    """

    def __init__(
        self,
        store: Store,
        scratch: Path,
        as_owner: AsOwner,
        is_owner_mapped: Callable[[], bool],
        uses: Uses | None = None,
    ) -> None:
        self._store = store
        self._scratch = scratch
        self._as_owner = as_owner
        self._is_owner_mapped = is_owner_mapped
        self._uses = uses
        self._blobs = Blobs(store, uses)
        self._numbers = itertools.count()
        self._unsealed: set[Digest] = set()
        self._reserved: set[Digest] = set()

    def directory(self, layer: Digest) -> Path:
        """Return where the layer is, or would be."""
        return self._store.layers / layer.hex

    def hold(self, layer: Digest) -> None:
        """Have the layer stay, if it is there. To be called for one that is named without being looked for."""
        if self._uses is not None:
            self._uses.hold(layer)

    def has(self, layer: Digest, *, even_doubtful: bool = False) -> bool:
        """Tell whether the layer is complete. One that another run has not sealed will be sealed with this one's.

        One that was on its way to a disk that failed is good enough to look for the reason of a failure, until the
        machine is restarted, and for nothing else: only with `even_doubtful` it counts.
        """
        self.hold(layer)
        found = self._marker(layer)
        if found is None:
            return False
        marker, last_use = found
        if marker.is_doubtful and not even_doubtful:
            return False
        if marker.boot is not None and not marker.is_doubtful:
            self._unsealed.add(layer)
        path = self.directory(layer) / MARKER
        with explained("write", path):
            note_use(path, last_use)
        return True

    def is_complete(self, layer: Digest) -> bool:
        """Tell the same without using the layer."""
        return markers.is_complete(self.directory(layer), boot=self._boot)

    def is_doubtful(self, layer: Digest) -> bool:
        """Tell whether the layer was on its way to a disk that failed."""
        found = self._marker(layer)
        return found is not None and found[0].is_doubtful

    def staging(self) -> Path:
        """Return a new layer directory in the scratch, with an empty `root` for the sandbox's `/`."""
        directory = self._scratch / f"layer-{next(self._numbers)}"
        with explained("make", directory):
            directory.mkdir(mode=0o700)
            (directory / "root").mkdir()
            (directory / "root").chmod(0o755)  # it is `/` inside, whatever our umask
        return directory

    def publish(self, staging: Path, layer: Digest) -> None:
        """Make the finished directory `staging` a layer, by rename; if the layer is there already, discard it."""
        self.hold(layer)
        markers.write(staging, Marker(1, self._boot))
        if not self._rename(staging, layer):
            with self._lock(layer):
                self._replace(staging, layer)
        self._unsealed.add(layer)

    def ensure(self, layer: Digest, fill: Callable[[Path], None]) -> None:
        """Have the layer: unless it is complete, `fill` the empty directory that is to be its `root`.

        Who finds another at work on it waits for him. What `fill` raises is passed on, and leaves nothing.
        """
        if self.has(layer):
            return
        with self._lock(layer):
            if not self.has(layer):
                with self._unfinished() as staging:
                    fill(staging / "root")
                    markers.write(staging, Marker(1, self._boot))
                    self._replace(staging, layer)
                self._unsealed.add(layer)

    @contextmanager
    def reserve(self, layer: Digest) -> Generator[bool]:
        """Keep others from beginning to unpack a layer that is missing. See LayerPlace."""
        with exclusive(self._lock_file(layer), wait=False) as is_free:
            is_ours = is_free and not self.has(layer)
            if is_ours:
                self._reserved.add(layer)
            try:
                yield is_ours
            finally:
                self._reserved.discard(layer)

    def unpack(self, layer: Digest, parents: tuple[Digest, ...], diff_id: Digest, stream: Stream) -> tuple[str, ...]:
        """Unpack a layer of an image; return warnings. Sealed when it returns. See LayerPlace."""
        with nullcontext() if layer in self._reserved else self._lock(layer):
            if self.has(layer):
                return ()
            with self._unfinished() as staging:
                with stream() as content:
                    warnings = self._unpack(staging / "root", parents, diff_id, content)
                self._sync()
                markers.write_sealed(staging)
                self._replace(staging, layer)
            with explained("write", self._store.layers):
                sync_directory(self._store.layers)
        return warnings

    def document(self, digest: Digest, fetch: Callable[[], bytes]) -> bytes:
        """Return a document of an image; one that is fetched is kept. See LayerPlace."""
        with exclusive(self._store.locks / f"blob-{digest.hex}.lock", wait=True):
            if self._blobs.has(digest):
                with suppress(IntegrityError):  # damaged, and dropped
                    return self._blobs.read(digest)
            content = fetch()
            self._blobs.put(content)
            return content

    def put_blob(self, content: bytes) -> Digest:
        """Keep a document of an image; return its digest."""
        return self._blobs.put(content)

    def seal(self) -> None:
        """Make all layers that were published or found durable, and with them whatever else the store was given.

        To be called once, at the end of a run. The markers themselves are not waited for: losing one costs its layer.
        """
        layers = frozenset(self._unsealed)
        if not layers:
            return
        self._unsealed.difference_update(layers)
        self._sync()
        for layer in layers:
            found = self._marker(layer)
            if found is not None and not found[0].is_doubtful:  # another run may have been told of a lost write
                markers.write(self.directory(layer), markers.SEALED)

    def _sync(self) -> None:
        """Have all that was written on disk.

        The kernel tells of a lost write once only (fsync(2)), and not whose it was. So when it does, no layer that
        anybody has published since the machine was started, and that was not sealed by then, ever will be.
        """
        try:
            with explained("sync", self._store.root):
                sync_filesystem(self._store.root)
        except HostError:
            self._doubt_unsealed()
            raise

    def _doubt_unsealed(self) -> None:
        """Have nobody rely on any layer that is not sealed, whoever has published it."""
        for path in sorted(self._store.layers.iterdir()):
            try:
                found = self._marker(Digest.parse(f"sha256:{path.name}"))
                if found is not None and found[0].boot is not None:
                    markers.write(path, Marker(1, self._boot, is_doubtful=True))
            except ValueError:
                pass  # no layer
            except HostError:
                with suppress(OSError):  # a disk that takes nothing loses the marker, too, at the latest with the boot
                    (path / MARKER).unlink()

    def drop(self, layer: Digest) -> None:
        """Remove a layer that is damaged, though a command may use it; there or not."""
        with self._lock(layer):
            self._clear(layer)

    def discard(self, directory: Path) -> None:
        """Remove a directory whose files may belong to any id; links in it are not followed."""
        remove(directory, self._as_owner)

    @functools.cached_property
    def _boot(self) -> str:
        return markers.boot_id()

    def _marker(self, layer: Digest) -> tuple[Marker, float] | None:
        return markers.read(self.directory(layer), boot=self._boot)

    @contextmanager
    def _lock(self, layer: Digest) -> Generator[None]:
        with exclusive(self._lock_file(layer), wait=True):
            yield

    def _lock_file(self, layer: Digest) -> Path:
        return self._store.locks / f"layer-{layer.hex}.lock"

    @contextmanager
    def _unfinished(self) -> Generator[Path]:
        staging = self.staging()
        try:
            yield staging
        except BaseException:
            self.discard(staging)
            raise

    def _unpack(self, root: Path, parents: tuple[Digest, ...], diff_id: Digest, stream: Reader) -> tuple[str, ...]:
        from ci_env.oci.unpacking import unpack

        lowers = [self.directory(parent) / "root" for parent in parents]
        squash = not self._is_owner_mapped()
        return unpack(self._as_owner, stream, root, lowers, diff_id, squash_ids=squash).warnings

    def _replace(self, staging: Path, layer: Digest) -> None:
        """Give `staging` its name in place of what is no layer. Holding the lock: others only rename to free names."""
        while not self._rename(staging, layer):
            if self.has(layer):
                self.discard(staging)
                return
            self._clear(layer)

    def _clear(self, layer: Digest) -> None:
        """Remove what has the layer's name. Holding the lock."""
        leftover = self._scratch / f"leftover-{next(self._numbers)}"
        with explained("replace", self.directory(layer)), suppress(FileNotFoundError):  # pruned meanwhile
            self.directory(layer).rename(leftover)
        self.discard(leftover)

    def _rename(self, staging: Path, layer: Digest) -> bool:
        """Return whether the name was free."""
        with explained("publish", self.directory(layer)):
            try:
                staging.rename(self.directory(layer))
            except OSError as error:
                if error.errno in _TAKEN:
                    return False
                raise
        return True
