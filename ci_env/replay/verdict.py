"""What a replay found, by comparing how a step ended then and now. Pure: sees two outcomes, runs nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal

from ci_env.capsule.ending import describe
from ci_env.capsule.record import Ended
from ci_env.digest import Digest
from ci_env.frozen import dataclass
from ci_env.replay.normalise import normalise

Kind = Literal["same", "different", "passes", "cannot-tell"]

_EXIT_CODES: dict[Kind, int] = {"same": 0, "different": 6, "passes": 7, "cannot-tell": 8}
_QUOTED = 200


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a step ended and what it left."""

    ended: Ended
    exit_code: int | None
    signal: int | None
    output: Sequence[str] | None
    """all lines that it wrote, as it wrote them; None: not recorded"""
    tree: Digest | None
    """of its layer; None: not computed"""


@dataclass(frozen=True, slots=True)
class Verdict:
    kind: Kind
    success: bool
    """the step succeeded in the replay"""
    reasons: tuple[str, ...]
    """in words, the one that decided first; then remarks"""


def exit_code(verdict: Verdict) -> int:
    """Return what `ci-env replay` exits with."""
    return _EXIT_CODES[verdict.kind]


def judge(old: Outcome, new: Outcome) -> Verdict:
    """Compare a recorded outcome with that of a replay."""
    success = _is_success(new)
    if old.ended == "cancelled":
        return Verdict("cannot-tell", success, ("the recorded run was cancelled before this step ended",))
    if new.ended == "cancelled":
        return Verdict("cannot-tell", success, ("the replay was cancelled before the step ended",))
    if success and not _is_success(old):
        return Verdict("passes", success, (f"{_ending(old)} then, {_ending(new)} here",))
    if _what_ended(old) != _what_ended(new):
        return Verdict("different", success, (f"{_ending(old)} then, {_ending(new)} here",))
    if old.output is None or new.output is None:
        whose = "the record" if old.output is None else "the replay"
        return Verdict("cannot-tell", success, (f"{_ending(new)} both times, but {whose} holds no output to compare",))
    remarks = _compare(old.output, new.output)
    if remarks is None:
        return Verdict("different", success, _differing(old.output, new.output))
    if old.tree and new.tree and old.tree != new.tree:
        remarks = (*remarks, "the files that it left differ")
    return Verdict("same", success, (f"{_ending(new)} and the same output both times", *remarks))


def _is_success(outcome: Outcome) -> bool:
    return outcome.ended == "exit" and outcome.exit_code == 0


def _what_ended(outcome: Outcome) -> tuple[str, int | None, int | None]:
    """Return what is to be equal; of a step that ran out of time, not how it then was ended."""
    if outcome.ended == "timeout":
        return outcome.ended, None, None
    return outcome.ended, outcome.exit_code, outcome.signal


def _ending(outcome: Outcome) -> str:
    return describe(outcome.ended, outcome.exit_code, outcome.signal)


def _compare(old: Sequence[str], new: Sequence[str]) -> tuple[str, ...] | None:
    """Return remarks about output that counts as equal; None where it does not."""
    place = _first_difference(old, new)
    if place is not None and not _is_reordered(old, new):
        return None
    if place is not None:
        return ("the lines of the output came in another order",)
    return () if list(old) == list(new) else ("times, addresses and the like in the output were not compared",)


def _first_difference(old: Sequence[str], new: Sequence[str]) -> int | None:
    """Return the index of the first line that differs once normalised; None where all are equal.

    Lines that are equal as they are need no normalising, which is what takes the time: 1 s for some MB.
    """
    for place, (was, now) in enumerate(zip(old, new, strict=False)):
        if was != now and normalise([was]) != normalise([now]):
            return place
    return None if len(old) == len(new) else min(len(old), len(new))


def _is_reordered(old: Sequence[str], new: Sequence[str]) -> bool:
    was, now = Counter(old), Counter(new)
    return Counter(normalise((was - now).elements())) == Counter(normalise((now - was).elements()))


def _differing(old: Sequence[str], new: Sequence[str]) -> tuple[str, ...]:
    """Return where two outputs first differ, and the lines there."""
    place = _first_difference(old, new) or 0
    return (f"the output differs from line {place + 1} on", f"then: {_line(old, place)}", f"here: {_line(new, place)}")


def _line(lines: Sequence[str], place: int) -> str:
    if place >= len(lines):
        return "(nothing more)"
    (line,) = normalise(lines[place : place + 1])
    return line if len(line) <= _QUOTED else f"{line[: _QUOTED - 3]}..."
