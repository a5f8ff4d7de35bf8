"""What pydantic finds wrong with a file, in words for those who wrote it. Must not show pydantic's own texts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ci_env.pipeline.fields import EXPECTED, RULE
from ci_env.pipeline.positions import KeyPath, Problems, shown
from ci_env.pipeline.scalars import Float, Integer
from ci_env.pipeline.schema import File, Job, Limits, Section, Step, section_at
from ci_env.pipeline.suggest import did_you_mean

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_EXPECTED = {"string_type": "text", "list_type": "a list", "dict_type": "a mapping", "model_type": "a mapping"}
_HOLDERS: dict[type[Section], str] = {File: "the file", Job: "a job", Step: "a step", Limits: "`limits`"}


def complain(error: ErrorDetails, problems: Problems) -> None:
    """Note one of pydantic's errors."""
    path, kind, found = error["loc"], error["type"], error["input"]
    if kind == "missing":
        problems.at_key(path[:-1], f"the key `{path[-1]}` is missing")
    elif kind == "extra_forbidden":
        problems.at_key(path, _unknown_key(path))
    elif kind == "too_short":
        problems.at_value(path, "empty; at least one is needed")
    elif path[-1:] == ("[key]",):
        problems.at_key(path[:-1], error["msg"])
    elif kind == RULE:
        problems.at_value(path, error["msg"])
    else:
        problems.at_value(path, _wrong_value(error, found))


def _unknown_key(path: KeyPath) -> str:
    section, name = section_at(path[:-1]), str(path[-1])
    known = section.model_fields if section else {}
    suggestion = did_you_mean(name, known)
    holders = [holder for other, holder in _HOLDERS.items() if name in other.model_fields]
    if not suggestion and holders:
        suggestion = f"; it is a key of {' and of '.join(holders)}"
    return f"unknown key{suggestion or '; known are ' + ', '.join(known)}"


def _wrong_value(error: ErrorDetails, found: object) -> str:
    kind = error["type"]
    if kind == "literal_error":
        options = re.findall(r"'([^']*)'", str(error.get("ctx", {}).get("expected")))
        suggestion = did_you_mean(found, options) if isinstance(found, str) else ""
        return f"expected {_any_of(options)}, found {_describe(found)}{suggestion}"
    expected = error["msg"] if kind == EXPECTED else _EXPECTED[kind]
    return f"expected {expected}, found {_describe(found)}{_advice(expected, found)}"


def _any_of(options: list[str]) -> str:
    quoted = [f"`{option}`" for option in options]
    return f"{', '.join(quoted[:-1])} or {quoted[-1]}"


def _describe(found: object) -> str:
    if found is None:
        return "nothing"
    if isinstance(found, bool):
        return f"`{str(found).lower()}`"
    if isinstance(found, Integer | Float):
        return f"the number {found.literal[:40]}"
    if isinstance(found, str):
        return f"the text {shown(found)}"
    return "a list" if isinstance(found, list) else "a mapping"


def _advice(expected: str, found: object) -> str:
    if expected == "text" and isinstance(found, bool):
        return f'; put it in quotes: "{str(found).lower()}"'
    if expected == "text" and isinstance(found, Integer | Float):
        return f'; put it in quotes: "{found.literal[:40]}"'
    if expected == "a list" and isinstance(found, str | Integer | Float):
        text = found if isinstance(found, str) else found.literal
        return f"; write [{text}]" if text.isprintable() and len(text) <= 40 else ""
    return ""
