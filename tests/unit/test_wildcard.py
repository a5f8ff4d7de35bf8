"""The sources of a COPY: Go's filepath.Match, name by name, in a tree with symlinks."""

from __future__ import annotations

import time
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci_env.errors import ConfigError
from ci_env.oci.owner import find_owner
from ci_env.oci.wildcard import compile_part, expand, split


class Flat:
    """Files and directories by their paths, without links."""

    def __init__(self, *paths: str) -> None:
        self._paths = {b"", *(path.encode() for path in paths)}

    def follow(self, path: bytes) -> bytes | None:
        return path if path in self._paths else None

    def names(self, path: bytes) -> Iterable[bytes]:
        return [found.rpartition(b"/")[2] for found in self._paths if found and found.rpartition(b"/")[0] == path]


TREE = Flat("/a", "/a/one.txt", "/a/two.txt", "/b", "/b/one.txt", "/b/*", "/.hidden")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a", ["/a"]),
        ("./a//one.txt", ["/a/one.txt"]),
        ("*/one.txt", ["/a/one.txt", "/b/one.txt"]),
        ("a/*.txt", ["/a/one.txt", "/a/two.txt"]),
        ("[^b]/t??.txt", ["/a/two.txt"]),
        (r"b/\*", ["/b/*"]),
        ("*", ["/.hidden", "/a", "/b"]),
        ("a/*/x", []),
        ("z*", []),
        (".", [""]),
        ("../../a", ["/a"]),
    ],
)
def test_expand(source: str, expected: list[str]) -> None:
    assert expand(TREE, source) == tuple(path.encode() for path in expected)


@pytest.mark.parametrize("source", ["absent", "a/absent", "absent/*"])
def test_absent(source: str) -> None:
    assert expand(TREE, source) is None


@pytest.mark.parametrize("pattern", ["[", "[]", "[a", "a\\", "[b-a]"])
def test_malformed(pattern: str) -> None:
    with pytest.raises(ValueError, match="not a"):
        compile_part(pattern)


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("*a*b", "xaxxb", True),
        ("*ab*", "ab", True),
        ("a*", "a", True),
        ("a*b*c", "abbc", True),
        ("a*b*c", "acb", False),
        ("*", "", True),
        ("**", "x", True),
        ("[a-c]?", "bz", True),
        (r"\[x]", "[x]", True),
        ("a*a", "a", False),
    ],
)
def test_one_name(pattern: str, name: str, expected: bool) -> None:
    assert bool(compile_part(pattern).fullmatch(name)) == expected


def test_many_stars_take_no_time() -> None:
    began = time.monotonic()
    assert not compile_part("*a" * 60 + "b").fullmatch("a" * 255)
    assert time.monotonic() - began < 1


@given(st.text("ab*", max_size=8), st.text("ab", max_size=8))
def test_stars_match_as_they_should(pattern: str, name: str) -> None:
    def slow(pattern: str, name: str) -> bool:
        if not pattern:
            return not name
        if pattern[0] == "*":
            return any(slow(pattern[1:], name[cut:]) for cut in range(len(name) + 1))
        return bool(name) and pattern[0] == name[0] and slow(pattern[1:], name[1:])

    assert bool(compile_part(pattern).fullmatch(name)) == slow(pattern, name)


@pytest.mark.parametrize(("path", "expected"), [("/a/./b//", ["a", "b"]), ("../..", []), ("a/../b", ["b"])])
def test_split(path: str, expected: list[str]) -> None:
    assert split(path) == expected


PASSWD = b"broken\nroot:x:0:0:root:/root:/bin/sh\nodd:x:nan:0::/:\nodd:x:7:8::/:\n\xff:x:1:1::/:\n"
GROUP = b"root:x:0:\nstaff:x:50:a,b\n\nshort:x\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("root", (0, 0)),
        ("odd", (7, 8)),
        ("odd:staff", (7, 50)),
        ("5", (5, 5)),
        ("5:", (5, 5)),
        ("5:6", (5, 6)),
        ("0" * 5000 + "5", (5, 5)),
    ],
)
def test_owner(text: str, expected: tuple[int, int]) -> None:
    assert find_owner(text, PASSWD, GROUP) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":5",
        "absent",
        "root:short",
        "4294967295",
        "5:99999999999999999999999",
        "0" * 30 + "4294967295",
        "9" * 5000,
        "٣",
    ],
)
def test_no_owner(text: str) -> None:
    with pytest.raises(ConfigError):
        find_owner(text, PASSWD, GROUP)
