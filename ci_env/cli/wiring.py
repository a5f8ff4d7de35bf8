"""From the names of runners and adapters to what they are. The only place that imports them; knows none by name.

A runner that cannot be had is an error: no step can run. An adapter is somebody's view of a run: whatever it does,
the run goes on without it, and a warning says so.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import cast

from ci_env.cli.entry_points import EntryPoint, find
from ci_env.errors import ConfigError, HostError
from ci_env.events import Emit, Event
from ci_env.ports import Adapter, RunnerFactory

RUNNERS = "ci_env.runners"
ADAPTERS = "ci_env.adapters"
Warn = Callable[[str], None]
_REINSTALL = "install ci-env again:\n$ pip install --force-reinstall ci-env"


def runner_factory(name: str = "namespace") -> RunnerFactory:
    """Return the runner called `name`. ConfigError where there is none; HostError where it is badly installed."""
    known = {entry.name: entry for entry in reversed(find(RUNNERS))}
    if not known:
        raise HostError("no runner is installed, so no step can run", hint=_REINSTALL)
    if name not in known:
        raise ConfigError(f"there is no runner `{name}`; there are: {', '.join(sorted(known))}")
    try:
        found = _load(known[name])
    except (ImportError, AttributeError) as error:
        source = known[name].distribution
        hint = _REINSTALL if source == "ci-env" else f"ask those who made {source}"
        raise HostError(f"the runner `{name}` cannot be loaded: {error}", hint=hint) from error
    return cast("RunnerFactory", found)


def adapter(env: Mapping[str, str], *, warn: Warn | None = None) -> Adapter | None:
    """Return the first adapter whose service this process runs in; None outside of any.

    `warn` is told of adapters that do not work (default: written to stderr); none of them raises.
    """
    tell = warn or _write_warning
    for entry in find(ADAPTERS):
        found = _Guarded(entry, tell)
        if found.detect(env):
            return found
    return None


class _Guarded:
    """An adapter that cannot break a run: after its first exception it is silent.

    It is code of others, called from the middle of a run, so this is a boundary: any exception is theirs.
    """

    def __init__(self, entry: EntryPoint, warn: Warn) -> None:
        self._entry = entry
        self._warn = warn

    def detect(self, env: Mapping[str, str]) -> bool:
        try:
            return bool(self._adapter().detect(env))
        except Exception as error:
            self._failed(error)
            return False

    def context(self, env: Mapping[str, str]) -> Mapping[str, str]:
        try:
            return self._adapter().context(env)
        except Exception as error:
            self._failed(error)
            return {}

    def hide(self, secrets: Sequence[bytes]) -> str:
        try:
            return self._adapter().hide(secrets)
        except Exception as error:
            self._failed(RuntimeError(f"hide: {type(error).__name__}"))  # its text may hold what is to be hidden
            return ""

    def reporter(self, env: Mapping[str, str], write: Callable[[str], None]) -> Emit:
        """Return its view, which gets steps one at a time: that is all that a CI service's log can show."""
        from ci_env.ui.turns import one_at_a_time

        try:
            emit: Emit | None = self._adapter().reporter(env, write)
        except Exception as error:
            self._failed(error)
            emit = None

        def report(event: Event) -> None:
            nonlocal emit
            if emit is None:
                return
            try:
                emit(event)
            except Exception as error:
                emit = None
                self._failed(error)

        return one_at_a_time(report)

    def _adapter(self) -> Adapter:
        return cast("Adapter", _load(self._entry))

    def _failed(self, error: Exception) -> None:
        reason = f"{type(error).__name__}: {error}"
        self._warn(f"the adapter `{self._entry.name}` of {self._entry.distribution} does not work: {reason}")


def _load(entry: EntryPoint) -> object:
    module = importlib.import_module(entry.module)
    return attrgetter(entry.attribute)(module) if entry.attribute else module


def _write_warning(message: str) -> None:
    sys.stderr.write(f"warning: {message}\n")
