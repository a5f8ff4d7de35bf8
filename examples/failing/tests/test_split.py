"""Nobody pays too much, and the bill gets paid."""

import unittest

from bill.split import split


class SplitTest(unittest.TestCase):
    def test_even(self) -> None:
        self.assertEqual(split(900, 3), [300, 300, 300])

    def test_the_bill_is_paid(self) -> None:
        self.assertEqual(sum(split(1000, 3)), 1000)
