"""The pipeline file as YAML: what is read, and what is refused before any key has a meaning."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import yaml

from ci_env.errors import ConfigError
from ci_env.pipeline import nodes
from ci_env.pipeline.document import MAX_BYTES, Value, read
from ci_env.pipeline.nodes import MAX_NODES
from ci_env.pipeline.scalars import Float, Integer
from tests.pipeline_text import FILE, complaint, pipeline


def data(text: str) -> Value:
    return read(text.encode(), FILE).data


def number(text: str) -> Integer | Float:
    """Return what the file `[text]` holds: one number."""
    values = data(f"[{text}]")
    assert isinstance(values, list)
    (value,) = values
    assert isinstance(value, Integer | Float)
    return value


def refusal(text: str | bytes) -> str:
    with pytest.raises(ConfigError) as caught:
        read(text if isinstance(text, bytes) else text.encode(), FILE)
    return str(caught.value)


@pytest.mark.parametrize(
    "word", ["on", "off", "yes", "no", "y", "12:30:45", "2024-01-31", "0x", "0o8", "1_000", "=", "<"]
)
def test_words_that_older_yaml_makes_something_of_are_text(word: str) -> None:
    assert data(f"[{word}]") == [word]


@pytest.mark.parametrize(
    ("word", "value"),
    [("0o17", 15), ("0x1F", 31), ("-7", -7), ("+7", 7), ("007", 7), ("1.50", 1.5), ("-.5", -0.5), ("6e3", 6000.0)],
)
def test_numbers_remember_how_they_were_written(word: str, value: float) -> None:
    found = number(word)
    assert (found, found.literal, type(value)) == (value, word, type(found).__mro__[1])


def test_other_plain_words() -> None:
    assert data("[true, TRUE, False, null, ~]") == [True, True, False, None, None]
    assert data("[.inf, -.INF]") == [math.inf, -math.inf]
    assert data("['true', \"1\", !!str 5, ! 6]") == ["true", "1", "5", "6"]


def test_number_too_long_for_an_integer_is_still_read() -> None:
    assert isinstance(number("9" * 5000), Float)


def test_aliases_and_merge_keys() -> None:
    text = """
base: &base {a: 1, b: 2}
more: &more {b: 3, c: 4}
one: {<<: *base, b: own}
two: {d: 5, <<: [*base, *more]}
nested: {<<: {<<: *base, b: 9}}
quoted: {"<<": x}
list: [*base, *base]
"""
    assert data(text) == {
        "base": {"a": 1, "b": 2},
        "more": {"b": 3, "c": 4},
        "one": {"a": 1, "b": "own"},
        "two": {"b": 2, "c": 4, "a": 1, "d": 5},
        "nested": {"a": 1, "b": 9},
        "quoted": {"<<": "x"},
        "list": [{"a": 1, "b": 2}, {"a": 1, "b": 2}],
    }


def test_keys_are_text_as_written() -> None:
    assert data("{1: a, 0x2: b, true: c}") == {"1": "a", "0x2": "b", "true": "c"}


def test_byte_order_mark_and_windows_line_ends() -> None:
    content = "\ufeffversion: 1\r\nimage: host\r\njobs: {a: {steps: [{run: x}]}}\r\n".encode()
    assert pipeline(content).jobs[0].steps[0].at == "ci-env.yml:3:20"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "ci-env.yml:1:1: the file is empty"),
        ("# only a comment\n", "ci-env.yml:2:1: the file is empty"),
        (b"a: \xff", "ci-env.yml:1:4: not UTF-8 text"),
        ("a: 1\n".encode("utf-16"), "ci-env.yml:1:1: not UTF-8 text"),
        ("a: 1\nb: \x07", "ci-env.yml:2:4: YAML does not allow the character U+0007"),
        ('a: 1\nb: "x\\0y"', "ci-env.yml:2:4: b: text cannot contain the character U+0000"),
        ("a: 1\nb: c: d", "ci-env.yml:2:5: not YAML: a second `: ` here; put text that contains `: ` in quotes"),
        ("a:\n\t- b", "ci-env.yml:2:1: not YAML: a tab cannot indent; use spaces"),
        ("a: @b", "ci-env.yml:1:4: not YAML: text that begins with `@` must be in quotes"),
        ("a: 1\nb: 'x\nc: 1", "ci-env.yml:2:4: not YAML: a quote or bracket is opened here and never closed"),
        ("a: 1\nb\nc: 2", "ci-env.yml:2:1: not YAML: this line is neither `key: value` nor the continuation of one"),
        ("a: [1", "ci-env.yml:2:1: not YAML: did not find expected ',' or ']'"),
        ("a: 1\n---\nb: 2", "ci-env.yml:2:1: a second document begins here; a pipeline file is one document"),
        ("a: !secret x", "ci-env.yml:1:4: the tag !secret is not supported; leave it out"),
        ("a: !!python/name:os.system x", "ci-env.yml:1:4: the tag tag:yaml.org,2002:python/name:os.system is not"),
        ("a: *b", "ci-env.yml:1:4: `*b` stands for nothing: no `&b` ends above it"),
        ("a: &a [*a]", "ci-env.yml:1:8: `*a` stands for nothing: no `&a` ends above it"),
        ("a: {b: 1, b: 2}", "ci-env.yml:1:11: a.b: this key is there twice, first in line 1"),
        ("a: {1: x,\n '1': 2}", "ci-env.yml:2:2: a.1: this key is there twice, first in line 1"),
        ("a: {<<: {}, <<: {}}", "ci-env.yml:1:13: a.'<<': this key is there twice, first in line 1"),
        ("a: {<<: [1]}", "ci-env.yml:1:10: a: `<<` takes a mapping, or a list of mappings, to merge in"),
        ("a: {[b]: 1}", "ci-env.yml:1:5: a: a key must be one word, not a list or a mapping"),
        ("a: " + "[" * 60, "ci-env.yml:1:54: values are nested more than 50 deep"),
        ("a: &a x\nb: [" + "*a," * 101 + "]", "ci-env.yml:2:305: the file has more than 100 aliases (`*name`)"),
        ("- a\n" * MAX_NODES, "ci-env.yml:50000:3: the file has more than 50000 values"),
        ("#" * (MAX_BYTES + 1), "ci-env.yml:1:1: the file is larger than 1 MiB"),
    ],
)
def test_what_is_not_strict_small_yaml_is_refused(text: str | bytes, message: str) -> None:
    found = refusal(text)
    assert found.startswith(message) if message.endswith("is not") else found == message


BOMB = "a: &a [x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{','.join([f'*{old}'] * 8)}]\n" for old, new in zip("abcdefghij", "bcdefghijk", strict=True)
)
MERGE_BOMB = "a: &a {x: 1}\n" + "".join(
    f"{new}: &{new} {{<<: [{','.join([f'*{old}'] * 8)}]}}\n"
    for old, new in zip("abcdefghij", "bcdefghijk", strict=True)
)
DEEP = "a: &a [x]\n" + "".join(f"a{n}: &a{n} [[*a{n - 1 if n else ''}]]\n" for n in range(40))


@pytest.mark.parametrize("text", [BOMB, MERGE_BOMB])
def test_aliases_cannot_multiply_without_bound(text: str) -> None:
    assert "the file has more than 50000 values when its aliases are followed" in refusal(text)


def test_aliases_cannot_nest_without_bound() -> None:
    assert "values are nested more than 50 deep when aliases are followed" in refusal(DEEP)


@pytest.mark.parametrize("piece", ["[", "{", "- ", "? ", "&a ", "{a: ", "[[],", "a: ", '{"a":', "!", "- a\n", "---\n"])
def test_a_whole_file_of_one_piece_is_refused(piece: str) -> None:
    refusal((piece * MAX_BYTES)[:MAX_BYTES])


def test_an_error_inside_an_alias_points_to_what_it_stands_for() -> None:
    text = """\
version: 1
image: host
jobs:
  a:
    steps:
      - &step
        rum: x
  b: {steps: [*step]}
"""
    assert complaint(text) == (
        "ci-env.yml:6:9: jobs.a.steps[0]: the key `run` is missing\n"
        "ci-env.yml:7:9: jobs.a.steps[0].rum: unknown key; did you mean `run`?\n"
        "ci-env.yml:7:9: jobs.b.steps[0].rum: unknown key; did you mean `run`?\n"
        "ci-env.yml:8:15: jobs.b.steps[0]: the key `run` is missing"
    )


@pytest.fixture
def without_libyaml(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Value]:
    monkeypatch.setattr(nodes, "_LOADER", yaml.SafeLoader)
    return data


def test_without_libyaml_the_same_is_read(without_libyaml: Callable[[str], Value]) -> None:
    text = "a: &x [1, on, '2']\nb: {<<: {c: |\n  x\n}, d: *x}\n".replace("|\n  x\n", '"x"')
    assert without_libyaml(text) == {"a": [1, "on", "2"], "b": {"c": "x", "d": [1, "on", "2"]}}
    assert refusal("a: 1\nb: c: d").startswith("ci-env.yml:2:5: not YAML: ")
    assert refusal('a: "\\ud800"') == "ci-env.yml:1:4: a: text cannot contain the character U+D800"
    assert refusal("[" * 3000) == "ci-env.yml:1:52: values are nested more than 50 deep"
