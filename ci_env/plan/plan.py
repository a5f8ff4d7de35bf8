"""The Plan: everything that decides the result of a run, as data. Names no host path and no time of day.

Made by compile.py, executed by execute.py, kept in the Record. Its JSON is a contract (docs/adr/0003): a changed field
is a changed `PLAN_VERSION`. What only a build has is left out of other plans, which stay as the first version had them
(docs/adr/0016).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from ci_env.digest import Digest
from ci_env.frozen import dataclass
from ci_env.oci.order import NewFile
from ci_env.pipeline.model import NO_LIMITS, Limits, Network, Ready, Secret, When

PLAN_VERSION: Literal[3] = 3
WORKSPACE = "/workspace"
HOSTNAME = "ci-env"
UMASK = 0o022
ROOT = "0"
"""the user, where neither the file nor the image names one"""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""where an image sets none"""
FIXED_EPOCH = 315532800
"""1980-01-01, the earliest time that a zip file can hold: where no commit may or can give the time"""


@dataclass(frozen=True, slots=True)
class Source:
    """The tree that the run was given."""

    kind: Literal["git", "directory"]
    tree: str
    """git's tree id, or for a directory the digest of its content"""
    commit: str | None
    dirty: bool
    """the tree holds changes that no commit has"""
    epoch: int
    """seconds since 1970 of the commit, FIXED_EPOCH where there is none"""

    def epoch_for(self, inputs: tuple[str, ...] | None) -> int:
        """Return the mtime of a step's source files, which is its SOURCE_DATE_EPOCH too.

        The commit's for a step that sees the whole tree. A step that chooses its inputs must stay cached across
        commits that do not touch them, so it cannot know when those were made (docs/adr/0010).
        """
        return self.epoch if inputs is None else FIXED_EPOCH


@dataclass(frozen=True, slots=True)
class SourceLayer:
    """Files of the source, laid over what a job has in its workspace."""

    layer: Digest
    inputs: tuple[str, ...] | None
    """patterns that choose the files; None: all"""


@dataclass(frozen=True, slots=True)
class Image:
    """What a job's rootfs begins as."""

    reference: str
    """as written in the pipeline file"""
    manifest: Digest | None
    layers: tuple[Digest, ...]
    """chain ids, bottom first"""
    host: Digest | None
    """fingerprint of this machine's operating system, for `image: host`"""
    platform: str
    """os/architecture[/variant], as the OCI image spec writes it"""


@dataclass(frozen=True, slots=True)
class Cache:
    """A directory that outlives runs, mounted at `target`; never part of a result."""

    id: Digest
    target: str


@dataclass(frozen=True, slots=True)
class Copy:
    """Files that come into the rootfs by themselves: what a step of a build may do in place of running a process."""

    origin: Digest | None
    """identity of what is copied from; None: nothing is, or only `files` are"""
    context: SourceLayer | None
    """the origin, if it is files of the build's context"""
    job: str | None
    """the origin, if it is what an earlier job leaves"""
    layers: tuple[Digest, ...]
    """the origin, if it is an image: its chain ids, bottom first"""
    sources: tuple[str, ...]
    """patterns of oci/wildcard.py"""
    files: tuple[NewFile, ...]
    """text that becomes files"""
    destination: str
    """absolute; a directory if it ends with a slash, and without sources and files a directory to make"""
    chown: str | None
    """`user[:group]`, looked up in the rootfs; None: as in the origin"""
    chmod: int | None
    """None: as in the origin"""
    is_unpacking: bool
    """archives are unpacked"""


@dataclass(frozen=True, slots=True)
class Step:
    """One process, and where it stands in the chain of layers."""

    name: str
    key: Digest
    parent: Digest
    """key of the step before, or of the job's start"""
    source: SourceLayer | None
    """laid on top before the step runs; None: as the step before"""
    argv: tuple[str, ...]
    """of a step that copies: the instruction, for people"""
    env: Mapping[str, str]
    user: str
    """`user[:group]`, names or numbers, looked up in the image"""
    workdir: str
    """absolute"""
    umask: int
    network: Network
    caches: tuple[Cache, ...]
    timeout_s: int | None
    when: When
    artifacts: tuple[str, ...]
    """below the workspace"""
    junit: tuple[str, ...]
    copy: Copy | None = None
    """what it does in place of running a process"""
    limits: Limits = NO_LIMITS
    allow: tuple[str, ...] = ()
    """`host:port`, all that `nat` lets through; empty: no such list"""
    secrets: tuple[Secret, ...] = ()


@dataclass(frozen=True, slots=True)
class Service:
    """A program that runs beside a job's steps, in one network with them."""

    name: str
    """a host name of its"""
    aliases: tuple[str, ...]
    """further host names"""
    image: Image
    argv: tuple[str, ...]
    env: Mapping[str, str]
    user: str
    workdir: str
    """absolute"""
    ready: Ready | None
    limits: Limits = NO_LIMITS


@dataclass(frozen=True, slots=True)
class Job:
    """Steps in one rootfs, in order."""

    name: str
    group: str
    needs: tuple[str, ...]
    takes: tuple[str, ...]
    """needed jobs whose artifacts are laid into the workspace first"""
    image: Image
    start: Digest
    """key of the job before its first step"""
    timeout_s: int | None
    steps: tuple[Step, ...]
    services: tuple[Service, ...] = ()
    """all run while steps of the job do"""
    base: str | None = None
    """the earlier job whose result this one begins with, in place of its image alone"""


@dataclass(frozen=True, slots=True)
class Plan:
    """All jobs of a run, each after those that it needs."""

    version: Literal[1, 2, 3]
    """2: jobs with a `base` and steps with a `copy`; 3: limits, services, secrets and `allow`"""
    source: Source
    hostname: str
    jobs: tuple[Job, ...]
