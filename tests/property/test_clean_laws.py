"""Whatever a step writes, what is printed of it cannot drive a terminal."""

from __future__ import annotations

import re
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from ci_env.ui.clean import clean

# Random letters hardly ever form a control sequence; these do.
parts = st.sampled_from(
    ["\x1b", "[", "]", "P", "\\", "31", ";", "?", " ", "m", "J", "\x07", "\x9b", "\x9c", "\r", "\t", "é"]
)
texts = st.text(st.characters(), max_size=20) | st.lists(parts, max_size=20).map("".join)
COLOUR = re.compile(r"\x1b\[[0-9;:]*m")


def is_printable(text: str) -> bool:
    return all(letter == "\t" or unicodedata.category(letter) not in ("Cc", "Cs", "Zl", "Zp") for letter in text)


@given(texts)
def test_nothing_but_text_is_left(text: str) -> None:
    assert is_printable(clean(text))
    clean(text).encode()


@given(texts)
def test_nothing_but_text_and_colours_is_left(text: str) -> None:
    cleaned = clean(text, colour=True)
    assert is_printable(COLOUR.sub("", cleaned))
    assert "\x1b" not in cleaned or cleaned.endswith("\x1b[0m")


@given(texts)
def test_colours_change_no_letter(text: str) -> None:
    assert COLOUR.sub("", clean(text, colour=True)) == clean(text)


@given(texts)
def test_clean_text_stays_as_it_is(text: str) -> None:
    assert clean(clean(text)) == clean(text)


@given(st.text(st.characters(exclude_categories=("Cc", "Cs", "Cf", "Zl", "Zp")), max_size=20))
def test_text_without_controls_stays_as_it_is(text: str) -> None:
    assert clean(text) == text
