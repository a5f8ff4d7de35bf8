"""The program that copies files into a layer, as docker's COPY and ADD do: `python -I -m ci_env.oci.copy`.

A program of its own because it runs under the ids that layers are owned by (ports.Runner.as_owner). Reads an order
(order.py) as JSON from stdin. Writes one line of JSON to stdout: `warnings`, with status 0; or `error` with `kind`
(`config` or `host`), `message` and `hint`, with status 1, and then the upper directory holds a part of the result.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from ci_env import codec
from ci_env.errors import CiEnvError, ConfigError
from ci_env.files import explained
from ci_env.oci.order import Order
from ci_env.oci.transfer import carry_out


def main() -> int:
    """Do what stdin orders; return the exit status."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches us too; who started us decides what ends
    _allow_many_open_files()
    with open(0, "rb", closefd=False) as stdin:
        order = codec.loads(Order, stdin.read())
    try:
        with explained("copy files to", Path(order.upper)):
            warnings = carry_out(order)
    except CiEnvError as error:
        kind = "config" if isinstance(error, ConfigError) else "host"
        _answer({"error": {"kind": kind, "message": error.message, "hint": error.hint}})
        return 1
    _answer({"warnings": list(warnings)})
    return 0


def _allow_many_open_files() -> None:
    """Raise the soft limit to the hard one: a deep directory is open once in every layer."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _answer(answer: Mapping[str, object]) -> None:
    os.write(1, json.dumps(answer).encode() + b"\n")


if __name__ == "__main__":
    sys.exit(main())
