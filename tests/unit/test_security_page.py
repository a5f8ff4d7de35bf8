"""SECURITY.md: each promise links to tests that are there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "SECURITY.md"
LINK = re.compile(r"\]\((tests/[a-z0-9_/]+\.py)#(\w+)\)")


def part(title: str) -> str:
    """Return what is below a heading."""
    _, _, rest = PAGE.read_text().partition(f"\n## {title}\n")
    return rest.partition("\n## ")[0]


def promises() -> list[str]:
    return [" ".join(text.split()) for text in re.split(r"^- ", part("Promised"), flags=re.MULTILINE)[1:]]


@cache
def names_of(path: str) -> frozenset[str]:
    tree = ast.parse((PAGE.parent / path).read_text())
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name[:5] == "test_")


def test_there_are_promises() -> None:
    assert len(promises()) > 20


@pytest.mark.parametrize("promise", promises(), ids=lambda text: text[:40])
def test_each_promise_has_a_test(promise: str) -> None:
    found = LINK.findall(promise)
    assert found
    assert [(path, name) for path, name in found if name not in names_of(path)] == []


def test_links_to_pages_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", PAGE.read_text()):
        assert (PAGE.parent / target).exists(), target
