"""The verdict of a replay, for every way in which two endings can compare."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ci_env.digest import Digest
from ci_env.replay.verdict import Kind, Outcome, Verdict, exit_code, judge

FAILED = Outcome("exit", 1, None, ("collected 3 items", "x.py:4: AssertionError", "1 failed in 0.12s"), Digest.of(b"t"))
PASSED = Outcome("exit", 0, None, ("3 passed in 0.10s",), None)
KILLED = replace(FAILED, ended="signal", exit_code=None, signal=9)
LATE = replace(FAILED, ended="timeout", exit_code=None, signal=15)
CANCELLED = replace(FAILED, ended="cancelled", exit_code=None, signal=2)


@pytest.mark.parametrize(
    ("old", "new", "kind", "success", "reason"),
    [
        (FAILED, FAILED, "same", False, "exit status 1 and the same output both times"),
        (PASSED, PASSED, "same", True, "exit status 0 and the same output both times"),
        (KILLED, KILLED, "same", False, "signal 9 (SIGKILL) and the same output both times"),
        (LATE, replace(LATE, signal=9), "same", False, "timeout and the same output both times"),
        (FAILED, PASSED, "passes", True, "exit status 1 then, exit status 0 here"),
        (LATE, PASSED, "passes", True, "timeout then, exit status 0 here"),
        (KILLED, replace(PASSED, output=None), "passes", True, "signal 9 (SIGKILL) then, exit status 0 here"),
        (PASSED, FAILED, "different", False, "exit status 0 then, exit status 1 here"),
        (FAILED, replace(FAILED, exit_code=2), "different", False, "exit status 1 then, exit status 2 here"),
        (FAILED, replace(KILLED, signal=64), "different", False, "exit status 1 then, signal 64 (SIGRTMAX) here"),
        (KILLED, replace(KILLED, signal=99), "different", False, "signal 9 (SIGKILL) then, signal 99 here"),
        (KILLED, LATE, "different", False, "signal 9 (SIGKILL) then, timeout here"),
        (replace(FAILED, output=None), KILLED, "different", False, "exit status 1 then, signal 9 (SIGKILL) here"),
        (CANCELLED, PASSED, "cannot-tell", True, "the recorded run was cancelled before this step ended"),
        (FAILED, CANCELLED, "cannot-tell", False, "the replay was cancelled before the step ended"),
        (CANCELLED, CANCELLED, "cannot-tell", False, "the recorded run was cancelled before this step ended"),
    ],
)
def test_endings(old: Outcome, new: Outcome, kind: Kind, success: bool, reason: str) -> None:
    assert judge(old, new) == Verdict(kind, success, (reason,))


@pytest.mark.parametrize(("old", "new", "whose"), [(None, (), "record"), ((), None, "replay"), (None, None, "record")])
def test_output_that_was_not_recorded(old: tuple[str, ...] | None, new: tuple[str, ...] | None, whose: str) -> None:
    verdict = judge(replace(FAILED, output=old), replace(FAILED, output=new))
    assert verdict.kind == "cannot-tell"
    assert verdict.reasons == (f"exit status 1 both times, but the {whose} holds no output to compare",)


def test_times_are_not_compared_and_that_is_said() -> None:
    verdict = judge(FAILED, replace(FAILED, output=[*FAILED.output[:2], "1 failed in 0.34s"]))  # type: ignore[index]
    assert verdict.kind == "same"
    assert verdict.reasons[1:] == ("times, addresses and the like in the output were not compared",)


@pytest.mark.parametrize(
    ("old", "new", "place", "then", "here"),
    [
        (["a", "in 0.1s", "x 1"], ["a", "in 0.2s", "x 2"], 3, "x 1", "x 2"),
        (["a"], ["a", "b"], 2, "(nothing more)", "b"),
        (["a"], [], 1, "a", "(nothing more)"),
        (["a", "a"], ["a", "b"], 2, "a", "b"),
        (["x" * 300], ["y"], 1, "x" * 197 + "...", "y"),
    ],
)
def test_the_first_differing_lines_are_quoted(old: list[str], new: list[str], place: int, then: str, here: str) -> None:
    verdict = judge(replace(FAILED, output=old), replace(FAILED, output=new))
    assert verdict.kind == "different"
    assert verdict.reasons == (
        f"the output differs from line {place} on",
        f"then: {then}",
        f"here: {here}",
    )


def test_lines_in_another_order_are_the_same_with_a_remark() -> None:
    old, new = ["a", "b in 0.1s", "c", "c"], ["c", "b in 0.2s", "c", "a"]
    verdict = judge(replace(FAILED, output=old), replace(FAILED, output=new))
    assert (verdict.kind, verdict.reasons[1:]) == ("same", ("the lines of the output came in another order",))
    assert judge(replace(FAILED, output=old), replace(FAILED, output=new[1:])).kind == "different"
    assert judge(replace(FAILED, output=old), replace(FAILED, output=[*new[1:], "b"])).kind == "different"


@pytest.mark.parametrize("outcome", [FAILED, replace(PASSED, tree=Digest.of(b"t"))])
def test_other_files_are_remarked(outcome: Outcome) -> None:
    verdict = judge(outcome, replace(outcome, tree=Digest.of(b"other")))
    assert (verdict.kind, verdict.reasons[1:]) == ("same", ("the files that it left differ",))
    assert judge(outcome, replace(outcome, tree=None)).reasons[1:] == ()


@pytest.mark.parametrize(("kind", "code"), [("same", 0), ("different", 6), ("passes", 7), ("cannot-tell", 8)])
def test_exit_codes(kind: Kind, code: int) -> None:
    assert exit_code(Verdict(kind, success=False, reasons=())) == code
