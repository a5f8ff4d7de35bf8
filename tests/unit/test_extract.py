"""Artifacts out of a tar: nothing in it can lead elsewhere, whoever made it."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from ci_env.errors import CiEnvError
from ci_env.execute.extract import extract
from tests.oci_builder import d, f, link, tar


def test_files_are_laid_below(tmp_path: Path) -> None:
    content = tar([f("workspace/a/b", "x"), link("workspace/to", "/etc")])
    assert extract(io.BytesIO(content), tmp_path / "out") == ("a/b", "to")
    assert (tmp_path / "out/a/b").read_text() == "x"


@pytest.mark.parametrize(
    "entries",
    [
        [f("workspace/../escaped", "x")],
        [f("workspace/a/../../escaped", "x")],
        [f("/escaped", "x")],
        [link("workspace/to", ".."), f("workspace/to/escaped", "x")],
        [f("workspace/to/escaped", "x"), link("workspace/to", "..")],
        [f("workspace/twice", "x"), f("workspace/twice", "y")],
        [d("workspace/directory")],
        [f("workspace/.git/hooks/post-checkout", "x")],
    ],
)
def test_what_leads_elsewhere_is_refused(tmp_path: Path, entries: list[object]) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(CiEnvError):
        extract(io.BytesIO(tar(entries)), tmp_path / "out" / "in")  # type: ignore[arg-type]  # oci_builder's own
    assert not (tmp_path / "escaped").exists()
    assert not (tmp_path / "out" / "escaped").exists()
