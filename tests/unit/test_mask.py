"""What is masked of a secret, by example; the laws are in tests/property/test_mask_laws.py."""

from __future__ import annotations

import base64

import pytest

from ci_env.mask import Mask, forms

TOKEN = b"s3cr3t-T0ken/with+odd&chars"
KEY = b"-----BEGIN KEY-----\nMIIBVgIBADANBgkqhkiG9w0BAQEFAASC\n}\nZm9vYmFyYmF6cXV4\n-----END KEY-----\n"


def test_three_stars_take_its_place() -> None:
    assert Mask([TOKEN]).apply(b"token=" + TOKEN + b"; again " + TOKEN) == b"token=***; again ***"


def test_length_can_stay() -> None:
    assert Mask([b"hunter2"]).apply(b"<hunter2>", keeps_length=True) == b"<*******>"


def test_what_overlaps_is_masked_as_one() -> None:
    assert Mask([b"abcdef", b"efghij"]).apply(b"-abcdefghij-") == b"-***-"


def test_the_mask_is_of_a_letter_that_no_secret_has() -> None:
    assert Mask([b"***x"]).apply(b"a***xx") == b"a###x"


@pytest.mark.parametrize("line", KEY.splitlines())
def test_a_line_is_masked_by_itself_if_it_is_long(line: bytes) -> None:
    masked = Mask([KEY]).apply(b"> " + line + b"\n")
    assert masked == (b"> ***\n" if len(line) >= 8 else b"> " + line + b"\n")


def test_a_key_in_one_line() -> None:
    assert Mask([KEY]).apply(b"+ echo " + b" ".join(KEY.split()) + b"\n") == b"+ echo ***\n"


def test_base64_in_several_lines() -> None:
    long = bytes(range(40, 120)) * 3
    for encoded in (base64.encodebytes(long), base64.encodebytes(long + b"\n")):
        assert max(map(len, Mask([long]).apply(encoded).split(b"\n"))) <= 8


def test_white_space_around_a_secret_counts_for_nothing() -> None:
    assert forms(b"  hunter2\r\n") == forms(b"hunter2")


@pytest.mark.parametrize("value", [b"", b"1", b"abc", b" abc \n"])
def test_a_short_value_is_no_secret(value: bytes) -> None:
    assert forms(value) == ()
    assert not Mask([value]).is_needed()
    assert Mask([value]).apply(b"1 abc 1") == b"1 abc 1"


def test_a_line_is_not_held_back() -> None:
    stream = Mask([TOKEN]).stream()
    assert stream.feed(b"Password: ") == b"Password: "
    assert stream.feed(b"s3cr") == b""
    assert stream.feed(b"et\n") == b"s3cret\n"


def test_text_that_is_not_utf_8() -> None:
    assert Mask([b"\xff\xfehunter2"]).apply_to_text("a\udcff\udcfehunter2\udcff") == "a***\udcff"


def test_its_repr_shows_no_value() -> None:
    assert "hunter2" not in repr(Mask([b"hunter2"]))
