"""Copies files of one stack of layers over another one, by the rules of docker's COPY and ADD.

Rules: docs/images.md "Building from a Dockerfile", which are those of BuildKit (fsutil's copy.go). Nothing outside of
the layer being written is ever changed, and nothing outside of the layers read: merged.py resolves every name.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from ci_env.errors import ConfigError
from ci_env.frozen import replace
from ci_env.oci import layer
from ci_env.oci.archive import plain_archive
from ci_env.oci.merged import Directory, MergedView
from ci_env.oci.metadata import Metadata, read_metadata
from ci_env.oci.order import NewFile, Order
from ci_env.oci.origin import Origin
from ci_env.oci.owner import find_owner
from ci_env.oci.tar import Archive
from ci_env.oci.tar_header import shown
from ci_env.oci.upper import NEW_FILE, Upper, join, writable
from ci_env.oci.wildcard import expand, split

_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_SECOND_NS = 10**9
_FILE_MODE = 0o644
_DIRECTORY_MODE = 0o755
_MAX_ACCOUNTS_BYTES = 2**24
_MAX_NAME_BYTES = 255


def carry_out(order: Order) -> tuple[str, ...]:
    """Do what is ordered; return warnings.

    ConfigError for what the order or the images' files do not allow, HostError or OSError for what this machine does
    not: then the upper directory holds a part of the result.
    """
    lowers = [Path(path) for path in order.lowers]
    with Origin([Path(path) for path in order.origin]) as origin, MergedView(Path(order.upper), lowers) as view:
        upper = Upper(view, squash_ids=order.squash_ids)
        copier = _Copier(order, origin, view, upper)
        copier.copy()
        upper.finish()
        return (*copier.warnings, *upper.warnings())


class _Copier:
    def __init__(self, order: Order, origin: Origin, view: MergedView, upper: Upper) -> None:
        self._order = order
        self._origin = origin
        self._view = view
        self._upper = upper
        self._owner = None if order.chown is None else self._find_owner(order.chown)
        self._names = [os.fsencode(name) for name in split(order.destination)]
        for name in self._names:
            if len(name) > _MAX_NAME_BYTES:
                raise ConfigError(f"a name is longer than {_MAX_NAME_BYTES} bytes: {shown(b'/' + name[:64])}...")
        several = len(order.sources) + len(order.files) > 1
        self._is_directory = order.destination.endswith("/") or several or not self._names
        self._links: dict[tuple[int, int], tuple[bytes, bytes]] = {}
        """where files with several names have been copied to: directory and name"""
        self.warnings: dict[str, None] = {}

    def copy(self) -> None:
        if not self._order.sources and not self._order.files:
            self._make(self._names)
        for source in self._order.sources:
            self._copy_source(source)
        for file in self._order.files:
            self._write_file(file)

    def _copy_source(self, source: str) -> None:
        try:
            paths = expand(self._origin, source)
        except ValueError as error:
            raise ConfigError(str(error)) from error
        if paths is None:
            raise ConfigError(f"there is no {source!r} to copy")
        for path in paths:
            real = self._origin.follow(path)
            if real is None:
                raise ConfigError(f"{shown(path)} is a symlink to what is not there")
            self._links.clear()
            if self._origin.is_directory(real):
                self._copy_tree(real, self._make(self._names).path)
            elif not (self._order.is_unpacking and self._unpack(real, path)):
                parent, name = self._place(path.rpartition(b"/")[2])
                self._copy_name(real, parent, name)

    def _place(self, name: bytes) -> tuple[Directory, bytes]:
        """Return where a single file goes: into the destination if it is a directory, or else by that very name."""
        self._view.trim()
        if self._is_directory:
            return self._make(self._names), name
        at, left = self._view.resolve(self._names)
        if not left:
            return at, name
        return self._make(left[:-1], start=at), left[-1]

    def _make(self, names: Sequence[bytes], *, start: Directory | None = None) -> Directory:
        """Return the directory that `names` lead to, made where there is none. What is there already stays as it is."""
        at, left = self._view.resolve(names, start=start)
        while left:
            if left[0] == b".." or at.find(left[0]) is not None:
                raise ConfigError(f"{shown(join(at, left[0]))} in the image is no directory")
            self._upper.make_directory(at, left[0], self._new(_DIRECTORY_MODE))
            at, left = self._view.resolve(left[1:], start=self._view.directory(join(at, left[0])))
        return at

    def _copy_tree(self, source: bytes, target: bytes) -> None:
        """Copy all that is in one directory into another one, both by their real paths."""
        pending = [(source, target)]
        while pending:
            source, target = pending.pop()
            for name in sorted(self._origin.names(source)):
                path = source + b"/" + name
                self._view.trim()
                directory = self._view.directory(target)
                found = self._origin.find(path)
                if found is None:
                    continue  # a whiteout
                if stat.S_ISDIR(found[2].st_mode):
                    self._copy_directory(path, directory, name)
                    pending.append((path, target + b"/" + name))
                else:
                    self._copy_name(path, directory, name)

    def _copy_directory(self, path: bytes, parent: Directory, name: bytes) -> None:
        """Have a directory with the metadata of its source; one that is there gets them, too."""
        there = parent.find(name)
        if there is not None and not stat.S_ISDIR(there[1].st_mode):
            raise ConfigError(f"{shown(join(parent, name))} in the image is no directory, but {shown(path)} is one")
        metadata = self._given(read_metadata(self._origin.open_directory(path)), path)
        self._upper.make_directory(parent, name, metadata)

    def _copy_name(self, path: bytes, parent: Directory, name: bytes) -> None:
        """Copy what is no directory."""
        found = self._origin.find(path)
        assert found is not None, "it was there a moment ago, and nothing writes to layers"
        self._make_room(parent, name)
        directory, own_name, facts = found
        metadata = self._given(
            Metadata(stat.S_IMODE(facts.st_mode), facts.st_uid, facts.st_gid, facts.st_mtime_ns, {}), path
        )
        if stat.S_ISREG(facts.st_mode):
            self._copy_file(directory, own_name, facts, parent, name)
        elif stat.S_ISLNK(facts.st_mode):
            self._upper.make_symlink(parent, name, os.readlink(own_name, dir_fd=directory), metadata)
        elif stat.S_ISFIFO(facts.st_mode):
            self._upper.make_fifo(parent, name, metadata)
        else:
            self.warnings[f"{shown(path)} is neither file, directory nor link, and is left out"] = None

    def _copy_file(
        self, directory: int, own_name: bytes, facts: os.stat_result, parent: Directory, name: bytes
    ) -> None:
        identity = facts.st_dev, facts.st_ino
        known = self._links.get(identity) if facts.st_nlink > 1 else None
        if known is not None:
            first = writable(self._view.directory(known[0]))
            os.link(known[1], name, src_dir_fd=first, dst_dir_fd=writable(parent), follow_symlinks=False)
            return
        source = os.open(own_name, _OPEN, dir_fd=directory)
        try:
            metadata = self._given(read_metadata(source), join(parent, name))
            target = os.open(name, NEW_FILE, 0o600, dir_fd=writable(parent))
            try:
                while os.sendfile(target, source, None, 2**30):
                    pass
                self._upper.set_file(target, metadata)
            finally:
                os.close(target)
        finally:
            os.close(source)
        if facts.st_nlink > 1:
            self._links[identity] = parent.path, name

    def _write_file(self, file: NewFile) -> None:
        if split(file.name) != [file.name]:
            raise ConfigError(f"{file.name!r} is no name for a file")
        parent, name = self._place(os.fsencode(file.name))
        self._make_room(parent, name)
        target = os.open(name, NEW_FILE, 0o600, dir_fd=writable(parent))
        with open(target, "wb", buffering=0) as opened:
            content = memoryview(file.text.encode("utf-8", "surrogateescape"))
            while content:
                content = content[opened.write(content) :]
            self._upper.set_file(opened.fileno(), self._given(self._new(_FILE_MODE), os.fsencode(file.name)))

    def _unpack(self, real: bytes, path: bytes) -> bool:
        """Unpack a file into the destination if it is an archive; return whether it is."""
        found = self._origin.find(real)
        assert found is not None, "it was there a moment ago, and nothing writes to layers"
        directory, name, facts = found
        if not stat.S_ISREG(facts.st_mode):
            return False
        with open(os.open(name, _OPEN, dir_fd=directory), "rb", buffering=0) as file:
            try:
                pieces = plain_archive(file)
                if pieces is None:
                    return False
                top = self._make(self._names)
                self._upper.copy_up_directory(top)
                layer.extract(Archive(pieces), self._view, self._upper, top.path, self._owner)
            except ConfigError as error:
                raise ConfigError(f"cannot unpack {shown(path)}: {error.message}") from error
        return True

    def _make_room(self, parent: Directory, name: bytes) -> None:
        """Take away what is in the way of something that is no directory; ConfigError for a directory."""
        there = parent.find(name)
        if there is not None and stat.S_ISDIR(there[1].st_mode):
            raise ConfigError(f"{shown(join(parent, name))} in the image is a directory, which no file can replace")
        self._upper.copy_up_directory(parent)
        if parent.upper_stat(name) is not None:
            os.unlink(name, dir_fd=writable(parent))

    def _given(self, metadata: Metadata, path: bytes) -> Metadata:
        """Return the metadata that a copy gets."""
        if self._owner is not None:
            metadata = replace(metadata, uid=self._owner[0], gid=self._owner[1])
        if self._order.chmod is not None:
            metadata = replace(metadata, mode=self._order.chmod)
        self._upper.check_owner(metadata.uid, metadata.gid, path)
        return metadata

    def _new(self, mode: int) -> Metadata:
        uid, gid = self._owner or (0, 0)
        self._upper.check_owner(uid, gid, b"a file")
        return Metadata(mode, uid, gid, self._order.epoch * _SECOND_NS, {})

    def _find_owner(self, chown: str) -> tuple[int, int]:
        return find_owner(chown, self._read(b"etc/passwd"), self._read(b"etc/group"))

    def _read(self, path: bytes) -> bytes:
        """Return the content of a file of the image that is written to; nothing if it is not there."""
        at, left = self._view.resolve(path.split(b"/"))
        found = at.find(left[0]) if len(left) == 1 else None
        if found is None or not stat.S_ISREG(found[1].st_mode):
            return b""
        with open(os.open(left[0], _OPEN, dir_fd=found[0]), "rb") as file:
            return file.read(_MAX_ACCOUNTS_BYTES)
