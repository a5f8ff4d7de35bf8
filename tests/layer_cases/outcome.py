"""What came of trying cases, and its way from the program that tries them to the tests."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from tests.layer_cases.tree import Node, Tree


@dataclass(frozen=True)
class Result:
    """What came of one attempt."""

    seconds: float
    """of processors, that the topmost layer took: others may keep the disk busy"""
    error: tuple[str, str] | None
    """class and message of what the topmost layer raised"""
    warnings: tuple[str, ...]
    """of the topmost layer"""
    outside: tuple[str, ...]
    """what is not as it was beside the layers"""
    trees: Mapping[str, Tree]
    """by mode"""


@dataclass(frozen=True)
class Outcome:
    memory_bytes: int
    """that all attempts took, at the peak"""
    results: Mapping[str, Result]


def encode(outcome: Outcome) -> str:
    return json.dumps(asdict(outcome))


def decode(text: bytes) -> Outcome:
    data = json.loads(text)
    results = {
        key: Result(
            fields["seconds"],
            tuple(fields["error"]) if fields["error"] else None,
            tuple(fields["warnings"]),
            tuple(fields["outside"]),
            {mode: {path: Node(**node) for path, node in tree.items()} for mode, tree in fields["trees"].items()},
        )
        for key, fields in data["results"].items()
    }
    return Outcome(data["memory_bytes"], results)
