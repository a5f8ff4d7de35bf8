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
class Limits:
    """What the processes of one sandbox may use together. None: no limit of this file's."""

    cpus_milli: int | None = None
    """thousandths of a processor's time"""
    memory_bytes: int | None = None
    """with swap"""
    pids: int | None = None
    """processes and threads at a time"""
    disk_bytes: int | None = None
    """what is written to the rootfs, as it lies on the disk"""
    open_files: int | None = None
    """of one process"""


NO_LIMITS = Limits()
DEFAULT_PIDS = 4096
"""where a file gives no limit of processes: enough for builds, and not for a fork bomb to hurt the machine"""


@dataclass(frozen=True, slots=True)
class Secret:
    """A value that only the one who runs the pipeline knows: a file below /run/secrets, called `name`."""

    name: str
    variables: tuple[str, ...] = ()
    """environment variables that hold it, too"""


@dataclass(frozen=True, slots=True)
class Ready:
    """When a service has started: at least one of the two is given, and both must hold."""

    tcp: int | None
    """a port that accepts a connection"""
    command: str | None
    """a script that succeeds inside the service"""
    timeout_s: int


@dataclass(frozen=True, slots=True)
class Service:
    """A program that runs beside a job's steps, in their network."""

    name: str
    """a host name of its"""
    image: str
    entrypoint: tuple[str, ...] | None
    """None: the image's own"""
    command: tuple[str, ...] | None
    """likewise"""
    env: Mapping[str, str]
    """its own only"""
    user: str | None
    """None: the image's own"""
    aliases: tuple[str, ...]
    """further host names"""
    ready: Ready | None
    """None: once its process runs"""
    at: str


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
    allow: tuple[str, ...] = ()
    """`host:port`, all that `nat` lets through; empty: no such list"""


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
    limits: Limits = NO_LIMITS
    """of each step and service"""
    secrets: tuple[Secret, ...] = ()
    services: tuple[Service, ...] = ()


@dataclass(frozen=True, slots=True)
class Pipeline:
    """All jobs, each after those that it needs."""

    jobs: tuple[Job, ...]
