"""A run as the Markdown of a job summary. Pure. Names and output are of strangers: they can be no markup here."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ci_env.events import StepFailure, StepFinished

_SIGNS = {"passed": "✅", "cached": "⚡", "failed": "❌", "skipped": "⏭️", "cancelled": "🚫"}
_MAX_LINES = 60
_MARKUP = re.compile(r"[\\`*_{}\[\]()#+!|<>&~@:-]")


def summary(run_id: str, steps: Sequence[StepFinished], failures: Sequence[StepFailure], *, ending: str) -> str:
    """Return the summary of a run that has ended as `ending` says."""
    return "\n".join((*_table(run_id, steps, ending), *(line for one in failures for line in _failure(one)), ""))


def _table(run_id: str, steps: Sequence[StepFinished], ending: str) -> Iterator[str]:
    yield f"### ci-env: {ending}"
    yield ""
    yield "| Job | Step | Result | Time |"
    yield "|---|---|---|---:|"
    for step in steps:
        how = f", {step.ending}" if step.ending and step.status == "failed" else ""
        took = "" if step.status in ("cached", "skipped") else f"{step.duration_ms / 1000:.1f} s"
        result = f"{_SIGNS[step.status]} {step.status}{text(how)}"
        yield f"| {text(step.job)} | {text(step.step)} | {result} | {took} |"
    yield ""
    yield f"Run `{run_id}`."


def _failure(failure: StepFailure) -> Iterator[str]:
    yield ""
    yield f"#### {text(failure.job)} / {text(failure.step)}: {text(failure.ending)}"
    yield ""
    yield from fenced("sh", failure.command.rstrip())
    if failure.tail:
        yield ""
        yield "Its last lines:"
        yield from fenced("", "\n".join(failure.tail[-_MAX_LINES:]))
    if failure.hint:
        yield ""
        yield f"Hint: {text(failure.hint)}"
    yield ""
    yield "To run it again in the same surroundings:"
    yield from fenced("sh", failure.replay)


def text(words: str) -> str:
    """Return `words` on one line, without meaning to Markdown or HTML."""
    return _MARKUP.sub(lambda found: f"&#{ord(found.group())};", " ".join(words.split()))


def fenced(language: str, content: str) -> Iterator[str]:
    """Yield `content` as a block of code; its fence is longer than any run of backticks in it (CommonMark 4.5)."""
    longest = max((len(run) for run in re.findall("`+", content)), default=0)
    fence = "`" * max(3, longest + 1)
    yield f"{fence}{language}"
    yield content
    yield fence
