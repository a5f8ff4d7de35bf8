"""The pipeline file, version 1: which keys there are, and what each may hold. What ci-env reads and editors know.

Owns no meaning: substitution, matrix and everything that needs the text after them is expand.py's. The documentation of
each key is also what editors show (`ci-env schema`).
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from ci_env.pipeline.fields import (
    Count,
    Cpus,
    Duration,
    JobName,
    Literally,
    Optional,
    Port,
    Size,
    Variable,
    Version,
)
from ci_env.pipeline.model import Network, When
from ci_env.pipeline.positions import KeyPath

Env = dict[Variable, Literally]
Matrix = dict[Variable, Annotated[list[Literally], Field(min_length=1)]]


class Section(BaseModel):
    """A mapping that knows all its keys."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True)


class Ready(Section):
    """When a service counts as started."""

    tcp: Optional[Port] = Field(default=None, examples=[5432])
    """The port that must accept a connection."""
    command: Optional[str] = Field(default=None, examples=["pg_isready -U postgres"])
    """The script that must succeed, run by `sh -c` inside the service."""
    timeout: Duration = Field(default=60, examples=["30s"])
    """How long that may take. Without it: 60 seconds."""


class Service(Section):
    """A program that runs beside a job's steps, in one network with them, such as a database."""

    image: str = Field(examples=["postgres:16"])
    """The image to run."""
    env: Env = {}
    """Environment variables of the service, over those of its image."""
    entrypoint: Optional[list[Literally]] = Field(default=None, examples=[["docker-entrypoint.sh"]])
    """The program, in place of the image's ENTRYPOINT."""
    command: Optional[list[Literally]] = Field(default=None, examples=[["postgres", "-c", "fsync=off"]])
    """Its arguments, in place of the image's CMD."""
    user: Optional[Literally] = Field(default=None, examples=["postgres"])
    """`user` or `user:group`, as names or numbers of the image. Without it: the image's own."""
    aliases: list[str] = Field(default=[], examples=[["database"]])
    """Host names that steps find the service by, beside its own."""
    ready: Optional[Ready] = None
    """When the service counts as started. Without it: as soon as its program runs."""


class Limits(Section):
    """What each step, and each service, of a job may use."""

    cpus: Optional[Cpus] = Field(default=None, examples=[2, 0.5])
    """Processors, also in parts: the time of how many all its processes together may take."""
    memory: Optional[Size] = Field(default=None, examples=["2GiB"])
    """Memory with swap, of all its processes together. Without it: what the machine has."""
    pids: Optional[Count] = Field(default=None, examples=[512])
    """Processes and threads at a time. Without it: 4096."""
    disk: Optional[Size] = Field(default=None, examples=["10GiB"])
    """What it may write, caches apart, as it lies on the disk, with 1 KiB for each file."""
    open_files: Optional[Count] = Field(default=None, examples=[4096])
    """Files that one process may have open. Without it: 1024, which it may raise to 524288."""
    timeout: Optional[Duration] = Field(default=None, examples=["15m", "1h30m"])
    """How long the job may take in all."""


class Reports(Section):
    """Files in which a step tells machines what it found."""

    junit: list[str] = Field(default=[], examples=[["report.xml"]])
    """Test results in JUnit's XML format, below the workspace; patterns as in `inputs`."""


class Step(Section):
    """One command of a job."""

    run: str = Field(examples=["pytest --junitxml=report.xml"])
    """The script. `${{ matrix.X }}`, `${{ env.X }}` and `${{ job.name }}` are replaced, here and in all text below."""
    name: Optional[str] = Field(default=None, examples=["test"])
    """Shown in the output; each in a job is different. Without it: `step 1`, `step 2`, ..."""
    shell: str = Field(default="sh -e", examples=["bash -euo pipefail", "python3"])
    """The command that gets `-c` and the script."""
    workdir: str = Field(default=".", examples=["packages/api", "/opt/tool"])
    """Where the script starts: below /workspace, or absolute."""
    user: Optional[Literally] = Field(default=None, examples=["1000:1000", "nobody"])
    """`user` or `user:group`, as names or numbers of the image. Without it: the image's own."""
    env: Env = Field(default={}, examples=[{"TZ": "Europe/Berlin"}])
    """Environment variables, over those of the job and of the file."""
    inputs: Optional[list[str]] = Field(default=None, examples=[["requirements.txt"], ["src/", "!src/generated/"]])
    """Patterns of the files that the step sees, so that only they make it run again. Without it: all files."""
    network: Network = "none"
    """What the step can reach: nothing, what lies beyond this machine (`nat`), or all that the machine can (`host`)."""
    allow: list[str] = Field(default=[], examples=[["pypi.org:443", "10.1.2.3:5432"]])
    """With `network: nat`: the only hosts and ports that the step can reach. Without it: all."""
    caches: list[str] = Field(default=[], examples=[["/root/.cache/pip"]])
    """Directories that are kept between runs, absolute; never part of a result."""
    timeout: Optional[Duration] = Field(default=None, examples=["10m"])
    """How long the step may take."""
    when: When = "on_success"
    """Whether the step runs after one before it has failed: no, always, or only then."""
    artifacts: list[str] = Field(default=[], examples=[["dist/"]])
    """Files to keep, below the workspace, whatever the exit status; patterns as in `inputs`."""
    reports: Reports = Reports()
    """Files in which the step tells machines what it found; kept whatever the exit status."""


class Job(Section):
    """Steps that run in order in one root file system."""

    image: Optional[str] = Field(default=None, examples=["python:3.13-slim", "host", "oci:build/image"])
    """A registry's image, `oci:DIR`, `oci-archive:FILE`, `docker-archive:FILE`, `dockerfile:FILE` or `host`."""
    matrix: Matrix = Field(default={}, examples=[{"python": ["3.12", "3.13"]}])
    """Values to run the job with, once for each combination."""
    needs: list[str] = Field(default=[], examples=[["build"]])
    """Jobs that must have passed before this one starts."""
    env: Env = {}
    """Environment variables of all steps, over those of the file."""
    limits: Limits = Limits()
    """What the job may use."""
    secrets: list[Variable] = Field(default=[], examples=[["PYPI_TOKEN"]])
    """Names of secrets: the steps find the value of each in the file `/run/secrets/NAME`."""
    secret_env: dict[Variable, Variable] = Field(default={}, examples=[{"TWINE_PASSWORD": "PYPI_TOKEN"}])
    """Environment variables that hold a secret of `secrets`, too, by its name."""
    services: dict[JobName, Service] = {}
    """Programs that run beside the steps, such as a database. Steps find each by its name, or at 127.0.0.1."""
    steps: list[Step] = Field(min_length=1)
    """Commands, run one after the other."""


class File(Section):
    """A pipeline for ci-env."""

    version: Version
    """Version of the file's format."""
    image: Optional[str] = Field(default=None, examples=["python:3.13-slim", "host"])
    """The image of every job that does not name its own."""
    env: Env = Field(default={}, examples=[{"PIP_NO_COLOR": "1"}])
    """Environment variables of all steps of all jobs."""
    jobs: dict[JobName, Job] = Field(min_length=1)
    """Jobs by name. Those that do not need each other run at the same time."""


def section_at(path: KeyPath) -> type[Section] | None:
    """Return the section that stands at `path`; None where the schema has none."""
    match path:
        case ():
            return File
        case ("jobs", _):
            return Job
        case ("jobs", _, "limits"):
            return Limits
        case ("jobs", _, "services", _):
            return Service
        case ("jobs", _, "services", _, "ready"):
            return Ready
        case ("jobs", _, "steps", _):
            return Step
        case ("jobs", _, "steps", _, "reports"):
            return Reports
        case _:
            return None
