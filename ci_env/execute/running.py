"""A step that runs, as others may look at it: where its log is, and the sandbox that it is in."""

from __future__ import annotations

import time
from pathlib import Path

from ci_env.digest import Digest
from ci_env.ports import Sandbox


class RunningStep:
    """Written to by the thread that runs the step, read by others."""

    def __init__(self, job: str, step: str, log: Path) -> None:
        self.job = job
        self.step = step
        self.log = log
        """grows until the step has ended, and is gone then"""
        self.started_s = int(time.time())
        self.sandbox: Sandbox | None = None
        """None where there is none, or none yet"""
        self.output: Digest | None = None
        """its log in the content store, once it has ended"""
