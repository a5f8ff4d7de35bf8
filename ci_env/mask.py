"""Secrets in what a step writes: the forms in which a value may show, and `***` in their place. Pure.

This keeps a secret from being shown by mistake. It cannot keep a program that means to show one from doing so: there is
always one more way to write a value down.
"""

from __future__ import annotations

import binascii
import json
import re
from collections.abc import Iterable, Iterator

MIN_BYTES = 4
"""of a secret, without white space around it: in place of anything shorter, half of a log would be `***`"""
_MIN_LINE_BYTES = 8
"""of a line of a secret that is masked by itself: others are brackets and the like"""
_BASE64_WIDTHS = (76, 64)
"""of lines: base64(1) and MIME, PEM"""
_UNRESERVED = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-~"
_UNESCAPED = (b"", b"/", b"!'()*", b"!'()*;/?:@&=+$,#")
"""further letters that percent-encoding leaves: Python's two ways, JavaScript's two"""
_GO_ESCAPES = (("&", "\\u0026"), ("<", "\\u003c"), (">", "\\u003e"))
_QUOTES = (('"', "'"), ("&quot;", "&#39;"), ("&quot;", "&#x27;"), ("&#34;", "&#39;"), ("&quot;", "&apos;"))
_GRAM = 4
"""bytes that are looked at together"""
_WINDOW = 2 * _GRAM - 1
"""what holds a whole gram, wherever it begins"""


def forms(secret: bytes) -> tuple[bytes, ...]:
    """Return how `secret` may be written, longest first; nothing for one shorter than `MIN_BYTES`.

    As it is and line by line; in base64 at each of the three places that it can begin at, in one line and in several;
    in hexadecimal; escaped for URLs, JSON, XML and a shell. White space around it counts for nothing.
    """
    core = secret.strip()
    if len(core) < MIN_BYTES:
        return ()
    found = {form for form in _written(core) if len(form) >= MIN_BYTES}
    return tuple(sorted(found, key=lambda form: (-len(form), form)))


def as_written(secret: bytes) -> tuple[bytes, ...]:
    """Return the form of `secret` that has nothing encoded, and its lines; nothing where it is too short."""
    core = secret.strip()
    return (core, *_lines(core)) if len(core) >= MIN_BYTES else ()


def _lines(core: bytes) -> Iterator[bytes]:
    return (line.strip() for line in core.splitlines() if len(line.strip()) >= _MIN_LINE_BYTES)


def _written(core: bytes) -> Iterator[bytes]:
    yield core
    yield from _lines(core)
    yield b" ".join(core.split())  # `echo $SECRET`
    yield core.replace(b"\n", b"\r\n")  # on a terminal
    yield from _in_base64(core)
    yield from (core.hex().encode(), core.hex().upper().encode())
    yield from _in_urls(core)
    text = core.decode(errors="surrogateescape")
    for escaped in (*_in_json(text), *_in_xml(text), *_in_shells(text)):
        yield escaped.encode(errors="surrogateescape")


def _in_base64(core: bytes) -> Iterator[bytes]:
    for before in range(3):
        bits = 8 * (before + len(core))
        encoded = _base64(bytes(before) + core)[
            (8 * before + 5) // 6 : bits // 6
        ]  # letters of this secret's bits alone
        yield encoded
        yield _url_safe(encoded)
    whole = _base64(core)
    yield whole
    yield _url_safe(whole)
    stable = whole[: 8 * len(core) // 6]
    for width in _BASE64_WIDTHS:
        if len(stable) > width:
            yield from (stable[at : at + width] for at in range(0, len(stable), width))


def _base64(content: bytes) -> bytes:
    return binascii.b2a_base64(content, newline=False)


def _url_safe(encoded: bytes) -> bytes:
    return encoded.translate(bytes.maketrans(b"+/", b"-_"))


def _in_urls(core: bytes) -> Iterator[bytes]:
    for more in _UNESCAPED:
        for pattern in ("%%%02X", "%%%02x"):
            kept = _UNRESERVED + more
            encoded = b"".join(bytes([byte]) if byte in kept else (pattern % byte).encode() for byte in core)
            yield encoded
            yield encoded.replace(b"%20", b"+")


def _in_json(text: str) -> Iterator[str]:
    for is_ascii in (True, False):
        escaped = json.dumps(text, ensure_ascii=is_ascii)[1:-1]
        yield escaped
        yield escaped.replace("/", "\\/")
        yield json.dumps(escaped, ensure_ascii=is_ascii)[1:-1]  # JSON in JSON
        for letter, written in _GO_ESCAPES:
            escaped = escaped.replace(letter, written)
        yield escaped


def _in_xml(text: str) -> Iterator[str]:
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    for double, single in _QUOTES:
        yield escaped.replace('"', double).replace("'", single)


def _in_shells(text: str) -> Iterator[str]:
    yield text.replace("'", "'\\''")
    yield text.replace("'", "'\"'\"'")
    yield re.sub(r"([^\w@%+=:,./-])", r"\\\1", text)


class Mask:
    """Knows the forms of some secrets. Holds no state: safe to use from several threads."""

    def __init__(self, secrets: Iterable[bytes]) -> None:
        self._forms = tuple(dict.fromkeys(form for secret in secrets for form in forms(secret)))
        self.letter = _letter_not_in(self._forms)
        """what takes the place of a byte: part of no form, so that no form can come to be around it"""
        self._short = tuple(form for form in self._forms if len(form) < _WINDOW)
        self._by_gram: dict[int, list[bytes]] = {}
        for form in self._forms:
            if len(form) >= _WINDOW:
                for at in range(_GRAM):
                    self._by_gram.setdefault(_grams(form[at : at + _GRAM])[0], []).append(form)
        self._grams = frozenset(self._by_gram)

    def __repr__(self) -> str:
        return f"Mask({len(self._forms)} forms)"

    def is_needed(self) -> bool:
        """Tell whether there is anything to mask."""
        return bool(self._forms)

    def stream(self, *, keeps_length: bool = False) -> Stream:
        """Return a mask for content that comes in pieces; with `keeps_length` each masked byte becomes one letter."""
        return Stream(self, keeps_length=keeps_length)

    def apply(self, content: bytes, *, keeps_length: bool = False) -> bytes:
        """Return `content` without any form of the secrets."""
        stream = self.stream(keeps_length=keeps_length)
        return stream.feed(content) + stream.close()

    def apply_to_text(self, text: str, *, keeps_length: bool = False) -> str:
        """Return `text` likewise."""
        content = text.encode(errors="surrogateescape")
        return self.apply(content, keeps_length=keeps_length).decode(errors="surrogateescape")

    def spans(self, content: bytes) -> list[tuple[int, int]]:
        """Return where forms are, first byte and end, in order; those that overlap are one."""
        found = sorted((at, at + len(form)) for form in self._suspects(content) for at in _places(form, content))
        joined: list[tuple[int, int]] = []
        for start, end in found:
            if joined and start < joined[-1][1]:
                joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
            else:
                joined.append((start, end))
        return joined

    def first_open(self, content: bytes) -> int:
        """Return where what may become a form begins, at the end of `content`; its length where there is nothing."""
        return min((_first_open(form, content) for form in self._forms), default=len(content))

    def _suspects(self, content: bytes) -> Iterable[bytes]:
        """Return the forms that may be in `content`: of a long one, a gram at a multiple of four has been seen there.

        One look at each gram in place of one search for each form: what the number of forms costs is next to nothing.
        """
        seen = self._grams.intersection(_grams(content)) if self._grams else ()
        return dict.fromkeys((*self._short, *(form for gram in seen for form in self._by_gram[gram])))


class Stream:
    """Masks one stream. Holds back no more than what may still become a form, so less than the longest."""

    def __init__(self, mask: Mask, *, keeps_length: bool) -> None:
        self._mask = mask
        self._keeps_length = keeps_length
        self._held = b""
        self._covered = 0
        """how many bytes at the beginning of what is held belong to something that has been masked"""

    def feed(self, piece: bytes) -> bytes:
        """Take the next piece; return what can be told by now."""
        if not self._mask.is_needed():
            return piece
        content = self._held + piece
        return self._tell(content, self._mask.first_open(content))

    def close(self) -> bytes:
        """Return what has been held back: there is no more to come."""
        return self._tell(self._held, len(self._held))

    def _tell(self, content: bytes, until: int) -> bytes:
        """Return the part before `until`, masked, and hold back the rest.

        What begins before `until` is whole by now. Where it, or what overlaps it, ends beyond, its mask is told with
        its beginning, and the rest of it is `covered`.
        """
        told = bytearray()
        reached = min(self._covered, until)
        covered = self._covered
        self._cover(told, reached)
        for start, end in self._mask.spans(content):
            if start >= until:
                break
            if start >= covered:
                told += content[reached:start]
                told += b"" if self._keeps_length else self._mask.letter * 3
                reached = start
            self._cover(told, max(min(end, until) - reached, 0))
            reached = max(reached, min(end, until))
            covered = max(covered, end)
        told += content[reached:until]
        self._held = content[until:]
        self._covered = max(covered - until, 0)
        return bytes(told)

    def _cover(self, told: bytearray, count: int) -> None:
        if self._keeps_length:
            told += self._mask.letter * count


def _letter_not_in(all_forms: Iterable[bytes]) -> bytes:
    """Return `*`, or another letter where a form has one; where all are taken, there is nothing better."""
    taken = {byte for form in all_forms for byte in form}
    return next((bytes([byte]) for byte in (*b"*#?x", *range(256)) if byte not in taken), b"*")


def _grams(content: bytes) -> memoryview[int]:
    """Return every four bytes as a number."""
    return memoryview(content)[: len(content) // _GRAM * _GRAM].cast("I")


def _places(form: bytes, content: bytes) -> Iterator[int]:
    at = content.find(form)
    while at >= 0:
        yield at
        at = content.find(form, at + 1)


def _first_open(form: bytes, content: bytes) -> int:
    """Return where the longest end of `content` that `form` begins with, and is longer than, begins."""
    at = content.find(form[:1], max(len(content) - len(form) + 1, 0))
    while at >= 0:
        if form.startswith(content[at:]):
            return at
        at = content.find(form[:1], at + 1)
    return len(content)
