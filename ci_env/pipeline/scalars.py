"""What an unquoted word of YAML means, by the core schema of YAML 1.2 (section 10.3.2).

Unlike YAML 1.1, and so PyYAML's own rules: `on`, `no` and `yes` are text, and so are `12:30:45` and `2024-01-31`.
"""

from __future__ import annotations

import re

_NULL = {"", "~", "null", "Null", "NULL"}
_BOOLEAN = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
# No more digits than int() takes: a longer number is one of the floats below, which nothing here accepts.
_INTEGER = re.compile(r"[-+]?[0-9]{1,1000}|0o[0-7]{1,1000}|0x[0-9a-fA-F]{1,1000}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


class Integer(int):
    """An integer that remembers how it was written: `PORT: 0080` in `env` means that text."""

    literal: str


class Float(float):
    """A number with a point or an exponent, and how it was written."""

    literal: str


Plain = None | bool | Integer | Float | str


def resolve(text: str) -> Plain:
    """Return the value of the unquoted `text`."""
    if text in _NULL:
        return None
    if text in _BOOLEAN:
        return _BOOLEAN[text]
    if _INTEGER.fullmatch(text):
        integer = Integer(text, 0 if text[:2] in {"0o", "0x"} else 10)
        integer.literal = text
        return integer
    if _FLOAT.fullmatch(text):
        number = Float(re.sub(r"\.(?=[iInN])", "", text))
        number.literal = text
        return number
    return text
