"""Owner, mode, time and extended attributes of files in a layer: what is taken from an image, and how it is set.

Works on open descriptors, or on a name in an open directory for what cannot be opened; never follows a symlink.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping

from ci_env.errors import ConfigError, HostError
from ci_env.frozen import dataclass
from ci_env.oci.tar_header import shown

OPAQUE = b"user.overlay.opaque"

_OVERLAY = b"user.overlay."
_ESCAPED = b"user.overlay.overlay."
_CAPABILITY = b"security.capability"
_CAPABILITY_V2_SIZE = 20  # capability.h: struct vfs_cap_data; version 3 has the namespace's root id after it
_KEPT = (b"user.", _CAPABILITY)
_MAPPED_IDS = 65536  # what a rootfs can hold, as root and with the usual subordinate ids alike
_TOLERATED = {
    errno.EPERM: "this user may not set it",
    errno.ENOTSUP: "the filesystem cannot hold it",
    errno.ENOSPC: "it is too large for the filesystem",
    errno.E2BIG: "it is too large",
    errno.ERANGE: "it is too large",
    errno.EINVAL: "the kernel refuses its value",
}


@dataclass(frozen=True, slots=True)
class Metadata:
    mode: int
    """permission bits"""
    uid: int
    gid: int
    mtime_ns: int
    xattrs: Mapping[bytes, bytes]


MISSING_PARENT = Metadata(mode=0o755, uid=0, gid=0, mtime_ns=0, xattrs={})
"""Of a directory that an archive uses but no layer has."""


def usable_xattrs(xattrs: Mapping[bytes, bytes]) -> tuple[dict[bytes, bytes], tuple[str, ...]]:
    """Return the attributes to keep, and the names of those left out.

    `user.overlay.*` would steer the overlay that joins the layers (an image could hide files of another layer);
    `trusted.*`, `system.*` and other `security.*` belong to the machine that the image was built on.
    """
    kept = {name: value for name, value in xattrs.items() if _is_kept(name)}
    return kept, tuple(shown(name) for name in xattrs if name not in kept)


def read_metadata(descriptor: int) -> Metadata:
    """Return what is known of an open file or directory, without the overlay's own attributes."""
    found = os.fstat(descriptor)
    names = [name for name in map(os.fsencode, _names(descriptor)) if _is_kept(name)]
    kept = {name: os.getxattr(descriptor, name) for name in names}
    return Metadata(stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid, found.st_mtime_ns, kept)


def packed_xattrs(descriptor: int) -> dict[bytes, bytes]:
    """Return the attributes that an archive of an open file or directory is to have: those a process in it would see.

    The overlay's own are left out, and those it has escaped are as they were set (overlayfs.rst, "Nesting overlayfs
    mounts"). Capabilities are without the user namespace that they were set in (capabilities(7), version 3 to 2).
    """
    kept = dict(read_metadata(descriptor).xattrs)
    for name in map(os.fsencode, _names(descriptor)):
        if name.startswith(_ESCAPED):
            kept[_OVERLAY + name.removeprefix(_ESCAPED)] = os.getxattr(descriptor, name)
    capability = kept.get(_CAPABILITY, b"")
    if len(capability) > _CAPABILITY_V2_SIZE and capability[3] == 3:
        kept[_CAPABILITY] = capability[:3] + b"\x02" + capability[4:_CAPABILITY_V2_SIZE]
    return kept


class Owners:
    """Gives files to their owners."""

    def __init__(self, *, squash: bool) -> None:
        self._squash = squash

    def check(self, uid: int, gid: int, path: bytes) -> None:
        """ConfigError for an owner that no rootfs of ours can hold, whoever runs."""
        if not self._squash and max(uid, gid) >= _MAPPED_IDS:
            raise ConfigError(
                f"{shown(path)} in the image belongs to {uid}:{gid}, but a rootfs holds the ids 0 to {_MAPPED_IDS - 1}",
                hint="build the image so that its files belong to smaller user and group ids",
            )

    def give(self, target: int | bytes, metadata: Metadata, *, directory: int | None = None) -> None:
        """Set the owner of an open file, or of the name `target` in `directory`."""
        if self._squash:
            return
        try:
            if isinstance(target, int):
                os.chown(target, metadata.uid, metadata.gid)
            else:
                os.chown(target, metadata.uid, metadata.gid, dir_fd=directory, follow_symlinks=False)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EPERM):
                raise
            raise HostError(
                f"the image has files of {metadata.uid}:{metadata.gid}, an owner that this user cannot give to files",
                hint="give this user 65536 subordinate ids in /etc/subuid and /etc/subgid; see `ci-env doctor`",
            ) from error


def replace_xattrs(descriptor: int, wanted: Mapping[bytes, bytes]) -> tuple[str, ...]:
    """Make `wanted` the attributes of an open file, the overlay's own aside; return why some could not be set.

    To be called after the owner is set (chown removes capabilities) and before the mode is (it may take away the right
    to write).
    """
    for name in map(os.fsencode, _names(descriptor)):
        if _is_kept(name) and name not in wanted:
            os.removexattr(descriptor, name)
    return tuple(problem for name, value in wanted.items() if (problem := _set(descriptor, name, value)))


def _set(descriptor: int, name: bytes, value: bytes) -> str | None:
    try:
        os.setxattr(descriptor, name, value)
    except OSError as error:
        if error.errno not in _TOLERATED:
            raise
        return f"attribute {shown(name)} is left out: {_TOLERATED[error.errno]}"
    return None


def is_opaque(descriptor: int) -> bool:
    """Tell whether an open directory hides what lower layers have at its place."""
    try:
        return os.getxattr(descriptor, OPAQUE) == b"y"
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.ENOTSUP):
            return False
        raise


def make_opaque(descriptor: int) -> None:
    """Hide what lower layers have at the place of an open directory."""
    try:
        os.setxattr(descriptor, OPAQUE, b"y")
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise
        raise HostError(
            "the store's filesystem cannot hold user extended attributes, which layers need",
            hint="point CI_ENV_HOME at ext4, xfs or btrfs (tmpfs can since Linux 6.6)",
        ) from error


def clear_opaque(descriptor: int) -> None:
    """Take the mark from an open directory, if it has one."""
    if is_opaque(descriptor):
        os.removexattr(descriptor, OPAQUE)


def is_whiteout(found: os.stat_result) -> bool:
    """Tell whether a file of a layer says "not there" (overlayfs.rst, "whiteouts and opaque directories")."""
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0


def _is_kept(name: bytes) -> bool:
    return name.startswith(_KEPT) and not name.startswith(_OVERLAY)


def _names(descriptor: int) -> list[str]:
    try:
        return os.listxattr(descriptor)
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            return []
        raise
