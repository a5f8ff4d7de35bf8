"""A git repository of an account with a pipeline in it, what a run of it says, and what it may not leave behind."""

from __future__ import annotations

import json
import os
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.installed import CiEnv

Fields = Mapping[str, object]
_TELLING = ("cmdline", "environ", "mountinfo")


@dataclass(frozen=True)
class Called:
    """How a call of ci-env ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Run:
    """A run as its events."""

    events: tuple[Fields, ...]

    @property
    def id(self) -> str:
        (event,) = self.of("RunStarted")
        return str(event["run_id"])

    @property
    def steps(self) -> dict[str, str]:
        """The status of each step, by STEP, or JOB/STEP where there are more jobs; in the order of their ends."""
        ends = self.of("StepFinished")
        is_alone = len({event["job"] for event in ends}) == 1
        return {str(end["step"]) if is_alone else f"{end['job']}/{end['step']}": str(end["status"]) for end in ends}

    def of(self, kind: str) -> list[Fields]:
        return [event for event in self.events if event["event"] == kind]

    def lines(self, step: str) -> list[str]:
        """What the steps of that name wrote."""
        return [str(event["line"]) for event in self.of("StepOutput") if event["step"] == step]

    def ending(self, step: str) -> str:
        (found,) = [str(event["ending"]) for event in self.of("StepFinished") if event["step"] == step]
        return found


@dataclass(frozen=True)
class Project:
    """A repository with `ci-env.yml` at its top."""

    ci_env: CiEnv
    root: Path

    def put(self, path: str, content: str) -> None:
        """Write a file as the account, its directories too."""
        target = self.root / path
        made = [parent for parent in target.parents if not parent.exists()]
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(textwrap.dedent(content))
        for new in (target, *made):
            os.chown(new, self.ci_env.account.uid, self.ci_env.account.gid)

    def pipeline(self, jobs: str, *, image: str = "host") -> None:
        """Write the pipeline file: what is below its `jobs:`, all with one image."""
        self.put("ci-env.yml", f"version: 1\nimage: {image}\njobs:\n" + textwrap.indent(textwrap.dedent(jobs), "  "))

    def commit(self) -> None:
        self.ci_env.commit(self.root)

    def call(self, *arguments: str, env: Mapping[str, str] | None = None, stdin: str = "") -> Called:
        """Call ci-env in the repository. It may leave nothing where temporary files go, and never shows a traceback."""
        temporary = self.ci_env.home / "tmpdir"
        temporary.mkdir(exist_ok=True)
        self.ci_env.own(temporary)
        done = self.ci_env.run(*arguments, cwd=self.root, env={"TMPDIR": str(temporary), **(env or {})}, stdin=stdin)
        assert not list(temporary.iterdir())
        assert "Traceback" not in done.stderr, done.stderr
        return Called(done.returncode, done.stdout, done.stderr)

    def run(self, *arguments: str, code: int = 0, env: Mapping[str, str] | None = None) -> Run:
        """Run the pipeline, which must end with the exit code `code`."""
        called = self.call("run", "--format", "json", *arguments, env=env)
        assert called.code == code, f"{called.code}: {called.err}{called.out[-4000:]}"
        return Run(tuple(json.loads(line) for line in called.out.splitlines()))

    def replay(self, *arguments: str, code: int = 0) -> Fields:
        """Replay, which must end with the exit code `code`; return the verdict."""
        called = self.call("replay", "--json", *arguments)
        assert called.code == code, f"{called.code}: {called.err}{called.out[-4000:]}"
        verdict: Fields = json.loads(called.out)
        return verdict


def project(ci_env: CiEnv, jobs: str, *, image: str = "host", files: Mapping[str, str] | None = None) -> Project:
    """Return a new repository of the account, with one commit."""
    root = ci_env.home / "project"
    root.mkdir()
    made = Project(ci_env, root)
    made.pipeline(jobs, image=image)
    for path, content in (files or {}).items():
        made.put(path, content)
    ci_env.own(root)
    ci_env.git(root, "init", "--quiet", "--initial-branch=main")
    made.commit()
    return made


def leftovers(ci_env: CiEnv) -> list[str]:
    """Return what ci-env has left: scratch in its store, control groups, and processes that know its home, or see
    it mounted.
    """
    scratch = ci_env.store / "tmp"
    found = [str(path) for path in scratch.iterdir()] if scratch.exists() else []
    for process in Path("/proc").glob("[0-9]*"):
        known_by = [file for file in _TELLING if os.fsencode(ci_env.home) in _content(process / file)]
        known_by += ["cwd"] if _is_below(ci_env.home, process / "cwd") else []
        if known_by:
            found.append(f"process {process.name}, by its {known_by}: {_content(process / 'cmdline')!r}")
    return [*found, *_groups(ci_env.store)]


def _is_below(directory: Path, link: Path) -> bool:
    try:
        return Path(os.readlink(link)).is_relative_to(directory)
    except OSError:
        return False  # it has ended


def _groups(store: Path) -> list[str]:
    """Return the control groups of the store's runs: their names say of which (runners/ci_env_runners/cgroup.py)."""
    if not store.exists():
        return []
    found = store.stat()
    begin = f"ci-env-{found.st_dev:x}.{found.st_ino:x}-"
    return [path for path, _, _ in os.walk("/sys/fs/cgroup") if os.path.basename(path).startswith(begin)]


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""  # it has ended, or is another user's
