"""Each failure of the corpus is the same failure elsewhere, at the first try; its twin is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.corpus.case import Case
from tests.corpus.cases import CASES
from tests.corpus.play import play
from tests.corpus.world import World
from tests.installed import Installed
from tests.real_registry import RealRegistry


@pytest.fixture(scope="session")
def world(
    installed: Installed, shared: Path, registry: RealRegistry, tmp_path_factory: pytest.TempPathFactory
) -> World:
    return World(installed, shared, registry, tmp_path_factory.mktemp("corpus"))


def test_there_are_enough() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 36


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES])
def test_case(case: Case, world: World) -> None:
    assert play(case, world).trouble == ""
