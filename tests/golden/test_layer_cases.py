"""The table of cases in docs/images.md: all cases of the reference are in it, and it says what the tests hold.

After a change on purpose, write it again with

    CI_ENV_UPDATE_GOLDEN=1 .venv/bin/python -m pytest tests/golden/test_layer_cases.py

and read the difference.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.layer_cases.case import Case
from tests.layer_cases.table import CASES, rows

TESTS = Path(__file__).parents[1]
DOCUMENT = TESTS.parent / "docs/images.md"
BEGIN, END = "<!-- cases: written by tests/golden/test_layer_cases.py -->\n", "<!-- end of cases -->\n"
NUMBERS = dict(zip("WRSHMXNPTZDIFK", (16, 13, 11, 9, 8, 8, 3, 6, 6, 8, 6, 7, 1, 5), strict=True))


def test_table_is_what_the_cases_say() -> None:
    text = DOCUMENT.read_text()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    assert begin, "the document has lost its first mark"
    assert end, "the document has lost its second mark"
    wanted = before + BEGIN + "\n".join(rows()) + "\n" + END + after
    if os.environ.get("CI_ENV_UPDATE_GOLDEN") == "1":
        DOCUMENT.write_text(wanted)
    assert DOCUMENT.read_text() == wanted


def test_every_case_is_there_once() -> None:
    assert [case.id for case in CASES] == [
        f"{letter}{n}" for letter, count in NUMBERS.items() for n in range(1, count + 1)
    ]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_tests_of_a_case_exist(case: Case) -> None:
    assert case.tries or case.tests
    for test in case.tests:
        file, _, name = test.partition("::")
        assert name in set(_functions(TESTS / file)), test


def _functions(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.FunctionDef):
            yield node.name
