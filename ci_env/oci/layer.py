"""Applies an archive's entries as one layer in overlayfs's own format, laid over the layers below it.

The result depends on those layers: an entry below a symlink of theirs lands where it points, a directory that the
archive does not list keeps their metadata, a hard link may need a copy of their file. So a layer is kept under its
chain id, not under its diff id. Rules: image-spec layer.md "Applying Changesets"; docs/images.md has the cases.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from ci_env.errors import ConfigError
from ci_env.frozen import dataclass
from ci_env.oci.merged import Directory, MergedView
from ci_env.oci.metadata import Metadata, make_opaque, usable_xattrs
from ci_env.oci.tar import Archive, Entry
from ci_env.oci.tar_header import damaged, shown
from ci_env.oci.upper import NEW_FILE, Upper, join, make_opaque_at, writable

_WHITEOUT = b".wh."
_OPAQUE = b".wh..wh..opq"
_AUFS = b".wh..wh."
_COPY = 2**20
MAX_BYTES = 64 * 2**30
MAX_ENTRIES = 2_000_000


@dataclass(frozen=True, slots=True)
class Applied:
    entries: int
    size_bytes: int
    """content of the files written"""
    warnings: tuple[str, ...]


def apply(
    archive: Archive, destination: Path, lowers: Sequence[Path], *, squash_ids: bool, max_entries: int = MAX_ENTRIES
) -> Applied:
    """Write `archive` into the empty directory `destination`, as the layer on top of `lowers` (bottom first).

    Owners are kept, or all become the caller with `squash_ids`. ConfigError for an archive that is damaged or tries
    what no layer may; HostError or OSError for what this machine cannot hold. On failure `destination` holds a part of
    the layer: removing it is the caller's. Nothing outside `destination` is ever changed.
    """
    with MergedView(destination, lowers) as view:
        upper = Upper(view, squash_ids=squash_ids)
        writer = _Writer(archive, view, upper, max_entries=max_entries)
        for entry in archive:
            writer.put(entry)
        upper.finish()
    return Applied(writer.entries, writer.written_bytes + upper.copied_bytes, upper.warnings())


def extract(archive: Archive, view: MergedView, upper: Upper, top: bytes, owner: tuple[int, int] | None) -> None:
    """Write the files of a plain archive, which is no layer, below the directory at the real path `top`.

    All of them belong to `owner` if there is one. Raises as `apply`; `upper` is finished by the caller.
    """
    writer = _Writer(archive, view, upper, top=tuple(top.split(b"/")[1:]), owner=owner, is_layer=False)
    for entry in archive:
        writer.put(entry)


class _Writer:
    """Decides what each entry means for the layer."""

    def __init__(
        self,
        archive: Archive,
        view: MergedView,
        upper: Upper,
        *,
        top: tuple[bytes, ...] = (),
        owner: tuple[int, int] | None = None,
        is_layer: bool = True,
        max_entries: int = MAX_ENTRIES,
    ) -> None:
        self._archive = archive
        self._view = view
        self._upper = upper
        self._top = top
        self._owner = owner
        self._is_layer = is_layer
        self._max_entries = max_entries
        self.entries = 0
        self.written_bytes = 0

    def put(self, entry: Entry) -> None:
        self.entries += 1
        if self.entries > self._max_entries:
            raise ConfigError(f"the layer has more than {self._max_entries} entries")
        self._view.trim()
        names = _clean(entry.path)
        if not self._is_layer:
            self._put_plain(names, entry)
            return
        if any(name.startswith(_AUFS) and name != _OPAQUE for name in names):
            return  # bookkeeping of aufs, which nothing else reads
        if any(name.startswith(_WHITEOUT) for name in names[:-1]):
            raise damaged(f"{shown(entry.path)} lies below a whiteout")
        if not names:
            self._put_root(entry)
        elif names[-1] == _OPAQUE:
            self._hide_all(names[:-1])
        elif names[-1].startswith(_WHITEOUT):
            self._hide(names[:-1], names[-1].removeprefix(_WHITEOUT), entry)
        elif entry.kind == "hardlink":
            self._put_hardlink(names, entry)
        else:
            self._put_named(names, entry)

    def _put_plain(self, names: Sequence[bytes], entry: Entry) -> None:
        """Put an entry whose name has no second meaning; its archive's root is what the caller has made of it."""
        if not names:
            return
        if entry.kind == "hardlink":
            self._put_hardlink((*self._top, *names), entry)
        else:
            self._put_named((*self._top, *names), entry)

    def _put_root(self, entry: Entry) -> None:
        if entry.kind != "directory":
            raise damaged("its root is not a directory")
        self._upper.set_root(self._metadata(entry))

    def _put_named(self, names: Sequence[bytes], entry: Entry) -> None:
        metadata = self._metadata(entry)
        parent, name = self._upper.parent(names[:-1]), names[-1]
        if entry.kind == "directory":
            self._upper.make_directory(parent, name, metadata)
            return
        self._upper.make_room(parent, name)
        if entry.kind == "file":
            self._write_file(parent, name, entry, metadata)
        elif entry.kind == "symlink":
            self._upper.make_symlink(parent, name, entry.link, metadata)
        elif entry.kind == "fifo":
            self._upper.make_fifo(parent, name, metadata)
        else:
            self._put_device(parent, name, entry, metadata)

    def _write_file(self, parent: Directory, name: bytes, entry: Entry, metadata: Metadata) -> None:
        self.written_bytes += entry.size
        if self.written_bytes > MAX_BYTES:  # of sparse files: all others are limited by what is read
            raise ConfigError(f"the files of the layer are larger than {MAX_BYTES // 2**30} GiB")
        descriptor = os.open(name, NEW_FILE, 0o600, dir_fd=writable(parent))
        try:
            self._write_content(descriptor, entry.size)
            self._upper.set_file(descriptor, metadata)
        finally:
            os.close(descriptor)

    def _write_content(self, descriptor: int, size: int) -> None:
        """Write what the archive has; where it has a hole, the file gets one."""
        while True:
            hole = self._archive.skip_hole()
            if hole:
                os.lseek(descriptor, hole, os.SEEK_CUR)
            piece = self._archive.read(_COPY)
            if not piece:
                break
            while piece:
                piece = piece[os.write(descriptor, piece) :]
        if hole:  # at the end
            os.ftruncate(descriptor, size)

    def _put_device(self, parent: Directory, name: bytes, entry: Entry, metadata: Metadata) -> None:
        """Put an empty file where the archive has a device: a user namespace can make none, and a rootfs uses none.

        0:0 is what overlayfs takes for a whiteout, and no device at all.
        """
        if entry.device == (0, 0):
            raise damaged(f"{shown(entry.path)} is a device 0:0, which would hide files of lower layers")
        self._upper.warn("device nodes became empty files: a step has the devices of its own /dev only")
        os.close(os.open(name, NEW_FILE, 0o000, dir_fd=writable(parent)))
        self._upper.set_unopenable(parent, name, metadata)

    def _put_hardlink(self, names: Sequence[bytes], entry: Entry) -> None:
        """Link to a file of this layer, or to a copy of a lower layer's: overlayfs cannot link across layers."""
        directory, name = self._link_target(entry)
        target = join(directory, name)
        source = os.dup(writable(directory))
        try:
            parent = self._upper.parent(names[:-1])
            if join(parent, names[-1]) == target:
                raise damaged(f"{shown(entry.path)} is a hard link to itself")
            self._upper.make_room(parent, names[-1])
            os.link(name, names[-1], src_dir_fd=source, dst_dir_fd=writable(parent), follow_symlinks=False)
        except FileNotFoundError as error:  # the new name was a directory above the target
            raise damaged(f"{shown(entry.path)} replaces {shown(entry.link)}, which it is a hard link to") from error
        finally:
            os.close(source)

    def _link_target(self, entry: Entry) -> tuple[Directory, bytes]:
        """Return where a hard link's target lies, in this layer."""
        names = (*self._top, *_clean(entry.link))
        directory, left = self._view.resolve(names[:-1])
        found = directory.find(names[-1]) if names and not left else None
        if found is None or stat.S_ISDIR(found[1].st_mode):
            why = "does not exist" if names and found is None else "is a directory"
            raise damaged(f"{shown(entry.path)} is a hard link to {shown(entry.link)}, which {why}")
        if directory.upper_stat(names[-1]) is None:
            self._upper.copy_up(directory, names[-1])
        return directory, names[-1]

    def _hide(self, parents: Sequence[bytes], name: bytes, entry: Entry) -> None:
        """Hide what lower layers have at `name`. What this layer has there stays, whichever came first."""
        if name in (b"", b".", b".."):
            raise damaged(f"invalid whiteout {shown(entry.path)}")
        parent, left = self._view.resolve(parents)
        if not left:
            self._hide_name(parent, name)

    def _hide_name(self, parent: Directory, name: bytes) -> None:
        lower = parent.lower_find(name)
        if lower is None:
            return  # a whiteout over nothing would show in listings of the directory
        if parent.upper is not None:
            self._upper.drop_borrowed(parent.upper, name, join(parent, name))
        found = parent.upper_stat(name)
        if found is None:
            self._upper.copy_up_directory(parent)
            os.mknod(name, stat.S_IFCHR, os.makedev(0, 0), dir_fd=writable(parent))
        elif stat.S_ISDIR(found.st_mode) and stat.S_ISDIR(lower[1].st_mode):
            make_opaque_at(parent, name)
        self._view.forget(join(parent, name))

    def _hide_all(self, names: Sequence[bytes]) -> None:
        """Hide everything that lower layers have in a directory."""
        directory, left = self._view.resolve(names)
        if left or not directory.lowers:
            return
        if not directory.path:  # overlayfs does not look for the mark on the topmost directory
            for name in sorted(directory.lower_names()):
                self._hide_name(directory, name)
            return
        self._upper.copy_up_directory(directory)
        descriptor = writable(directory)
        for name in map(os.fsencode, os.listdir(descriptor)):
            self._upper.drop_borrowed(descriptor, name, join(directory, name))
        make_opaque(descriptor)
        self._view.forget(directory.path)

    def _metadata(self, entry: Entry) -> Metadata:
        uid, gid = self._owner or (entry.uid, entry.gid)
        self._upper.check_owner(uid, gid, entry.path)
        kept, left_out = usable_xattrs(entry.xattrs)
        for name in left_out:
            self._upper.warn(f"attribute {name} is left out: it belongs to the machine that the image was built on")
        if entry.is_redated:
            self._upper.warn("times before 1901 or after 2446 were moved to those years: filesystems cannot hold them")
        return Metadata(entry.mode, uid, gid, entry.mtime_ns, kept)


def _clean(path: bytes) -> tuple[bytes, ...]:
    """Return the names in an archive's path, `.` and `..` worked out lexically; `..` stays in the root."""
    names: list[bytes] = []
    for name in path.split(b"/"):
        if name == b"..":
            del names[-1:]
        elif name not in (b"", b"."):
            names.append(name)
    return tuple(names)
