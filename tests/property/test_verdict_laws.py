"""Laws of verdicts: a failure is its own, and nothing that tells of one may change unnoticed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ci_env.replay.verdict import Outcome, judge

FAILURES = sorted((Path(__file__).parent.parent / "failures").glob("*/*.txt"))
OUTPUTS = [tuple(path.read_text().splitlines()[:-1]) for path in FAILURES]
TELLING = ("assert {} == 4", "E   assert {} == 4", "error: no {}", "x.c:{}: error: y", "AssertionError: {}", "FAIL t{}")
NOISE = ("seed {}", "made object {}", "[{}/90] building", "{}% done", "pid {}", "12:34:{:02}")

outputs = st.sampled_from(OUTPUTS)
numbers = st.integers(0, 59)


def failed(lines: Sequence[str]) -> Outcome:
    return Outcome("exit", 1, None, (*lines, ""), None)


@given(outputs)
def test_a_failure_is_its_own(lines: tuple[str, ...]) -> None:
    assert judge(failed(lines), failed(lines)).reason == "equal-output"


@settings(deadline=None)
@given(outputs, outputs, outputs)
def test_sameness_goes_both_ways_whatever_else_was_seen(
    one: tuple[str, ...], other: tuple[str, ...], third: tuple[str, ...]
) -> None:
    there, back = judge(failed(one), failed(other), [failed(third)]), judge(failed(other), failed(one), [failed(third)])
    if there.reason in ("equal-output", "other-ending", "other-cause"):
        assert there.reason == back.reason


@settings(deadline=None)
@given(outputs, st.sampled_from(TELLING), numbers, numbers, st.data())
def test_a_changed_line_that_tells_of_a_failure_is_seen_wherever_it_stands(
    lines: tuple[str, ...], form: str, one: int, other: int, data: st.DataObject
) -> None:
    assume(one != other)
    place = data.draw(st.integers(0, len(lines)))
    old, new = (failed([*lines[:place], form.format(number), *lines[place:]]) for number in (one, other))
    noise = data.draw(st.lists(st.sampled_from(OUTPUTS).map(failed), max_size=2))
    for others in ((), [new], [old], [new, old], noise):
        assert judge(old, new, others).kind == "different"


@given(outputs, st.data())
def test_a_lost_line_that_no_progress_meter_wrote_is_seen(lines: tuple[str, ...], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(lines) - 1))
    assume(lines[place].strip() and not lines[place].startswith("["))
    assert judge(failed(lines), failed([*lines[:place], *lines[place + 1 :]])).kind == "different"


@given(outputs, st.sampled_from(NOISE), st.lists(numbers, min_size=3, max_size=3, unique=True))
def test_a_line_that_changes_each_time_is_none(lines: tuple[str, ...], form: str, values: list[int]) -> None:
    old, new, other = (failed([form.format(number), *lines]) for number in values)
    assert judge(old, new, [other]).kind == "same"


@given(outputs, st.integers(2, 255), st.integers(1, 64))
def test_another_ending_is_seen(lines: tuple[str, ...], code: int, signal: int) -> None:
    old = failed(lines)
    assert judge(old, replace(old, exit_code=code)).kind == "different"
    assert judge(old, replace(old, ended="signal", exit_code=None, signal=signal)).kind == "different"
    assert judge(old, replace(old, ended="oom")).kind == "different"
    assert judge(old, replace(old, exit_code=0)).kind == "passes"


@given(outputs, st.data())
def test_order_is_nothing(lines: tuple[str, ...], data: st.DataObject) -> None:
    assume("FAIL" not in lines)  # it would speak of other lines
    shuffled = data.draw(st.permutations(lines))
    found = judge(failed(lines), failed(shuffled))
    assume(found.reason != "other-cause")  # for that, only the last lines are looked at
    assert found.reason == "equal-output"
