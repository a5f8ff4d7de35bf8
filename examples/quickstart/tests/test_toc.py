"""Headings, code blocks and anchors."""

import unittest

from toc.toc import anchor, table


class TableTest(unittest.TestCase):
    def test_levels_are_indented(self) -> None:
        self.assertEqual(table(["# A", "## B"]), ["- [A](#a)", "  - [B](#b)"])

    def test_code_is_skipped(self) -> None:
        self.assertEqual(table(["```", "# not a heading", "```", "# A"]), ["- [A](#a)"])

    def test_closing_marks_are_dropped(self) -> None:
        self.assertEqual(table(["## B ##"]), ["  - [B](#b)"])


class AnchorTest(unittest.TestCase):
    def test_punctuation_is_dropped(self) -> None:
        self.assertEqual(anchor("What's new, in 2.0?"), "whats-new-in-20")
