"""Runs the unpack program (unpack.py) on a stream, and speaks its protocol. Decides nothing about the store."""

from __future__ import annotations

import fcntl
import json
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol, cast

from ci_env.digest import Digest
from ci_env.errors import CiEnvError, ConfigError, HostError, IntegrityError
from ci_env.oci.layer import Applied
from ci_env.oci.verify import Reader

_ERRORS: Mapping[str, type[CiEnvError]] = {"integrity": IntegrityError, "config": ConfigError, "host": HostError}
_PIECE = 2**18
_PIPE = 2**20


class AsOwner(Protocol):
    """Runs a program under the ids that layers are owned by; what ports.Runner.as_owner is."""

    def __call__(self, argv: Sequence[str], /, *, stdin: int | None, stdout: int | None) -> int: ...


def unpack(
    as_owner: AsOwner, stream: Reader, destination: Path, lowers: Sequence[Path], diff_id: Digest, *, squash_ids: bool
) -> Applied:
    """Unpack the layer `stream` to the empty directory `destination`, over `lowers` (bottom first).

    Raises what reading `stream` raises, and what unpacking finds: ConfigError, HostError, IntegrityError. Then
    `destination` holds a part of the layer; removing it is the caller's.
    """
    argv = [sys.executable, "-I", "-m", "ci_env.oci.unpack", "--destination", str(destination), "--diff-id", diff_id]
    argv += [part for lower in lowers for part in ("--lower", str(lower))]
    argv += ["--squash-ids"] if squash_ids else []
    answer_read, answer_write = os.pipe()
    try:
        with _Pump(stream) as pump:
            status = as_owner(argv, stdin=pump.output, stdout=answer_write)
        os.close(answer_write)
        answer_write = -1
        with open(answer_read, "rb", closefd=False) as answer:
            return _applied(answer.read(), status)
    finally:
        os.close(answer_read)
        if answer_write >= 0:
            os.close(answer_write)


class _Pump:
    """Writes a stream to a pipe, in a thread. Leaving the block raises what reading the stream raised."""

    def __init__(self, stream: Reader) -> None:
        self._stream = stream
        self._error: BaseException | None = None
        self.output, self._input = os.pipe()
        with suppress(OSError):  # more than a user may have in pipes: pipe(7), pipe-user-pages-soft
            fcntl.fcntl(self._input, fcntl.F_SETPIPE_SZ, _PIPE)
        self._thread = threading.Thread(target=self._run, name="pump", daemon=True)

    def __enter__(self) -> _Pump:
        self._thread.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        os.close(self.output)
        if kind is None:
            self._thread.join()
            if self._error is not None:
                raise self._error

    def _run(self) -> None:
        try:
            with open(self._input, "wb", buffering=0) as pipe:
                while piece := memoryview(self._stream.read(_PIECE)):
                    while piece:
                        piece = piece[pipe.write(piece) :]
        except BrokenPipeError:
            pass  # the program ended early and says why
        except BaseException as error:  # raised again by the thread that waits
            self._error = error


def _applied(answer: bytes, status: int) -> Applied:
    if not answer:
        raise HostError(f"the program that unpacks layers ended with status {status}, and without a word")
    data = cast("dict[str, object]", json.loads(answer))
    if "error" in data:
        error = cast("dict[str, str]", data["error"])
        raise _ERRORS[error["kind"]](error["message"], hint=error["hint"])
    return Applied(
        cast("int", data["entries"]), cast("int", data["size_bytes"]), tuple(cast("list[str]", data["warnings"]))
    )
