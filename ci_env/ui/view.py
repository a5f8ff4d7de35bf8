"""Chooses how a run is shown: as JSON on stdout, or to people on stderr. Imports nothing heavy."""

from __future__ import annotations

import errno
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Literal, TextIO

from ci_env.errors import HostError
from ci_env.events import Emit
from ci_env.ui.lines import JsonView, PlainView
from ci_env.ui.sink import Sink

Format = Literal["auto", "rich", "plain", "json"]


@contextmanager
def choose(format: Format, *, stdout: TextIO, stderr: TextIO, env: Mapping[str, str]) -> Generator[Emit]:  # noqa: A002  # named as the option
    """Give a view for the time of the block; it may be called from any thread and does not raise.

    `auto` and `rich` draw on a terminal and are `plain` elsewhere, since a file or a pipe cannot be drawn on. NO_COLOR
    and FORCE_COLOR are followed (https://no-color.org, https://force-color.org). When the block ends without an error:
    HostError where JSON, the result that was asked for, could not be written; a reader that went away is none.
    """
    if format == "json":
        sink = Sink(stdout)
        yield JsonView(sink.write)
        _check(sink)
    elif format != "plain" and _can_draw(stderr, env):
        from ci_env.ui.terminal import open_view

        with open_view(Sink(stderr), colour=_has_colour(stderr, env)) as emit:
            yield emit
    else:
        view = PlainView(Sink(stderr).write, colour=_has_colour(stderr, env))
        try:
            yield view
        finally:
            view.close()


def _check(sink: Sink) -> None:
    if sink.error is not None and sink.error.errno != errno.EPIPE:
        raise HostError(f"cannot write the events to standard output: {sink.error.strerror}") from sink.error


def _can_draw(stream: TextIO, env: Mapping[str, str]) -> bool:
    is_unicode = (stream.encoding or "").lower().replace("-", "") == "utf8"
    return stream.isatty() and env.get("TERM", "dumb") != "dumb" and is_unicode


def _has_colour(stream: TextIO, env: Mapping[str, str]) -> bool:
    if env.get("NO_COLOR"):
        return False
    if env.get("FORCE_COLOR", "") not in ("", "0"):
        return True
    return stream.isatty() and env.get("TERM", "dumb") != "dumb"
