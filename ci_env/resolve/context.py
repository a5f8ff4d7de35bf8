"""The context of a build: the files that COPY may take, those that one takes as a layer.

Only what a COPY names is read, so a change elsewhere makes no step run again. Modes are kept; owners are root and times
are fixed (plan.FIXED_EPOCH), so that the same files give the same image wherever and whenever they were checked out.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from ci_env.digest import Digest
from ci_env.errors import ConfigError
from ci_env.events import Emit
from ci_env.files import explained
from ci_env.oci.wildcard import expand
from ci_env.plan import keys
from ci_env.plan.explain import FileChange, Node, changed_nodes
from ci_env.plan.plan import FIXED_EPOCH, SourceLayer
from ci_env.resolve import reading
from ci_env.resolve.reading import and_parents, pieces
from ci_env.store.layers import Layers

_LISTING = "listing"
_MAX_LINKS = 255


class Context:
    """The files below a directory. Implements wildcard.Tree; safe to use from several threads once all is chosen."""

    def __init__(
        self, root: Path, ignoring: reading.Ignoring | None, layers: Layers, emit: Emit, *, left_out: Path
    ) -> None:
        """Look at what is below `root`, but not below `left_out`; ConfigError where `root` cannot be read."""
        self._root = os.fsencode(root)
        self._layers = layers
        self._digests: dict[bytes, str] = {}
        self._chosen: dict[Digest, tuple[bytes, ...]] = {}
        self._nodes = dict(reading.walk(self._root, ignoring, emit, left_out=left_out))
        self._names: dict[bytes, list[bytes]] = {}
        for path in self._nodes:
            parent, _, name = path.rpartition(b"/")
            self._names.setdefault(parent, []).append(name)

    def follow(self, path: bytes) -> bytes | None:
        """Return the real path that `path` leads to; None: nothing is there."""
        return self._trace(path)[0]

    def names(self, path: bytes) -> Iterable[bytes]:
        """Return the names in a directory; ConfigError where it cannot be read."""
        self._check_readable(path)
        return self._names.get(path, ())

    def _check_readable(self, path: bytes) -> None:
        node = self._nodes.get(path)
        if node is not None and node.trouble is not None:
            raise reading.cannot_read(node.trouble, self._root) from node.trouble

    def choose(self, sources: Sequence[str], *, at: str) -> SourceLayer:
        """Return the layer of what `sources` name, and all below it. ConfigError for one that is not there, `at` it."""
        paths: set[bytes] = set()
        for source in sources:
            paths.update(self._choose(source, at))
        chosen = tuple(sorted(paths))
        layer = keys.context_layer(Digest.of(self._listing(chosen)), epoch=FIXED_EPOCH)
        self._chosen[layer] = chosen
        return SourceLayer(layer, tuple(sources))

    def chosen(self) -> tuple[Digest, ...]:
        """Return the layers that were chosen, each once."""
        return tuple(self._chosen)

    def have(self, layer: SourceLayer) -> None:
        """Make sure that a layer that was chosen is in the store, and beside it the listing of its files."""

        def fill(root: Path) -> None:
            with explained("write", root):
                self._lay(os.fsencode(root), self._chosen[layer.layer])
                root.with_name(_LISTING).write_bytes(self._listing(self._chosen[layer.layer]))

        self._layers.ensure(layer.layer, fill)

    def changes(self, old: Digest, new: Digest) -> tuple[FileChange, ...] | None:
        """Return how two layers differ that were chosen, now or in an earlier build; None where one is gone."""
        was, now = self._files(old), self._files(new)
        return None if was is None or now is None else changed_nodes(was, now)

    def _files(self, layer: Digest) -> Mapping[str, Node] | None:
        chosen = self._chosen.get(layer)
        try:
            listing = self._listing(chosen) if chosen else (self._layers.directory(layer) / _LISTING).read_bytes()
            return dict(_read_listing(listing))
        except (OSError, ValueError):
            return None

    def _listing(self, paths: Sequence[bytes]) -> bytes:
        return b"".join(b"%o %s %s\0" % (self._nodes[path].mode, self._content(path), path) for path in paths)

    def _choose(self, source: str, at: str) -> Iterator[bytes]:
        try:
            found = expand(self, source)
        except ValueError as error:
            raise ConfigError(f"{at}: {error}") from error
        for path in found if found is not None else (source.encode(),):
            real, links = self._trace(path)
            if found is None or real is None:
                hint = "sources are relative to the build's context; `.dockerignore` may leave them out"
                raise ConfigError(f"{at}: there is no {source!r} in {os.fsdecode(self._root)}", hint=hint)
            for needed in (*links, *self._below(real)):
                yield from and_parents(needed)

    def _below(self, path: bytes) -> Iterator[bytes]:
        pending = [path]
        while pending:
            path = pending.pop()
            if path:
                yield path
            pending.extend(path + b"/" + name for name in self.names(path))

    def _trace(self, path: bytes) -> tuple[bytes | None, tuple[bytes, ...]]:
        """Return the real path that `path` leads to, and the symlinks that lead there."""
        at, left, links = b"", path.split(b"/")[::-1], list[bytes]()
        while left:
            name = left.pop()
            if name == b"..":
                at = at.rpartition(b"/")[0]
            elif name not in (b"", b"."):
                at += b"/" + name
                self._check_readable(at.rpartition(b"/")[0])
                node = self._nodes.get(at)
                if node is None or len(links) > _MAX_LINKS:
                    return None, tuple(links)
                if stat.S_ISLNK(node.mode):
                    links.append(at)
                    at = b"" if node.link.startswith(b"/") else at.rpartition(b"/")[0]
                    left.extend(reversed(node.link.split(b"/")))
        return at, tuple(links)

    def _content(self, path: bytes) -> bytes:
        """Return what tells a file's content from any other; nothing for a directory."""
        node = self._nodes[path]
        if stat.S_ISLNK(node.mode):
            return hashlib.sha256(node.link).hexdigest().encode()
        if not stat.S_ISREG(node.mode):
            return b""
        if path not in self._digests:
            digest = hashlib.sha256()
            for piece in pieces(self._root, path):
                digest.update(piece)
            self._digests[path] = digest.hexdigest()
        return self._digests[path].encode()

    def _lay(self, root: bytes, paths: Sequence[bytes]) -> None:
        """Make the files below `root`, as they were when they were chosen; ConfigError if one has changed since."""
        directories = [path for path in paths if stat.S_ISDIR(self._nodes[path].mode)]
        for path in directories:
            os.mkdir(root + path, 0o700)
        for path in paths:
            node = self._nodes[path]
            if stat.S_ISLNK(node.mode):
                os.symlink(node.link, root + path)
                os.utime(root + path, (FIXED_EPOCH, FIXED_EPOCH), follow_symlinks=False)
            elif stat.S_ISREG(node.mode):
                self._lay_file(root + path, path, node)
        for path in reversed(directories):
            os.chmod(root + path, stat.S_IMODE(self._nodes[path].mode))
            os.utime(root + path, (FIXED_EPOCH, FIXED_EPOCH))
        os.chmod(root, 0o755)  # noqa: S103  # `/` in a layer; the store around it is closed to others
        os.utime(root, (FIXED_EPOCH, FIXED_EPOCH))

    def _lay_file(self, target: bytes, path: bytes, node: reading.Found) -> None:
        digest = hashlib.sha256()
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb", buffering=0) as file:
            for piece in pieces(self._root, path):
                digest.update(piece)
                left = memoryview(piece)
                while left:
                    left = left[file.write(left) :]
            os.fchmod(descriptor, stat.S_IMODE(node.mode))
            os.utime(descriptor, (FIXED_EPOCH, FIXED_EPOCH))
        if digest.hexdigest() != self._digests[path]:
            raise reading.changed(os.fsdecode(self._root + path))


def _read_listing(listing: bytes) -> Iterator[tuple[str, Node]]:
    """Yield the files of a listing by their paths in the context."""
    for line in listing.split(b"\0")[:-1]:
        mode, content, path = line.split(b" ", 2)
        yield os.fsdecode(path[1:]), Node(int(mode, 8), content.decode("ascii"))
