"""Words of a Dockerfile: variables, quotes and escapes, as in BuildKit (frontend/dockerfile/shell/lex.go). Pure.

    $NAME ${NAME}                 its value, or nothing
    ${NAME-word} ${NAME:-word}    `word` if it is not set (with the colon: or empty)
    ${NAME+word} ${NAME:+word}    `word` if it is set (with the colon: and not empty)
    ${NAME?word} ${NAME:?word}    an error with that message if it is not set (with the colon: or empty)
    ${NAME#glob} ${NAME##glob}    without the shortest (longest) beginning that matches; `%`, `%%`: without such an end
    ${NAME/glob/word}             with the first match replaced; `//`: with all of them replaced

Not a shell's language in all details: `$$` and `$1` are names, too, and an unquoted escape at the end disappears.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from ci_env.dockerfile import glob

SPACES = "\t\n\v\f\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000"
"""what Go calls space, which is less than what Python does"""

_MAX_DEPTH = 50
_MAX_LENGTH = 2**22
_DIGITS = re.compile(r"\d+")
_NAME = re.compile(r"\w+")
_SPECIAL = frozenset("@*#?-$!")

Mode = Literal["word", "document", "raw", "name"]


class WordError(ValueError):
    """A word that cannot be expanded."""


def expand(text: str, env: Mapping[str, str], *, escape: str) -> str:
    """Return `text` as one word: variables expanded, quotes and escapes taken away. WordError says what is wrong."""
    return _Lexer(text, env, escape, "word").run()[0]


def expand_words(text: str, env: Mapping[str, str], *, escape: str) -> tuple[str, ...]:
    """Likewise, split at spaces that are not quoted, those in variables' values included."""
    return _Lexer(text, env, escape, "word").run()[1]


def expand_document(text: str, env: Mapping[str, str]) -> str:
    r"""Return a heredoc's text: quotes are letters in it, and the escape is always `\`."""
    return _Lexer(text, env, "\\", "document").run()[0]


def raw_words(text: str) -> tuple[str, ...]:
    """Split likewise, but keep quotes, escapes and variables as they are; spaces after `<<` do not end a word."""
    return _Lexer(text, {}, "\\", "raw").run()[1]


def name_words(text: str) -> tuple[str, ...]:
    """Split as raw_words does, and take quotes and escapes away: what the name of a heredoc is."""
    return _Lexer(text, {}, "\\", "name").run()[1]


def split(text: str, *, escape: str) -> list[str]:
    """Split at spaces outside of quotes; quotes and escapes stay. A quote that is not ended reaches to the end."""
    words: list[str] = []
    word: list[str] = []
    quote, at, is_word = "", 0, False
    while at < len(text):
        letter = text[at]
        at += 1
        if not quote and letter in SPACES:
            if is_word:
                words.append("".join(word))
            word, is_word = [], False
            continue
        if letter == escape and quote != "'":
            if at == len(text):
                break  # an escape at the end disappears
            letter += text[at]
            at += 1
        elif quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        word.append(letter)
        is_word = True
    return [*words, "".join(word)] if is_word else words


class _Words:
    """Collects words: spaces that come as letters end one."""

    def __init__(self) -> None:
        self._word: list[str] = []
        self._done: list[str] = []

    def add(self, text: str) -> None:
        for letter in text:
            if letter not in SPACES:
                self._word.append(letter)
            else:
                self._end()

    def add_raw(self, text: str) -> None:
        self._word.append(text)

    def _end(self) -> None:
        if word := "".join(self._word):
            self._done.append(word)
        self._word = []

    def finish(self) -> tuple[str, ...]:
        self._end()
        return tuple(self._done)


class _Lexer:
    def __init__(self, text: str, env: Mapping[str, str], escape: str, mode: Mode) -> None:
        self._text = text
        self._env = env
        self._escape = escape
        self._mode = mode
        self._at = 0
        self._depth = 0
        self._length = 0

    def run(self) -> tuple[str, tuple[str, ...]]:
        return self._until("", keeps_escapes=self._mode == "raw")

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _next(self) -> str:
        letter = self._peek()
        self._at += 1
        return letter

    def _until(self, stop: str, *, keeps_escapes: bool, is_pattern: bool = False) -> tuple[str, tuple[str, ...]]:
        """Return what comes before `stop` (empty: the end), which is consumed, as one text and as words.

        In a pattern, a quoted escape is doubled, so that it stands for itself.
        """
        result: list[str] = []
        words = _Words()
        while (letter := self._peek()) and letter != stop:
            if letter == "$":
                piece = self._variable()
                words.add(piece)
            elif letter in "'\"" and self._mode != "document":
                piece = self._quoted(keeps_escapes=keeps_escapes, is_pattern=is_pattern)
                words.add_raw(piece)
            elif letter == "<":
                piece = self._heredoc_mark()
                words.add_raw(piece)
            elif letter == self._escape:
                piece = self._escaped(keeps_escapes=keeps_escapes)
                words.add_raw(piece)
            else:
                piece = self._next()
                words.add(piece)
            result.append(self._bounded(piece))
        if stop and not self._next():
            raise WordError(f"`{stop}` is missing in `${{...}}`")
        return "".join(result), words.finish()

    def _bounded(self, piece: str) -> str:
        self._length += len(piece)
        if self._length > _MAX_LENGTH:
            raise WordError(f"the value is longer than {_MAX_LENGTH // 2**20} MiB")
        return piece

    def _escaped(self, *, keeps_escapes: bool) -> str:
        escape, letter = self._next(), self._next()
        return escape + letter if keeps_escapes else letter

    def _heredoc_mark(self) -> str:
        start = self._at
        self._next()
        if self._peek() == "<":
            self._next()
            while self._peek() and self._peek() in SPACES:
                self._next()
        return self._text[start : self._at]

    def _quoted(self, *, keeps_escapes: bool, is_pattern: bool) -> str:
        quote = self._next()
        if quote == '"':
            inside = self._double(keeps_escapes=keeps_escapes)
        else:
            inside = self._single().replace(self._escape, self._escape * (2 if is_pattern else 1))
        return f"{quote}{inside}{quote}" if self._mode == "raw" else inside

    def _single(self) -> str:
        end = self._text.find("'", self._at)
        if end == -1:
            raise WordError("a `'` is not ended")
        start, self._at = self._at, end + 1
        return self._text[start:end]

    def _double(self, *, keeps_escapes: bool) -> str:
        r"""Read up to the next `"`; an escape counts before `"`, `$` and itself only."""
        result: list[str] = []
        while (letter := self._peek()) != '"':
            if not letter:
                raise WordError('a `"` is not ended')
            if letter == "$":
                result.append(self._bounded(self._variable()))
                continue
            self._next()
            if letter == self._escape and (following := self._peek()):
                is_escaping = following in f'"${self._escape}'
                letter = (letter if keeps_escapes else "") + (self._next() if is_escaping else letter)
            result.append(letter)
        self._next()
        return "".join(result)

    def _variable(self) -> str:
        start = self._at
        self._next()
        is_braced = self._peek() == "{"
        if not is_braced:
            name = self._name()
            value = self._env.get(name, "") if name else "$"
        else:
            self._next()
            self._depth += 1
            if self._depth > _MAX_DEPTH:
                raise WordError(f"`${{...}}` is nested more than {_MAX_DEPTH} deep")
            name, value = self._braced()
            self._depth -= 1
        return self._text[start : self._at] if self._mode in {"raw", "name"} else value

    def _name(self) -> str:
        letter = self._peek()
        if letter and letter in _SPECIAL:
            return self._next()
        match = _DIGITS.match(self._text, self._at) or _NAME.match(self._text, self._at)
        self._at = match.end() if match else self._at
        return match[0] if match else ""

    def _braced(self) -> tuple[str, str]:
        if not self._peek() or self._peek() in "{}:":
            raise WordError("`${` is not followed by a name")
        name = self._name()
        value, modifier = self._env.get(name), self._next()
        if modifier == "}":
            return name, value or ""
        if modifier == "/":
            return name, self._replaced(value or "")
        counts_empty = modifier == ":"
        operator = self._next() if counts_empty else modifier
        if not operator:
            raise WordError("`}` is missing in `${...}`")
        if modifier in {"#", "%"}:
            return name, self._trimmed(value or "", modifier)
        if operator not in {"-", "+", "?"}:
            raise WordError(f"`{modifier + operator if counts_empty else modifier}` is unknown in `${{{name}...}}`")
        word, _ = self._until("}", keeps_escapes=False)
        return name, self._chosen(name, operator, word, is_set=bool(value) if counts_empty else value is not None)

    def _chosen(self, name: str, operator: str, word: str, *, is_set: bool) -> str:
        if operator == "+":
            return word if is_set else ""
        if is_set:
            return self._env[name]
        if operator == "?" and self._mode not in {"raw", "name"}:
            raise WordError(f"{name}: {word or ('must not be empty' if name in self._env else 'must be set')}")
        return word if operator == "-" else ""

    def _trimmed(self, value: str, operator: str) -> str:
        word, _ = self._until("}", keeps_escapes=True, is_pattern=True)
        is_longest = word.startswith(operator)
        try:
            return glob.trim(value, word[is_longest:], is_end=operator == "%", is_longest=is_longest)
        except ValueError as error:
            raise WordError(str(error)) from error

    def _replaced(self, value: str) -> str:
        is_all = self._peek() == "/"
        if is_all:
            self._next()
        pattern, _ = self._until("/", keeps_escapes=True, is_pattern=True)
        word, _ = self._until("}", keeps_escapes=True)
        try:
            return glob.replace(value, pattern, word, is_all=is_all)
        except ValueError as error:
            raise WordError(str(error)) from error
