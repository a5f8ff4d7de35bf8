"""ci-env as users have it: built as a wheel, installed in a virtual environment that every account can run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.account import Account
from tests.shared_directory import locked

REPOSITORY = Path(__file__).resolve().parent.parent
SYSTEM_PYTHON = "/usr/bin/python3"  # the tests' own may lie in a home that others cannot look into
TEST_PACKAGES = ("pytest", "pytest-timeout", "pytest-randomly", "hypothesis")


@dataclass(frozen=True)
class Installed:
    path: Path
    """the virtual environment"""
    wheel: Path

    @property
    def program(self) -> Path:
        return self.path / "bin" / "ci-env"

    @property
    def python(self) -> Path:
        return self.path / "bin" / "python"


def install(shared: Path) -> Installed:
    """Build and install once for all workers; the tests' own packages too, so that any account can run tests."""
    path = shared / "venv"
    with locked(shared / "venv.lock"):
        wheel = build_wheel(shared / "wheel")
        if not (path / "complete").exists():
            _do([SYSTEM_PYTHON, "-m", "venv", "--clear", str(path)])
            _do([str(path / "bin/python"), "-m", "pip", "install", "--quiet", f"{wheel}[sign]", *TEST_PACKAGES])
            (path / "complete").touch()
    return Installed(path, wheel)


def build_wheel(directory: Path) -> Path:
    """Return the project's wheel in `directory`, built if it is not there yet; needs no network."""
    if not directory.exists():
        _do([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(directory)], cwd=REPOSITORY)
    (wheel,) = directory.glob("*.whl")
    return wheel


def _do(argv: Sequence[str], cwd: Path | None = None) -> None:
    done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, f"{' '.join(argv)}\n{done.stdout}{done.stderr}"


@dataclass(frozen=True)
class CiEnv:
    """The installed ci-env in the hands of one account, with a home and a store of its own."""

    account: Account
    program: Path
    home: Path
    """belongs to the account; holds nothing but the store, `store`, until a test puts something there"""

    @property
    def store(self) -> Path:
        return self.home / "store"

    def argv(self, *arguments: str) -> tuple[str, ...]:
        return (*self.account.become, str(self.program), *arguments)

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return all of the process's environment: nothing of the caller's but a PATH is in it."""
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        base = {"PATH": path, "HOME": str(self.home), "LANG": "C.UTF-8", "CI_ENV_HOME": str(self.store)}
        return base | dict(more or {})

    def run(
        self,
        *arguments: str,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        stdin: str = "",
        timeout: float = 240,
    ) -> subprocess.CompletedProcess[str]:
        """Run `ci-env ARGUMENTS` to its end, in `cwd` (default: the home), with `env` added to a bare environment."""
        return subprocess.run(
            self.argv(*arguments),
            cwd=cwd or self.home,
            env=self.environment(env),
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )

    def start(
        self, *arguments: str, cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> subprocess.Popen[str]:
        """Start `ci-env ARGUMENTS`, in a session of its own, for a test that sends it signals."""
        return subprocess.Popen(
            self.argv(*arguments),
            cwd=cwd or self.home,
            env=self.environment(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def own(self, path: Path) -> Path:
        """Give the tree at `path` to the account."""
        for directory, names, files in os.walk(path):
            for name in (".", *names, *files):
                os.chown(Path(directory, name), self.account.uid, self.account.gid, follow_symlinks=False)
        return path

    def project(self, example: str) -> Path:
        """Return a new git repository of the account that holds `examples/EXAMPLE`, committed, where it is here."""
        root = self.home / example
        shutil.copytree(REPOSITORY / "examples" / example, root / "examples" / example)
        self.own(root)
        self.git(root, "init", "--quiet", "--initial-branch=main")
        self.commit(root)
        return root

    def commit(self, root: Path, message: str = "change") -> None:
        """Commit all that is in the work tree at `root`."""
        self.git(root, "add", "--all")
        self.git(root, "commit", "--quiet", "--message", message)

    def git(self, root: Path, *arguments: str, env: Mapping[str, str] | None = None) -> str:
        """Return what git prints, run as the account in `root`, with `env` added to its environment."""
        author = {
            f"GIT_{role}_{what}": "test@example.org" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
        }
        done = subprocess.run(
            (*self.account.become, "git", *arguments),
            cwd=root,
            env=self.environment({**author, "GIT_CONFIG_NOSYSTEM": "1", **(env or {})}),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout
