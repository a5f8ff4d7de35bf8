"""Several replays of one step as one verdict: how often it fails, and how sure that is. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable

from ci_env.frozen import dataclass, replace
from ci_env.replay.verdict import Kind, Outcome, Signature, Verdict, judge, signature
from ci_env.replay.verdict import exit_code as exit_code_of_one

CONFIDENCE = 0.95
_WITNESSES = 4
"""outputs of replays that are kept, to be compared with each other; each may have 64 MiB"""
_Z = 1.959963984540054
"""of the normal distribution, two-sided, at that confidence"""


@dataclass(frozen=True, slots=True)
class Tally:
    """What became of several replays."""

    verdicts: tuple[Verdict, ...]
    """in their order"""
    signatures: tuple[Signature, ...]
    """likewise"""
    verdict: Verdict
    """of all of them"""
    failed: int
    """how many did not succeed"""
    interval: tuple[float, float]
    """in which the share of failures lies, at CONFIDENCE"""

    @property
    def rate(self) -> float:
        return self.failed / len(self.verdicts)

    @property
    def counts(self) -> dict[Kind, int]:
        found = Counter(verdict.kind for verdict in self.verdicts)
        return {kind: found[kind] for kind in ("same", "different", "passes", "cannot-tell")}


def tally(old: Outcome, replays: Iterable[Outcome], one_more: Callable[[], Outcome]) -> Tally:
    """Compare a recorded outcome with those of replays, at least one; takes them one by one, and keeps few outputs.

    Flaky is what neither always fails nor always passes here. Replays show each other what is unstable about them; to
    a single one that needs that, `one_more` does.
    """
    verdicts: list[Verdict] = []
    signatures: list[Signature] = []
    witnesses: dict[int, Outcome] = {}
    for new in replays:
        verdict = judge(old, new)
        if not verdict.is_settled and len(witnesses) < _WITNESSES:
            witnesses[len(verdicts)] = new
        elif not verdict.is_settled:
            verdict = judge(old, new, tuple(witnesses.values()))
        verdicts.append(verdict)
        signatures.append(signature(new))
    if len(verdicts) == 1 and witnesses:
        verdicts = [judge(old, witnesses[0], (one_more(),))]
        witnesses = {}
    seen = (old,) if any(verdict.kind == "same" for verdict in verdicts) else ()  # a replay was as the record is
    for place, new in witnesses.items():
        others = (*seen, *(other for number, other in witnesses.items() if number != place))
        verdicts[place] = judge(old, new, others)
    failed = sum(not verdict.success for verdict in verdicts)
    interval = wilson(failed, len(verdicts))
    return Tally(tuple(verdicts), tuple(signatures), _together(tuple(verdicts), failed, interval), failed, interval)


def exit_code(tally: Tally, old: Outcome) -> int:
    """Return what `ci-env replay` exits with; what is flaky counts as reproduced if the recorded failure was seen."""
    if tally.verdict.kind != "flaky":
        return exit_code_of_one(tally.verdict)
    is_seen = any(verdict.kind == "same" for verdict in tally.verdicts)
    return 0 if is_seen and not old.is_success else 6


def wilson(hits: int, times: int) -> tuple[float, float]:
    """Return the interval of Wilson's score (J. Am. Stat. Assoc. 22, 1927) for a share; also right for none and all."""
    share, z = hits / times, _Z
    middle = (share + z * z / (2 * times)) / (1 + z * z / times)
    half = z / (1 + z * z / times) * math.sqrt(share * (1 - share) / times + z * z / (4 * times * times))
    low = 0.0 if hits == 0 else max(middle - half, 0.0)
    return low, 1.0 if hits == times else min(middle + half, 1.0)


def _together(verdicts: tuple[Verdict, ...], failed: int, interval: tuple[float, float]) -> Verdict:
    if len(verdicts) == 1:
        return verdicts[0]
    low, high = interval
    rate = f"{failed} of {len(verdicts)} replays failed ({low:.1%} to {high:.1%} of all would, at {CONFIDENCE:.0%})"
    kinds = dict.fromkeys(verdict.kind for verdict in verdicts)
    if 0 < failed < len(verdicts) and set(kinds) != {"cannot-tell"}:
        return Verdict("flaky", success=False, reasons=(rate, *_lines(verdicts)), reason="some-passed")
    if len(kinds) == 1:
        first = verdicts[0]
        return replace(first, reasons=(first.reasons[0], rate, *first.reasons[1:]))
    worst = next(verdict for verdict in verdicts if verdict.kind in ("different", "cannot-tell"))
    words = "the replays did not fail alike" if failed else "the replays passed, but not alike"
    return Verdict(worst.kind, worst.success, (words, rate, *_lines(verdicts)), "some-differed")


def _lines(verdicts: tuple[Verdict, ...]) -> list[str]:
    """Return what the replays had to say, each once, with how often."""
    found: Counter[tuple[Kind, str]] = Counter((verdict.kind, verdict.reasons[0]) for verdict in verdicts)
    return [
        f"{'once' if count == 1 else f'{count} times'} {_WORDS[kind]}: {reason}"
        for (kind, reason), count in found.most_common()
    ]


_WORDS: dict[Kind, str] = {
    "same": "the same",
    "different": "different",
    "passes": "passed",
    "cannot-tell": "cannot tell",
}
