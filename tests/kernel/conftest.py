"""Fixtures of the runner's tests."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from tests.sandboxes import Place, new_place


@pytest.fixture
def place(tmp_path: Path) -> Generator[Place]:
    """Give a store with a runner."""
    with new_place(tmp_path / "store") as made:
        yield made
