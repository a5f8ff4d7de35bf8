"""The program that packs layers: `python -I -m ci_env.oci.pack DIR [PART [DIR PART]...]`, DIR a layer directory of the
store.

PART, `root` or `host/NAME`, is the only one of its directories to be packed, as if it were the whole layer; if it is
empty or left out, all are. A program of its own because it runs under the ids that layers are owned by
(ports.Runner.as_owner). An archive depends on the layer alone: entries are sorted, and each file comes at the first of
its names. Reads values that no archive may hold from stdin, each after its length in 4 bytes, big-endian. Writes, for
each archive, its pieces to stdout in the same form; then length 0 and one line of JSON: `warnings` and `redacted`, how
many files had such a value; or `error` with `kind` (`config` or `host`), `message` and `hint`: then what came before is
no archive, and none comes after. packing.py is the other end.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import stat
import struct
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ci_env.errors import CiEnvError, ConfigError, HostError
from ci_env.files import explained
from ci_env.frozen import dataclass, replace
from ci_env.mask import Mask
from ci_env.oci.metadata import is_opaque, is_whiteout, packed_xattrs
from ci_env.oci.tar import Entry, Kind
from ci_env.oci.tar_header import shown
from ci_env.oci.tar_write import END, header, padding

_WHITEOUT = b".wh."
_OPAQUE = b".wh..wh..opq"
_PIECE = 2**20
_LENGTH = struct.Struct(">I")
_NOTHING: Mapping[bytes, Path] = {}
_MAX_PATH_BYTES = 4096  # as in what we read
_OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_OPEN_DIRECTORY = _OPEN_FILE | os.O_DIRECTORY
_HINT = "nothing but ci-env may write to its store; see that nothing does, and try again"
_KINDS: dict[int, Kind] = {
    stat.S_IFREG: "file",
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo",
    stat.S_IFCHR: "character",
    stat.S_IFBLK: "block",
}


def main(argv: Sequence[str]) -> int:
    """Pack what the arguments name to stdout; return the exit status."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C reaches us too; who started us tells of it
    names = argv if len(argv) > 1 else [*argv, ""]
    _allow_deep_directories()
    pieces, secrets = _Pieces(1), _secrets()
    try:
        for layer, part in zip(names[::2], names[1::2], strict=True):
            answer = _answer(Path(layer), part or None, pieces, secrets)
            os.write(1, _LENGTH.pack(0) + json.dumps(answer).encode() + b"\n")
            if "error" in answer:
                return 1
    except BrokenPipeError:
        return 1  # nobody wants it any more
    return 0


def _answer(layer: Path, part: str | None, pieces: _Pieces, secrets: Sequence[bytes]) -> dict[str, object]:
    """Pack one layer, and return what is to be said of it."""
    try:
        with explained("pack the layer", layer):
            found = pack(layer, pieces.put, part=part, secrets=secrets)
        pieces.flush()
    except CiEnvError as error:
        if isinstance(error.__cause__, BrokenPipeError):
            raise error.__cause__ from None
        kind = "config" if isinstance(error, ConfigError) else "host"
        return {"error": {"kind": kind, "message": error.message, "hint": error.hint}}
    return {"warnings": list(found.warnings), "redacted": found.redacted}


def _secrets() -> tuple[bytes, ...]:
    """Return what stdin holds."""
    found: list[bytes] = []
    with open(0, "rb", closefd=False) as stdin:
        while length := stdin.read(_LENGTH.size):
            found.append(stdin.read(*_LENGTH.unpack(length)))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Found:
    """What is to be said of an archive."""

    warnings: tuple[str, ...]
    redacted: int
    """how many files, links and directories had a secret in content, name, target or attributes"""


def pack(layer: Path, put: Callable[[bytes], None], *, part: str | None = None, secrets: Sequence[bytes] = ()) -> Found:
    """Give the archive of a layer directory, or of one `part` of it, to `put`, in pieces.

    No form of any of the `secrets` is in it: other letters are in their places. ConfigError for a file that no archive
    can hold (K1), HostError for one that changes meanwhile (K5).
    """
    packer = _Packer(put, Mask(secrets))
    packer.put_layer(layer) if part is None else packer.put_part(layer / part)
    put(END)
    return Found(tuple(packer.warnings), packer.redacted)


class _Packer:
    def __init__(self, put: Callable[[bytes], None], mask: Mask) -> None:
        self._put = put
        self._mask = mask
        self._names = _Names(mask)
        self.redacted = 0
        self._links: dict[tuple[int, int], bytes] = {}
        """the first name of each file that has several"""
        self.warnings: dict[str, None] = {}

    def put_layer(self, layer: Path) -> None:
        host = layer / "host"
        parts = {os.fsencode(path.name): path for path in host.iterdir()} if host.is_dir() else {}
        self.put_part(layer / "root", parts)

    def put_part(self, part: Path, others: Mapping[bytes, Path] = _NOTHING) -> None:
        root = os.open(part, _OPEN_DIRECTORY)
        try:
            self._put_directory(root, b"", others)
        finally:
            os.close(root)

    def _put_directory(self, directory: int, path: bytes, parts: Mapping[bytes, Path]) -> None:
        """Put an open directory and all in it. `parts` are directories that lie elsewhere, by their name in it."""
        found = os.fstat(directory)
        xattrs = packed_xattrs(directory)
        self._put_header(self._entry(path + b"/" if path else b"./", "directory", found, xattrs))
        if path and is_opaque(directory):  # on the topmost directory overlayfs does not look for it
            self._put_mark(path + b"/" + _OPAQUE)
        for name in sorted({*map(os.fsencode, os.listdir(directory)), *parts}):
            below = path + b"/" + name if path else name
            if name in parts:
                self._put_child_directory(os.open(parts[name], _OPEN_DIRECTORY), below)
            else:
                self._put_name(directory, name, below)
        _check_unchanged(found, os.fstat(directory), path)

    def _put_child_directory(self, directory: int, path: bytes) -> None:
        try:
            self._put_directory(directory, path, _NOTHING)
        finally:
            os.close(directory)

    def _put_name(self, directory: int, name: bytes, path: bytes) -> None:
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
        if is_whiteout(found):
            self._put_mark(path[: len(path) - len(name)] + _WHITEOUT + name)
            return
        if name.startswith(_WHITEOUT):
            raise ConfigError(
                f"the layer cannot be packed: {shown(path)} would mean that a file is not there",
                hint="in images, names that begin with `.wh.` have that meaning; name the file otherwise",
            )
        if len(path) >= _MAX_PATH_BYTES:
            raise ConfigError(f"the layer cannot be packed: a path is longer than {_MAX_PATH_BYTES} bytes")
        if stat.S_ISSOCK(found.st_mode):
            self.warnings[f"socket {shown(path)} is left out: an archive cannot hold it"] = None
        elif stat.S_ISDIR(found.st_mode):
            self._put_child_directory(os.open(name, _OPEN_DIRECTORY, dir_fd=directory), path)
        elif found.st_nlink > 1 and (first := self._links.setdefault((found.st_dev, found.st_ino), path)) != path:
            self._put_header(self._entry(path, "hardlink", found, {}, link=first))
        elif stat.S_ISREG(found.st_mode):
            self._put_file(directory, name, path)
        else:
            target = os.readlink(name, dir_fd=directory) if stat.S_ISLNK(found.st_mode) else b""
            self._put_header(self._entry(path, _KINDS[stat.S_IFMT(found.st_mode)], found, {}, link=target))

    def _put_file(self, directory: int, name: bytes, path: bytes) -> None:
        with open(os.open(name, _OPEN_FILE, dir_fd=directory), "rb", buffering=0) as file:
            found = os.fstat(file.fileno())
            is_redacted = self._put_header(self._entry(path, "file", found, packed_xattrs(file.fileno())))
            content = _Hidden(self._mask, self._put)
            left = found.st_size
            while left and (piece := file.read(min(left, _PIECE))):
                content.put(piece)
                left -= len(piece)
            content.end()
            self.redacted += content.is_changed and not is_redacted
            _check_unchanged(found, os.fstat(file.fileno()), path, is_short=left > 0)
        self._put(padding(found.st_size))

    def _put_mark(self, path: bytes) -> None:
        self._put_header(Entry(path, "file", 0o644, 0, 0, 0, 0, b"", (0, 0), {}))

    def _put_header(self, entry: Entry) -> bool:
        """Put an entry's header; return whether something in it was a secret."""
        hidden = self._without_secrets(entry) if self._mask.is_needed() else entry
        self._put(header(hidden))
        self.redacted += hidden != entry
        return hidden != entry

    def _without_secrets(self, entry: Entry) -> Entry:
        slash = b"/" if entry.path.endswith(b"/") else b""
        path = self._names.shown(entry.path.removesuffix(b"/"))
        link = self._names.shown(entry.link) if entry.kind == "hardlink" else _hidden(entry.link, self._mask)
        xattrs = {name: _hidden(value, self._mask) for name, value in entry.xattrs.items()}
        return replace(entry, path=path + slash, link=link, xattrs=xattrs)

    def _entry(
        self, path: bytes, kind: Kind, found: os.stat_result, xattrs: dict[bytes, bytes], *, link: bytes = b""
    ) -> Entry:
        is_device = kind in ("character", "block")
        return Entry(
            path=path,
            kind=kind,
            mode=stat.S_IMODE(found.st_mode),
            uid=found.st_uid,
            gid=found.st_gid,
            mtime_ns=found.st_mtime_ns,
            size=found.st_size if kind == "file" else 0,
            link=link,
            device=(os.major(found.st_rdev), os.minor(found.st_rdev)) if is_device else (0, 0),
            xattrs=xattrs,
        )


class _Names:
    """Paths without secrets. Two that differ stay two."""

    def __init__(self, mask: Mask) -> None:
        self._mask = mask
        self._changed: dict[bytes, bytes] = {}
        self._taken: set[bytes] = set()

    def shown(self, path: bytes) -> bytes:
        """Return what a path is to be; those of its parents have been asked for before."""
        if path in self._changed:
            return self._changed[path]
        parent, slash, name = path.rpartition(b"/")
        shown = _hidden(self._changed.get(parent, parent) + slash + _hidden(name, self._mask), self._mask)
        if shown == path:
            return path
        number = 2
        while shown in self._taken:
            shown = b"%s~%d" % (shown.rpartition(b"~")[0] if number > 2 else shown, number)
            number += 1
        self._taken.add(shown)
        self._changed[path] = shown
        return shown


def _hidden(text: bytes, mask: Mask) -> bytes:
    return mask.apply(text, keeps_length=True)


class _Hidden:
    """Passes content on without the secrets in it, each of their letters replaced."""

    def __init__(self, mask: Mask, put: Callable[[bytes], None]) -> None:
        self._stream = mask.stream(keeps_length=True)
        self._put = put
        self._pending = b""
        """what has come and is not put yet"""
        self.is_changed = False

    def put(self, piece: bytes) -> None:
        self._tell(piece, self._stream.feed(piece))

    def end(self) -> None:
        self._tell(b"", self._stream.close())

    def _tell(self, piece: bytes, told: bytes) -> None:
        self._pending = self._pending + piece if self._pending else piece
        self.is_changed = self.is_changed or not self._pending.startswith(told)
        self._pending = self._pending[len(told) :]
        self._put(told)


def _check_unchanged(before: os.stat_result, after: os.stat_result, path: bytes, *, is_short: bool = False) -> None:
    """HostError where a file has changed while it was packed: neither its old nor its new state would be packed."""
    if is_short or _state(before) != _state(after):
        raise HostError(f"/{shown(path)} has changed while its layer was packed", hint=_HINT)


def _state(found: os.stat_result) -> tuple[int, ...]:
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_mode


def _allow_deep_directories() -> None:
    """A path of the greatest length has half as many directories, each open and in a function of its own."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    sys.setrecursionlimit(3 * _MAX_PATH_BYTES)


class _Pieces:
    """Writes content to a descriptor in large pieces, each after its length."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._held = bytearray()

    def put(self, content: bytes) -> None:
        self._held += content
        if len(self._held) >= _PIECE:
            self.flush()

    def flush(self) -> None:
        if self._held:
            self._write(_LENGTH.pack(len(self._held)))
            self._write(self._held)
            self._held.clear()

    def _write(self, content: bytes | bytearray) -> None:
        with memoryview(content) as left:
            at = 0
            while at < len(left):
                at += os.write(self._descriptor, left[at:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
