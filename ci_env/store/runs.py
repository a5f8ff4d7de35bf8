"""Runs: a directory each, with its record and a lock that is held while it runs. Owns `runs/`.

Must not know what a record says but its run's id: the store does not depend on what a run is.
"""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from ci_env import codec
from ci_env.errors import CiEnvError, ConfigError, HostError, IntegrityError
from ci_env.files import atomic_write, explained, sync_directory
from ci_env.frozen import dataclass
from ci_env.store.home import Store
from ci_env.store.locks import exclusive, is_held

if TYPE_CHECKING:
    from typing import Protocol

    from _typeshed import DataclassInstance

    class AnyRecord(DataclassInstance, Protocol):
        @property
        def run_id(self) -> str: ...


R = TypeVar("R", bound="AnyRecord")

_ID = re.compile(r"\d{8}-\d{6}-[0-9a-f]{4}\Z", re.ASCII)
_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?", re.ASCII)
_LIST = "`ci-env runs ls` lists what there is"
_SHOWN = 5
_IN_A_SECOND = 16**4


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """A run that goes on: its directory, for logs and the like."""

    id: str
    path: Path


class Runs(Generic[R]):
    """Runs whose records are of one kind, with versions up to `version`."""

    def __init__(self, store: Store, kind: type[R], *, version: int) -> None:
        self._root = store.runs
        self._kind = kind
        self._version = version

    @contextmanager
    def create(self, started_at: str) -> Generator[RunDirectory]:
        """Give a new run the time `started_at` (RFC 3339) and its directory; it counts as running inside the block.

        Ids sort by time: their last digits are the fraction of the second, or the next ones that are free.
        """
        run = self._new(started_at)
        with exclusive(run.path / "lock", wait=True):
            yield run

    def write(self, record: R) -> None:
        """Put the record in the place of the run's earlier one; durable when it returns."""
        path = self._record(record.run_id)
        with explained("write", path):
            atomic_write(path, codec.dumps(record))

    def load(self, run_id: str) -> R:
        """Return a run's record.

        ConfigError where there is none or a newer ci-env has written it, IntegrityError where it is damaged.
        """
        path = self._record(run_id)
        with explained("read", path):
            try:
                content = path.read_bytes()
            except FileNotFoundError as error:
                raise ConfigError(f"run {run_id} has no record", hint=_LIST) from error
        try:
            return codec.loads(self._kind, content)
        except (ValueError, RecursionError) as error:
            raise self._unreadable(path, content, str(error)) from error

    def find(self, text: str) -> str:
        """Return the id that `text` means: `last`, an id, or how just one begins; ConfigError where it means none."""
        if text == "last":
            return self._last()
        found = [run for run in self._newest() if text and run.startswith(text)]
        if not found:
            raise ConfigError(f"there is no run {text!r}{self._like(text)}", hint=_LIST)
        if len(found) > 1:
            raise ConfigError(f"{text!r} may be {len(found)} runs: {_some(found)}", hint="write more of the id")
        return found[0]

    def ids(self) -> tuple[str, ...]:
        """Return the ids of all runs that have a record, newest first."""
        return tuple(self._newest())

    def is_running(self, run_id: str) -> bool:
        """Tell whether the run goes on. One that does not, though its record says `running`, was interrupted."""
        return is_held(self._record(run_id).with_name("lock"))

    def remove(self, run_id: str) -> None:
        """Remove a run's record; what it refers to stays. ConfigError for one that goes on or is gone."""
        import shutil

        path = self._record(run_id).parent
        with told_if_gone(run_id), exclusive(path / "lock", wait=False) as is_over:
            if not is_over:
                raise ConfigError(f"run {run_id} goes on", hint="end it first")
            with explained("remove", path):
                self._record(run_id).unlink()  # first, so that half a directory is no run
                shutil.rmtree(path)

    def _last(self) -> str:
        last = next(self._newest(), None)
        if last is None:
            raise ConfigError("there is no run yet", hint="`ci-env run` makes one")
        return last

    def _new(self, started_at: str) -> RunDirectory:
        time = _TIME.match(started_at)
        if time is None:
            raise ValueError(f"not an RFC 3339 time: {started_at!r}")
        year, month, day, hour, minute, second, fraction = time.groups()
        first = int((fraction or "0").ljust(9, "0")) * _IN_A_SECOND // 10**9
        for number in itertools.count(first):
            run_id = f"{year}{month}{day}-{hour}{minute}{second}-{number % _IN_A_SECOND:04x}"
            with explained("make", self._root / run_id):
                try:
                    (self._root / run_id).mkdir(mode=0o700)
                except FileExistsError:
                    continue
                sync_directory(self._root)
            return RunDirectory(run_id, self._root / run_id)
        raise AssertionError("it counts on for ever")

    def _newest(self) -> Iterator[str]:
        with explained("read", self._root):
            names = sorted(os.listdir(self._root), reverse=True)
        return (name for name in names if _ID.match(name) and self._record(name).exists())

    def _record(self, run_id: str) -> Path:
        if not _ID.match(run_id):
            raise ConfigError(f"not the id of a run: {run_id!r}", hint=_LIST)
        return self._root / run_id / "record.json"

    def _unreadable(self, path: Path, content: bytes, reason: str) -> CiEnvError:
        version = _version_of(content)
        if version is not None and version > self._version:
            return ConfigError(
                f"a newer ci-env wrote {path}: it has version {version}, this one reads up to {self._version}",
                hint="use a ci-env as new as the one that made this run",
            )
        return IntegrityError(
            f"{path} is damaged: {reason[:200]}", hint=f"nothing can be read from it; remove {path.parent}"
        )

    def _like(self, text: str) -> str:
        from ci_env.pipeline.suggest import did_you_mean

        return did_you_mean(text, self._newest())


@contextmanager
def told_if_gone(run_id: str) -> Generator[None]:
    """Turn the absence of what the block needs into a ConfigError: somebody else has removed the run meanwhile."""
    try:
        yield
    except HostError as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            raise
        raise ConfigError(f"there is no run {run_id!r} any more", hint=_LIST) from error


def _version_of(content: bytes) -> int | None:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return None
    version = cast("dict[str, object]", document).get("version") if isinstance(document, dict) else None
    return version if type(version) is int else None


def _some(runs: list[str]) -> str:
    return ", ".join(runs[:_SHOWN]) + (", ..." if len(runs) > _SHOWN else "")
