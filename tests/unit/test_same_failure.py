"""Real outputs of real tools (tests/failures): runs of one failure are the same, everything else is not.

Each directory holds what a tool wrote, with the exit status in the last line: `same-1` and `same-2` are two runs of one
failure, every other file is another failure.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from ci_env.replay.verdict import Outcome, judge

FAILURES = Path(__file__).parent.parent / "failures"
TOOLS = sorted(path.name for path in FAILURES.iterdir())


def outcome(file: Path) -> Outcome:
    *lines, last = file.read_text().splitlines()
    return Outcome("exit", int(last.removeprefix("exit ")), None, (*lines, ""), None)


def pairs() -> Iterator[tuple[Path, Path]]:
    for tool in TOOLS:
        yield from itertools.combinations(sorted((FAILURES / tool).iterdir()), 2)


@pytest.mark.parametrize("tool", TOOLS)
def test_one_failure_twice(tool: str) -> None:
    one, other = (outcome(FAILURES / tool / f"same-{number}.txt") for number in (1, 2))
    verdict = judge(one, other)
    assert (verdict.kind, verdict.success) == ("same", False), verdict
    assert judge(other, one).kind == "same"


@pytest.mark.parametrize(
    ("one", "other"),
    [pair for pair in pairs() if not all(path.name.startswith("same-") for path in pair)],
    ids=lambda path: f"{path.parent.name}-{path.stem}",
)
def test_two_failures(one: Path, other: Path) -> None:
    for old, new in itertools.permutations((outcome(one), outcome(other))):
        for others in ((), (new,)):
            verdict = judge(old, new, others)
            assert verdict.kind == "different", verdict
            assert verdict.reason in ("other-ending", "other-cause", "other-output")
