"""What a visitor is told to do (visits.py), as its caller writes it."""

from __future__ import annotations

import json
import os
from collections.abc import Generator
from contextlib import contextmanager

from ci_env.errors import ConfigError
from ci_env.ports import Visit


@contextmanager
def order(visit: Visit) -> Generator[int]:
    """Give a file that holds the order: of any length, and whole before anybody reads it."""
    for text in (*visit.argv, *visit.env, *visit.env.values()):
        if "\0" in text:
            raise ConfigError("a null character in a command or its environment")
    descriptor = os.memfd_create("order")
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(_written(visit))
        yield descriptor
    finally:
        os.close(descriptor)


def _written(visit: Visit) -> bytes:
    wanted = {
        "argv": visit.argv,
        "env": dict(visit.env),
        "user": visit.user,
        "workdir": visit.workdir,
        "terminal": visit.has_terminal,
    }
    return json.dumps(wanted).encode()
