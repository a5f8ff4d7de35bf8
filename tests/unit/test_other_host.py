"""Replays of `image: host` on another operating system: whatever they do, nothing can be told from it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ci_env.replay.repetition import exit_code, tally
from ci_env.replay.verdict import Outcome, judge

OLD = Outcome("exit", 3, None, ("it broke", ""), None)


@pytest.mark.parametrize(
    "new",
    [
        OLD,
        replace(OLD, exit_code=0),
        replace(OLD, exit_code=4),
        replace(OLD, output=("it broke elsewhere", "")),
        replace(OLD, instead="build/before"),
        replace(OLD, ended="timeout"),
    ],
)
def test_it_cannot_tell(new: Outcome) -> None:
    alone = judge(OLD, new)
    assert alone.kind != "cannot-tell"
    found = judge(OLD, replace(new, is_on_other_host=True))
    assert (found.kind, found.reason) == ("cannot-tell", "other-host")
    assert found.reasons == ("`image: host` is another operating system here than then", *alone.reasons)


def test_what_cannot_be_told_anyway() -> None:
    found = judge(OLD, replace(OLD, ended="cancelled", is_on_other_host=True))
    assert (found.kind, found.reason) == ("cannot-tell", "replay-cancelled")


def test_often() -> None:
    failed = replace(OLD, is_on_other_host=True)
    found = tally(OLD, [failed, replace(failed, exit_code=0), failed], lambda: failed)
    assert (found.verdict.kind, found.verdict.reason, exit_code(found, OLD)) == ("cannot-tell", "other-host", 8)
    assert found.failed == 2
