"""A program that attends a visitor, for tests that type at it and signal it.

`python -m tests.visit_program DESCRIPTOR`
Ends as the visitor did: with its status, 128+n after a signal, 200 where it has ended with its sandbox.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO

from ci_env.errors import CiEnvError
from ci_env.ports import Sandbox, Visit
from ci_env_runners import namespace
from ci_env_runners.namespace import NamespaceRunner
from tests.step_program import environment

WITH_ITS_SANDBOX = 200


@contextmanager
def visiting(
    runner: NamespaceRunner,
    sandbox: Sandbox,
    what: str | Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    user: str | None = None,
    workdir: str | None = None,
    terminal: int | None = None,
    stdin: IO[bytes] | int = subprocess.PIPE,
) -> Generator[subprocess.Popen[bytes]]:
    """Have a script of `sh`, or an argv, join a sandbox; give the program that attends it."""
    argv = ("sh", "-c", what) if isinstance(what, str) else tuple(what)
    visitor = runner.join(sandbox, Visit(argv, env or {}, user, workdir, has_terminal=terminal is not None))
    before = () if terminal is None else ("setsid", "--ctty", "--wait")
    out = subprocess.PIPE if terminal is None else terminal
    program = (*before, sys.executable, "-m", "tests.visit_program", str(visitor))
    inputs = stdin if terminal is None else terminal
    started = subprocess.Popen(program, env=environment(), pass_fds=[visitor], stdin=inputs, stdout=out, stderr=out)
    os.close(visitor)
    with started:
        try:
            yield started
        finally:
            started.kill()


def main(descriptor: int) -> int:
    try:
        ended = namespace.attend(descriptor)
    except CiEnvError as error:
        print(f"{type(error).__name__}: {error.message}", file=sys.stderr)
        return error.exit_code
    if ended.reason == "cancelled":
        return WITH_ITS_SANDBOX
    return ended.code if ended.code is not None else 128 + (ended.signal or 0)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
