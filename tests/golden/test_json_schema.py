"""The JSON schema that editors use: the copy in docs/ is what `ci-env schema` prints."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from ci_env.cli import schema

COPY = Path(__file__).parents[2] / "docs/ci-env.schema.json"


def test_committed_copy_is_what_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """After a change on purpose: `ci-env schema >docs/ci-env.schema.json`."""
    assert schema.run(argparse.Namespace()) == 0
    assert capsys.readouterr().out == COPY.read_text()
