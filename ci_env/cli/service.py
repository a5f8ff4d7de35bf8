"""The CI service that a command runs in, if any: who shows what happens then, and what the service says of the run."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence

from ci_env.cli.wiring import adapter
from ci_env.events import Emit


def in_service(emit: Emit, form: str) -> tuple[Emit, Mapping[str, str]]:
    """Return the service's own view in place of `emit`, unless `--format` asks for another, and the run's context."""
    service = adapter(os.environ)
    if service is None:
        return emit, {}
    return service.reporter(os.environ, _write) if form == "auto" else emit, service.context(os.environ)


def hide_in_service(secrets: Sequence[bytes], form: str) -> None:
    """Have the service hide these values, in what others write too, where its own view is shown."""
    service = adapter(os.environ) if secrets and form == "auto" else None
    if service is not None:
        _write(service.hide(secrets))


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
