"""Several replays as one verdict: what is called flaky, and how sure a rate is."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from ci_env.replay.repetition import exit_code, tally, wilson
from ci_env.replay.verdict import Kind, Outcome, Reason


def ended(code: int, *lines: str) -> Outcome:
    return Outcome("exit", code, None, (*lines, ""), None)


BAD, WORSE, GOOD = ended(1, "bad"), ended(2, "worse"), ended(0, "good")
NOISY = [ended(1, f"seed {number}", "it broke") for number in range(17, 29)]


def one_more() -> Outcome:
    return NOISY[-1]


@pytest.mark.parametrize(
    ("old", "replays", "kind", "reason", "code"),
    [
        (BAD, [BAD] * 3, "same", "equal-output", 0),
        (BAD, [GOOD] * 3, "passes", "passed", 7),
        (BAD, [WORSE] * 3, "different", "other-ending", 6),
        (BAD, [BAD, GOOD, GOOD], "flaky", "some-passed", 0),
        (BAD, [WORSE, GOOD, GOOD], "flaky", "some-passed", 6),
        (BAD, [BAD, WORSE], "different", "some-differed", 6),
        (GOOD, [GOOD, BAD], "flaky", "some-passed", 6),
        (GOOD, [GOOD, GOOD], "same", "equal-output", 0),
        (BAD, [GOOD], "passes", "passed", 7),
        (NOISY[0], NOISY[1:], "same", "unstable-output", 0),
        (NOISY[0], [NOISY[0], NOISY[1]], "same", "unstable-output", 0),
        (NOISY[0], NOISY[1:2], "same", "unstable-output", 0),
        (NOISY[0], [NOISY[-1]], "different", "other-output", 6),
        (ended(1, "tide 17", "it broke"), NOISY[1:], "different", "other-output", 6),
    ],
)
def test_together(old: Outcome, replays: Sequence[Outcome], kind: Kind, reason: Reason, code: int) -> None:
    found = tally(old, iter(replays), one_more)
    kinds = {verdict.kind for verdict in found.verdicts}
    assert (found.verdict.kind, exit_code(found, old)) == (kind, code)
    assert found.verdict.reason == reason or len(kinds) == 1
    assert len(found.verdicts) == len(found.signatures) == len(replays) == sum(found.counts.values())
    assert found.failed == sum(outcome.exit_code != 0 for outcome in replays)


def test_the_rate_is_said_with_its_interval() -> None:
    found = tally(BAD, [BAD, GOOD, GOOD, GOOD, GOOD], one_more)
    assert found.rate == 0.2
    assert found.verdict.reasons == (
        "1 of 5 replays failed (3.6% to 62.4% of all would, at 95%)",
        "4 times passed: exit status 1 then, exit status 0 here",
        "once the same: exit status 1 and the same output both times",
    )


# Newcombe, Stat. Med. 17 (1998), table I, method 3
@pytest.mark.parametrize(
    ("hits", "times", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson(hits: int, times: int, low: float, high: float) -> None:
    assert wilson(hits, times) == pytest.approx((low, high), abs=0.00005)
    assert wilson(times - hits, times) == pytest.approx((1 - high, 1 - low), abs=0.00005)


@pytest.mark.parametrize("times", [20, 30, 50, 100, 200])
def test_the_interval_holds_the_rate_of_a_test_that_fails_once_in_five(times: int) -> None:
    """Exactly, by summing up all that can happen."""
    covered = sum(
        math.comb(times, hits) * 0.2**hits * 0.8 ** (times - hits)
        for hits in range(times + 1)
        if wilson(hits, times)[0] <= 0.2 <= wilson(hits, times)[1]
    )
    assert covered >= 0.93
