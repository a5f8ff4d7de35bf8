"""The language of `inputs:`."""

from __future__ import annotations

import pytest

from ci_env.patterns import PatternError, select
from ci_env.tree import Entry

PATHS = [
    ".github/ci.yml",
    "README.md",
    "a[b].txt",
    "docs/en/index.md",
    "docs/fr/index.md",
    "src",
    "src.old/x.py",
    "tests/data/x.json",
    "tests/test_a.py",
    "tests/test_b.py",
    "tests/unit/deep/test_c.py",
    "we*rd",
    "caf\udce9.py",
]


def chosen(*patterns: str) -> list[str]:
    return [entry.path for entry in select([Entry(path, 0o100644, "0" * 40) for path in PATHS], patterns)]


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["README.md"], ["README.md"]),
        (["./README.md"], ["README.md"]),
        (["src"], ["src"]),
        (["docs"], ["docs/en/index.md", "docs/fr/index.md"]),
        (["docs/"], ["docs/en/index.md", "docs/fr/index.md"]),
        (["docs/f*/"], ["docs/fr/index.md"]),
        (["tests/*.py"], ["tests/test_a.py", "tests/test_b.py"]),
        (["tests/*"], ["tests/test_a.py", "tests/test_b.py"]),
        (["tests/test_?.py"], ["tests/test_a.py", "tests/test_b.py"]),
        (["tests/test_[b-z].py"], ["tests/test_b.py"]),
        (["tests/test_[!b].py"], ["tests/test_a.py"]),
        (["tests/test_[^b].py"], ["tests/test_a.py"]),
        (["tests/**/test_*.py"], ["tests/test_a.py", "tests/test_b.py", "tests/unit/deep/test_c.py"]),
        (["tests/unit/**"], ["tests/unit/deep/test_c.py"]),
        (["**/index.md"], ["docs/en/index.md", "docs/fr/index.md"]),
        (["**/README.md"], ["README.md"]),
        (["*.md"], ["README.md"]),
        (["we\\*rd"], ["we*rd"]),
        (["a\\[b\\].txt"], ["a[b].txt"]),
        (["a[[]b[]].txt"], ["a[b].txt"]),
        (["caf?.py"], ["caf\udce9.py"]),
        (["."], PATHS),
        (["**"], PATHS),
        (["!docs", "!tests/", "!**/*.py"], [".github/ci.yml", "README.md", "a[b].txt", "src", "we*rd"]),
        (["tests", "!tests/unit", "!**/*.json"], ["tests/test_a.py", "tests/test_b.py"]),
        (["tests/*.py", "!tests", "tests/test_a.py"], ["tests/test_a.py"]),
        (["docs", "!nothing-here"], ["docs/en/index.md", "docs/fr/index.md"]),
    ],
)
def test_chooses(patterns: list[str], expected: list[str]) -> None:
    assert chosen(*patterns) == expected


def test_no_pattern_chooses_nothing() -> None:
    assert chosen() == []


@pytest.mark.parametrize(
    ("pattern", "nearest"), [("READM.md", "README.md"), ("doc/", "docs"), ("test/unit", "tests/unit"), ("zzzzzz", None)]
)
def test_what_matches_nothing_is_an_error_with_a_suggestion(pattern: str, nearest: str | None) -> None:
    with pytest.raises(PatternError, match="matches no file") as caught:
        chosen("README.md", pattern)
    assert (caught.value.pattern, caught.value.nearest) == (pattern, nearest)


def test_a_file_is_not_a_directory() -> None:
    with pytest.raises(PatternError, match="matches no file"):
        chosen("README.md/")


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("", "not a path below"),
        ("!", "not a path below"),
        ("/", "not a path below"),
        ("/etc", "not a path below"),
        ("../x", "not a path below"),
        ("a/../b", "not a path below"),
        ("a//b", "not a path below"),
        ("a/./b", "not a path below"),
        ("a[b", "without its `]`"),
        ("[z-a]", "runs backwards"),
        ("a\\", "ends in a backslash"),
    ],
)
def test_refuses(pattern: str, reason: str) -> None:
    with pytest.raises(PatternError, match=reason):
        chosen(pattern)


@pytest.mark.parametrize("letters", ["[+-9]", "[!a]", "[/]"])
def test_no_set_crosses_a_slash(letters: str) -> None:
    with pytest.raises(PatternError, match="matches no file"):
        chosen(f"docs{letters}en{letters}index.md")
