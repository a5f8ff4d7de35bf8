"""A program that runs one step, for tests that kill, restrict or type at its caller.

`python -m tests.step_program run|shell STORE SCRIPT`; prints how the step ended, or the error and its hint.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from ci_env.errors import CiEnvError
from ci_env_runners import namespace
from tests.sandboxes import Place


def argv(verb: Literal["run", "shell"], store: Path, script: str, *before: str) -> Sequence[str]:
    """Return the program's command line, started by `before`."""
    return (*before, sys.executable, "-m", "tests.step_program", verb, str(store), script)


def environment() -> dict[str, str]:
    """Have the program find what this process has found, however that was installed."""
    modules = (sys.modules[name] for name in ("ci_env.errors", "ci_env_runners.namespace", "tests.sandboxes"))
    packages = {str(Path(module.__file__ or "").parents[1]) for module in modules}
    return os.environ | {"PYTHONPATH": os.pathsep.join(packages)}


def main(verb: str, store: Path, script: str) -> None:
    with namespace.open(store) as runner:
        sandbox = Place(store, runner).sandbox(script, env={"PATH": "/usr/bin:/bin", "PS1": "inside$ ", "TERM": "dumb"})
        try:
            ended = runner.shell(sandbox) if verb == "shell" else runner.run(sandbox, _write)
            print(f"ended: {ended.reason} {ended.code} {ended.signal}")
        except CiEnvError as error:
            print(f"{type(error).__name__}: {error.message}\n{error.hint}")


def _write(piece: bytes) -> None:
    os.write(1, piece)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
