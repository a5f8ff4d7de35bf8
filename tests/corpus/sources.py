"""Failures that come of the files in the repository, and of how git put them together."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Callable

from tests.corpus.case import Case, Setting, Work, nothing, putting, script

_RUN = script("sh ./check.sh")
_DIRTY = Setting(_RUN, files={"check.sh": "echo fine\n"}, prepare=putting("check.sh", "echo half done\nexit 4\n"))
_UNTRACKED = Setting(
    script("for file in checks/*; do sh $file; done"),
    files={"checks/1": "true\n"},
    prepare=putting("checks/2", "echo new\nexit 5\n"),
)


def _merge(work: Work) -> None:
    """Two branches that are right, and whose merge, without a conflict, is not: one renames what the other calls."""
    work.git("switch", "--quiet", "-c", "rename")
    work.put("library.sh", "greet() { echo hello; }\n")
    work.put("check.sh", ". ./library.sh\ngreet\n")
    work.commit()
    work.git("switch", "--quiet", "main")
    work.put("more.sh", ". ./library.sh\nsay_hello again\n")
    work.commit()
    work.git("merge", "--quiet", "--no-edit", "rename")


def _before_the_merge(work: Work) -> None:
    _merge(work)
    work.git("reset", "--quiet", "--hard", "HEAD^1")


_MERGE = Setting(
    script("sh -e ./check.sh; sh -e ./more.sh"),
    files={
        "library.sh": "say_hello() { echo hello; }\n",
        "check.sh": ". ./library.sh\nsay_hello\n",
        "more.sh": "",
    },
    prepare=_merge,
)


def _adding_library(answer: str) -> Callable[[Work], None]:
    def add(work: Work) -> None:
        library = work.beside("library")
        library.put("answer", answer)
        library.commit()
        work.git("submodule", "--quiet", "add", library.path, "vendor/library")
        work.commit()

    return add


_SUBMODULE = Setting(
    script("cat vendor/library/answer; grep -q 42 vendor/library/answer"),
    prepare=_adding_library("41\n"),
)


def _add_links(work: Work) -> None:
    work.link("links/a", "../target/file")
    work.link("links/b", "../target/gone")


_LINKS = Setting(
    script('for link in links/*; do echo "$link -> $(readlink $link)"; cat $link; done'),
    files={"target/file": "there\n"},
    prepare=_add_links,
)
_SPECIAL_MODES = Setting(
    script(
        """
        for file in *; do stat -c '%n %a' $file; done
        test "$(stat -c %a tool)" = 755
        """
    ),
    files={"tool": "#!/bin/sh\n", "data": "data\n"},
    prepare=lambda work: work.chmod("tool", 0o600),
)
_ODD = b"caf\xe9.txt"
_NAMES = Setting(
    script(
        r"""
        for name in docs/*; do printf '%s' "$name" | od -An -c; done
        ls docs | grep -q '^caf[^.]*e'
        """
    ),
    prepare=putting(f"docs/{os.fsdecode(_ODD)}", "menu\n"),
)
_NOISE = random.Random(4).randbytes(20_000_000)
_SUM = f"{hashlib.md5(_NOISE).hexdigest()}  -"
_BIG = Setting(
    script('sum=$(md5sum <data.bin); echo "$sum"; grep -x "$sum" expected'),
    files={"data.bin": _NOISE, "expected": "as released\n"},
)
_ORDER = Setting(
    """
    test:
      steps:
        - {name: first, run: "mkdir parts; echo one >parts/one; echo two >parts/two; echo three >parts/three"}
        - {name: second, run: "echo four >parts/four; echo five >parts/five; rm parts/two"}
        - name: test
          run: |
            find parts -type f | while read file; do cat $file; done >joined
            cat joined
            sort joined | cmp - joined
    """
)

CASES = (
    Case("dirty-tree", _DIRTY, "exit status 4", "half done", _DIRTY.prepared(nothing)),
    Case("untracked-file", _UNTRACKED, "exit status 5", "new", _UNTRACKED.prepared(nothing)),
    Case(
        "merge-commit",
        _MERGE,
        "exit status 127",
        "./more.sh: line 2: say_hello: not found",
        _MERGE.prepared(_before_the_merge),
    ),
    Case(
        "submodule",
        _SUBMODULE,
        "exit status 1",
        "41",
        _SUBMODULE.prepared(_adding_library("42\n")),
    ),
    Case(
        "symlinks",
        _LINKS,
        "exit status 1",
        "links/b -> ../target/gone",
        _LINKS.but({"target/gone": "back\n"}),
    ),
    Case("file-modes", _SPECIAL_MODES, "exit status 1", "tool 644", _SPECIAL_MODES.prepared(nothing)),
    Case(
        "non-utf-8-name",
        _NAMES,
        "exit status 1",
        "   d   o   c   s   /   c   a   f 351   .   t   x   t",
        _NAMES.prepared(putting("docs/cafe.txt", "menu\n")),
    ),
    Case("big-file", _BIG, "exit status 1", _SUM, _BIG.but({"expected": f"{_SUM}\n"})),
    Case(
        "file-order",
        _ORDER,
        "exit status 1",
        "three",
        _ORDER.instead("find parts -type f |", "find parts -type f | sort |"),
    ),
)
