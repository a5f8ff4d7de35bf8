"""Laws of normalised output."""

from __future__ import annotations

from hypothesis import assume, given
from hypothesis import strategies as st

from ci_env.replay.normalise import normalise

PIECES = (
    *("12:34:56", "2024-01-31", "T", "Z", "Jan ", " 5 ", "0.5s", "12 ms", "in ", "1m", "3s", "pid ", "123", "==", "--"),
    *("0x7f3c2a1b4d90", "at ", ">", "/tmp/tmp", "ab12cd_9", "/tmp/pytest-of-root/pytest-", "127.0.0.1:", "43817"),
    *("a1b2c3d4", "-e89b-12d3-a456-426614174000", "\x1b", "[", "31m", "]", "\x07", "\\", "\r", " ", ".", "-", ":", "/"),
    *("assert", "Error:", "=", "<", "took ", "Time:", "\x1b[0m", "é", "+01:00"),
)
lines = st.text(max_size=30) | st.lists(st.sampled_from(PIECES), max_size=8).map("".join)
SENTENCES = (
    *("assert {} == 4", "expected 10 got {}", "exit status {}", "x.c:{}: error", "line {}, in f", "{} failed", "{}"),
    *(
        "x = {}",
        "[{}]",
        "({})",
        "a{}",
        "{}a",
        "{}%",
        "{} passed in 0.5s",
        "-{}",
        "{}.5",
        "1.{}",
        "n={},",
        "in {} tests",
    ),
)


@given(st.lists(lines, max_size=3))
def test_is_idempotent(output: list[str]) -> None:
    once = normalise(output)
    assert normalise(once) == once
    assert len(once) == len(output)


@given(st.sampled_from(SENTENCES), st.integers(0, 2**64), st.integers(0, 2**64))
def test_different_integers_stay_different(sentence: str, one: int, other: int) -> None:
    assume(one != other)
    assert normalise([sentence.format(one)]) != normalise([sentence.format(other)])


@given(st.text(st.characters(exclude_categories=["Nd", "Cc"]), max_size=30).filter(lambda text: "tmp" not in text))
def test_text_without_digits_stays_as_it_is(line: str) -> None:
    assert normalise([line]) == (line,)


@given(lines, lines)
def test_lines_do_not_see_each_other(one: str, other: str) -> None:
    assert normalise([one, other]) == normalise([one]) + normalise([other])
