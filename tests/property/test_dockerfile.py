"""Dockerfiles of any text: understood or refused, never anything else, and in time that grows with the text."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ci_env.digest import canonical_json
from ci_env.dockerfile.arguments import unused_arguments, with_arguments
from ci_env.dockerfile.evaluate import evaluate
from ci_env.dockerfile.ignore import Ignore, matches
from ci_env.dockerfile.image_config import base_of, config_of, scratch
from ci_env.dockerfile.lines import KEYWORDS
from ci_env.dockerfile.model import Copy, Run
from ci_env.dockerfile.parse import parse
from ci_env.dockerfile.words import WordError, expand, expand_words, raw_words, split
from ci_env.errors import ConfigError
from ci_env.oci.platform import Platform

PIECES = [
    *KEYWORDS, "AS", "NONE", "a", "b=c", "$A", "${A:-", "${A#", "${A//", "}", "/", "*", "'", '"', "\\", "`", "\n", "\n",
    " ", " ", "\t", "\r\n", "<<EOF", "<<-'E'", "EOF", "E", "#", "# escape=`\n", "#!/bin/sh\n", '["a"]', "[", "--from=0",
    "--mount=", "type=cache,target=/x", "--chmod=7", "--x", "80", "=", ":", "https://x", "\ufeff", "\x85", "\0",
]  # fmt: skip
PLATFORM = Platform("linux", "amd64")
ENV = {"A": "a b", "B": "**", "E": ""}

dockerfiles = st.lists(st.sampled_from(PIECES), max_size=30).map("".join)
instructions = st.lists(
    st.tuples(st.sampled_from(KEYWORDS), st.lists(st.sampled_from(PIECES), max_size=6).map("".join)), max_size=6
).map(lambda lines: "FROM scratch\n" + "\n".join(f"{keyword} {rest}" for keyword, rest in lines))
words = st.text(st.sampled_from("ab$A{}:-+?#%/*\\'\"` \n<0")) | st.text(max_size=20)
names = st.text(st.sampled_from("ab/*?[]^-!\\. #"), max_size=12)
paths = st.lists(st.text(st.sampled_from("ab"), min_size=1, max_size=3), min_size=1, max_size=4).map("/".join)


def build(text: str, base: Mapping[str, str]) -> None:
    """Go all the way from text to operations."""
    file, arguments = with_arguments(parse(text, file="f"), base, target=PLATFORM, build=PLATFORM)
    for stage in file.stages:
        evaluated = evaluate(stage, scratch(), base, arguments)
        check(evaluated.operations)
        assert base_of(evaluated.config).env == evaluated.result.env
        canonical_json(evaluated.config)
    unused_arguments(file, base)


def check(operations: tuple[Run | Copy, ...]) -> None:
    for one in operations:
        assert "\n" not in one.title
        if isinstance(one, Copy):
            assert one.destination.startswith("/")
            assert not any(source.startswith("/") or ".." in source.split("/") for source in one.sources)
        else:
            assert one.argv
            assert one.workdir.startswith("/")


@settings(deadline=None)
@given(st.text() | dockerfiles | instructions, st.dictionaries(st.sampled_from("ABE"), st.text(max_size=5)))
def test_any_text_is_built_or_refused_with_its_line(text: str, arguments: Mapping[str, str]) -> None:
    error = refusal(text, arguments)
    if error is not None:
        assert error.where is not None
        assert error.where == "f" or error.where.removeprefix("f:").isdecimal()
        assert error.message.startswith(f"{error.where}: ")


def refusal(text: str, arguments: Mapping[str, str]) -> ConfigError | None:
    try:
        build(text, arguments)
    except ConfigError as error:
        return error
    return None


@given(words, st.sampled_from("\\`"))
def test_any_word_is_expanded_or_refused(text: str, escape: str) -> None:
    for function in (expand, expand_words):
        with suppress(WordError):
            function(text, ENV, escape=escape)
    with suppress(WordError):
        raw_words(text)
    split(text, escape=escape)


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), st.sampled_from("\\`"))
def test_a_quoted_text_is_itself(text: str, escape: str) -> None:
    single = "'" + text.replace("'", f"'{escape}''") + "'"
    double = '"' + "".join(escape + letter if letter in f'"${escape}' else letter for letter in text) + '"'
    bare = "".join(escape + letter for letter in text)
    for quoted in (single, double, bare):
        assert expand(quoted, {}, escape=escape) == text
        assert expand_words(quoted, {}, escape=escape) == ((text,) if text else ())
        assert split(f"a {quoted} b", escape=escape)[1:-1] == ([quoted] if quoted else [])


@given(st.dictionaries(st.text(st.sampled_from("ABC_1"), min_size=1), st.text(st.sampled_from("ab $'\"\\={}"))))
def test_variables_survive_env(variables: Mapping[str, str]) -> None:
    quoted = {name: value.replace("'", "'\\''") for name, value in variables.items()}
    lines = "".join(f"ENV {name}='{value}'\n" for name, value in quoted.items())
    file = parse(f"FROM scratch\n{lines}RUN x", file="f")
    evaluated = evaluate(file.stages[0], scratch(), {}, {})
    (run,) = evaluated.operations
    assert isinstance(run, Run)
    assert dict(run.env) == {**scratch().env, **variables}
    assert config_of(base_of(evaluated.config)) == evaluated.config


@given(names, paths)
def test_any_pattern_matches_or_is_refused(pattern: str, path: str) -> None:
    with suppress(ConfigError):
        Ignore.parse(pattern, file="f").is_ignored(path)
    with suppress(ValueError):
        matches(pattern, path)


def is_match(pattern: str, name: str) -> bool:
    """Tell what `*` and `?` mean in a name, too plainly to be wrong."""
    if not pattern:
        return not name
    if pattern[0] == "*":
        return is_match(pattern[1:], name) or (bool(name) and is_match(pattern, name[1:]))
    return bool(name) and pattern[0] in {"?", name[0]} and is_match(pattern[1:], name[1:])


@given(st.text(st.sampled_from("ab*?"), max_size=8), st.text(st.sampled_from("ab"), min_size=1, max_size=8))
def test_wildcards_agree_with_the_plain_definition(pattern: str, name: str) -> None:
    assert matches(pattern, name) == is_match(pattern, name)
    if "**" not in pattern:
        assert Ignore.parse(pattern, file="f").is_ignored(name) == is_match(pattern, name)


@given(st.text(st.sampled_from("ab*?"), max_size=6), st.text(st.sampled_from("ab"), max_size=8))
def test_trimming_agrees_with_the_plain_definition(pattern: str, value: str) -> None:
    starts = [end for end in range(len(value) + 1) if is_match(pattern, value[:end])]
    ends = [start for start in range(len(value) + 1) if is_match(pattern, value[start:])]
    env = {"V": value}
    assert expand(f"${{V#{pattern}}}", env, escape="\\") == (value[starts[0] :] if starts else value)
    assert expand(f"${{V##{pattern}}}", env, escape="\\") == (value[starts[-1] :] if starts else value)
    assert expand(f"${{V%{pattern}}}", env, escape="\\") == (value[: ends[-1]] if ends else value)
    assert expand(f"${{V%%{pattern}}}", env, escape="\\") == (value[: ends[0]] if ends else value)


HOSTILE: Mapping[str, Callable[[int], str]] = {
    "stages": lambda size: "".join(f"FROM a AS s{number}\nCOPY --from=s0 a b\n" for number in range(1, size // 4)),
    "instructions": lambda size: "FROM a\n" + "ENV A=1\n" * size,
    "arguments": lambda size: "ARG A=$A\n" * size + "FROM a",
    "continued": lambda size: "FROM a\nRUN " + "x\\\n" * size,
    "comments": lambda size: "FROM a\nRUN \\\n" + "# x\n" * size,
    "quotes": lambda size: "FROM a\nENV A=" + "'a'\"b\"" * size,
    "variables": lambda size: "FROM a\nENV A=" + "${A:-b}" * size,
    "open braces": lambda size: "FROM a\nENV A=" + "${A:-" * size,
    "spaces": lambda size: "FROM a\nRUN <<" + " " * size + "<",
    "heredoc marks": lambda size: "FROM a\nRUN " + "<<" * size,
    "brackets": lambda size: "FROM a\nRUN " + "[" * size,
    "escapes": lambda size: "FROM a\nRUN " + "\\" * size,
    "flags": lambda size: "FROM a\nCOPY " + "--link " * size,
    "stars": lambda size: f"FROM a\nENV V={'a' * size}\nENV A=${{V%{'*a' * (size // 2)}b}}",
    "replaced": lambda size: f"FROM a\nENV V={'a' * min(size, 5000)}\nENV A=${{V/a*b/x}}",
    "ports": lambda size: "FROM a\nEXPOSE " + "x-" * size,
    "durations": lambda size: "FROM a\nHEALTHCHECK --interval=" + "1" * size + " CMD x",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_time_grows_with_the_text(name: str) -> None:
    text = HOSTILE[name](20_000)
    start = time.process_time()
    with suppress(ConfigError):
        build(text, {})
    assert time.process_time() - start < 5


def test_patterns_with_many_stars_take_no_time() -> None:
    ignore = Ignore.parse("*a*a*a*a*a*a*a*a*b\n" * 20, file="f")
    start = time.process_time()
    assert not ignore.is_ignored("a" * 250)
    assert not matches("*a" * 60 + "b", "a" * 250)
    assert time.process_time() - start < 1
