"""What a case of the corpus is: a failure as data, and its twin, the same without the cause."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

from tests.account import Who
from tests.oci_builder import Item

Base = Literal["busybox", "python", "debian"]
"""what there is to run: busybox alone; Python, bash and busybox; all of the Debian image with a C compiler"""
COMMITTED_AT = "2024-02-29T12:00:00Z"


class Work(Protocol):
    """The work tree of a case, for what its files alone cannot say."""

    def put(self, path: str, content: str | bytes) -> None:
        """Write a file, its directories too."""
        ...

    def link(self, path: str, target: str) -> None:
        """Make a symbolic link, its directories too."""
        ...

    def remove(self, path: str) -> None:
        """Remove a file."""
        ...

    def chmod(self, path: str, mode: int) -> None: ...

    def git(self, *arguments: str) -> str:
        """Return what git prints."""
        ...

    def commit(self) -> None:
        """Commit all that is there."""
        ...

    def beside(self, name: str) -> Work:
        """Return another, empty work tree next to this one."""
        ...

    @property
    def path(self) -> str:
        """Where it is."""
        ...


def putting(path: str, content: str) -> Callable[[Work], None]:
    """Return what writes a file."""
    return lambda work: work.put(path, content)


def nothing(work: Work) -> None:
    """Leave the work tree as its first commit is."""


@dataclass(frozen=True)
class Setting:
    """All that makes a run end as it does."""

    jobs: str
    """YAML: what is below `jobs:`; `IMAGE` stands for the image"""
    base: Base = "busybox"
    layer: Sequence[Item] = ()
    """of the image, on top of the base"""
    config: Mapping[str, object] = field(default_factory=dict[str, object])
    """of the image, such as `User`"""
    files: Mapping[str, str | bytes] = field(default_factory=dict[str, str | bytes])
    """committed; those that begin with `#!` may be run"""
    committed_at: str = COMMITTED_AT
    prepare: Callable[[Work], None] = nothing
    """what is done after the first commit"""
    before: Callable[[Work], None] | None = None
    """what is done after a first run, which must pass; the run that counts is the second then"""
    secrets: Mapping[str, str] = field(default_factory=dict[str, str])
    processors: int | None = None
    """that the caller may use; None: all"""
    options: tuple[str, ...] = ()
    """of `ci-env run`"""

    def instead(self, old: str, new: str) -> Setting:
        """Return the same with other words in `jobs`."""
        assert old in self.jobs, f"{old!r} is not in {self.jobs}"
        return replace(self, jobs=self.jobs.replace(old, new))

    def prepared(self, prepare: Callable[[Work], None]) -> Setting:
        """Return the same with something else done after the first commit."""
        return replace(self, prepare=prepare)

    def but(self, changes: Mapping[str, str | bytes]) -> Setting:
        """Return the same with another content of files."""
        return replace(self, files={**self.files, **changes})


@dataclass(frozen=True)
class Elsewhere:
    """The twin is another step of the same run, such as another leg of a matrix."""

    step: str
    """JOB/STEP"""


@dataclass(frozen=True)
class Asked:
    """The twin is the same capsule, replayed with other words on the command line."""

    options: tuple[str, ...]


@dataclass(frozen=True)
class Case:
    name: str
    it: Setting
    ending: str
    """of the step that fails, as `ci-env run` says it"""
    says: str
    """is a line of its output: it fails for the reason that is meant"""
    twin: Setting | Elsewhere | Asked
    twin_is: Literal["passes", "different"] = "passes"
    accounts: tuple[Who, Who] = ("user", "root")
    """who records, and who replays"""
    options: tuple[str, ...] = ()
    """of `ci-env replay`"""
    is_flaky: bool = False
    """it is run until it fails, and a replay must call it flaky"""


def script(run: str, *, step: str = "", job: str = "") -> str:
    """Return a job `test` of one step `test`; `step` and `job` are a further line of each."""
    lines = [f"  {job}"] if job else []
    lines += ["  steps:", "    - name: test", *([f"      {step}"] if step else []), "      run: |"]
    return "test:\n" + "\n".join(lines) + "\n" + textwrap.indent(textwrap.dedent(run).strip("\n"), " " * 8) + "\n"
