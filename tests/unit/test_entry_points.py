"""Entry points of installed distributions: the same as importlib.metadata finds, for less."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import pytest

from ci_env.cli.entry_points import EntryPoint, find, version

THEIRS = """\
[console_scripts]
x = their.main:main

[ci_env.adapters]
one = their.adapter
two=their.adapter : made.it [extra]
  three  =  their.three
# comment
wrong
= also.wrong
four = not a module

[other]
x = their.other
"""


def install(site: Path, folder: str, text: str | bytes) -> None:
    (site / folder).mkdir(parents=True)
    (site / folder / "entry_points.txt").write_bytes(text if isinstance(text, bytes) else text.encode())


def test_same_as_the_standard_library_finds_here() -> None:
    assert find("console_scripts")
    for group in ("console_scripts", "ci_env.runners", "ci_env.adapters", "pytest11"):
        theirs = {
            (entry.name, entry.module, entry.attr or "") for entry in importlib.metadata.entry_points(group=group)
        }
        assert {(entry.name, entry.module, entry.attribute) for entry in find(group)} == theirs
    for name in ("ci-env", "ci_env", "PyYAML", "backports.zstd"):
        assert version(name) == importlib.metadata.version(name)


def test_what_a_distribution_offers(tmp_path: Path) -> None:
    install(tmp_path, "Their_Plugin-2.0.dist-info", THEIRS)
    assert find("ci_env.adapters", [str(tmp_path)]) == (
        EntryPoint("one", "their.adapter", "", "their-plugin"),
        EntryPoint("two", "their.adapter", "made.it", "their-plugin"),
        EntryPoint("three", "their.three", "", "their-plugin"),
    )
    assert version("their.plugin", [str(tmp_path)]) == "2.0"


def test_first_on_the_path_hides_others_of_its_name(tmp_path: Path) -> None:
    install(tmp_path / "a", "x-1.dist-info", "[g]\nn = first")
    install(tmp_path / "b", "x-2.dist-info", "[g]\nn = second")
    install(tmp_path / "b", "y-1.dist-info", "[g]\nn = other")
    path = ["", str(tmp_path / "missing"), str(tmp_path / "a"), str(tmp_path / "b")]
    assert [entry.module for entry in find("g", path)] == ["first", "other"]
    assert version("x", path) == "1"


@pytest.mark.parametrize("text", [b"\xff\xfe\x00[g]\n\xff = x", b"", b"[g", b"n = x\n[g]"])
def test_damaged_file_offers_nothing(tmp_path: Path, text: bytes) -> None:
    install(tmp_path, "x-1.dist-info", text)
    (tmp_path / "file-1.dist-info").write_text("no folder")
    assert find("g", [str(tmp_path), str(tmp_path / "file-1.dist-info")]) == ()
    assert version("z", [str(tmp_path)]) == "unknown"
