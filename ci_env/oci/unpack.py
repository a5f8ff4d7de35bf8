"""The program that unpacks one layer: `python -I -m ci_env.oci.unpack --destination DIR [--lower DIR]... --diff-id ID`.

A program of its own because it runs under the ids that layers are owned by (ports.Runner.as_owner). Reads the layer,
compressed or not, from stdin to its end. Writes one line of JSON to stdout: `entries`, `size_bytes` and `warnings`,
with status 0; or `error` with `kind` (`integrity`, `config` or `host`), `message` and `hint`, with status 1 — then
the destination holds a part that its caller removes. Syncing what it has written is the caller's, too: who is told of
a lost write must be the one who knows what else may be lost. unpacking.py is the other end.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import queue
import resource
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ci_env.digest import Digest
from ci_env.errors import CiEnvError, ConfigError, HostError, IntegrityError
from ci_env.files import explained
from ci_env.oci.decompress import decompress
from ci_env.oci.layer import MAX_BYTES, MAX_ENTRIES, Applied, apply
from ci_env.oci.tar import Archive
from ci_env.oci.verify import Reader

_PIECES_AHEAD = 32


def main(argv: Sequence[str]) -> int:
    """Unpack stdin as the arguments say; return the exit status."""
    parser = argparse.ArgumentParser(prog="ci_env.oci.unpack")
    parser.add_argument("--destination", type=Path, required=True, metavar="DIR", help="existing and empty")
    parser.add_argument("--lower", type=Path, action="append", default=[], metavar="DIR", help="bottom first")
    parser.add_argument("--diff-id", type=Digest.parse, required=True, metavar="DIGEST")
    parser.add_argument("--squash-ids", action="store_true", help="all files belong to the caller")
    arguments = parser.parse_args(argv)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C reaches us too; who started us tells of it
    _allow_many_open_files()
    try:
        with open(0, "rb", buffering=0, closefd=False) as stdin, explained("unpack a layer to", arguments.destination):
            applied = unpack(
                stdin, arguments.destination, arguments.lower, arguments.diff_id, squash_ids=arguments.squash_ids
            )
    except CiEnvError as error:
        _answer({"error": {"kind": _kind(error), "message": error.message, "hint": error.hint}})
        return 1
    _answer({"entries": applied.entries, "size_bytes": applied.size_bytes, "warnings": list(applied.warnings)})
    return 0


def unpack(
    source: Reader,
    destination: Path,
    lowers: Sequence[Path],
    diff_id: Digest,
    *,
    squash_ids: bool,
    max_bytes: int = MAX_BYTES,
    max_entries: int = MAX_ENTRIES,
) -> Applied:
    """Unpack `source`, whose plain content must have the digest `diff_id`."""
    content = _Hashed(source, diff_id, max_bytes)
    archive = Archive(_ahead(content))
    applied = apply(archive, destination, lowers, squash_ids=squash_ids, max_entries=max_entries)
    content.check()
    return applied


class _Hashed:
    """The plain content of a layer, hashed on its way."""

    def __init__(self, source: Reader, diff_id: Digest, max_bytes: int) -> None:
        self._source = source
        self._max_bytes = max_bytes
        self._diff_id = diff_id
        self._hash = hashlib.new(diff_id.algorithm)

    def __iter__(self) -> Iterator[bytes]:
        left = self._max_bytes
        for piece in decompress(self._source):
            left -= len(piece)
            if left < 0:
                raise ConfigError(f"the layer is larger than {self._max_bytes / 2**30:g} GiB when unpacked")
            self._hash.update(piece)
            yield piece

    def check(self) -> None:
        """IntegrityError unless what has passed is what the image's config promises."""
        actual = f"{self._diff_id.algorithm}:{self._hash.hexdigest()}"
        if actual != self._diff_id:
            raise IntegrityError(
                f"an unpacked layer has digest {actual}, but the image's config promises {self._diff_id}",
                hint="the image was built wrongly or changed; build and push it again",
            )


def _ahead(pieces: _Hashed) -> Iterator[bytes]:
    """Yield `pieces`, made in a thread while earlier ones are used: inflating and hashing release the GIL."""
    made: queue.Queue[bytes | BaseException | None] = queue.Queue(_PIECES_AHEAD)

    def make() -> None:
        try:
            for piece in pieces:
                made.put(piece)
            made.put(None)
        except BaseException as error:  # raised again where the pieces are used
            made.put(error)

    threading.Thread(target=make, name="decompress", daemon=True).start()
    while (piece := made.get()) is not None:
        if isinstance(piece, BaseException):
            raise piece
        yield piece


def _allow_many_open_files() -> None:
    """Raise the soft limit to the hard one: a deep directory is open once in every layer."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _kind(error: CiEnvError) -> str:
    if isinstance(error, IntegrityError):
        return "integrity"
    return "host" if isinstance(error, HostError) else "config"


def _answer(answer: Mapping[str, object]) -> None:
    os.write(1, json.dumps(answer).encode() + b"\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
