"""What a replay found, by comparing how a step ended then and now. Pure: sees two outcomes, runs nothing.

Two different failures are never called the same; docs/replay.md has the rules.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from ci_env.capsule.ending import describe
from ci_env.capsule.record import Ended
from ci_env.digest import Digest
from ci_env.frozen import dataclass, replace
from ci_env.replay import outputs
from ci_env.replay.cause import AT_LIMIT, CUT, Cause
from ci_env.replay.cause import cause as cause_of
from ci_env.replay.junit import FailedTest
from ci_env.replay.normalise import normalise, normalise_message

Kind = Literal["same", "different", "passes", "cannot-tell", "flaky"]
Reason = Literal[
    "equal-output",  # same: but for times and the like
    "equal-tests",  # same: the same tests failed with the same words, and nothing else that differs tells of a failure
    "unstable-output",  # same: all that differs changes from one replay to the next
    "cut-output",  # same: ended at a limit, a bit earlier or later in what it printed all the time
    "other-ending",  # different: exit status, signal, or a limit
    "earlier-step",  # different: a step before it failed, which had not
    "other-cause",  # different: with that status, but a command or the network was missing in one of them only
    "other-tests",  # different: other tests failed
    "other-test-message",  # different: the same tests failed, with other words
    "other-output",  # different
    "passed",  # passes
    "recorded-cancelled",  # cannot tell
    "replay-cancelled",  # cannot tell
    "no-recorded-output",  # cannot tell
    "no-replay-output",  # cannot tell
    "cut-elsewhere",  # cannot tell: ended at a limit, at quite another point of the same output
    "other-host",  # cannot tell: `image: host` is another operating system here
    "weaker-limits",  # cannot tell: the limit that was reached then does not hold here
    "incomplete-state",  # cannot tell: what the step saw could not be brought back in full
    "some-passed",  # flaky
    "some-differed",  # different: of several replays, none passed, but they did not fail alike
]

_EXIT_CODES: dict[Kind, int] = {"same": 0, "different": 6, "passes": 7, "cannot-tell": 8}
_HELD_BY_GROUPS: tuple[Ended, ...] = ("oom", "pids")
_QUOTED = 200
_LISTED = 5
_CAUSES: dict[Cause, str] = {"missing-command": "missing command", "network": "network"}
"""those that an ending does not say"""


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
    failed: tuple[FailedTest, ...] | None = None
    """by its reports, in the order of ids; None: it has none"""
    remarks: tuple[str, ...] = ()
    """what could not be read of it"""
    lacking: tuple[str, ...] = ()
    """names of secrets that it should have had"""
    instead: str | None = None
    """a step before this one, of which all else is told: it ended the replay; None: this one"""
    is_on_other_host: bool = False
    """the operating system of the machine was beneath it, and is not the recorded one"""
    weakness: str | None = None
    """which of its limits do not hold as they should, in words; None: all do"""

    @property
    def cause(self) -> Cause:
        return cause_of(self.ended, self.exit_code, self.output)

    @property
    def is_success(self) -> bool:
        return self.ended == "exit" and self.exit_code == 0


@dataclass(frozen=True, slots=True)
class Signature:
    """How a step ended, but for what it wrote: for machines."""

    cause: Cause
    exit_code: int | None
    signal: int | None
    failed_tests: tuple[str, ...] | None
    """None: it has no reports"""


@dataclass(frozen=True, slots=True)
class Verdict:
    kind: Kind
    success: bool
    """the step succeeded in the replay"""
    reasons: tuple[str, ...]
    """in words, the one that decided first; then remarks"""
    reason: Reason
    """the one that decided, for machines"""
    is_settled: bool = True
    """one more replay, to see what changes from one to the next, could not make it another"""


def exit_code(verdict: Verdict) -> int:
    """Return what `ci-env replay` exits with."""
    return _EXIT_CODES[verdict.kind]


def judge(old: Outcome, new: Outcome, others: Sequence[Outcome] = ()) -> Verdict:
    """Compare a recorded outcome with that of a replay. `others` are further replays, which show what is unstable."""
    found = _without_comparing(old, new) or _by_causes(old, new) or _by_tests(old, new)
    if found is None:
        found = _by_output(old, new, others)
    if found.kind == "same" and old.tree and new.tree and old.tree != new.tree:
        found = replace(found, reasons=(*found.reasons, "the files that it left differ"))
    found = replace(found, reasons=(*found.reasons, *dict.fromkeys((*old.remarks, *new.remarks))))
    if new.lacking:
        found = _without_secrets(found, new.lacking)
    if new.weakness:
        found = _with_weaker_limits(found, old, new.weakness)
    return _on_other_host(found) if new.is_on_other_host else found


def _on_other_host(found: Verdict) -> Verdict:
    """Return what can be said of a replay on another operating system: whatever it does may come of that."""
    words = "`image: host` is another operating system here than then"
    if found.kind == "cannot-tell":
        return replace(found, reasons=(*found.reasons, words))
    return replace(found, kind="cannot-tell", reasons=(words, *found.reasons), reason="other-host")


def _with_weaker_limits(found: Verdict, old: Outcome, weakness: str) -> Verdict:
    """Return what can be said where limits do not hold: of what ended at one, only that it did so again."""
    if old.ended not in _HELD_BY_GROUPS or found.kind not in ("different", "passes"):
        return replace(found, reasons=(*found.reasons, weakness))
    return replace(found, kind="cannot-tell", reasons=(weakness, *found.reasons), reason="weaker-limits")


def _without_secrets(found: Verdict, names: tuple[str, ...]) -> Verdict:
    """Return what can be said of a replay without secrets: that it ended alike may have quite another reason."""
    words = f"the step ran without its secrets: {', '.join(names)}"
    if found.kind != "same":
        return replace(found, reasons=(*found.reasons, words))
    reasons = (f"it ended alike, but {words}", *found.reasons)
    return replace(found, kind="cannot-tell", reasons=reasons, reason="incomplete-state")


def signature(outcome: Outcome) -> Signature:
    failed = None if outcome.failed is None else tuple(test.id for test in outcome.failed)
    return Signature(outcome.cause, outcome.exit_code, outcome.signal, failed)


def ending(outcome: Outcome) -> str:
    """Return how it ended, in words."""
    described = describe(outcome.ended, outcome.exit_code, outcome.signal)
    cause = _CAUSES.get(outcome.cause)
    return described if cause is None else f"{described} ({cause})"


def _without_comparing(old: Outcome, new: Outcome) -> Verdict | None:
    """Return the verdict where no output needs to be looked at."""
    if old.ended == "cancelled":
        return _cannot_tell(new, "recorded-cancelled", "the recorded run was cancelled before this step ended")
    if new.ended == "cancelled":
        return _cannot_tell(new, "replay-cancelled", "the replay was cancelled before the step ended")
    if new.instead is not None:
        return _different(new, "earlier-step", f"{new.instead}, which had passed then, ended with {ending(new)} here")
    if new.is_success and not old.is_success:
        return Verdict("passes", new.is_success, (_both_endings(old, new),), "passed")
    if _what_ended(old) != _what_ended(new):
        return _different(new, "other-ending", _both_endings(old, new))
    if old.output is None:
        words = f"{ending(new)} both times, but the record holds no output to compare"
        return _cannot_tell(new, "no-recorded-output", words)
    if new.output is None:
        words = f"{ending(new)} both times, but the replay holds no output to compare"
        return _cannot_tell(new, "no-replay-output", words)
    return None


def _by_causes(old: Outcome, new: Outcome) -> Verdict | None:
    return _different(new, "other-cause", _both_endings(old, new)) if old.cause != new.cause else None


def _by_tests(old: Outcome, new: Outcome) -> Verdict | None:
    """Return the verdict where reports tell the failures apart."""
    if old.failed is None or new.failed is None:
        return None
    was, now = (tuple((test.id, test.how) for test in outcome.failed or ()) for outcome in (old, new))
    if was != now:
        return _different(new, "other-tests", "other tests failed", *_tests(was, now))
    for before, after in zip(old.failed, new.failed, strict=True):
        was_said, now_said = normalise_message(before.said), normalise_message(after.said)
        if was_said != now_said:
            quoted = _quoted(was_said, now_said, _first(was_said, now_said))
            return _different(new, "other-test-message", f"the test {_cut(before.id)} failed with other words", *quoted)
    return None


def _by_output(old: Outcome, new: Outcome, others: Sequence[Outcome]) -> Verdict:
    """Return the verdict where all else is equal."""
    was, now = old.output or (), new.output or ()
    found = outputs.gap(was, now)
    if not found.lines:
        return _same(new, "equal-output", "the same output both times", *_remarks(was, now, found))
    if new.cause in AT_LIMIT and outputs.is_repetition(was, now, found):
        return _same(new, "cut-output", "the same output both times, but for how often it repeats itself")
    if new.cause in CUT and outputs.is_cut_in_loop(was, now):
        return _same(new, "cut-output", "the same output both times, but for where it was cut off")
    if old.failed and new.failed and outputs.is_aside(was, now, found):
        words = "other lines of the output differ, of which none tells of a failure"
        return _same(new, "equal-tests", f"the same {_count(old.failed)} failed both times, with the same words", words)
    if outputs.is_explained(found, [outcome.output for outcome in (new, *others) if outcome.output is not None]):
        words = "lines that change from one replay to the next were not compared"
        return _same(new, "unstable-output", "the same output both times", words)
    place = outputs.first_place(was, now, found)
    if new.cause in CUT and outputs.is_cut(was, now) and not found.tells():
        words = f"{ending(new)} both times, but not at the same point of the same output"
        return replace(_cannot_tell(new, "cut-elsewhere", words, *_quoted(was, now, place)), is_settled=bool(others))
    words = f"the output differs from line {place + 1} on"
    different = _different(new, "other-output", words, *_quoted(was, now, place))
    return replace(different, is_settled=bool(others) or found.tells())


def _same(new: Outcome, reason: Reason, words: str, *remarks: str) -> Verdict:
    return Verdict("same", new.is_success, (f"{ending(new)} and {words}", *remarks), reason)


def _different(new: Outcome, reason: Reason, *reasons: str) -> Verdict:
    return Verdict("different", new.is_success, reasons, reason)


def _cannot_tell(new: Outcome, reason: Reason, *reasons: str) -> Verdict:
    return Verdict("cannot-tell", new.is_success, reasons, reason)


def _what_ended(outcome: Outcome) -> tuple[str, int | None, int | None]:
    """Return what is to be equal; of a step that came to a limit, not which of its processes that ended, and how."""
    if outcome.ended in ("timeout", "oom", "pids", "disk"):
        return outcome.ended, None, None
    return outcome.ended, outcome.exit_code, outcome.signal


def _both_endings(old: Outcome, new: Outcome) -> str:
    return f"{ending(old)} then, {ending(new)} here"


def _remarks(old: Sequence[str], new: Sequence[str], found: outputs.Gap) -> tuple[str, ...]:
    """Return remarks about output that counts as equal."""
    if found.is_in_order:
        return () if list(old) == list(new) else ("times, addresses and the like in the output were not compared",)
    if len([line for line in old if line]) == len([line for line in new if line]):
        return ("the lines of the output came in another order",)
    return ("lines of progress meters in the output were not compared",)


def _first(old: Sequence[str], new: Sequence[str]) -> int:
    """Return the index of the first line that is not equal, of lines of which one is not."""
    pairs = enumerate(zip(old, new, strict=False))
    return next((place for place, (was, now) in pairs if was != now), min(len(old), len(new)))


def _quoted(old: Sequence[str], new: Sequence[str], place: int) -> tuple[str, str]:
    return f"then: {_line(old, place)}", f"here: {_line(new, place)}"


def _line(lines: Sequence[str], place: int) -> str:
    if place >= len(lines):
        return "(nothing more)"
    (line,) = normalise(lines[place : place + 1])
    return _cut(line)


def _cut(line: str) -> str:
    return line if len(line) <= _QUOTED else f"{line[: _QUOTED - 3]}..."


def _tests(old: Sequence[tuple[str, str]], new: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """Return the tests that failed in one of them only."""
    return tuple(
        f"{word}: {'; '.join(_cut(name) for name in names[:_LISTED])}{' ...' if len(names) > _LISTED else ''}"
        for word, names in (("only then", _only(old, new)), ("only here", _only(new, old)))
        if names
    )


def _only(these: Sequence[tuple[str, str]], those: Sequence[tuple[str, str]]) -> list[str]:
    others = dict.fromkeys(those)
    return [name for name, how in these if (name, how) not in others]


def _count(failed: Sequence[FailedTest]) -> str:
    return "test" if len(failed) == 1 else f"{len(failed)} tests"
