"""`${{ matrix.X }}`, `${{ env.X }}` and `${{ job.name }}`: replaced by text. No code; results are not read again."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ci_env.frozen import dataclass
from ci_env.pipeline.suggest import did_you_mean

OPENING = "${{"
MAX_TEXT_BYTES = 2**17 - 1
"""execve(2): MAX_ARG_STRLEN, 32 pages of 4 KiB, with the NUL at the end"""
_EXPRESSION = re.compile(r"\$\{\{(?P<name>.*?)(?P<end>\}\}|\Z)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Scope:
    """What expressions can name."""

    matrix: Mapping[str, str]
    env: Mapping[str, str]
    job: str
    """as in the file, for all of its legs"""

    def value(self, name: str) -> str | None:
        """Return what `name`, such as `matrix.python`, stands for; None where there is no such thing."""
        kind, _, key = name.partition(".")
        values = {"matrix": self.matrix, "env": self.env, "job": {"name": self.job}}.get(kind, {})
        return values.get(key)


class ExpressionError(ValueError):
    """An expression that means nothing here."""

    def __init__(self, expression: str, message: str) -> None:
        super().__init__(message)
        self.expression = expression
        """as written, from `${{`"""


def substitute(text: str, scope: Scope) -> str:
    """Return `text` with its expressions replaced. ExpressionError for an unknown one or a result that is too long.

    The result is at most `MAX_TEXT_BYTES` long even where expressions repeat each other's text: so a few lines cannot
    grow without bound, and each value can be handed to a process.
    """
    if OPENING not in text:
        return text
    parts: list[str] = []
    end = size = 0
    for match in _EXPRESSION.finditer(text):
        parts += text[end : match.start()], _value(match, scope)
        end = match.end()
        size += sum(map(len, parts[-2:]))
        if size > MAX_TEXT_BYTES:
            raise ExpressionError(match[0], f"with this the text becomes longer than {MAX_TEXT_BYTES} bytes")
    return "".join((*parts, text[end:]))


def _value(match: re.Match[str], scope: Scope) -> str:
    if not match["end"]:
        raise ExpressionError(OPENING, "`${{` without its `}}`")
    name = match["name"].strip()
    value = scope.value(name)
    if value is None:
        raise ExpressionError(match[0], f"unknown expression `{_one_line(match[0])}`{_advice(name, scope)}")
    return value


def _advice(name: str, scope: Scope) -> str:
    kind, _, key = name.partition(".")
    if kind == "matrix":
        missing = f"; the job `{scope.job}` has no such key in its `matrix`"
        return did_you_mean(key, scope.matrix, before="matrix.") or missing
    if kind == "env":
        return did_you_mean(key, scope.env, before="env.") or "; no `env` of the file sets it above this place"
    return "; there are `matrix.NAME`, `env.NAME` and `job.name`"


def _one_line(expression: str) -> str:
    text = " ".join(expression.split())
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    return text if len(text) <= 60 else f"{text[:57]}..."
