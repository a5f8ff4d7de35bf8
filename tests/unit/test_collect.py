"""What the program that collects a workspace's files chooses, by its two lists of patterns."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from ci_env.oci.collect import main


def collected(place: Path, *arguments: str) -> list[str]:
    """Return the paths that it puts into the tar, of three files."""
    for name in ("app.bin", "report.xml", "secret"):
        path = place / "upper" / "workspace" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    assert main([str(place / "out.tar"), str(place / "upper"), *arguments]) == 0
    with tarfile.open(place / "out.tar") as tar:
        return [Path(name).name for name in tar.getnames()]


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["dist/", "!secret"], []),
        (["dist/", "!secret", "*.bin"], ["app.bin"]),
        (["dist/", "lib/", "!*.map", "!secret"], []),
        (["!secret"], ["app.bin", "report.xml"]),
        (["!secret", "dist/"], ["app.bin", "report.xml"]),
    ],
)
def test_a_pattern_that_matches_nothing_does_not_make_it_everything(
    tmp_path: Path, patterns: list[str], expected: list[str]
) -> None:
    assert collected(tmp_path, *(f"--artifact={pattern}" for pattern in patterns)) == expected


def test_reports_take_nothing_from_artifacts(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    lists = ["--artifact=*.bin", "--artifact=dist/", "--report=*.xml", "--report=!*.bin"]
    assert collected(tmp_path, *lists) == ["app.bin", "report.xml"]
    assert json.loads(capfd.readouterr().out)["unmatched"] == ["dist/"]


def test_a_report_list_may_begin_with_everything(tmp_path: Path) -> None:
    assert collected(tmp_path, "--artifact=secret", "--report=!secret") == ["app.bin", "report.xml", "secret"]
