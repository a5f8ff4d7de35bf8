"""The verdict of a replay, for every way in which two endings can compare."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import pytest

from ci_env.capsule.record import Ended
from ci_env.digest import Digest
from ci_env.replay.cause import Cause
from ci_env.replay.junit import FailedTest
from ci_env.replay.verdict import Kind, Outcome, Reason, Verdict, exit_code, judge

FAILED = Outcome("exit", 1, None, ("collected 3 items", "x.py:4: AssertionError", "1 failed in 0.12s"), Digest.of(b"t"))
PASSED = Outcome("exit", 0, None, ("3 passed in 0.10s",), None)
KILLED = replace(FAILED, ended="signal", exit_code=None, signal=9)
LATE = replace(FAILED, ended="timeout", exit_code=None, signal=15)
CANCELLED = replace(FAILED, ended="cancelled", exit_code=None, signal=2)


@pytest.mark.parametrize(
    ("old", "new", "kind", "success", "words", "reason"),
    [
        (FAILED, FAILED, "same", False, "exit status 1 and the same output both times", "equal-output"),
        (PASSED, PASSED, "same", True, "exit status 0 and the same output both times", "equal-output"),
        (KILLED, KILLED, "same", False, "signal 9 (SIGKILL) and the same output both times", "equal-output"),
        (LATE, replace(LATE, signal=9), "same", False, "timeout and the same output both times", "equal-output"),
        (FAILED, PASSED, "passes", True, "exit status 1 then, exit status 0 here", "passed"),
        (LATE, PASSED, "passes", True, "timeout then, exit status 0 here", "passed"),
        (KILLED, replace(PASSED, output=None), "passes", True, "signal 9 (SIGKILL) then, exit status 0 here", "passed"),
        (PASSED, FAILED, "different", False, "exit status 0 then, exit status 1 here", "other-ending"),
        (
            FAILED,
            replace(FAILED, exit_code=2),
            "different",
            False,
            "exit status 1 then, exit status 2 here",
            "other-ending",
        ),
        (
            FAILED,
            replace(KILLED, signal=64),
            "different",
            False,
            "exit status 1 then, signal 64 (SIGRTMAX) here",
            "other-ending",
        ),
        (
            KILLED,
            replace(KILLED, signal=99),
            "different",
            False,
            "signal 9 (SIGKILL) then, signal 99 here",
            "other-ending",
        ),
        (KILLED, LATE, "different", False, "signal 9 (SIGKILL) then, timeout here", "other-ending"),
        (
            replace(FAILED, output=None),
            KILLED,
            "different",
            False,
            "exit status 1 then, signal 9 (SIGKILL) here",
            "other-ending",
        ),
        (
            CANCELLED,
            PASSED,
            "cannot-tell",
            True,
            "the recorded run was cancelled before this step ended",
            "recorded-cancelled",
        ),
        (FAILED, CANCELLED, "cannot-tell", False, "the replay was cancelled before the step ended", "replay-cancelled"),
        (
            CANCELLED,
            CANCELLED,
            "cannot-tell",
            False,
            "the recorded run was cancelled before this step ended",
            "recorded-cancelled",
        ),
    ],
)
def test_endings(old: Outcome, new: Outcome, kind: Kind, success: bool, words: str, reason: Reason) -> None:
    assert judge(old, new) == Verdict(kind, success, (words,), reason)


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
    assert exit_code(Verdict(kind, success=False, reasons=(), reason="equal-output")) == code


def failing(*tests: tuple[str, str], output: Sequence[str] = ()) -> Outcome:
    """Return how a step ended whose reports say that these tests failed, with these words."""
    return replace(FAILED, output=output, failed=tuple(FailedTest(name, "failure", (said,)) for name, said in tests))


@pytest.mark.parametrize(
    ("old", "new", "kind", "reason"),
    [
        ([("a::b", "x 1")], [("a::b", "x 1")], "same", "equal-output"),
        ([("a::b", "x 1")], [("a::c", "x 1")], "different", "other-tests"),
        ([("a::b", "x 1")], [("a::b", "x 1"), ("a::c", "")], "different", "other-tests"),
        ([("a::b", "x 1")], [], "different", "other-tests"),
        ([("a::b", "x 1")], [("a::b", "x 2")], "different", "other-test-message"),
        ([("a::b", "timeout of 2000ms")], [("a::b", "timeout of 3000ms")], "different", "other-test-message"),
        ([("a::b", "12% left")], [("a::b", "13% left")], "different", "other-test-message"),
        ([("a::b", "<X at 0x7f0b91dd9b90>")], [("a::b", "<X at 0x7f0b91dd9b91>")], "same", "equal-output"),
        ([("a::b", "2024-01-31 12:34:56 x")], [("a::b", "2024-01-31 12:34:57 x")], "same", "equal-output"),
        ([("a::b", "--- FAIL: T (0.00s)")], [("a::b", "--- FAIL: T (0.01s)")], "same", "equal-output"),
    ],
)
def test_failed_tests(old: list[tuple[str, str]], new: list[tuple[str, str]], kind: Kind, reason: Reason) -> None:
    verdict = judge(failing(*old), failing(*new))
    assert (verdict.kind, verdict.reason) == (kind, reason)


def test_which_tests_failed_is_said() -> None:
    verdict = judge(failing(("a::b", ""), ("a::c", "")), failing(("a::b", ""), ("a::d", "")))
    assert verdict.reasons == ("other tests failed", "only then: a::c", "only here: a::d")
    verdict = judge(failing(("a::b", "assert 1 == 2")), failing(("a::b", "assert 1 == 3")))
    assert verdict.reasons == (
        "the test a::b failed with other words",
        "then: assert 1 == 2",
        "here: assert 1 == 3",
    )


def test_where_the_same_tests_failed_only_lines_that_tell_of_a_failure_count() -> None:
    old = failing(("a::b", "x"), output=["made 17", "x", *"abcde"])
    new = failing(("a::b", "x"), output=["made 18", "x", "y", "z", *"abcde"])
    assert judge(old, new).reason == "equal-tests"
    assert judge(old, replace(new, output=["made 17", "lint: error: y", *"abcde"])).reason == "other-output"
    assert judge(old, replace(new, output=["made 17", "x", *"abcde", "the sum is 17"])).reason == "other-output"
    assert judge(replace(old, failed=()), replace(new, failed=())).reason == "other-output"
    assert judge(replace(old, failed=None), new).reason == "other-output"


def said(*lines: str) -> Outcome:
    return replace(FAILED, output=[*lines, ""], tree=None)


NOISY = [said(f"seed {number}", "x", "it broke") for number in (17, 23, 42)]


def test_what_changes_from_one_replay_to_the_next_is_not_compared() -> None:
    old, new, other = NOISY
    first = judge(old, new)
    assert (first.kind, first.is_settled) == ("different", False)
    verdict = judge(old, new, [other])
    assert (verdict.kind, verdict.reason) == ("same", "unstable-output")
    still = judge(old, new, [new])
    assert (still.kind, still.reason, still.is_settled) == ("different", "other-output", True)


@pytest.mark.parametrize(
    "old",
    [
        said("seed 17", "y", "it broke"),  # another line, which is stable here
        said("seed 17", "x", "it broke", "seed 18 of many, said twice"),
        said("tide 17", "x", "it broke"),
        said("seed 17", "x", "it broke", "error 5"),
    ],
)
def test_what_is_stable_here_counts(old: Outcome) -> None:
    assert judge(old, NOISY[1], [NOISY[2]]).kind == "different"


def test_a_line_that_tells_of_a_failure_counts_though_it_changes() -> None:
    old, new, other = (said(f"assert {number} > 90") for number in (17, 23, 42))
    verdict = judge(old, new, [other])
    assert (verdict.kind, verdict.is_settled) == ("different", True)
    assert judge(old, new).is_settled  # so it is not run once more


def test_numbers_alone_are_explained_only_as_far_as_they_change() -> None:
    old, new, other = said("8731", "42"), said("1111", "43"), said("5555", "43")
    assert judge(old, new, [other]).kind == "different"
    assert judge(said("8731", "43"), new, [other]).kind == "same"


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        (["45% of it", "50% of it", *"abcde"], ["33% of it", *"abcde"], "same"),
        (["[1/4] cc a.o", "[2/4] cc b.o", *"abcde"], ["[1/4] cc b.o", "[2/4] cc a.o", *"abcde"], "same"),
        (["Fetched 12 MB (9,123 kB/s)", *"abcde"], ["Fetched 12 MB (17 kB/s)", *"abcde"], "same"),
        (["waiting for db", "waiting for db", *"abcde"], ["waiting for db", *"abcde"], "same"),
        (["waiting for db1", *"abcde"], ["waiting for db2", *"abcde"], "different"),
        (["TOTAL 120 8 90%", *"abcde"], ["TOTAL 120 70 40%", *"abcde"], "different"),
        (["throughput 5 MB/s", *"abcde"], ["throughput 500 MB/s", *"abcde"], "different"),
        (["  ━━━━━━ 1.2/3.4 MB 5.0 MB/s", *"abcde"], ["  ━━━ 0.2/3.4 MB 9.0 MB/s", *"abcde"], "same"),
        (["......", "", *"abcde"], [".....", *"abcde"], "same"),
        (["45% of it", "a"], ["33% of it", "a"], "different"),  # among the last lines
        (["coverage 45% not reached", *"abcde"], ["coverage 33% not reached", *"abcde"], "different"),
        (["[1/4] FAILED a.o", *"abcde"], ["[1/4] FAILED b.o", *"abcde"], "different"),
        (["..F", *"abcde"], [".F.", *"abcde"], "different"),
    ],
)
def test_progress_meters(old: list[str], new: list[str], kind: Kind) -> None:
    assert judge(said(*old), said(*new)).kind == kind
    assert judge(said(*new), said(*old)).kind == kind


TICKS = [f"tick {number}" for number in range(40)]


@pytest.mark.parametrize(
    ("ended", "old", "new", "kind", "reason"),
    [
        ("timeout", TICKS[:30], TICKS[:31], "same", "cut-output"),
        ("timeout", TICKS[:30], [*TICKS[:29], "ti"], "same", "cut-output"),
        ("oom", TICKS[:40], TICKS[:38], "same", "cut-output"),
        ("timeout", TICKS[:10], TICKS[:38], "cannot-tell", "cut-elsewhere"),
        ("timeout", ["a ok", "b ok"], ["a ok", "b ok", "c ok"], "cannot-tell", "cut-elsewhere"),
        ("timeout", ["a ok", "b ok"], ["a ok", "c ok"], "different", "other-output"),
        ("timeout", ["a ok", "b ok"], ["a ok", "b ok", "c failed"], "different", "other-output"),
        ("pids", ["fork: retry", "x"], ["fork: retry", "fork: retry", "x"], "same", "cut-output"),
        ("pids", ["fork: retry", "x"], ["fork: retry", "y"], "different", "other-output"),
        ("exit", TICKS[:30], TICKS[:31], "different", "other-output"),
    ],
)
def test_what_was_cut_off(ended: Ended, old: list[str], new: list[str], kind: Kind, reason: Reason) -> None:
    outputs = [lines if lines[-1] == "ti" else [*lines, ""] for lines in (old, new)]
    then, here = (replace(FAILED, ended=ended, output=output, tree=None) for output in outputs)
    verdict = judge(then, here)
    assert (verdict.kind, verdict.reason) == (kind, reason)


@pytest.mark.parametrize(
    ("ended", "code", "line", "cause"),
    [
        ("exit", 127, "sh: 1: nosuch: not found", "missing-command"),
        ("exit", 127, "env: 'nosuch': No such file or directory", "missing-command"),
        ("exit", 127, "said 127", "exit"),
        ("exit", 126, "sh: 1: ./x: Permission denied", "missing-command"),
        ("exit", 1, "curl: (6) Could not resolve host: example.org", "network"),
        ("exit", 1, "npm error code ECONNREFUSED", "network"),
        ("exit", 1, "it broke", "exit"),
        ("exit", 0, "Connection refused", "exit"),
        ("oom", 137, "Killed", "oom"),
        ("disk", 1, "No space left on device", "disk"),
        ("timeout", None, "Connection refused", "timeout"),
    ],
)
def test_causes(ended: Ended, code: int | None, line: str, cause: Cause) -> None:
    assert replace(FAILED, ended=ended, exit_code=code, output=[line, ""]).cause == cause


def test_another_cause_is_another_failure() -> None:
    old, new = said("curl: (7) Connection refused"), said("curl: (22) 404")
    verdict = judge(old, new)
    assert (verdict.kind, verdict.reason) == ("different", "other-cause")
    assert verdict.reasons == ("exit status 1 (network) then, exit status 1 here",)
    assert judge(replace(old, ended="oom"), old).reason == "other-ending"


def test_without_its_secrets_an_equal_ending_says_nothing() -> None:
    verdict = judge(FAILED, replace(FAILED, lacking=("TOKEN", "KEY")))
    assert (verdict.kind, verdict.reason, verdict.success) == ("cannot-tell", "incomplete-state", False)
    assert verdict.reasons[0] == "it ended alike, but the step ran without its secrets: TOKEN, KEY"
    assert exit_code(verdict) == 8


def test_without_its_secrets_another_ending_is_as_it_is() -> None:
    verdict = judge(FAILED, replace(PASSED, lacking=("TOKEN",)))
    assert (verdict.kind, verdict.reason) == ("passes", "passed")
    assert verdict.reasons[-1] == "the step ran without its secrets: TOKEN"


@pytest.mark.parametrize("failed", ["FAILED", "  not ok", "=> error!", "✗"])
def test_another_test_that_failed_with_the_same_word(failed: str) -> None:
    one = replace(FAILED, output=("run a", "log", failed, "run b", "log", "ok", "end"))
    other = replace(FAILED, output=("run a", "log", "ok", "run b", "log", failed, "end"))
    later = replace(FAILED, output=("run b", "log", "ok", "log", "run a", failed, "end"))
    assert judge(one, other).kind == "different"
    assert judge(one, other, [other, one]).kind == "different"
    assert judge(one, later).kind == "same"
    assert judge(replace(one, ended="pids"), replace(other, ended="pids")).kind == "same"


@pytest.mark.parametrize("text", ["a", "1", "1,", "1.", "_", " ", ".", "9%", "a-", "x:", "=", "9% ("])
def test_a_hostile_line_takes_linear_time(text: str) -> None:
    was, now = ((text * (2**16 // len(text)) + end, "last") for end in "ab")
    began = time.process_time()
    judge(replace(FAILED, output=was), replace(FAILED, output=now), [replace(FAILED, output=(*now, "more"))])
    assert time.process_time() - began < 5


def test_what_could_not_be_read_is_remarked_once() -> None:
    odd = replace(FAILED, remarks=("the report x was not compared: it is no XML",))
    assert judge(odd, odd).reasons[1:] == odd.remarks
