"""The work tree of a case, in the hands of who records it."""

from __future__ import annotations

import os
import shutil
import textwrap
from dataclasses import dataclass
from pathlib import Path

from tests.corpus.case import Setting, Work
from tests.installed import CiEnv


@dataclass(frozen=True)
class Tree:
    """A git repository of the account, its commits all of one time."""

    player: CiEnv
    root: Path
    committed_at: str

    @property
    def path(self) -> str:
        return str(self.root)

    def put(self, path: str, content: str | bytes) -> None:
        """Write a file, its directories too; with `#!` in front it may be run."""
        target = self._at(path)
        data = textwrap.dedent(content).encode() if isinstance(content, str) else content
        target.write_bytes(data)
        target.chmod(0o755 if data.startswith(b"#!") else 0o644)
        self._own(target)

    def link(self, path: str, target: str) -> None:
        """Make a symbolic link, its directories too."""
        self._at(path).symlink_to(target)
        self._own(self.root / path)

    def remove(self, path: str) -> None:
        """Remove a file."""
        (self.root / path).unlink()

    def chmod(self, path: str, mode: int) -> None:
        (self.root / path).chmod(mode)

    def git(self, *arguments: str) -> str:
        """Return what git prints."""
        dates = {f"GIT_{role}_DATE": self.committed_at for role in ("AUTHOR", "COMMITTER")}
        return self.player.git(self.root, "-c", "protocol.file.allow=always", *arguments, env=dates)

    def commit(self) -> None:
        """Commit all that is there."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", "change")

    def beside(self, name: str) -> Work:
        """Return another, empty work tree next to this one."""
        return new_tree(self.player, name, self.committed_at)

    def _at(self, path: str) -> Path:
        target = self.root / path
        made = [parent for parent in target.parents if not parent.exists()]
        target.parent.mkdir(parents=True, exist_ok=True)
        for new in made:
            self._own(new)
        return target

    def _own(self, path: Path) -> None:
        os.chown(path, self.player.account.uid, self.player.account.gid, follow_symlinks=False)


def new_tree(player: CiEnv, name: str, committed_at: str) -> Tree:
    """Return a new repository in the player's home, in place of one that was there."""
    root = player.home / name
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(mode=0o755)
    player.own(root)
    tree = Tree(player, root, committed_at)
    tree.git("init", "--quiet", "--initial-branch=main")
    return tree


def set_up(player: CiEnv, setting: Setting, image: str) -> Tree:
    """Make the setting's project as it is before its first run."""
    tree = new_tree(player, "project", setting.committed_at)
    jobs = textwrap.indent(textwrap.dedent(setting.jobs).replace("IMAGE", image), "  ")
    tree.put("ci-env.yml", f"version: 1\nimage: {image}\njobs:\n{jobs}")
    for path, content in setting.files.items():
        tree.put(path, content)
    tree.commit()
    setting.prepare(tree)
    return tree
