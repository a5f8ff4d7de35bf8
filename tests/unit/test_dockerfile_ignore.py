"""`.dockerignore`, case by case as moby/patternmatcher decides, and the patterns of COPY."""

from __future__ import annotations

import time

import pytest

from ci_env.dockerfile.ignore import Ignore, matches
from ci_env.errors import ConfigError


@pytest.mark.parametrize(
    ("lines", "path", "expected"),
    [
        ("docs", "docs", True),
        ("docs", "docs/a/b", True),
        ("docs", "x/docs", False),
        ("docs", "docs2", False),
        ("/docs/", "docs/a", True),
        ("./docs", "docs", True),
        ("a/../docs", "docs", True),
        ("  docs  ", "docs", True),
        ("docs\r", "docs", True),
        ("# docs", "docs", False),
        (" # docs", "# docs", True),
        ("\ufeffdocs", "docs", True),
        ("*.md", "a.md", True),
        ("*.md", "a/b.md", False),
        ("*.md", "a.md/x", True),
        ("*/b", "a/b", True),
        ("*/b", "a/c/b", False),
        ("**/*.md", "a.md", True),
        ("**/*.md", "a/b/c.md", True),
        ("**/b", "b", True),
        ("**/b", "ab", False),
        ("**/b", "a/b/c", True),
        ("**b", "ab", True),
        ("**b", "x/ab", True),
        ("a/**", "a", False),
        ("a/**", "a/b/c", True),
        ("a**", "abc/d", True),
        ("a/**/b", "a/b", True),
        ("a/**/b", "a/x/y/b", True),
        ("a/**/b", "a/xb", False),
        ("**/a/**/b", "x/a/y/b/z", True),
        ("**/**/a", "a", True),
        ("**", "a", True),
        ("*", "a/b", True),
        ("a?c", "abc", True),
        ("a?c", "a/c", False),
        ("a[b-d]", "ac", True),
        ("a[^b-d]", "ac", False),
        ("a[^b-d]", "ax", True),
        (r"a[\]]", "a]", True),
        (r"\*", "*", True),
        (r"\*", "a", False),
        (r"\!a", "!a", True),
        ("a.c", "abc", False),
        ("a+(b)", "a+(b)", True),
        ("*a*b*c", "xaybzc", True),
        ("*a*b*c", "xaybzd", False),
        ("*ab*ab", "abab", True),
        ("*ab*ab", "aab", False),
        ("a*/b*c/d", "ax/byc/d", True),
        ("*\n!keep", "keep", False),
        ("*\n!keep", "keep/x", False),
        ("*\n!keep\nkeep/x", "keep/x", True),
        ("a\n!a/b\na/b/c", "a/b/d", False),
        ("a\n!a/b", "a/c", True),
        ("!a\na", "a", True),
        ("! /a/\n*\n!  b", "b", False),
        ("", "a", False),
    ],
)
def test_is_ignored(lines: str, path: str, *, expected: bool) -> None:
    assert Ignore.parse(lines, file="f").is_ignored(path) == expected


def test_many_patterns_are_understood_once() -> None:
    """More of them than `re` keeps compiled."""
    ignore = Ignore.parse("".join(f"{number}/**/x*.py\n" for number in range(600)), file="f")
    began = time.process_time()
    assert not any(ignore.is_ignored(f"a/b/{number}.c") for number in range(50))
    assert time.process_time() - began < 2


def test_exceptions_are_announced() -> None:
    assert Ignore.parse("a\n!a/b", file="f").has_exceptions
    assert not Ignore.parse("a", file="f").has_exceptions


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\n[b", "f:2: `[b` is not a pattern: a `[` or `\\` is not ended"),
        ("a\\", "f:1: `a\\` is not a pattern: a `[` or `\\` is not ended"),
        ("[]", "f:1: `[]` is not a pattern: a `[` or `\\` is not ended"),
        ("\n\n[b-a]", "f:3: `[b-a]` has a range that runs backwards: `b-a`"),
        ("!", "f:1: `!` without a pattern"),
    ],
)
def test_malformed_patterns(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Ignore.parse(text, file="f")
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("a", "a", True),
        ("a", "a/b", False),
        ("*.py", "a.py", True),
        ("*.py", "a/b.py", False),
        ("*/*.py", "a/b.py", True),
        ("**/a", "x/a", True),
        ("**/a", "a", False),
        ("**/a", "x/y/a", False),
        ("a**", "ab", True),
        ("?", "é", True),
        ("[a-c]*", "b1", True),
        (r"\[a]", "[a]", True),
    ],
)
def test_matches(pattern: str, path: str, *, expected: bool) -> None:
    assert matches(pattern, path) == expected
