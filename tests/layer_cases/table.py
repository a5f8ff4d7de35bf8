"""All cases, in the order of the table in docs/images.md, and that table."""

from __future__ import annotations

from collections.abc import Iterator

from tests.layer_cases.archives import ARCHIVES
from tests.layer_cases.escapes import ESCAPES
from tests.layer_cases.hardlinks import HARDLINKS
from tests.layer_cases.images import IMAGES
from tests.layer_cases.metadata import METADATA
from tests.layer_cases.replacement import REPLACEMENT
from tests.layer_cases.special import SPECIAL
from tests.layer_cases.whiteouts import WHITEOUTS

CASES = (*WHITEOUTS, *REPLACEMENT, *ESCAPES, *HARDLINKS, *METADATA, *SPECIAL, *ARCHIVES, *IMAGES)


def rows() -> Iterator[str]:
    """Yield the lines of the table in docs/images.md."""
    yield "| Case | What | Result |"
    yield "|---|---|---|"
    for case in CASES:
        deviation = f". *Deviation:* {case.deviation}" if case.deviation else ""
        yield f"| {case.id} | {case.what} | {case.result}{deviation} |"
    yield ""
    deviations = sum(bool(case.deviation) for case in CASES)
    tried = sum(len(case.tries) for case in CASES)
    yield f"{len(CASES)} cases, {deviations} of them with a deviation; {tried} images are tried for them."
