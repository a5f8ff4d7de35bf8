"""Replays where limits do not hold: what ended at one then may well do something else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ci_env.replay.verdict import Outcome, judge

OLD = Outcome("oom", None, 9, ("filling", ""), None)
WORDS = "the limit of memory holds for each process alone"


@pytest.mark.parametrize("ended", ["oom", "pids"])
@pytest.mark.parametrize("new", [Outcome("exit", 0, None, ("filling", ""), None), Outcome("exit", 1, None, (), None)])
def test_it_cannot_tell(ended: str, new: Outcome) -> None:
    old = replace(OLD, ended=ended)  # type: ignore[arg-type]  # one of the two above
    alone = judge(old, new)
    assert alone.kind in ("different", "passes")
    found = judge(old, replace(new, weakness=WORDS))
    assert (found.kind, found.reason) == ("cannot-tell", "weaker-limits")
    assert found.reasons == (WORDS, *alone.reasons)


def test_the_same_end_is_the_same() -> None:
    found = judge(OLD, replace(OLD, weakness=WORDS))
    assert (found.kind, found.reasons[-1]) == ("same", WORDS)


def test_a_limit_that_was_not_reached_is_a_remark() -> None:
    failed = Outcome("exit", 1, None, ("broke", ""), None)
    found = judge(failed, replace(failed, exit_code=2, weakness=WORDS))
    assert (found.kind, found.reasons[-1]) == ("different", WORDS)
