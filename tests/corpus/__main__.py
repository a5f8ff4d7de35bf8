"""Plays the corpus, two cases at a time, and prints a line for each. Arguments are names of cases; default: all."""

from __future__ import annotations

import itertools
import os
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from tests.corpus.cases import CASES
from tests.corpus.play import Score, play
from tests.corpus.world import World
from tests.installed import install
from tests.real_registry import real_registry
from tests.shared_directory import SHARED

_AT_A_TIME = 2


def main(names: Sequence[str]) -> int:
    """Return 0 if all failures were the same elsewhere, and no twin was."""
    unknown = set(names) - {case.name for case in CASES}
    if unknown:
        sys.exit(f"no such case: {', '.join(sorted(unknown))}")
    cases = [case for case in CASES if not names or case.name in names]
    began = time.monotonic()
    with _world() as world, ThreadPoolExecutor(_AT_A_TIME) as pool:
        scores = [_tell(score) for score in pool.map(play, cases, itertools.repeat(world))]
    right = sum(not score.trouble for score in scores)
    print(f"{right}/{len(scores)} failures replayed at the first try, {time.monotonic() - began:.0f} s")
    return int(right != len(scores))


def _tell(score: Score) -> Score:
    case = score.case
    print(f"{case.name:28} {score.verdict:32} twin: {score.twin:28} {score.seconds:5.1f} s", flush=True)
    if score.trouble:
        print(f"  wrong: {score.trouble}", flush=True)
    return score


@contextmanager
def _world() -> Generator[World]:
    given = os.environ.get(SHARED)
    with tempfile.TemporaryDirectory(prefix="ci-env-corpus-") as directory:
        path = Path(directory)
        path.chmod(0o755)
        for name in ("shared", "registry", "images"):
            (path / name).mkdir()
        with real_registry(path / "registry") as registry:
            shared = Path(given) if given else path / "shared"
            yield World(install(shared), shared, registry, path / "images")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
