"""Sets of letters in patterns, such as `[a-z_]`, as parts of a regular expression. Pure; knows no pattern language.

A language says with a regular expression of its own how a set is written: it finds `letter`, or `first` and `last`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable


def letters(parts: Iterable[re.Match[str]]) -> str:
    """Return what stands between the brackets; ValueError of just the range where one runs backwards."""
    return "".join(map(_part, parts))


def _part(part: re.Match[str]) -> str:
    if part["letter"]:
        return re.escape(part["letter"])
    if part["first"] > part["last"]:
        raise ValueError(part[0])
    return f"{re.escape(part['first'])}-{re.escape(part['last'])}"
