"""Runs the pack program (pack.py) on a layer, and speaks its protocol. Decides nothing about what is packed."""

from __future__ import annotations

import json
import os
import struct
import sys
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from ci_env.errors import CiEnvError, ConfigError, HostError
from ci_env.oci.unpacking import AsOwner

_PIECE = 2**20
_LENGTH = struct.Struct(">I")
_MODULE = "ci_env.oci.pack"


class PackedLayer:
    """The archive of a layer, as it is made. Implements verify.Reader; its end comes only if all went well."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._left = 0
        self._is_finished = False
        self.warnings: tuple[str, ...] = ()
        """complete when the end has been read"""
        self.redacted = 0
        """likewise: how many files had a secret"""

    def read(self, size: int, /) -> bytes:
        """Return 1 to `size` bytes; none at the end. ConfigError or HostError where the layer could not be packed."""
        if not self._left and not self._is_finished:
            (self._left,) = _LENGTH.unpack(self._exactly(_LENGTH.size))
            if not self._left:
                self._finish(self._source.readline())
        piece = self._exactly(min(size, self._left)) if self._left else b""
        self._left -= len(piece)
        return piece

    def pass_over(self) -> None:
        """Read to the end for nothing."""
        while self.read(_PIECE):
            pass

    def _exactly(self, size: int) -> bytes:
        content = self._source.read(size)
        if len(content) < size:
            raise HostError("the program that packs layers ended early, and without a word")
        return content

    def _finish(self, answer: bytes) -> None:
        self._is_finished = True
        data = cast("dict[str, object]", json.loads(answer))
        if "error" in data:
            error = cast("dict[str, str]", data["error"])
            kind: type[CiEnvError] = ConfigError if error["kind"] == "config" else HostError
            raise kind(error["message"], hint=error["hint"])
        self.warnings = tuple(cast("list[str]", data["warnings"]))
        self.redacted = cast("int", data["redacted"])


@contextmanager
def packed(as_owner: AsOwner, layer: Path) -> Generator[PackedLayer]:
    """Give the archive of the layer directory `layer`, plain; the same bytes whoever packs it, and whenever.

    Leaving the block early ends the program. Raises what starting it raises.
    """
    with packing(as_owner, [(layer, "")]) as archives:
        yield next(archives)


@contextmanager
def packing(
    as_owner: AsOwner, parts: Sequence[tuple[Path, str]], *, secrets: Sequence[bytes] = ()
) -> Generator[Iterator[PackedLayer]]:
    """Give the archives of layer directories, each to be read to its end before the next; one program makes them all.

    A part is `root` or `host/NAME`: only that directory's, with paths from there; empty: the whole layer. No form of
    the `secrets` is in any. Raises as `packed`.
    """
    argv = [sys.executable, "-I", "-m", _MODULE, *(text for layer, part in parts for text in (str(layer), part))]
    with open(os.memfd_create("secrets"), "w+b") as hidden:  # nowhere on a disk, and in no list of processes
        hidden.writelines(_LENGTH.pack(len(secret)) + secret for secret in secrets)
        hidden.seek(0)
        output, target = os.pipe()
        program = _Program(as_owner, argv, hidden.fileno() if secrets else None, target)
        with program, open(output, "rb") as source:
            yield (PackedLayer(source) for _ in parts)


class _Program:
    """Runs a program in a thread. Leaving the block waits for it, and raises what running it raised."""

    def __init__(self, as_owner: AsOwner, argv: Sequence[str], stdin: int | None, stdout: int) -> None:
        self._as_owner = as_owner
        self._argv = argv
        self._stdin = stdin
        self._stdout = stdout
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="pack", daemon=True)

    def __enter__(self) -> _Program:
        self._thread.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            self._as_owner(self._argv, stdin=self._stdin, stdout=self._stdout)
        except BaseException as error:  # raised again by the thread that waits
            self._error = error
        finally:
            os.close(self._stdout)
