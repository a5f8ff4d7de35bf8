"""The name that was probably meant."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

_MAX_COMPARED = 500


def did_you_mean(name: str, known: Iterable[str], *, before: str = "") -> str:
    """Return `; did you mean ...?` with the known name that looks most like `name`; empty where none does.

    `before` is what people write in front of any of these names.
    """
    import difflib  # costs 5 ms, and only a mistake needs it

    nearest = difflib.get_close_matches(name[:200], list(itertools.islice(known, _MAX_COMPARED)), n=1)
    return f"; did you mean `{before}{nearest[0]}`?" if nearest else ""
