"""Variables, quotes and escapes of a Dockerfile: each case is what BuildKit's own lexer makes of it."""

from __future__ import annotations

import pytest

from ci_env.dockerfile.words import WordError, expand, expand_document, expand_words, raw_words, split

ENV = {
    "A": "a",
    "PATH": "/bin:/usr/bin",
    "SPACES": " one  two ",
    "EMPTY": "",
    "PATTERN": r"\*x",
    "FILE": "src/lib.tar.gz",
    "STARS": "a**b",
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("$A", "a"),
        ("${A}", "a"),
        ("x${A}y$A", "xaya"),
        ("$AB", ""),
        ("$A-b", "a-b"),
        ("$", "$"),
        ("a$", "a$"),
        ("$/", "$/"),
        ("$$A", "A"),
        ("$1A", "A"),
        ("$12A", "A"),
        ("${UNSET}", ""),
        ("$SPACES.", " one  two ."),
        (r"\$A", "$A"),
        (r"\\$A", r"\a"),
        (r"\n", "n"),
        ("end\\", "end"),
        ("'$A'", "$A"),
        ('"$A"', "a"),
        (r'"\$A"', "$A"),
        (r'"\n"', r"\n"),
        (r'"\""', '"'),
        ("'it''s'", "its"),
        ('"it\'s"', "it's"),
        ("a'b c'd", "ab cd"),
        ("日本$A", "日本a"),
        ("${A:-x}", "a"),
        ("${EMPTY:-x}", "x"),
        ("${EMPTY-x}", ""),
        ("${UNSET-x}", "x"),
        ("${UNSET:-$A}", "a"),
        ("${UNSET:-${A:+b}}", "b"),
        ("${UNSET:-'}'}", "}"),
        ("${UNSET:-\\}}", "}"),
        ('${UNSET:-"a b"}', "a b"),
        ("${A:+x}", "x"),
        ("${EMPTY:+x}", ""),
        ("${EMPTY+x}", "x"),
        ("${UNSET+x}", ""),
        ("${A:?no}", "a"),
        ("${EMPTY?no}", ""),
        ("${FILE#*/}", "lib.tar.gz"),
        ("${FILE##*.}", "gz"),
        ("${FILE%.*}", "src/lib.tar"),
        ("${FILE%%.*}", "src/lib"),
        ("${FILE#src}", "/lib.tar.gz"),
        ("${FILE#*}", "src/lib.tar.gz"),
        ("${FILE##*}", ""),
        ("${FILE#nothing}", "src/lib.tar.gz"),
        ("${FILE%?gz}", "src/lib.tar"),
        ("${FILE#'src'/}", "lib.tar.gz"),
        (r"${PATTERN#'\'}", "*x"),
        (r"""${PATTERN#"\\"}""", "*x"),
        ("${UNSET#x}", ""),
        (r"${STARS%\*b}", "a*"),
        (r"${STARS%%\**}", "a"),
        ("${STARS#$A}", "**b"),
        ("${FILE/./-}", "src/lib-tar.gz"),
        ("${FILE//./-}", "src/lib-tar-gz"),
        (r"${FILE/\//:}", "src:lib.tar.gz"),
        ("${FILE/l*r/x}", "src/x.gz"),
        ("${FILE//?i/}", "src/b.tar.gz"),
        ("${PATH//:/ }", "/bin /usr/bin"),
        ("${A//*/x}", "x"),
        ("${A/$UNSET/x}", "xa"),
        ("${A//$UNSET/-}", "-a-"),
        ("${UNSET/a/b}", ""),
    ],
)
def test_expand(text: str, expected: str) -> None:
    assert expand(text, ENV, escape="\\") == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("'a", "a `'` is not ended"),
        ('"a', 'a `"` is not ended'),
        ('"a\\', 'a `"` is not ended'),
        ("${", "`${` is not followed by a name"),
        ("${}", "`${` is not followed by a name"),
        ("${:x}", "`${` is not followed by a name"),
        ("${{A}}", "`${` is not followed by a name"),
        ("${A", "`}` is missing in `${...}`"),
        ("${A:", "`}` is missing in `${...}`"),
        ("${A:-x", "`}` is missing in `${...}`"),
        ("${A/x}", "`/` is missing in `${...}`"),
        ("${A/x/y", "`}` is missing in `${...}`"),
        ("${A=x}", "`=` is unknown in `${A...}`"),
        ("${A:=x}", "`:=` is unknown in `${A...}`"),
        ("${A:#x}", "`:#` is unknown in `${A...}`"),
        ("${A^}", "`^` is unknown in `${A...}`"),
        ("${A:0:1}", "`:0` is unknown in `${A...}`"),
        ("${UNSET:?}", "UNSET: must be set"),
        ("${EMPTY:?}", "EMPTY: must not be empty"),
        ("${UNSET?pass $A}", "UNSET: pass a"),
        (r"${A#\x}", r"`\x` is no escape in the pattern `\x`"),
        ("${UNSET:-" * 60 + "}" * 60, "`${...}` is nested more than 50 deep"),
    ],
)
def test_malformed_words(text: str, message: str) -> None:
    with pytest.raises(WordError) as caught:
        expand(text, ENV, escape="\\")
    assert str(caught.value) == message


def test_backquote_as_escape() -> None:
    assert expand("`$A \\$A C:\\b", ENV, escape="`") == "$A \\a C:\\b"


def test_a_value_that_doubles_with_each_line_is_stopped() -> None:
    with pytest.raises(WordError, match="longer than 4 MiB"):
        expand("$X$X$X", {"X": "x" * 2**21}, escape="\\")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a b", ("a", "b")),
        ("  a\tb ", ("a", "b")),
        ("$SPACES", ("one", "two")),
        ('"$SPACES"', (" one  two ",)),
        ("x${SPACES}y", ("x", "one", "two", "y")),
        (r"a\ b", ("a b",)),
        ("'a b'c d", ("a bc", "d")),
        ("''", ()),
        ("", ()),
    ],
)
def test_expand_words(text: str, expected: tuple[str, ...]) -> None:
    assert expand_words(text, ENV, escape="\\") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('it\'s "$A"\n', 'it\'s "a"\n'),
        (r"\$A ${A}", "$A a"),
        ("'$A'", "'a'"),
    ],
)
def test_expand_document(text: str, expected: str) -> None:
    assert expand_document(text, ENV) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=b c=d", ["a=b", "c=d"]),
        ("a='b c' d", ["a='b c'", "d"]),
        (r'a="b \" c" d', [r'a="b \" c"', "d"]),
        (r"a\ b c", [r"a\ b", "c"]),
        ("'a b", ["'a b"]),
        (r"'a\' b", [r"'a\'", "b"]),
        ('"" b', ['""', "b"]),
        ("a\\", ["a"]),
        ("  ", []),
    ],
)
def test_split(text: str, expected: list[str]) -> None:
    assert split(text, escape="\\") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cat <<EOF >x", ("cat", "<<EOF", ">x")),
        ("<< EOF", ("<< EOF",)),
        ("<<'a b' c", ("<<'a b'", "c")),
        (r"<<\EOF $X ${X:-y}", (r"<<\EOF", "$X", "${X:-y}")),
        ("a < b", ("a", "<", "b")),
    ],
)
def test_raw_words(text: str, expected: tuple[str, ...]) -> None:
    assert raw_words(text) == expected
