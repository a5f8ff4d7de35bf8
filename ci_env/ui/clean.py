"""Makes untrusted text fit to print: it can neither drive the terminal nor pass for a line of ours.

Everything that a view prints and did not write itself goes through here: output, names, commands, messages.
"""

from __future__ import annotations

import re

# Compiled at their first use, which most cached runs never come to: it takes three milliseconds.
# ECMA-48: 5.4 control sequences, 5.6 control strings (OSC also ends at BEL, as xterm has it), then the other escapes.
# Each alternative needs its introducer and reads on without backtracking, so a hostile line costs linear time.
_SEQUENCE = (
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b\]|\x9d)[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)"
    r"|(?:\x1b[PX^_]|[\x90\x98\x9e\x9f])[^\x1b\x9c]*(?:\x1b\\|\x9c)"
    r"|\x1b[ -/]*[0-~]"
)
_COLOUR = r"\x1b\[[0-9;:]*m"
_RESET = "\x1b[0m"
# C0 but the tab, DEL, C1; line and paragraph separator; marks that reorder text (https://trojansource.codes);
# lone surrogates, which stand for bytes that are not UTF-8.
_UNPRINTABLE = r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
_ESCAPED_BYTES = range(0xDC80, 0xDD00)


def clean(text: str, *, colour: bool = False) -> str:
    """Return one line of `text` without control sequences, what else is not printable as a visible escape (`\\x07`).

    With `colour`, colours (SGR sequences) stay, and are reset at the end. Of a line that its writer overwrote with
    carriage returns (progress meters do), what stood there last is kept, as on a terminal.
    """
    line = text.rstrip("\r").rpartition("\r")[2]
    if line.isascii() and line.isprintable():
        return line
    if not colour:
        return _plain(line)
    pieces = _pieces(line)
    return "".join(pieces) + (_RESET if len(pieces) > 1 else "")


def shorten(text: str, limit: int) -> str:
    """Return at most `limit` letters of `text`, `…` in the place of what is cut off."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _pieces(line: str) -> list[str]:
    """Return text and colours in turn, first and last being text."""
    pieces: list[str] = []
    begin = 0
    for found in re.finditer(_SEQUENCE, line):
        if re.fullmatch(_COLOUR, found[0]):
            pieces += [_plain(line[begin : found.start()]), found[0]]
            begin = found.end()
    return [*pieces, _plain(line[begin:])]


def _plain(text: str) -> str:
    return re.sub(_UNPRINTABLE, _visible, re.sub(_SEQUENCE, "", text))


def _visible(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code in _ESCAPED_BYTES:
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
