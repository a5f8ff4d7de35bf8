"""Whether two outputs speak of the same failure. Owns which lines may differ; pure, sees lines only.

The rules, from the strictest on, each with what would be lost without it, are in docs/replay.md. In doubt it is another
failure: a line counts unless it is one of a progress meter, or has been seen to change from one replay to the next.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from ci_env.frozen import dataclass
from ci_env.replay.normalise import normalise

# Whatever may speak of a failure. A line that does counts always, and a word too many here costs only tolerance.
_TELLS = re.compile(
    r"error|fail|fatal|panic|assert|except|traceback|abort|expect|actual|receiv|mismatch|differ|undefined|unresolved"
    r"|undeclared|not found|no such|denied|refused|can(?:not|'t)|could(?: not|n't)|unable|invalid|illegal|unexpected"
    r"|missing|kill|segmentation|core dump|overflow|leak|violation|tim(?:ed? ?out|eout)|not ok|warn|wrong|corrupt"
    r"|conflict|reject|forbidden|unauthor|exit(?:ed)? (?:code|status)|returned|status|signal|stack|unavailable|no space"
    r"|npm err|\bgot\b|\bwant\b|\bwas\b|\b(?:left|right):|\bbad\b|\bnot\b|\bno\b|\*\*\*"
    r"|[✕✗✘✖×●❌]"  # noqa: RUF001  # what test runners print
    r"|[\w)/-]\.\w+:\d|\bline \d|^\s*(?:E\s|[-+?>^~|])|[!=]==?",
    re.IGNORECASE,
)
# Only what has the shape of a meter: `TOTAL 90%` and `5 MB/s` are results. What changes by itself a replay more tells.
_PROGRESS = re.compile(
    r"^\s*+(?:\[\s*+)?\d{1,3}(?:\.\d+)?\ ?%"  # begins with a share
    r"|\d\ ?%\ \(\d+/\d+\)"  # git's share
    r"|^(?=.*[=#>━█▏▎▍▌▋▊▉╸╺-]{3}).*(?:\d\ ?%|B/s\b)"  # a bar
    r"|^Fetched\ .*B/s\)$"  # apt's summary
    r"|^\s*\[\s*\d+/\d+\]\s"  # ninja
    r"|^[.\s\u2800-\u28ff]+$"  # dots and spinners
    r"|\bETA\b|\b[Ss]till running\b"
)
_WAITING = re.compile(r"\bwaiting\b", re.IGNORECASE)
_OUTCOME = re.compile(
    r"[\W_]*(?:ok|pass(?:ed)?|success|(?P<bad>fail(?:ed|ure|s)?|error|not ok|ko|bad))[\W_]*"
    r"|\s*(?:[✓✔]|(?P<cross>[✕✗✘✖×❌]))\s*",  # noqa: RUF001  # what test runners print
    re.IGNORECASE,
)
"""a line of its own that says how something went, of which other lines speak"""
_WORD_WITH_DIGIT = re.compile(r"\b[^\W\d]*+\d\w*")
_LAST = 5
_LOOP = 10
_LOOP_SLACK = 5


@dataclass(frozen=True, slots=True)
class Gap:
    """What two outputs, normalised, do not share; in no order."""

    old: Counter[str]
    new: Counter[str]
    is_in_order: bool
    """line by line they are equal"""
    raw: frozenset[str]
    """the lines of both, as they were written"""

    @property
    def lines(self) -> list[str]:
        return [*self.old.elements(), *self.new.elements()]

    def tells(self) -> bool:
        """Tell whether one of its lines may speak of the failure."""
        return any(map(_TELLS.search, self.lines))


def gap(old: Sequence[str], new: Sequence[str]) -> Gap:
    """Return what the outputs do not share, but for empty lines and, before the last ones, those of progress meters.

    Lines that are equal as they are need no normalising, which is what takes the time.
    """
    was, now = Counter(old), Counter(new)
    normal = dict(_normalised({*(was - now), *(now - was)}))
    before, after = (_counted(lines, normal) for lines in (was - now, now - was))
    last = {*_last(old), *_last(new)}
    waited = {normal[line] for line in normal if line in was and line in now and _WAITING.search(line)}
    gone, come = (_without_progress(lines, last, waited) for lines in (before - after, after - before))
    raw = frozenset(line for line, known in normal.items() if known in gone or known in come)
    is_in_order = not raw and _is_in_order(old, new, normal)
    if not is_in_order:
        was_failed, now_failed = (Counter(_failures(lines, normal, {*gone, *come})) for lines in (old, new))
        gone, come = gone + _endings(was_failed - now_failed), come + _endings(now_failed - was_failed)
        raw |= gone.keys() | come.keys()
    return Gap(gone, come, is_in_order, raw)


def first_difference(old: Sequence[str], new: Sequence[str]) -> int | None:
    """Return the index of the first line that differs once normalised; None where all are equal."""
    for place, (was, now) in enumerate(zip(old, new, strict=False)):
        if was != now and normalise([was]) != normalise([now]):
            return place
    return None if len(old) == len(new) else min(len(old), len(new))


def first_place(old: Sequence[str], new: Sequence[str], found: Gap) -> int:
    """Return the index of the first line that differs and is of the gap between the outputs."""
    for place, pair in enumerate(itertools.zip_longest(old, new)):
        if pair[0] == pair[1] or found.raw.isdisjoint(pair):
            continue
        was, now = (None if line is None else normalise([line])[0] for line in pair)
        if was != now and (was in found.old or now in found.new):
            return place
    return first_difference(old, new) or 0  # no such line where each stands opposite of an equal one elsewhere


def is_aside(old: Sequence[str], new: Sequence[str], found: Gap) -> bool:
    """Tell whether nothing of the gap may speak of the failure, nor stands at the end of an output."""
    return not found.tells() and {*_last(old), *_last(new)}.isdisjoint(found.lines)


def is_explained(found: Gap, replays: Sequence[Sequence[str]]) -> bool:
    """Tell whether all that the gap holds is what changes from one replay to the next.

    Replays begin with the same state, so what they do not share, nobody can expect the recorded run to share. As many
    lines of a kind may differ as differed there; any number, where no two replays shared a line of that kind.
    """
    if found.tells() or len(replays) < 2:
        return False
    gaps = [gap(one, other) for one, other in itertools.combinations(replays, 2)]
    varying = _most(side for one in gaps for side in (one.old, one.new))
    shared = _shared_kinds(replays)
    return all(
        count <= varying[kind] or (kind in varying and kind not in shared and bool(re.search(r"[^\W\d_]{3}", kind)))
        for side in (found.old, found.new)
        for kind, count in _kinds(side).items()
    )


def is_repetition(old: Sequence[str], new: Sequence[str], found: Gap) -> bool:
    """Tell whether the outputs differ only in how often they say the same: `Resource temporarily unavailable`."""
    both = set(normalise(set(old))) & set(normalise(set(new)))
    return all(line in both for line in found.lines)


def is_cut(old: Sequence[str], new: Sequence[str]) -> bool:
    """Tell whether one output is the beginning of the other, but for a last line that is not whole."""
    return first_difference(*_common_part(old, new)) is None


def is_cut_in_loop(old: Sequence[str], new: Sequence[str]) -> bool:
    """Tell whether one is the beginning of the other, and what is missing goes on as the common part did for long.

    So a loop that prints a number each time is no other failure, if it was ended a bit earlier.
    """
    if not is_cut(old, new):
        return False
    shorter, longer = sorted((old[:-1], new[:-1]), key=len)
    rest = [_kind(line) for line in normalise(longer[len(shorter) :])]
    last = [_kind(line) for line in normalise(shorter[-max(_LOOP, _LOOP_SLACK * len(rest)) :])]
    return len(last) >= _LOOP and len(set(last + rest)) == 1 and len(last) >= _LOOP_SLACK * len(rest)


def _common_part(old: Sequence[str], new: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    length = min(len(old), len(new)) - 1
    return old[: max(length, 0)], new[: max(length, 0)]


def _normalised(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    for line in lines:
        yield line, normalise((line,))[0]


def _is_in_order(old: Sequence[str], new: Sequence[str], normal: Mapping[str, str]) -> bool:
    """Tell whether the lines are equal one by one; `normal` are those that are known."""
    return len(old) == len(new) and all(
        one == other or (normal.get(one) or normalise((one,))[0]) == (normal.get(other) or normalise((other,))[0])
        for one, other in zip(old, new, strict=True)
    )


def _counted(lines: Counter[str], normal: Mapping[str, str]) -> Counter[str]:
    counted: Counter[str] = Counter()
    for line, count in lines.items():
        counted[normal[line]] += count
    return counted


def _failures(
    lines: Sequence[str], normal: Mapping[str, str], apart: set[str]
) -> Iterator[tuple[str, frozenset[tuple[str, int]]]]:
    """Yield each line that says no more than that something has failed, with what it speaks of: the lines before it.

    Those go back to the last line that says how something went; they may come in any order. `normal` as `_is_in_order`;
    lines that are `apart` differ themselves.
    """
    told: Counter[str] = Counter()
    for line in lines:
        outcome = _OUTCOME.fullmatch(line)
        if outcome is None:
            known = normal.get(line, line)
            if known not in apart and line.strip() and not _is_progress(line):
                told[known] += 1
            continue
        if outcome["bad"] or outcome["cross"]:
            yield line, frozenset(told.items())
        told = Counter()


def _endings(failures: Counter[tuple[str, frozenset[tuple[str, int]]]]) -> Counter[str]:
    return Counter(line for line, _ in failures.elements())


def _without_progress(lines: Counter[str], last: set[str], waited: set[str]) -> Counter[str]:
    """Leave out meters, and how often something was `waited` for, but for what is among the `last` lines."""
    kept = (line for line in lines if line.strip() and (line in last or not (_is_progress(line) or line in waited)))
    return Counter({line: lines[line] for line in kept})


def _is_progress(line: str) -> bool:
    return bool(_PROGRESS.search(line)) and not _TELLS.search(line)


def _last(lines: Sequence[str]) -> tuple[str, ...]:
    """Return the last lines that are not empty, normalised: what a failure ends with counts, whatever it looks like."""
    return normalise(itertools.islice((line for line in reversed(lines) if line.strip()), _LAST))


def _kind(line: str) -> str:
    return _WORD_WITH_DIGIT.sub("#", line)


def _kinds(lines: Counter[str]) -> Counter[str]:
    kinds: Counter[str] = Counter()
    for line, count in lines.items():
        kinds[_kind(line)] += count
    return kinds


def _shared_kinds(replays: Sequence[Sequence[str]]) -> set[str]:
    """Return the kinds of the lines that two replays share."""
    seen: Counter[str] = Counter()
    for replay in replays:
        seen.update(set(normalise(set(replay))))
    return {_kind(line) for line, count in seen.items() if count > 1}


def _most(sides: Iterable[Counter[str]]) -> Counter[str]:
    """Return how many lines of each kind one side had at most."""
    most: Counter[str] = Counter()
    for side in sides:
        most |= _kinds(side)
    return most
