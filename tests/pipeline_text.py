"""Pipeline files written in tests: what they mean, and what is said of wrong ones."""

from __future__ import annotations

import pytest

from ci_env.cli.pipeline_file import load
from ci_env.errors import ConfigError
from ci_env.pipeline.model import Pipeline

FILE = "ci-env.yml"


def pipeline(text: str | bytes) -> Pipeline:
    return load(text if isinstance(text, bytes) else text.encode(), FILE)


def complaint(text: str | bytes) -> str:
    """Return the whole message about a file that must be refused."""
    with pytest.raises(ConfigError) as caught:
        pipeline(text)
    assert caught.value.exit_code == 2
    return str(caught.value)


def one_step(text: str) -> str:
    """Return a pipeline whose only step, from line 6 on and indented by 8, is `text`."""
    lines = text.splitlines()
    body = "".join(f"{'      - ' if not number else '        '}{line}\n" for number, line in enumerate(lines))
    return f"version: 1\nimage: host\njobs:\n  test:\n    steps:\n{body}"
