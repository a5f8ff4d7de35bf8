"""What is told where a program of ours fails under the ids of layers."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ci_env.errors import HostError
from ci_env.execute.programs import collect, layer_digest
from tests.sandboxes import Place


def test_a_reason_and_the_exit_status(place: Place, tmp_path: Path) -> None:
    output = tmp_path / "there-already.tar"
    output.touch()
    with pytest.raises(HostError, match=r"cannot collect artifacts: .*there-already.tar: File exists: exit status 1"):
        collect(place.runner, output, place.layer() / "root", (), ("*",), ())


def test_the_exit_status_where_there_is_no_reason(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = place.layer()
    assert place.runner.as_owner(["true"]) == 0  # where it takes a launcher, that has its interpreter now
    with monkeypatch.context() as patch:  # what the fixture does at its end needs the interpreter again
        patch.setattr(sys, "executable", "/bin/false")
        with pytest.raises(HostError, match=r"cannot collect artifacts: its program ended: exit status 1"):
            collect(place.runner, tmp_path / "out.tar", layer / "root", (), ("*",), ())
        with pytest.raises(HostError, match=f"cannot read what a step has left in {layer}: exit status 1"):
            layer_digest(place.runner, layer)


def test_digest_and_files_where_all_goes_well(place: Place, tmp_path: Path) -> None:
    layer = place.layer()
    empty = layer_digest(place.runner, layer)
    (layer / "root/workspace").mkdir()
    (layer / "root/workspace/file").touch()
    assert layer_digest(place.runner, layer) != empty
    assert collect(place.runner, tmp_path / "out.tar", layer / "root", (), ("file", "absent"), ()) == ["absent"]
