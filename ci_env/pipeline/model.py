"""The pipeline as the rest of the program sees it: validated, matrix expanded, defaults filled in.

Owns no syntax (schema.py) and no position arithmetic (loader.py). `at` is `file:line:column` of what the value was
written as, for errors that show only later, such as an image that no registry has.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from ci_env.frozen import dataclass

Network = Literal["none", "nat", "host"]
When = Literal["on_success", "always", "on_failure"]


@dataclass(frozen=True, slots=True)
class Step:
    """One command. `name` is unique in its job."""

    name: str
    run: str
    shell: tuple[str, ...]
    """argv that `-c` and the script are appended to"""
    workdir: str
    """relative to /workspace, or absolute"""
    user: str | None
    """None: the image's own"""
    env: Mapping[str, str]
    """the file's, the job's and the step's, merged"""
    network: Network
    inputs: tuple[str, ...] | None
    """patterns of repository paths; None: the whole tree"""
    caches: tuple[str, ...]
    """absolute paths in the rootfs"""
    timeout_s: int | None
    when: When
    artifacts: tuple[str, ...]
    junit: tuple[str, ...]
    at: str


@dataclass(frozen=True, slots=True)
class Job:
    """One leg: a job without a matrix, or one combination of its values."""

    name: str
    """unique; `test (python=3.12)` for a leg of `test`"""
    group: str
    """the name in the file"""
    image: str
    needs: tuple[str, ...]
    """names of legs, all of a needed matrix"""
    timeout_s: int | None
    steps: tuple[Step, ...]
    at: str


@dataclass(frozen=True, slots=True)
class Pipeline:
    """All jobs, each after those that it needs."""

    jobs: tuple[Job, ...]
