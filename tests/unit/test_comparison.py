"""The table of a comparison: it fits, whatever is in it."""

from __future__ import annotations

import pytest

from ci_env.ui.comparison import NARROWEST, Row, table

ROWS = [
    Row("variable TZ", "UTC", "Europe/Berlin", "test/unit: days and hours are others"),
    Row("packages", "2 differ", "", "", (("dpkg libc6", "2.36-9", "2.36-10"), ("pip foo", None, "1.0")), 7),
    Row("files", "1 differs", "", "", (("content /workspace/main.c", None, None),)),
]


def test_table() -> None:
    assert list(table(("A", "B"), ROWS, width=60, colour=False)) == [
        "              A          B",
        "variable TZ   UTC        Europe/Berlin",
        "  test/unit: days and hours are others",
        "packages      2 differ",
        "  dpkg libc6  2.36-9     2.36-10",
        "  pip foo     –          1.0",  # noqa: RUF001  # as it is printed
        "  and 7 more",
        "files         1 differs",
        "  content /workspace/main.c",
    ]


@pytest.mark.parametrize("width", [1, 60, 80, 160, 1000])
@pytest.mark.parametrize("text", ["x" * 1000, "word " * 300, "\x1b[31m\n\t\x07" * 50, "", "a\nb"])
def test_it_fits(width: int, text: str) -> None:
    rows = [Row(text, text, text, text, ((text, text, text), (text, None, None)), 3)]
    lines = list(table(("A", "B"), rows, width=width, colour=False))
    assert max(map(len, lines)) <= max(width, NARROWEST)
    assert all(line.isprintable() for line in lines)
    assert len(lines) < 40


def test_long_values_say_that_they_are_cut() -> None:
    lines = list(table(("A", "B"), [Row("command", "a b " * 100, "c")], width=80, colour=False))
    assert len(lines) == 4
    assert lines[-1].endswith("…")


def test_colour() -> None:
    plain = list(table(("A", "B"), ROWS, width=80, colour=False))
    coloured = list(table(("A", "B"), ROWS, width=80, colour=True))
    assert "\x1b[1mvariable TZ" in coloured[1]
    assert [
        line.replace("\x1b[1m", "").replace("\x1b[2m", "").replace("\x1b[0m", "").rstrip() for line in coloured
    ] == plain
